"""Behind a proxy: X-Forwarded-* of trusted ones, and what of a Host header is believed (doc/protocol.md, "What attackers try")."""
import http.client

import pytest

from harness.daemon import Daemon, log_fields, wait_for
from harness.raw import exchange

CONF = """
hosted alpha {{ }}
hosted beta {{ }}
connector "127.0.0.1:{port}" {{
    repository = alpha
    trusted_proxies = {{"127.0.0.1", "10.0.0.0/8", "fd00::/8"}}
    host b.example {{ repository = beta }}
}}
"""
TRUSTED, STRANGER = "127.0.0.1", "127.0.0.2"


@pytest.fixture(scope="module")
def front():
    d = Daemon(text=CONF).start()
    yield d
    d.close()


def ask(daemon, path="/v2/", method="GET", source=TRUSTED, **headers):
    c = http.client.HTTPConnection("127.0.0.1", daemon.port, timeout=20, source_address=(source, 0))
    c.request(method, path, headers={k.replace("_", "-"): v for k, v in headers.items()})
    r = c.getresponse()
    r.body = r.read()
    c.close()
    return r


def logged(daemon, response):
    request = response.headers["X-Request-Id"]
    line = wait_for(lambda: [x for x in daemon.access_log_text().splitlines() if request in x], "the line")[0]
    return log_fields(line)


@pytest.mark.parametrize("header,client", [
    ("203.0.113.9", "203.0.113.9"), ("1.1.1.1, 203.0.113.9", "203.0.113.9"), ("203.0.113.9, 10.1.1.1", "203.0.113.9"),
    ("2001:db8::9", "[2001:db8::9]"), ("[2001:db8::9]:50000, fd00::1", "[2001:db8::9]:50000")])
def test_the_log_shows_the_client(front, header, client):
    assert logged(front, ask(front, X_Forwarded_For=header))["client"] == client


def test_a_stranger_cannot_choose_its_address(front):
    r = ask(front, source=STRANGER, X_Forwarded_For="203.0.113.9", X_Forwarded_Host="b.example")
    assert logged(front, r)["client"].startswith(STRANGER + ":")


def test_the_nearest_proxy_counts(front):
    """One that is not trusted wrote the address left of it: nobody vouches for that."""
    r = ask(front, X_Forwarded_For="203.0.113.9, 198.51.100.1, 10.1.1.1")
    assert logged(front, r)["client"] == "198.51.100.1"


@pytest.mark.parametrize("value", ["a\tb", "\x7f", "203.0.113.9 status=200", '"', "x" * 8000, "," * 4000, "%0d%0a"])
def test_nothing_is_injected_into_the_log(front, value):
    r = ask(front, X_Forwarded_For=value)
    if r.status == 200:
        fields = logged(front, r)
        assert fields["client"].startswith("127.0.0.1:") and fields["status"] == "200"
    else:
        assert r.status == 400  # a control byte in a head


def test_the_forwarded_host_routes(front):
    push = ask(front, "/v2/x/blobs/uploads/", "POST", X_Forwarded_Host="B.example:8443")
    assert push.status == 202 and logged(front, push)["repo"] == "beta"
    push = ask(front, "/v2/x/blobs/uploads/", "POST", source=STRANGER, X_Forwarded_Host="b.example")
    assert push.status == 202 and logged(front, push)["repo"] == "alpha"


@pytest.mark.parametrize("headers", [{"Host": "evil.example"}, {"Host": "evil.example:1"}, {"X_Forwarded_Host": "evil.example"},
                                     {"X_Forwarded_Proto": "https", "X_Forwarded_Host": "evil.example"},
                                     {"Forwarded": "host=evil.example;proto=https"}])
def test_locations_name_no_host(front, headers):
    r = ask(front, "/v2/x/blobs/uploads/", "POST", **headers)
    assert r.status == 202 and r.headers["Location"].startswith("/v2/x/blobs/uploads/")
    assert "evil" not in str(r.headers)


@pytest.mark.parametrize("host", [b"a b", b"a/b", b"a@b", b"a\"b", b"a<b", b"a:port", b"a:70000", b"[::1", b"[x]", b"\xc3\xa4",
                                  b"a,b", b"a%41", b"x" * 256, b":80"])
def test_hosts_that_are_none(front, host):
    status, _, _ = exchange(front, b"GET /v2/ HTTP/1.1\r\nHost: " + host + b"\r\n\r\n")
    assert status == 400


def test_host_headers_that_contradict(front):
    for head in (b"Host: a\r\nHost: a\r\n", b"Host: a\r\nhOST: b\r\n", b""):
        assert exchange(front, b"GET /v2/ HTTP/1.1\r\n" + head + b"\r\n")[0] == 400
