"""HTTPS connectors: names, versions, resumption by any worker, reload, large files, and what is not TLS."""
import os
import socket
import ssl
import subprocess
import urllib.parse

import pytest

from harness.daemon import ENTREPOTD, Daemon, wait_for
from harness.registry import digest
from harness.tools import need, own_directory

CONF = """
hosted docker-local {{
}}
connector "127.0.0.1:{port}" {{
    repository = docker-local
    tls_certificate = "{dir}/default.crt"
    tls_key = "{dir}/default.key"
    host named.example {{
        repository = docker-local
        tls_certificate = "{dir}/named.crt"
        tls_key = "{dir}/named.key"
    }}
}}
"""


def certificate(directory, stem, name, algorithm="ec", days=2):
    key = ["-newkey", "rsa:2048"] if algorithm == "rsa" else ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    subprocess.run(["openssl", "req", "-x509", *key, "-nodes", "-keyout", f"{directory}/{stem}.key", "-out",
                    f"{directory}/{stem}.crt", "-days", str(days), "-subj", f"/CN={name}", "-addext",
                    f"subjectAltName=DNS:{name},IP:127.0.0.1"], check=True, stderr=subprocess.DEVNULL)
    os.chmod(f"{directory}/{stem}.key", 0o600)


@pytest.fixture(scope="module")
def secure():
    need("openssl")
    directory = own_directory("entrepot-tls-")
    certificate(directory, "default", "localhost")
    certificate(directory, "named", "named.example", "rsa")
    d = Daemon(text=CONF, directory=directory)
    d.own_dir = True
    d.start()
    yield d
    d.close()


def context(daemon, stem="default", **versions):
    c = ssl.create_default_context(cafile=f"{daemon.dir}/{stem}.crt")
    for name, value in versions.items():
        setattr(c, name, value)
    return c


