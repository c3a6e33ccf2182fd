"""Run by test_fetcher_addresses.py where 11.22.33.44 is an address of ours: a public one, as remotes have."""
import os
import socket

import pytest

from harness.proxy import proxy  # noqa: F401
from harness.registry import digest, error
from harness.upstream import Upstream, tls_pair

PUBLIC = "11.22.33.44"


@pytest.fixture
def remote():
    up = Upstream(host=PUBLIC)
    yield up
    up.close()


@pytest.fixture
def inner():
    """What only the house should reach."""
    up = Upstream()
    yield up
    up.close()


@pytest.mark.parametrize("what", ["manifests/latest", "blob"])
def test_a_public_remote_does_not_lead_into_the_house(proxy, remote, inner, what):  # noqa: F811
    layer = os.urandom(4000)
    remote.image("team/app", layers=[layer])
    inner.image("team/app", layers=[layer])
    path = f"blobs/{digest(layer)}" if what == "blob" else what
    client, allowed = proxy(remote), proxy(remote, more="allow_private = true")
    remote.rule("*", f"/v2/team/app/{path}", status=307, headers={"Location": f"{inner.url}/v2/team/app/{path}"})
    refused = client.get(path)
    assert refused.status_code == 403 and error(refused) == "DENIED"
    assert "allow_private" in refused.json()["errors"][0]["message"]
    assert not inner.log
    assert allowed.get(path).status_code == 200


def test_a_realm_does_not_lead_into_the_house(proxy, remote, inner):  # noqa: F811
    remote.image("team/app")
    remote.rule("*", "/v2/", status=401, headers={"WWW-Authenticate": f'Bearer realm="{inner.url}/token",service="s"'})
    assert proxy(remote).get("manifests/latest").status_code in (403, 502, 503)
    assert not inner.log


def test_no_way_from_https_to_http(proxy, remote, tmp_path):  # noqa: F811
    secure = Upstream(host=PUBLIC, tls=tls_pair(tmp_path))
    try:
        remote.image("team/app")
        secure.rule("*", "/v2/team/app/manifests/latest", status=302,
                    headers={"Location": f"{remote.url}/v2/team/app/manifests/latest"})
        refused = proxy(secure, more="tls_verify = false").get("manifests/latest")
        assert refused.status_code in (403, 502)
        assert not remote.log
    finally:
        secure.close()


def test_slow_to_connect_is_a_timeout(proxy):  # noqa: F811
    """The kernel answers no further SYN of a queue that is full."""
    full = socket.socket()
    full.bind(("11.22.33.55", 0))
    full.listen(0)
    address = full.getsockname()
    waiting = []
    for _ in range(4):
        s = socket.socket()
        s.setblocking(False)
        s.connect_ex(address)
        waiting.append(s)
    try:
        reply = proxy(f"http://{address[0]}:{address[1]}").get("manifests/latest", timeout=30)
        assert reply.status_code in (503, 504) and error(reply) == "UNAVAILABLE"
    finally:
        for s in (*waiting, full):
            s.close()
