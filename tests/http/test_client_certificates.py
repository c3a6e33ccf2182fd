"""Client certificates (tls_client_ca): who is named, who is refused, and that a session does not carry a name to another place."""
import os
import socket
import ssl
import subprocess

import pytest

from harness.daemon import ENTREPOTCTL, ENTREPOTD, Daemon, free_port, log_fields, wait_for
from harness.tools import need, own_directory

CONF = """
hosted docker-local {{ }}
connector "127.0.0.1:{port}" {{
    repository = docker-local
    tls_certificate = "{dir}/localhost.crt"
    tls_key = "{dir}/localhost.key"
    tls_client_ca = "{dir}/clients.crt"
    host named.example {{
        repository = docker-local
        tls_certificate = "{dir}/localhost.crt"
        tls_key = "{dir}/localhost.key"
    }}
}}
connector "127.0.0.1:%d" {{
    repository = docker-local
    tls_certificate = "{dir}/localhost.crt"
    tls_key = "{dir}/localhost.key"
    tls_client_ca = "{dir}/others.crt"
}}
connector "127.0.0.1:%d" {{
    repository = docker-local
    tls_certificate = "{dir}/localhost.crt"
    tls_key = "{dir}/localhost.key"
}}
"""
EC = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")


def openssl(*args):
    need("openssl")
    done = subprocess.run(["openssl", *map(str, args)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert done.returncode == 0, done.stdout


def ca(directory, name):
    openssl("req", "-x509", *EC, "-keyout", directory / f"{name}.key", "-out", directory / f"{name}.crt", "-days", 9,
            "-subj", f"/CN={name}")


def client(directory, stem, subject, san="", by="clients", usage="clientAuth", days=9):
    (directory / "ext").write_text(f"extendedKeyUsage={usage}\n" + (f"subjectAltName={san}\n" if san else ""))
    openssl("req", *EC, "-keyout", directory / f"{stem}.key", "-out", directory / f"{stem}.csr", "-subj", subject)
    openssl("x509", "-req", "-in", directory / f"{stem}.csr", "-CA", directory / f"{by}.crt", "-CAkey", directory / f"{by}.key",
            "-CAcreateserial", "-out", directory / f"{stem}.crt", "-days", days, "-extfile", directory / "ext")


@pytest.fixture(scope="module")
def asking():
    directory = own_directory("entrepot-test-")
    subprocess.run([ENTREPOTCTL, "cert", "--dir", str(directory), "localhost", "named.example"], check=True,
                   stdout=subprocess.DEVNULL)
    for name in ("clients", "others"):
        ca(directory, name)
    other, open_port = free_port(), free_port()
    d = Daemon(text=CONF % (other, open_port), directory=directory)
    d.own_dir = True
    d.other, d.open = other, open_port
    d.start()
    yield d
    d.close()


def context(daemon, stem=None, version=None):
    c = ssl.create_default_context(cafile=str(daemon.dir / "ca.crt"))
    if stem:
        c.load_cert_chain(daemon.dir / f"{stem}.crt", daemon.dir / f"{stem}.key")
    if version:
        c.minimum_version = c.maximum_version = version
    return c


def ask(daemon, c, port=None, session=None, name="localhost", times=1):
    """(names the log has for the requests, session, was one resumed)"""
    names = []
    with socket.create_connection(("127.0.0.1", port or daemon.port), 20) as raw:
        with c.wrap_socket(raw, server_hostname=name, session=session) as s:
            answers = s.makefile("rb")
            for _ in range(times):
                s.sendall(b"GET /v2/ HTTP/1.1\r\nHost: localhost\r\n\r\n")
                assert answers.readline().startswith(b"HTTP/1.1 200")
                fields = {}
                for line in iter(answers.readline, b"\r\n"):
                    key, _, value = line.decode().partition(": ")
                    fields[key] = value.strip()
                answers.read(int(fields["Content-Length"]))
                request = fields["X-Request-Id"]
                line = wait_for(lambda: [x for x in daemon.access_log_text().splitlines() if request in x], "the line")[0]
                names.append(log_fields(line).get("cert", ""))
            return names, s.session, s.session_reused


VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]


@pytest.mark.parametrize("subject,san,name", [
    ("/CN=alice", "", "alice"), ("/O=Example/CN=robot-1", "DNS:ignored.example", "robot-1"),
    ("/O=Example", "DNS:build.example,email:x@example.org", "build.example"), ("/O=Example", "email:bob@example.org", "bob@example.org"),
    ("/O=Example", "IP:10.0.0.1,URI:https://x,DNS:last.example", "last.example"), ("/O=Example", "", ""),
    ("/CN=two/CN=names", "", ""), ("/CN=two/CN=names", "DNS:san.example", "san.example")])
def test_the_name(asking, subject, san, name):
    client(asking.dir, "c", subject, san)
    assert ask(asking, context(asking, "c"), times=2)[0] == [name, name]


@pytest.mark.parametrize("version", VERSIONS)
def test_without_a_certificate(asking, version):
    assert ask(asking, context(asking, version=version))[0] == [""]


def test_by_name_of_the_host(asking):
    client(asking.dir, "c", "/CN=alice")
    assert ask(asking, context(asking, "c"), name="named.example")[0] == ["alice"]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("bad", [{"by": "others"}, {"usage": "serverAuth"}, {"by": "ca"}])
def test_what_cannot_be_verified_fails(asking, version, bad):
    client(asking.dir, "bad", "/CN=mallory", **bad)
    before = asking.access_log_text().count("mallory")
    with pytest.raises((ssl.SSLError, ConnectionError, AssertionError)):
        ask(asking, context(asking, "bad", version))
    assert asking.access_log_text().count("mallory") == before
    assert ask(asking, context(asking))[0] == [""]


def test_a_control_byte_is_no_name(asking):
    client(asking.dir, "c", "/CN=a\tb", "DNS:san.example")
    assert ask(asking, context(asking, "c"))[0] == ["san.example"]


def test_where_none_is_asked_for(asking):
    client(asking.dir, "c", "/CN=alice")
    assert ask(asking, context(asking, "c"), asking.open)[0] == [""]


@pytest.mark.parametrize("version", VERSIONS)
def test_a_resumed_session_keeps_its_name_here_alone(asking, version):
    client(asking.dir, "c", "/CN=alice")
    c = context(asking, "c", version)
    names, session, _ = ask(asking, c)
    assert names == ["alice"]
    names, session, reused = ask(asking, c, session=session)
    assert names == ["alice"] and reused
    # Another place with other CAs makes a full handshake, in which the certificate does not hold.
    with pytest.raises((ssl.SSLError, ConnectionError, AssertionError)):
        ask(asking, c, asking.other, session)
    names, _, reused = ask(asking, c, asking.open, session)
    assert names == [""] and not reused


def test_files_that_hold_no_ca(asking):
    good = (asking.dir / "clients.crt").read_bytes()
    client(asking.dir, "c", "/CN=alice")
    for content in (b"", b"nothing", (asking.dir / "c.crt").read_bytes(), None):
        if content is None:
            (asking.dir / "clients.crt").unlink()
        else:
            (asking.dir / "clients.crt").write_bytes(content)
        done = subprocess.run([ENTREPOTD, "-t", "-c", str(asking.conf)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        assert done.returncode == os.EX_CONFIG and "clients.crt" in done.stdout
    (asking.dir / "clients.crt").write_bytes(good)


def test_a_reload_takes_up_another_ca(asking):
    client(asking.dir, "c", "/CN=alice")
    c = context(asking, "c")
    good = (asking.dir / "clients.crt").read_bytes()
    _, session, _ = ask(asking, c)
    (asking.dir / "clients.crt").write_bytes((asking.dir / "others.crt").read_bytes())
    asking.reload()
    with pytest.raises((ssl.SSLError, ConnectionError, AssertionError)):
        ask(asking, c, session=session)
    (asking.dir / "clients.crt").write_bytes(good + (asking.dir / "others.crt").read_bytes())
    asking.reload()
    client(asking.dir, "o", "/CN=other", by="others")
    assert ask(asking, c)[0] == ["alice"] and ask(asking, context(asking, "o"))[0] == ["other"]


def test_a_certificate_is_a_login(start):
    """Its name has the rights that roles give it; a password that comes as well counts instead."""
    import requests

    from harness.users import basic, write_users
    daemon = start(run=False, text="""
hosted docker-local {{ }}
connector "127.0.0.1:{port}" {{
    repository = docker-local
    tls_certificate = "{dir}/localhost.crt"
    tls_key = "{dir}/localhost.key"
    tls_client_ca = "{dir}/clients.crt"
}}
auth {{ htpasswd = "{dir}/htpasswd" }}
role builders {{ users = {{builder}} images = {{"docker-local:team/**"}} may = {{pull, push}} }}
""")
    subprocess.run([ENTREPOTCTL, "cert", "--dir", str(daemon.dir), "localhost"], check=True, stdout=subprocess.DEVNULL)
    ca(daemon.dir, "clients")
    client(daemon.dir, "builder", "/CN=builder")
    client(daemon.dir, "stranger", "/CN=stranger")
    write_users(daemon.dir / "htpasswd", {"admin": "pw"})
    daemon.start(wait=False)

    def ask(method, path, name=None, **kw):
        cert = (str(daemon.dir / f"{name}.crt"), str(daemon.dir / f"{name}.key")) if name else None
        return requests.request(method, f"https://localhost:{daemon.port}{path}", cert=cert,
                                verify=str(daemon.dir / "ca.crt"), timeout=10, **kw)

    wait_for(lambda: 'msg="serving"' in daemon.log_text(), "the daemon serves")
    uploads = "/v2/team/app/blobs/uploads/"
    assert ask("GET", "/v2/").status_code == 401
    assert ask("GET", "/v2/", "builder").status_code == 200
    assert ask("POST", uploads, "builder").status_code == 202
    assert ask("POST", "/v2/other/app/blobs/uploads/", "builder").status_code == 403
    assert ask("POST", uploads, "stranger").status_code == 403
    assert ask("POST", uploads).status_code == 401
    assert ask("GET", "/v2/", "builder", headers=basic("admin", "wrong")).status_code == 401