class Client:
    """One connection; requests as text."""

    def __init__(self, daemon, c=None, name="localhost", session=None):
        raw = socket.create_connection(("127.0.0.1", daemon.port), 20)
        self.s = (c or context(daemon)).wrap_socket(raw, server_hostname=name, session=session)
        self.f = self.s.makefile("rb")

    def ask(self, target, method="GET", body=b"", headers=""):
        self.s.sendall(f"{method} {target} HTTP/1.1\r\nHost: localhost\r\n{headers}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        status = int(self.f.readline().split()[1])
        fields = {}
        for line in iter(self.f.readline, b"\r\n"):
            key, _, value = line.decode().partition(":")
            fields[key.strip().lower()] = value.strip()
        return status, fields, self.f.read(int(fields.get("content-length", 0)) if method != "HEAD" else 0)

    def close(self):
        self.s.close()


def push(daemon, image, data):
    c = Client(daemon)
    status, fields, _ = c.ask(f"/v2/{image}/blobs/uploads/", "POST")
    assert status == 202
    location = urllib.parse.urlsplit(fields["location"])
    target = location.path + "?" + (location.query + "&" if location.query else "") + "digest=" + digest(data)
    assert c.ask(target, "PUT", data)[0] == 201
    c.close()


@pytest.mark.parametrize("version", ["TLSv1_2", "TLSv1_3"])
def test_versions_push_and_pull(secure, version):
    v = getattr(ssl.TLSVersion, version)
    c = Client(secure, context(secure, minimum_version=v, maximum_version=v))
    assert c.s.version().replace(".", "_") == version and c.s.selected_alpn_protocol() is None
    data = os.urandom(3 << 20)
    push(secure, "tls/sizes", data)
    small = os.urandom(100)
    push(secure, "tls/sizes", small)
    for wanted in (data, small, data):
        assert c.ask(f"/v2/tls/sizes/blobs/{digest(wanted)}")[2] == wanted
    status, _, part = c.ask(f"/v2/tls/sizes/blobs/{digest(data)}", headers="Range: bytes=1000000-2999999\r\n")
    assert status == 206 and part == data[1000000:3000000]
    c.close()


def test_a_request_in_the_record_of_the_last_body(secure):
    """No event tells of bytes that OpenSSL holds: the connection must look for itself."""
    c = Client(secure)
    data = os.urandom(10)
    target = f"/v2/tls/record/blobs/uploads/?digest={digest(data)}"
    c.s.settimeout(10)
    c.s.sendall(f"POST {target} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(data)}\r\n\r\n".encode())
    c.s.sendall(data + b"GET /v2/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")  # one record
    answers = c.f.read()
    assert answers.startswith(b"HTTP/1.1 201 ") and b"HTTP/1.1 200 " in answers


def test_old_versions_are_refused(secure):
    c = context(secure)
    c.minimum_version = c.maximum_version = ssl.TLSVersion.TLSv1_1
    c.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.raises((ssl.SSLError, ConnectionError)):
        Client(secure, c)


def test_protocol_negotiation(secure):
    c = context(secure)
    c.set_alpn_protocols(["h2", "http/1.1"])
    client = Client(secure, c)
    assert client.s.selected_alpn_protocol() == "http/1.1"
    assert client.ask("/v2/")[0] == 200
    c = context(secure)
    c.set_alpn_protocols(["spdy/1"])
    assert Client(secure, c).ask("/v2/")[0] == 200


def test_certificate_by_name(secure):
    assert Client(secure, context(secure, "named"), "named.example").ask("/v2/")[0] == 200
    assert Client(secure, context(secure, "named"), "NAMED.example").ask("/v2/")[0] == 200
    assert Client(secure).ask("/v2/")[0] == 200
    with pytest.raises(ssl.SSLCertVerificationError):
        Client(secure, context(secure, "named"), "localhost")  # it is the other's


@pytest.mark.parametrize("version", ["TLSv1_2", "TLSv1_3"])
def test_any_worker_resumes_a_session(secure, version):
    v = getattr(ssl.TLSVersion, version)
    c = context(secure, minimum_version=v, maximum_version=v)
    first = Client(secure, c)
    assert first.ask("/v2/")[0] == 200 and not first.s.session_reused
    session = first.s.session
    first.close()
    for _ in range(30):  # two workers: the chance that one of them took all is nil
        again = Client(secure, c, session=session)
        assert again.ask("/v2/")[0] == 200
        assert again.s.session_reused
        session = again.s.session or session
        again.close()


def test_plain_http_is_told(secure):
    s = socket.create_connection(("127.0.0.1", secure.port), 20)
    s.sendall(b"GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n")
    answer = s.makefile("rb").read()
    assert answer.startswith(b"HTTP/1.1 400 ") and b"https://" in answer


def test_garbage_and_silence_harm_nobody(secure):
    for garbage in (b"\x16\x03\x01\xff\xff" + os.urandom(2000), b"\x80" * 500, b"\x16\x03\x01\x00\x05hello", b"\x00"):
        s = socket.create_connection(("127.0.0.1", secure.port), 20)
        try:
            s.sendall(garbage)
            s.shutdown(socket.SHUT_WR)
            while s.recv(65536):
                pass
        except OSError:
            pass  # cut off
    silent = [socket.create_connection(("127.0.0.1", secure.port)) for _ in range(50)]
    assert Client(secure).ask("/v2/")[0] == 200
    for s in silent:
        s.close()


def test_a_slow_reader_gets_all_of_it(secure):
    """Writes meet a full socket again and again: the same bytes must be offered again."""
    data = os.urandom(8 << 20)
    push(secure, "tls/slow", data)
    raw = socket.socket()
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    raw.connect(("127.0.0.1", secure.port))
    s = context(secure).wrap_socket(raw, server_hostname="localhost")
    s.sendall(f"GET /v2/tls/slow/blobs/{digest(data)} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    got = s.makefile("rb").read()
    assert got.partition(b"\r\n\r\n")[2] == data


def test_reload_takes_new_certificates(secure):
    old = Client(secure)
    before = (secure.dir / "default.crt").read_bytes()
    certificate(secure.dir, "default", "localhost")
    trusted = context(secure)
    with pytest.raises(ssl.SSLCertVerificationError):
        Client(secure, trusted)
    secure.reload()
    assert old.ask("/v2/")[0] == 200  # whoever is connected goes on
    assert Client(secure, trusted).ask("/v2/")[0] == 200
    assert (secure.dir / "default.crt").read_bytes() != before


def test_reload_refuses_what_does_not_fit(secure):
    key = (secure.dir / "default.key").read_bytes()
    (secure.dir / "default.key").write_bytes((secure.dir / "named.key").read_bytes())
    secure.allow_error("a certificate cannot be used")
    secure.allow_error("reload refused")
    checked = subprocess.run([ENTREPOTD, "-t", "-c", str(secure.conf)], stdout=subprocess.PIPE,
                             stderr=subprocess.STDOUT, text=True)
    assert checked.returncode == os.EX_CONFIG and "default.key" in checked.stdout
    secure.hup()
    wait_for(lambda: "reload refused" in secure.log_text(), "the reload is refused")
    assert Client(secure).ask("/v2/")[0] == 200
    (secure.dir / "default.key").write_bytes(key)


def memory_holds(pid, needles):
    """True when a writable page of the process holds one of the needles. Mappings of more than a
    GiB are the sanitizers' shadow, terabytes of notes about memory and none of its bytes."""
    piece, overlap = 1 << 22, max(map(len, needles)) - 1
    with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "rb") as mem:
        for line in maps:
            span, rights = line.split()[:2]
            low, high = (int(x, 16) for x in span.split("-"))
            if "rw" not in rights or "memfd" in line or high - low > 1 << 30:
                continue
            tail = b""
            for at in range(low, high, piece):
                try:
                    mem.seek(at)
                    tail += mem.read(min(piece, high - at))
                except (OSError, ValueError):
                    tail = b""
                if any(needle in tail for needle in needles):
                    return True
                tail = tail[-overlap:]
    return False


def test_no_other_role_keeps_the_keys(secure):
    """The key's bytes are in no process but the master, which may read it anyway, and the workers."""
    der = ssl.PEM_cert_to_DER_cert((secure.dir / "default.crt").read_text())
    assert der  # the certificate itself is public; the key is looked for by its scalar
    text = subprocess.run(["openssl", "ec", "-in", f"{secure.dir}/default.key", "-noout", "-text"],
                          stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=True).stdout
    scalar = bytes.fromhex(text.split("priv:")[1].split("pub:")[0].replace(":", "").replace("\n", "").replace(" ", ""))
    little = scalar[::-1]
    found = {}
    secure.everybody()
    for child in secure.roles():
        found.setdefault(child["role"], []).append(memory_holds(child["pid"], (scalar, little)))
    assert any(found["worker"])  # else the search is blind
    assert not any(found["catalog"]) and not any(found["auth"])
