"""The PROXY protocol, versions 1 and 2, before plain HTTP and before TLS."""
import socket
import ssl
import struct
import subprocess

import pytest

from harness.daemon import ENTREPOTCTL, Daemon, free_port, log_fields, wait_for
from harness.raw import closed, read_response
from harness.tools import own_directory

CONF = """
head_timeout = 1s
hosted docker-local {{ }}
connector "127.0.0.1:{port}" {{
    repository = docker-local
}}
connector "127.0.0.1:%d" {{
    repository = docker-local
    trusted_proxies = {{"127.0.0.1"}}
    proxy_protocol = true
}}
connector "127.0.0.1:%d" {{
    repository = docker-local
    trusted_proxies = {{"127.0.0.1"}}
    proxy_protocol = true
    tls_certificate = "{dir}/localhost.crt"
    tls_key = "{dir}/localhost.key"
}}
"""
SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
GET = b"GET /v2/ HTTP/1.1\r\nHost: localhost\r\n\r\n"


def v2(command=1, family=0x11, body=None):
    if body is None:
        body = socket.inet_aton("203.0.113.9") + socket.inet_aton("127.0.0.1") + struct.pack(">HH", 50000, 443)
    return SIGNATURE + bytes([0x20 | command, family]) + struct.pack(">H", len(body)) + body


V1 = b"PROXY TCP4 203.0.113.9 127.0.0.1 50000 443\r\n"
V6 = socket.inet_pton(socket.AF_INET6, "2001:db8::9") * 2 + struct.pack(">HH", 50000, 443)
HEADS = {V1: "203.0.113.9:50000", b"PROXY TCP6 2001:db8::9 ::1 50000 443\r\n": "[2001:db8::9]:50000",
         b"PROXY UNKNOWN\r\n": "127.0.0.1:", v2(): "203.0.113.9:50000", v2(family=0x21, body=V6): "[2001:db8::9]:50000",
         v2(0, 0, b""): "127.0.0.1:"}


@pytest.fixture(scope="module")
def proxied():
    directory = own_directory("entrepot-test-")
    subprocess.run([ENTREPOTCTL, "cert", "--dir", str(directory), "localhost"], check=True, stdout=subprocess.DEVNULL)
    plain, secure = free_port(), free_port()
    d = Daemon(text=CONF % (plain, secure), directory=directory)
    d.own_dir = True
    d.plain, d.secure = plain, secure
    d.start()
    yield d
    d.close()


def connect(port, source="127.0.0.1"):
    s = socket.create_connection(("127.0.0.1", port), 20, source_address=(source, 0))
    s.settimeout(20)
    return s


def client_of(daemon, headers):
    request = headers["x-request-id"]
    return log_fields(wait_for(lambda: [x for x in daemon.access_log_text().splitlines() if request in x], "it")[0])["client"]


@pytest.mark.parametrize("head", HEADS, ids=range(len(HEADS)))
def test_before_http(proxied, head):
    with connect(proxied.plain) as s:
        s.sendall(head + GET + GET)  # once a connection, and what comes in the same packet is not lost
        answers = s.makefile("rb")
        for _ in range(2):
            assert answers.readline().startswith(b"HTTP/1.1 200 ")
            headers = {}
            for line in iter(answers.readline, b"\r\n"):
                name, _, value = line.decode().partition(": ")
                headers[name.lower()] = value.strip()
            assert answers.read(int(headers["content-length"])) == b"{}"
            assert client_of(proxied, headers).startswith(HEADS[head])


@pytest.mark.parametrize("head", [V1, v2()], ids=["v1", "v2"])
def test_byte_by_byte(proxied, head):
    with connect(proxied.plain) as s:
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in head:
            s.sendall(bytes([byte]))
        s.sendall(GET)
        status, headers, _ = read_response(s)
        assert status == 200 and client_of(proxied, headers) == "203.0.113.9:50000"


