"""entrepotctl cert: what it makes, where, and that TLS stacks take it; certificates laid out as Let's Encrypt's."""
import json
import os
import socket
import ssl
import subprocess

import pytest

from harness.daemon import ENTREPOTCTL, Daemon
from harness.tools import need, own_directory

CONF = """
hosted docker-local {{
}}
connector "127.0.0.1:{port}" {{
    repository = docker-local
    tls_certificate = "{dir}/%s"
    tls_key = "{dir}/%s"
}}
"""


def cert(directory, *args, check=True):
    done = subprocess.run([ENTREPOTCTL, "cert", "--dir", str(directory), *args], stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, timeout=60)
    if check:
        assert done.returncode == 0, done.stderr
    return done


MADE = ".made-by-entrepotctl"  # what purging the package takes away


def openssl(*args):
    need("openssl")
    done = subprocess.run(["openssl", *map(str, args)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert done.returncode == 0, done.stdout
    return done.stdout


def text(path):
    return openssl("x509", "-in", path, "-noout", "-text")


def seconds(path, which):
    date = openssl("x509", "-in", path, "-noout", f"-{which}date").strip().split("=")[1]
    return ssl.cert_time_to_seconds(date)


def public_key(path):
    return openssl("x509", "-in", path, "-noout", "-pubkey")


@pytest.fixture
def tls(tmp_path):
    return tmp_path / "new" / "tls"


def test_what_is_made(tls):
    out = cert(tls, "IDocker.io", "alias.example", "*.wild.example", "10.1.2.3", "::1").stdout
    assert sorted(p.name for p in tls.iterdir()) == [MADE, "ca.crt", "ca.key", "idocker.io.crt", "idocker.io.key"]
    assert sorted((tls / MADE).read_text().split()) == ["ca.crt", "ca.key", "idocker.io.crt", "idocker.io.key"]
    assert {p.name: oct(p.stat().st_mode & 0o777) for p in tls.iterdir() if p.name != MADE} == {
        "ca.crt": "0o644", "idocker.io.crt": "0o644", "ca.key": "0o600", "idocker.io.key": "0o600"}
    leaf, ca = tls / "idocker.io.crt", tls / "ca.crt"
    openssl("verify", "-x509_strict", "-purpose", "sslserver", "-CAfile", ca, leaf)
    shown = text(leaf)
    assert ("DNS:idocker.io, DNS:alias.example, DNS:*.wild.example, IP Address:10.1.2.3, "
            "IP Address:0:0:0:0:0:0:0:1") in shown
    assert "NIST CURVE: P-256" in shown and "TLS Web Server Authentication" in shown and "CA:FALSE" in shown
    assert "TLS Web Client Authentication" not in shown
    assert "CA:TRUE, pathlen:0" in text(ca) and "Certificate Sign" in text(ca)
    day = 86400
    assert 800 * day < seconds(leaf, "end") - seconds(leaf, "start") <= 825 * day
    assert 3600 * day < seconds(ca, "end") - seconds(ca, "start") <= 3651 * day
    for wanted in (f'tls_certificate = "{leaf}"', f'tls_key = "{tls}/idocker.io.key"',
                   "/etc/docker/certs.d/idocker.io/ca.crt", "/etc/containerd/certs.d/idocker.io/ca.crt",
                   '[host."https://idocker.io"]', "/etc/containers/certs.d/idocker.io/ca.crt"):
        assert wanted in out


def test_nothing_is_overwritten_unless_forced(tls):
    cert(tls, "a.example")
    before = {p.name: p.read_bytes() for p in tls.iterdir()}
    done = cert(tls, "a.example", check=False)
    assert done.returncode == 1 and "--force" in done.stderr and "a.example.crt" in done.stderr
    assert {p.name: p.read_bytes() for p in tls.iterdir()} == before
    cert(tls, "--force", "a.example", "b.example")
    after = {p.name: p.read_bytes() for p in tls.iterdir()}
    assert [n for n in before if before[n] != after[n]] == ["a.example.crt"] and before.keys() == after.keys()
    openssl("verify", "-CAfile", tls / "ca.crt", tls / "a.example.crt")
    assert "DNS:b.example" in text(tls / "a.example.crt")


def test_a_second_server_shares_the_ca(tls):
    assert json.loads(cert(tls, "--json", "a.example").stdout)["ca_made"] is True
    second = json.loads(cert(tls, "--json", "b.example", "10.0.0.9").stdout)
    assert second["ca_made"] is False and second["names"] == ["b.example", "10.0.0.9"]
    assert second["certificate"] == f"{tls}/b.example.crt" and second["key"] == f"{tls}/b.example.key"
    assert second["ca"] == f"{tls}/ca.crt"
    for name in ("a", "b"):
        openssl("verify", "-CAfile", tls / "ca.crt", tls / f"{name}.example.crt")
    assert public_key(tls / "a.example.crt") != public_key(tls / "b.example.crt")


def test_first_runs_at_the_same_time_make_one_ca(tls):
    runs = [subprocess.Popen([ENTREPOTCTL, "cert", "--dir", str(tls), f"s{i}.example"], stdout=subprocess.DEVNULL) for i in range(8)]
    assert [r.wait(60) for r in runs] == [0] * 8
    for i in range(8):
        openssl("verify", "-CAfile", tls / "ca.crt", tls / f"s{i}.example.crt")


@pytest.mark.parametrize("lost", [("ca.crt", "a.example.crt", "a.example.key"), ("a.example.crt", "a.example.key"),
                                  ("a.example.crt",)])
def test_an_interrupted_run_is_finished_by_the_next(tls, lost):
    """Files are made in the order ca.key, ca.crt, key, crt: whatever came last is used, not made again."""
    cert(tls, "a.example")
    kept = {p.name: p.read_bytes() for p in tls.iterdir() if p.name not in (MADE, *lost)}
    for name in lost:
        (tls / name).unlink()
    cert(tls, "a.example")
    assert all((tls / name).read_bytes() == data for name, data in kept.items())
    openssl("verify", "-CAfile", tls / "ca.crt", tls / "a.example.crt")
    assert public_key(tls / "a.example.crt") == openssl("pkey", "-in", tls / "a.example.key", "-pubout")


@pytest.mark.parametrize("name,says", [
    ("https://a.example", "without a port"), ("a.example:443", "without a port"), ("a/b", "without a port"),
    ("..", "not an IPv4"), ("a..b", "host name"), ("-a.example", "host name"), ("a_b!", "host name"), ("300.1.1.1", "IPv4"),
    ("*", "host name"), ("a.*.example", "host name"), ("a" * 64 + ".example", "host name"), ("a." * 130 + "b", "longer"),
    ("a,IP:1.1.1.1", "without a port"), ("ä.example", "host name"), ("", "not an IPv4")])
def test_names_that_are_none(tls, name, says):
    done = cert(tls, "good.example", name, check=False)
    assert done.returncode == 1 and says in done.stderr and not tls.exists()


def test_usage(tls):
    for args in ((), ("--force",), ("--no-such", "a.example"), ("a.example", "--dir")):
        done = cert(tls, *args, check=False)
        assert done.returncode == 1 and "usage:" in done.stderr and not tls.exists()
    done = cert(tls, "ca", check=False)
    assert done.returncode == 1 and "the CA's" in done.stderr


def test_a_ca_that_does_not_fit(tls):
    cert(tls, "a.example")
    (tls / "ca.key").rename(tls / "elsewhere")
    done = cert(tls, "b.example", check=False)
    assert done.returncode == 1 and "ca.key" in done.stderr and "bring it back" in done.stderr
    (tls / "ca.key").write_bytes((tls / "a.example.key").read_bytes())
    done = cert(tls, "b.example", check=False)
    assert done.returncode == 1 and "not that of its certificate" in done.stderr
    (tls / "ca.crt").write_bytes((tls / "a.example.crt").read_bytes())
    done = cert(tls, "b.example", check=False)
    assert done.returncode == 1 and "of no CA" in done.stderr
    (tls / "ca.crt").write_text("nothing")
    done = cert(tls, "b.example", check=False)
    assert done.returncode == 1 and "cannot be read" in done.stderr
    assert not (tls / "b.example.crt").exists()


def test_a_certificate_does_not_outlive_its_ca(tls):
    tls.mkdir(parents=True)
    openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", tls / "ca.key",
            "-out", tls / "ca.crt", "-days", 20, "-subj", "/CN=short")
    cert(tls, "a.example")
    assert seconds(tls / "a.example.crt", "end") == seconds(tls / "ca.crt", "end")


def test_a_long_name_needs_no_subject(tls):
    name = "a" * 60 + ".example.org"
    cert(tls, name)
    assert "Subject Alternative Name: critical" in text(tls / f"{name}.crt")
    openssl("verify", "-x509_strict", "-CAfile", tls / "ca.crt", tls / f"{name}.crt")


def test_no_directory(tmp_path):
    (tmp_path / "file").write_text("")
    done = cert(tmp_path / "file", "a.example", check=False)
    assert done.returncode == 1 and "--dir" in done.stderr


def handshake(port, ca, name, flags=ssl.VerifyFlags.VERIFY_X509_STRICT):
    context = ssl.create_default_context(cafile=str(ca))
    context.verify_flags |= flags
    with socket.create_connection(("127.0.0.1", port), 20) as raw:
        with context.wrap_socket(raw, server_hostname=name) as s:
            return s.getpeercert()


def test_served(start):
    d = start(run=False, text=CONF % ("localhost.crt", "localhost.key"))
    cert(d.dir, "localhost", "127.0.0.1")
    d.start()
    for name in ("localhost", "127.0.0.1"):
        handshake(d.port, d.dir / "ca.crt", name)
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(d.port, d.dir / "ca.crt", "other.example")
    first = handshake(d.port, d.dir / "ca.crt", "localhost")
    cert(d.dir, "--force", "localhost", "other.example")
    d.reload()
    again = handshake(d.port, d.dir / "ca.crt", "other.example")
    assert again["serialNumber"] != first["serialNumber"]


def lets_encrypt(directory, number):
    """One renewal, as certbot lays it out: archive/NAME/fullchainN.pem, links below live/NAME."""
    archive, live = directory / "archive" / "localhost", directory / "live" / "localhost"
    for d in (archive, live):
        d.mkdir(parents=True, exist_ok=True)
    ca, middle = directory / "root", directory / "middle"
    ext = directory / "ext"
    ext.write_text("[ca]\nbasicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign\n"
                   "[leaf]\nsubjectAltName=DNS:localhost\nextendedKeyUsage=serverAuth\n")
    ec = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
    if not ca.exists():
        openssl("req", "-x509", *ec, "-keyout", f"{ca}.key", "-out", ca, "-days", 9, "-subj", "/CN=root")
        openssl("req", *ec, "-keyout", f"{middle}.key", "-out", f"{middle}.csr", "-subj", "/CN=middle")
        openssl("x509", "-req", "-in", f"{middle}.csr", "-CA", ca, "-CAkey", f"{ca}.key", "-CAcreateserial", "-out", middle,
                "-days", 9, "-extfile", ext, "-extensions", "ca")
    key, chain = archive / f"privkey{number}.pem", archive / f"fullchain{number}.pem"
    openssl("req", *ec, "-keyout", key, "-out", f"{key}.csr", "-subj", "/CN=localhost")
    openssl("x509", "-req", "-in", f"{key}.csr", "-CA", middle, "-CAkey", f"{middle}.key", "-CAcreateserial", "-out", chain,
            "-days", 9, "-extfile", ext, "-extensions", "leaf")
    chain.write_bytes(chain.read_bytes() + middle.read_bytes())
    os.chmod(key, 0o600)
    for name, target in (("fullchain.pem", chain), ("privkey.pem", key)):
        link = live / f".{name}"
        link.symlink_to(os.path.relpath(target, live))
        link.rename(live / name)
    return ca


def test_lets_encrypt():
    directory = own_directory("entrepot-test-")
    root = lets_encrypt(directory, 1)
    d = Daemon(text=CONF % ("live/localhost/fullchain.pem", "live/localhost/privkey.pem"), directory=directory)
    d.own_dir = True
    d.start()
    try:
        first = handshake(d.port, root, "localhost", 0)  # the chain is sent: the client knows the root alone
        lets_encrypt(directory, 2)
        d.reload()
        assert handshake(d.port, root, "localhost", 0)["serialNumber"] != first["serialNumber"]
    finally:
        d.close()
