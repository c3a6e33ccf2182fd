"""Proxy repositories against an upstream that does what it is told: what clients get."""
import concurrent.futures
import hashlib
import os

import pytest

from harness.daemon import wait_for
from harness.registry import Registry, digest, error
from harness.upstream import Upstream

CONF = """
proxy up {{
    remotes = {{@remotes@}}
    tag_ttl = @ttl@
    missing_ttl = 1s
    connect_timeout = 2s
    stall_timeout = @stall@
    @more@
}}
connector "127.0.0.1:{port}" {{
    repository = up
}}
"""


@pytest.fixture
def upstream():
    up = Upstream()
    yield up
    up.close()


@pytest.fixture
def proxy(start):
    """proxy(upstream, ...): a daemon with one proxy, and a client of it."""
    def make(*ups, ttl="1ms", stall="1s", more="", top=""):
        remotes = ", ".join(f'"{u if isinstance(u, str) else u.url}"' for u in ups)
        text = CONF
        for name, value in (("remotes", remotes), ("ttl", ttl), ("stall", stall), ("more", more)):
            text = text.replace(f"@{name}@", value)
        daemon = start(text=text, top=top)
        client = Registry(daemon.url, "team/app")
        client.daemon = daemon
        return client
    return make


def random_bytes(n):
    return os.urandom(n)


def test_manifest_and_blobs_come_through_and_stay(proxy, upstream):
    layer = random_bytes(300000)
    manifest = upstream.image("team/app", layers=[layer])
    client = proxy(upstream, ttl="1h")
    r = client.get("manifests/latest")
    assert r.status_code == 200, r.text
    assert r.content == manifest
    assert r.headers["Docker-Content-Digest"] == digest(manifest)
    assert client.get("blobs/" + digest(layer)).content == layer
    wait_for(lambda: client.head("blobs/" + digest(layer)).status_code == 200, "it is kept")
    upstream.close()
    assert client.get("manifests/latest").content == manifest
    assert client.get("blobs/" + digest(layer)).content == layer
