"""What a client hears of a remote's failure: what failed, but no host, port or file; those stand in the log."""
import re
import socket

import pytest

from harness.proxy import upstream  # noqa: F401
from harness.registry import Registry, digest
from harness.shared import free_port
from harness.upstream import Upstream, tls_pair

PROXY = """
proxy {name} {{{{ remotes = {{{{"{remote}"}}}} missing_ttl = 1s connect_timeout = 2s stall_timeout = 1s {more} }}}}
"""
LAYER = b"a layer"


@pytest.fixture
def remotes(upstream, tmp_path):
    """{case: (remote, more keys)}; what they may not tell is below."""
    upstream.image("team/app", layers=[LAYER])
    closed, secure = free_port(), Upstream(tls=tls_pair(tmp_path))
    elsewhere = f"http://localhost:{closed}"
    for case, rule in {"status": {"status": 503}, "limit": {"status": 429}, "odd": {"status": 418},
                       "realm": {"status": 401, "headers": {"WWW-Authenticate": f'Bearer realm="{elsewhere}/token",service="s"'}},
                       "redirect": {"status": 307, "headers": {"Location": f"{elsewhere}/x?secret=1"}},
                       "silent": {"hold": True}, "cut": {"cut": 0}}.items():
        upstream.rule("*", f"^/{case}/v2/", **rule)
    cases = {c: (f"{upstream.url}/{c}", "") for c in ("status", "limit", "odd", "realm", "redirect", "silent", "cut")}
    cases["closed"] = elsewhere, ""
    cases["name"] = f"http://hidden.invalid:{closed}", ""
    cases["ca"] = secure.url, ""
    cases["cafile"] = secure.url, f'ca_file = "{tls_pair(tmp_path, "other")[0]}"'
    cases["tls"] = upstream.url.replace("http:", "https:"), ""
    cases["between"] = upstream.url, f'http_proxy = "{elsewhere}"'
    yield cases, [str(closed), str(upstream.port), str(secure.port), "localhost", "hidden.invalid", "127.0.0.1", "secret", str(tmp_path)]
    secure.close()


def test_no_error_tells_where_a_remote_is(start, remotes):
    cases, hidden = remotes
    text = "".join(PROXY.format(name=name, remote=remote, more=more) for name, (remote, more) in cases.items())
    daemon = start(text=text + 'connector "127.0.0.1:{port}" {{ }}\n')
    for case in cases:
        client = Registry(daemon.url, f"{case}/team/app")
        for path in ("manifests/latest", f"blobs/{digest(LAYER)}", "tags/list"):
            reply = client.get(path, timeout=30)
            assert reply.status_code >= 400, (case, path)
            said = reply.text + " ".join(value for name, value in reply.headers.items() if name != "Date")
            assert not [h for h in hidden if re.search(rf"\b{re.escape(h)}\b", said)], (case, path, said)
            assert reply.json()["errors"][0]["message"]
    log = daemon.log_text()
    for told in ("hidden.invalid", f"localhost port {hidden[0]}", "remote="):
        assert told in log, told
    assert "secret=1" not in log


def test_an_old_tags_warning_tells_it_neither(start, upstream):
    upstream.image("team/app")
    daemon = start(text=PROXY.format(name="up", remote=upstream.url, more="tag_ttl = 0s") + 'connector "127.0.0.1:{port}" {{ }}\n')
    client = Registry(daemon.url, "up/team/app")
    assert client.get("manifests/latest").status_code == 200
    port = str(upstream.port)
    upstream.close()
    old = client.get("manifests/latest")
    assert old.status_code == 200 and old.headers["Warning"].startswith("299 ")
    assert port not in old.headers["Warning"] and "127.0.0.1" not in old.headers["Warning"]


def test_an_endless_head(start, upstream):
    def endless(handler):
        handler.wfile.write(b"HTTP/1.1 200 OK\r\n" + b"".join(b"X-%d: y\r\n" % n for n in range(9000)) + b"\r\n")
        handler.connection.shutdown(socket.SHUT_RDWR)
    upstream.rule("*", "/v2/", raw=endless)
    daemon = start(text=PROXY.format(name="up", remote=upstream.url, more="") + 'connector "127.0.0.1:{port}" {{ }}\n')
    reply = Registry(daemon.url, "up/team/app").get("manifests/latest")
    assert reply.status_code == 502 and "head is too long" in reply.text
