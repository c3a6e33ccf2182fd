"""Run by test_fetcher_addresses.py where 11.22.33.44 is an address of ours: a public one, as remotes have."""
import os
import socket

import pytest

from harness.proxy import proxy  # noqa: F401
from harness.registry import Registry, digest, error
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
def test_a_public_remote_does_not_lead_into_the_house(proxy, remote, inner, what):
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


def test_a_realm_does_not_lead_into_the_house(proxy, remote, inner):
    remote.image("team/app")
    remote.rule("*", "/v2/", status=401, headers={"WWW-Authenticate": f'Bearer realm="{inner.url}/token",service="s"'})
    assert proxy(remote).get("manifests/latest").status_code in (403, 502, 503)
    assert not inner.log


def test_no_way_from_https_to_http(proxy, remote, tmp_path):
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


def test_slow_to_connect_is_a_timeout(proxy):
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


def leads_into_the_house(remote, inner, layer):
    path = f"/v2/team/app/blobs/{digest(layer)}"
    inner.blob("team/app", layer)
    remote.rule("*", path, status=307, headers={"Location": inner.url + path})
    return "blobs/" + digest(layer)


def test_an_address_that_was_only_tried_opens_nothing(proxy, remote, inner):
    """A name with a private address beside its public one, tried first (RFC 6724, rule 8): nobody listens there."""
    path = leads_into_the_house(remote, inner, b"of the house")
    client = proxy(f"http://twofold.example:{remote.port}")
    for _ in range(2):
        refused = client.get(path)
        assert refused.status_code == 403 and error(refused) == "DENIED"
    assert remote.log and not inner.log


def test_a_remote_at_a_private_address_may_name_others(proxy, remote, inner):
    """By name: what counts is the address that answered."""
    other = Upstream()
    try:
        path = leads_into_the_house(other, inner, b"of the house")
        assert proxy(f"http://within.example:{other.port}").get(path).content == b"of the house"
    finally:
        other.close()


TWO = """
proxy inside {{ remotes = {{"@inner@"}} missing_ttl = 1s }}
proxy outside {{ remotes = {{"@remote@"}} missing_ttl = 1s }}
connector "127.0.0.1:{port}" {{ }}
"""


def test_a_connection_of_another_proxy_opens_nothing(start, remote, inner):
    """One proxy's remote is in the house and its connection stays open; another's must not ride on it."""
    daemon = start(text=TWO.replace("@inner@", inner.url).replace("@remote@", remote.url))
    path = leads_into_the_house(remote, inner, b"of the house")
    first = inner.blob("team/app", b"first")
    assert Registry(f"{daemon.url}/repository/inside", "team/app").get("blobs/" + first).content == b"first"
    seen = len(inner.log)
    refused = Registry(f"{daemon.url}/repository/outside", "team/app").get(path)
    assert refused.status_code == 403 and error(refused) == "DENIED"
    assert len(inner.log) == seen


def test_a_connection_of_another_remote_opens_nothing(proxy, remote, inner):
    """The same within one proxy, whose second remote is in the house."""
    client = proxy(remote, inner)
    first = inner.blob("team/app", b"first")
    remote.rule("*", "/v2/", status=503)
    assert client.get("blobs/" + first).content == b"first"
    remote.forget()
    path = leads_into_the_house(remote, inner, b"of the house")
    seen = len(inner.log)
    refused = client.get(path)
    assert refused.status_code == 403 and error(refused) == "DENIED"
    assert len(inner.log) == seen
