"""Hostile input: every refusal has its status and code, and costs nothing else."""
import os

import pytest

from harness import raw
from harness.daemon import wait_for
from harness.registry import Registry, digest, error

D = digest(b"")


@pytest.mark.parametrize("name", [
    "..", "../x", "a/..", "a/../b", "%2e%2e", "%2e%2e/x", "a%2f..%2fb", "%252e%252e/x", "a//b", "/a", "a/", "A", "a b",
    "a%00b", "a%0ab", "a%0d%0aX:1", "-a", "a-", "_a", "a_", "a__", "a___b", "a..b", "a._b", ".a", "a.", "a%c3%a4",
    "a" * 256, "x/" * 130 + "x", "a%", "a%2", "a%zz", "a:b", "a@b", "a?b"[:1] + "%3f", "a\\b", "a%5cb", "~a", "a*"])
def test_bad_names(entrepot, registry, name):
    for method, rest in (("GET", "manifests/latest"), ("GET", f"blobs/{D}"), ("POST", "blobs/uploads/"),
                         ("GET", "tags/list"), ("PUT", "manifests/x"), ("GET", f"referrers/{D}"),
                         ("DELETE", f"blobs/{D}")):
        answer = raw.exchange(entrepot, f"{method} /v2/{name}/{rest} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
                                        "Content-Length: 0\r\n\r\n".encode())
        assert answer and answer[0] in (400, 404), (method, name, answer)
        assert b'"code":"NAME_' in answer[2] or answer[0] == 400


@pytest.mark.parametrize("path", [
    "/v2/a/manifests/..", "/v2/a/manifests/%2e%2e", "/v2/a/manifests/..%2fb", "/v2/a/manifests/x%00",
    "/v2/a/blobs/sha256:..%2f..%2f", "/v2/a/blobs/sha256:%00", "/v2/a/blobs/uploads/..%2f..%2f..%2fetc%2fpasswd",
    "/v2/a/blobs/uploads/%2e%2e", "/v2/../../etc/passwd", "/../v2/", "/v2/a/referrers/..", "/repository/../v2/",
    "/repository/%2e%2e/v2/", "/repository/docker-local/../x/v2/"])
