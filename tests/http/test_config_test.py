"""entrepotd -t: what it tells of an operator's ordinary mistakes. More of them: tests/unit/test_conf.c."""
import os
import subprocess

import pytest

from harness.daemon import ENTREPOTD, wait_for
from harness.tools import need
from harness.users import write_users

GOOD = 'hosted r { }\nconnector "127.0.0.1:1" { repository = r }\n'


def config_test(directory, text):
    (directory / "conf").write_bytes(text if isinstance(text, bytes) else text.encode())
    done = subprocess.run([ENTREPOTD, "-t", "-c", directory / "conf"], text=True, timeout=60, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE)
    return done.returncode, done.stderr


@pytest.mark.parametrize("text,line,told", [
    ('data_dir = "/x\n' + GOOD, 1, "a string begins here and does not end in this line"),
    (GOOD + "blobstore b {\n path = /b\n quota = 500 G\n}\n", 5, "a number and its unit are one word like 500G"),
    (GOOD + "workers = 1; not three\n", 3, "lines end without ;"),
    (GOOD + "; a comment\n", 3, "a comment begins with #"),
    ("workers: 1\n" + GOOD, 1, "keys take =, not a colon"),
    (b"\xef\xbb\xbf" + GOOD.encode(), 1, "byte order mark"),
    (GOOD.encode("utf-16"), 1, "save it as UTF-8"),
    ("include /etc/entrepot/conf.d/*.conf\n" + GOOD, 1, "there is no include"),
    (GOOD + 'connector "0.0.0.0:70000" { }\n', 3, "70000 is no port"),
    (GOOD + 'connector "registry.example:443" { }\n', 3, "names are not looked up, because"),
    (GOOD + "hosted x {\n", 3, "section hosted does not end"),
    (GOOD + "group g {\n members = {r}\n push_to = x\n}\nhosted x { }\n", 5, "is not among the members of group g"),
    (GOOD + "workres = 1\n", 3, "did you mean workers?"),
    ("", None, "the file is empty"),
])
def test_a_mistake_is_told_with_its_line(tmp_path, text, line, told):
    status, said = config_test(tmp_path, text)
    assert status == os.EX_CONFIG and told in said
    assert any(row.startswith(f"{tmp_path}/conf:{line}: " if line else f"{tmp_path}/conf: ") for row in said.splitlines()), said


@pytest.fixture(scope="module")
def old(tmp_path_factory):
    """A certificate whose last day was yesterday, and its key."""
    need("openssl")
    path = tmp_path_factory.mktemp("old")
    ec = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
    for command in (("req", *ec, "-keyout", path / "key", "-out", path / "csr", "-subj", "/CN=localhost"),
                    ("x509", "-req", "-in", path / "csr", "-signkey", path / "key", "-days", "-1", "-out", path / "crt")):
        subprocess.run(["openssl", *command], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return f'tls_certificate = "{path}/crt"\n tls_key = "{path}/key"'


def test_an_expired_certificate_is_a_warning(tmp_path, old):
    status, said = config_test(tmp_path, f'hosted r {{ }}\nconnector "127.0.0.1:1" {{ {old} }}\n')
    assert status == 0 and "warning: " in said and "/crt: its last day was 20" in said and "renew it" in said


def test_an_expired_certificate_stops_no_start_and_no_reload(start, old):
    d = start(run=False, top=old.join(('connector "127.0.0.1:1" {{ repository = docker-local\n', "}}\n")))
    d.start()
    d.hup()
    wait_for(lambda: d.log_text().count("a certificate is out of date") == 2, "both are told")


def test_users_and_certificates_are_told_in_one_run(tmp_path):
    write_users(tmp_path / "users", {"alice": "a"})
    (tmp_path / "users").write_text("alice\nbob:{SHA}x\n")
    status, said = config_test(tmp_path, f'hosted r {{ }}\nconnector "127.0.0.1:1" {{ tls_certificate = "{tmp_path}/no.crt"\n'
                               f'tls_key = "{tmp_path}/no.key" }}\nauth {{ htpasswd = "{tmp_path}/users" }}\n')
    assert status == os.EX_CONFIG
    for told in ("users:1: no colon", "users:2: user bob: not a bcrypt hash", "no.crt: cannot be opened", "no.key: cannot be opened"):
        assert told in said, said
