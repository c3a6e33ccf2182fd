"""Fixtures: an upstream, and daemons with one proxy of it."""
import json

import pytest

from harness.daemon import wait_for
from harness.registry import Registry
from harness.upstream import Upstream

CONF = """
proxy up {{
    remotes = {{@remotes@}}
    tag_ttl = @ttl@
    missing_ttl = @missing@
    connect_timeout = 10s
    stall_timeout = @stall@
    @more@
}}
connector "127.0.0.1:{port}" {{
    repository = up
}}
"""


def kept(daemon, repo, blobs):
    """Waits until the catalog knows so many blobs of a proxy: it is told of each after its last byte has left."""
    def known():
        rows = json.loads(daemon.ctl("--json", "repos").stdout)["repositories"]
        return next(r for r in rows if r["name"] == repo)["blobs"] >= blobs

    wait_for(known, f"{blobs} blobs of {repo} are kept")


@pytest.fixture
def upstream():
    up = Upstream()
    yield up
    up.close()


@pytest.fixture
def proxy(start):
    """proxy(upstream, ...): a daemon with one proxy, and a client of it. stall, and the time to connect (with TLS): long,
    for an upstream of ours on a busy machine stands still now and then, and another request of it is not what a test
    counts."""
    def make(*ups, ttl="0s", stall="10s", more="", top="", missing="1s"):
        remotes = ", ".join(f'"{u if isinstance(u, str) else u.url}"' for u in ups)
        text = CONF
        for name, value in (("remotes", remotes), ("ttl", ttl), ("stall", stall), ("more", more),
                            ("missing", missing)):
            text = text.replace(f"@{name}@", value)
        daemon = start(text=text, top=top)
        client = Registry(daemon.url, "team/app")
        client.daemon = daemon
        return client
    return make