@pytest.mark.parametrize("head", HEADS, ids=range(len(HEADS)))
def test_before_tls(proxied, head):
    context = ssl.create_default_context(cafile=str(proxied.dir / "ca.crt"))
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(incoming, outgoing, server_hostname="localhost")
    with connect(proxied.secure) as s:
        first = head
        while True:  # the head and the first flight of the handshake in one packet
            try:
                tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                s.sendall(first + outgoing.read())
                first = b""
                incoming.write(s.recv(65536))
        tls.write(GET)
        s.sendall(outgoing.read())
        answer = b""
        while b"\r\n\r\n{}" not in answer:
            try:
                answer += tls.read(65536)
            except ssl.SSLWantReadError:
                incoming.write(s.recv(65536))
        fields = dict(line.split(": ", 1) for line in answer.decode().split("\r\n")[1:] if ": " in line)
        assert answer.startswith(b"HTTP/1.1 200")
        assert client_of(proxied, {k.lower(): v for k, v in fields.items()}).startswith(HEADS[head])


@pytest.mark.parametrize("port", ["plain", "secure"])
@pytest.mark.parametrize("start", [GET, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"x" * 100, b"PROXY TCP4 1.1.1.1\r\n" + GET,
                                   b"PROXY TCP4 203.0.113.9 127.0.0.1 50000 443\n" + GET, b"PROXY " + b"x" * 200,
                                   v2(command=2) + GET, v2(family=0x12) + GET, v2(body=b"1234") + GET,
                                   SIGNATURE + b"\x21\x11\xff\xff" + b"x" * 100, V1[:-2] + V1 + GET])
def test_what_is_no_head_is_refused(proxied, port, start):
    with connect(getattr(proxied, port)) as s:
        s.sendall(start)
        status, headers, body = read_response(s)
        assert status == 400 and b"PROXY protocol" in body and closed(s)
        assert client_of(proxied, headers).startswith("127.0.0.1:")


@pytest.mark.parametrize("port", ["plain", "secure"])
@pytest.mark.parametrize("start", [V1 + GET, v2() + GET, GET])
def test_others_may_not_connect(proxied, port, start):
    with connect(getattr(proxied, port), "127.0.0.2") as s:
        s.sendall(start)
        status, headers, body = read_response(s)
        assert status == 403 and b"DENIED" in body and closed(s)
        assert client_of(proxied, headers).startswith("127.0.0.2:")


def test_a_connector_that_does_not_expect_it(proxied):
    with connect(proxied.port) as s:
        s.sendall(V1 + GET)
        assert read_response(s)[0] == 400
    with connect(proxied.port) as s:
        s.sendall(v2() + GET)
        assert read_response(s)[0] == 400


def test_a_second_head_is_no_request(proxied):
    with connect(proxied.plain) as s:
        s.sendall(V1 + V1 + GET)
        assert read_response(s)[0] == 400 and closed(s)


@pytest.mark.parametrize("start", [b"", b"PROXY TCP4 203.", v2()[:20], V1])
def test_the_head_timeout_counts(proxied, start):
    """Nothing, half a head, or a head and then half a handshake: the connection ends."""
    with connect(proxied.secure) as s:
        s.sendall(start)
        assert closed(s)


def test_what_the_head_says_is_not_a_proxy(proxied):
    """X-Forwarded-For from a client behind the proxy: that client is not trusted."""
    with connect(proxied.plain) as s:
        s.sendall(V1 + b"GET /v2/ HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 1.1.1.1\r\n\r\n")
        _, headers, _ = read_response(s)
        assert client_of(proxied, headers) == "203.0.113.9:50000"
    with connect(proxied.plain) as s:  # the proxy speaks for itself
        s.sendall(v2(0, 0, b"") + b"GET /v2/ HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 1.1.1.1\r\n\r\n")
        _, headers, _ = read_response(s)
        assert client_of(proxied, headers) == "1.1.1.1"


def test_many_at_once_and_a_reload(proxied):
    half = [connect(proxied.plain) for _ in range(40)]
    for s in half:
        s.sendall(V1[:20])
    proxied.reload()
    with connect(proxied.plain) as s:
        s.sendall(V1 + GET)
        assert read_response(s)[0] == 200
    for s in half:
        s.close()