def test_traversal_in_references(entrepot, path):
    answer = raw.exchange(entrepot, f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    assert answer[0] in (400, 404) and b"errors" in answer[2]


@pytest.mark.parametrize("query", ["tags/list?last=%00", "tags/list?n=%", "tags/list?last=" + "a" * 200,
                                   "blobs/uploads/?mount=%00", "blobs/uploads/?digest=..%2f..", f"referrers/{D}?last=..%2f..",
                                   f"referrers/{D}?artifactType=%0d%0aX:y"])
def test_bad_parameters(registry, query):
    registry.push_blob(b"x")
    r = registry.request("POST" if "uploads" in query else "GET", registry.image_path(query))
    assert r.status_code == 400 and error(r)


def test_broken_escapes_in_parameters(entrepot):
    for query in ("last=%zz", "n=%", "last=%4"):
        answer = raw.exchange(entrepot, f"GET /v2/a/tags/list?{query} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        assert answer[0] == 400 and b"errors" in answer[2]


def test_last_is_a_plain_string(registry):
    registry.push_image("a")
    assert registry.get("tags/list?last=..%2f..%2fetc").json()["tags"] == ["a"]
    assert registry.request("GET", "/v2/_catalog?last=..%2f..").status_code == 200


HOST = b"Host: x\r\n"


@pytest.mark.parametrize("head", [
    b"GET /v2/ HTTP/1.1\r\n\r\n",
    b"GET /v2/ HTTP/1.1\r\n" + HOST * 2 + b"\r\n",
    b"GET /v2/ HTTP/1.1\n" + HOST + b"\r\n",
    b"GET /v2/ HTTP/1.1\r\nHost: x\n\r\n",
    b"GET /v2/ HTTP/1.1\r\n" + HOST + b"A : b\r\n\r\n",
    b"GET /v2/ HTTP/1.1\r\n" + HOST + b" folded\r\n\r\n",
    b"GET /v2/ HTTP/1.1\r\n" + HOST + b"A: b\r\n\tfolded\r\n\r\n",
    b"GET /v2/ HTTP/1.1\r\n" + HOST + b"A: b\x00c\r\n\r\n",
    b"GET /v2/ HTTP/1.1\r\n" + HOST + b"A: b\x01c\r\n\r\n",
    b"GET /v2/ HTTP/1.1\r\n" + HOST + b"no colon\r\n\r\n",
    b"GET /v2/ HTTP/1.1\r\n" + HOST + b": empty\r\n\r\n",
    b"GET  /v2/ HTTP/1.1\r\n" + HOST + b"\r\n",
    b"GET /v2/ x HTTP/1.1\r\n" + HOST + b"\r\n",
    b"GET /v2/\r\n\r\n",
    b"GE\x80T /v2/ HTTP/1.1\r\n" + HOST + b"\r\n",
    b"GET v2/ HTTP/1.1\r\n" + HOST + b"\r\n",
    b"POST /v2/a/blobs/uploads/ HTTP/1.1\r\n" + HOST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
    b"POST /v2/a/blobs/uploads/ HTTP/1.1\r\n" + HOST + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
    b"POST /v2/a/blobs/uploads/ HTTP/1.1\r\n" + HOST + b"Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
    b"POST /v2/a/blobs/uploads/ HTTP/1.1\r\n" + HOST + b"Content-Length: +5\r\n\r\nhello",
    b"POST /v2/a/blobs/uploads/ HTTP/1.1\r\n" + HOST + b"Content-Length: 5, 5\r\n\r\nhello",
    b"POST /v2/a/blobs/uploads/ HTTP/1.1\r\n" + HOST + b"Content-Length: 99999999999999999999\r\n\r\n",
    b"POST /v2/a/blobs/uploads/ HTTP/1.1\r\n" + HOST + b"Content-Length: -1\r\n\r\n",
    b"POST /v2/a/blobs/uploads/ HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked, chunked\r\n\r\n",
    b"POST /v2/a/blobs/uploads/ HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: identity\r\n\r\n",
    b"POST /v2/a/blobs/uploads/ HTTP/1.0\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n"])
def test_ambiguous_heads_are_refused_and_end_the_connection(entrepot, head):
    with raw.connect(entrepot) as s:
        s.sendall(head + b"GET /v2/smuggled/tags/list HTTP/1.1\r\nHost: x\r\n\r\n")
        status, headers, body = raw.read_response(s)
        assert status == 400 and b'"errors"' in body and headers["content-type"] == "application/json"
        assert headers["connection"] == "close"
        assert raw.closed(s)
    assert "smuggled" not in entrepot.access_log_text()


def test_other_refusals(entrepot):
    for head, status in ((b"GET /v2/ HTTP/2.0\r\n" + HOST, 505), (b"GET /v2/ HTTP/1.1\r\nExpect: magic\r\n" + HOST, 417),
                         (b"POST /v2/ HTTP/1.1\r\nTransfer-Encoding: gzip\r\n" + HOST, 501)):
        assert raw.exchange(entrepot, head + b"\r\n")[0] == status


@pytest.mark.parametrize("body", [b"zz\r\n", b"5\nhello\r\n0\r\n\r\n", b"5\r\nhelloX", b"5\r\nhello\r\n0\r\nbad trailer\x00",
                                  b"11111111111111111\r\n", b"-1\r\n", b"5 \r\nhello\r\n", b"0x5\r\nhello\r\n",
                                  b"5;" + b"a" * 300 + b"\r\nhello\r\n0\r\n\r\n"])
def test_malformed_chunks(registry, entrepot, body):
    path = registry.begin()[len(registry.url):]
    with raw.connect(entrepot) as s:
        s.sendall(f"PATCH {path} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n".encode() + body)
        answer = raw.read_response(s)
        assert answer[0] == 400 and b"errors" in answer[2] and raw.closed(s)
    assert registry.request("GET", path).status_code == 204  # the session lives


def test_oversized_heads(entrepot):
    long_line = b"GET /v2/" + b"a" * 20_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n"
    many = b"GET /v2/ HTTP/1.1\r\nHost: x\r\n" + b"".join(b"A%d: b\r\n" % i for i in range(100)) + b"\r\n"
    large = b"GET /v2/ HTTP/1.1\r\nHost: x\r\nA: " + b"b" * 20_000 + b"\r\n\r\n"
    assert raw.exchange(entrepot, long_line)[0] == 414
    assert raw.exchange(entrepot, many)[0] == 431
    assert raw.exchange(entrepot, large)[0] == 431


def test_tls_to_a_plain_port_is_told_so_at_once(entrepot):
    with raw.connect(entrepot) as s:
        s.sendall(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + os.urandom(64))
        status, headers, body = raw.read_response(s)
        assert status == 400 and b"plain HTTP" in body and headers["connection"] == "close"
        assert raw.closed(s)


def test_garbage(entrepot):
    for _ in range(50):
        with raw.connect(entrepot) as s:
            s.sendall(b"x" + os.urandom(200) + b"\r\n\r\n")
            answer = raw.read_response(s)
            assert answer is None or answer[0] in (400, 431, 505)


def test_requests_in_one_write_are_answered_in_order(registry, entrepot):
    data = registry.push_image("p")
    one = f"GET /v2/{registry.image}/manifests/p HTTP/1.1\r\nHost: x\r\n\r\n".encode()
    ping = b"GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n"
    with raw.connect(entrepot) as s:
        s.sendall((one + ping) * 40 + one.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        received = b""
        while piece := s.recv(65536):
            received += piece
    assert received.count(b"HTTP/1.1 200 OK") == 81 and received.count(data) == 41
    assert received.endswith(data)


def test_byte_by_byte(registry, entrepot):
    data = b"slow but honest"
    path = registry.begin()[len(registry.url):]
    request = (f"PUT {path}&digest={digest(data)} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
               + b"".join(b"1;ext=1\r\n%c\r\n" % c for c in data) + b"0\r\nTrailer: x\r\n\r\n")
    with raw.connect(entrepot) as s:
        for i in range(len(request)):
            s.sendall(request[i:i + 1])
        assert raw.read_response(s)[0] == 201
    assert registry.get("blobs/" + digest(data)).content == data


@pytest.fixture(scope="module")
def impatient():
    from harness.daemon import Daemon
    daemon = Daemon(top='head_timeout = 1s\nrate_window = 1s\nmin_rate = 10K\nkeepalive_timeout = 1s\n').start()
    yield daemon
    daemon.close()


def test_slow_head(impatient):
    with raw.connect(impatient) as s:
        s.sendall(b"GET /v2/ HTTP/1.1\r\nHo")
        status, headers, body = raw.read_response(s)
        assert status == 408 and b"errors" in body and raw.closed(s)


def test_idle_connection_is_closed(impatient):
    with raw.connect(impatient) as s:
        s.sendall(b"GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n")
        assert raw.read_response(s)[0] == 200
        assert raw.closed(s)
    with raw.connect(impatient) as s:
        assert raw.closed(s)


def test_slow_body(impatient):
    path = Registry(impatient.url).begin()[len(impatient.url):]
    with raw.connect(impatient) as s:
        s.sendall(f"PATCH {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\nabc".encode())
        status, _, body = raw.read_response(s)
        assert status == 408 and b"errors" in body and raw.closed(s)
    r = Registry(impatient.url).request("GET", path)  # not on a connection that is about to be closed
    assert r.status_code == 204 and r.headers["Range"] == "0-2"


def test_slow_reader(impatient):
    registry = Registry(impatient.url)
    d = registry.push_blob(os.urandom(32 << 20))
    with raw.connect(impatient) as s:
        s.sendall(f"GET /v2/{registry.image}/blobs/{d} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        wait_for(lambda: f"{d} status=200" in impatient.access_log_text(), "the reader is given up", 20)
    line = [x for x in impatient.access_log_text().splitlines() if f"{d} status=200" in x][0]
    assert int(line.split("sent=")[1].split()[0]) < 32 << 20


def test_early_answer_reaches_a_client_that_still_sends(entrepot):
    """A 404 to a large body is delivered, not lost to a reset."""
    for size in (100_000, 5_000_000):
        with raw.connect(entrepot) as s:
            s.sendall(f"PATCH /v2/a/blobs/uploads/{'0' * 32} HTTP/1.1\r\nHost: x\r\nContent-Length: {size}\r\n\r\n".encode())
            try:
                s.sendall(b"x" * size)
            except (BrokenPipeError, ConnectionResetError):
                pass
            assert raw.read_response(s)[0] == 404


def test_headers_cannot_be_injected(registry):
    r = registry.request("GET", "/v2/a%0d%0aSet-Cookie:x/manifests/latest")
    assert r.status_code == 400 and "Set-Cookie" not in r.headers
