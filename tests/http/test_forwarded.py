"""Behind a proxy: X-Forwarded-* of trusted ones, and what of a Host header is believed (doc/protocol.md, "What attackers try")."""
import http.client
import json

import pytest

from harness.daemon import Daemon, log_fields, wait_for
from harness.raw import exchange
from harness.registry import OCI_IMAGE, digest

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


URLS = """
hosted alpha {{ }}
hosted beta {{ }}
connector "127.0.0.1:{port}" {{
    trusted_proxies = {{"127.0.0.1"}}
    host b.example {{ repository = beta }}
    %s
}}
"""
OUTSIDE = "https://registry.example:8443"
AUTO, TRUE, FALSE = (f"absolute_location = {word}" for word in ("auto", "true", "false"))
HERE = {"Host": "r.example:5000", "X_Forwarded_Proto": "https"}


@pytest.mark.parametrize("keys,headers,base", [
    ("", HERE, ""),
    (f"external_url = {OUTSIDE}", HERE, OUTSIDE),
    (f"external_url = {OUTSIDE}\n {AUTO}", HERE, OUTSIDE),
    (f"external_url = {OUTSIDE}\n {FALSE}", HERE, ""),
    (f"external_url = {OUTSIDE}\n {AUTO}", {"Host": "b.example"}, ""),
    (f"external_url = {OUTSIDE}\n {TRUE}", {"Host": "b.example:81"}, "http://b.example:81"),
    (TRUE, HERE, "https://r.example:5000"),
    (FALSE, HERE, ""),
], ids=["none", "by default", "auto", "false", "auto by a host", "true by a host", "true", "false without a URL"])
def test_where_answers_lead(start, keys, headers, base):
    """Each Location and Link that there is, and each of them leads somewhere."""
    d = start(text=URLS % keys)
    path = "/v2/" if "b.example" in headers["Host"] else "/v2/alpha/"
    local = base + path
    data, body = b"{}", None

    def send(method, target, status, name="Location", content=b"", **more):
        c = http.client.HTTPConnection("127.0.0.1", d.port, timeout=20)
        sent = {k.replace("_", "-"): v for k, v in {**headers, **more}.items()}
        c.request(method, target.removeprefix(base), content, sent)
        r = c.getresponse()
        text = r.read()
        c.close()
        assert r.status == status, text
        return r.headers[name]

    session = send("POST", path + "x/blobs/uploads/", 202)
    assert session.startswith(local + "x/blobs/uploads/")
    session = send("PATCH", session, 202, content=data)
    assert session.startswith(local + "x/blobs/uploads/")
    blob = send("PUT", f"{session}&digest={digest(data)}", 201)
    assert blob == f"{local}x/blobs/{digest(data)}" and not send("GET", blob, 200)
    assert send("POST", f"{path}y/blobs/uploads/?mount={digest(data)}&from={path[4:]}x", 201) == f"{local}y/blobs/{digest(data)}"
    config = {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": digest(data), "size": len(data)}
    body = json.dumps({"schemaVersion": 2, "mediaType": OCI_IMAGE, "config": config, "layers": []}).encode()
    for tag in ("one", "two"):
        manifest = send("PUT", f"{path}x/manifests/{tag}", 201, content=body, Content_Type=OCI_IMAGE)
        assert manifest == f"{local}x/manifests/{digest(body)}" and not send("GET", manifest, 200)
    link = send("GET", f"{path}x/tags/list?n=1", 200, "Link")
    assert link.startswith(f"<{local}x/tags/list?") and link.endswith('>; rel="next"')
    assert not send("GET", link[1:].split(">")[0], 200, "Link")


@pytest.mark.parametrize("host,realm", [("r.example", OUTSIDE), ("b.example:81", "http://b.example:81")])
def test_a_token_is_fetched_where_its_scope_counts(start, host, realm):
    """A name of a host section leads to another repository than external_url."""
    text = URLS % f"external_url = {OUTSIDE}" + 'auth {{ htpasswd = "{dir}/htpasswd" anonymous_may = {{}} force_basic_auth = false }}\n'
    d = start(run=False, text=text)
    (d.dir / "htpasswd").touch()
    d.start()
    r = ask(d, "/v2/x/tags/list" if host != "r.example" else "/v2/alpha/x/tags/list", Host=host)
    assert r.status == 401 and f'realm="{realm}/v2/token"' in r.headers["WWW-Authenticate"]
