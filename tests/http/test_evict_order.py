"""Which blobs of a proxy make room: those that nobody has asked for the longest, whatever the clock did meanwhile."""
import os
import time

import pytest

from harness.clock import FakeClock
from harness.daemon import wait_for
from harness.proxy import kept, proxy, upstream  # noqa: F401
from harness.registry import digest

MIB = 1 << 20
# Five layers are more than it, and one less is little enough (nine tenths).
QUOTA = "quota = 4600K"
DAYS = 3 * 86400


def next_second():
    """Last use is kept in seconds."""
    now = int(time.time())
    wait_for(lambda: int(time.time()) > now, "the next second")


class Pulls:
    """Images i/0 to i/4 of one layer each; their digests in this order."""

    def __init__(self, upstream, client):
        self.client, self.pulled = client, set()
        self.layers = sorted((os.urandom(MIB) for _ in range(5)), key=digest)
        for i, layer in enumerate(self.layers):
            upstream.image(f"i/{i}", layers=[layer])
        upstream.image("i/other", layers=[self.layers[0]])

    def blob(self, i, image=None):
        return self.client.at(image or f"i/{i}").get("blobs/" + digest(self.layers[i]))

    def pull(self, i, image=None, between=lambda: None):
        image = image or f"i/{i}"
        assert self.client.at(image).get("manifests/latest").status_code == 200
        between()
        assert self.blob(i, image).content == self.layers[i]
        self.pulled.add((i, image))
        if i < 4:  # the last one makes the proxy look for room at once
            kept(self.client.daemon, "up", len(self.pulled))

    def here(self):
        """Which layers are left, when room has been made; the upstream is gone."""
        wait_for(lambda: "proxies made room" in self.client.daemon.log_text(), "the proxy makes room")
        assert all(self.client.at(f"i/{i}").get("manifests/latest").status_code == 200 for i in range(5)), \
            "what was pulled within a minute keeps its manifest"
        return [i for i in range(5) if self.blob(i).status_code == 200]


def test_the_least_recently_used_goes(proxy, upstream):
    pulls = Pulls(upstream, proxy(upstream, ttl="1h", more=QUOTA))
    pulls.pull(0)
    next_second()
    pulls.pull(1, between=next_second)  # its manifest is the oldest of all, and stays
    for i in (2, 3):
        pulls.pull(i)
    pulls.pull(0, "i/other")  # the same bytes in a second image: counted once
    next_second()
    for image in ("i/0", "i/other"):
        pulls.pull(0, image)
    assert "proxies made room" not in pulls.client.daemon.log_text()
    pulls.pull(4)
    upstream.close()
    here = pulls.here()
    assert 0 in here and 4 in here and len(here) == 4


@pytest.fixture
def clock(tmp_path, monkeypatch):
    made = FakeClock(tmp_path)
    for name, value in made.environment.items():
        monkeypatch.setenv(name, value)
    return made


def test_a_clock_that_was_ahead_does_not_turn_the_order_round(proxy, upstream, clock):
    """What was pulled then would look newer than all that is pulled now, for as long as the jump was."""
    clock.set(DAYS)
    pulls = Pulls(upstream, proxy(upstream, ttl="1h", more=QUOTA))
    for i in range(4):
        pulls.pull(i)
    clock.set(0)
    wait_for(lambda: "the wall clock jumped" in pulls.client.daemon.log_text(), "the jump is told")
    next_second()
    pulls.pull(0)
    pulls.pull(4)
    upstream.close()
    here = pulls.here()
    assert 0 in here and 4 in here and len(here) == 4


def test_the_floor_of_free_disk_makes_room(proxy, upstream):
    """Proxies go below keep_free first: all of their blobs, when nothing is enough."""
    client = proxy(upstream, ttl="1h", top='blobstore main {{ path = "{dir}/store"\n keep_free = 0 }}\n')
    upstream.image("team/app", layers=[b"a layer"])
    assert client.get("blobs/" + digest(b"a layer")).content == b"a layer"
    kept(client.daemon, "up", 1)
    client.daemon.conf.write_text(client.daemon.conf.read_text().replace("keep_free = 0", "keep_free = 1000T"))
    client.daemon.reload()
    wait_for(lambda: "proxies made room" in client.daemon.log_text(), "the proxy makes room", 30)
    upstream.close()
    assert client.get("blobs/" + digest(b"a layer")).status_code >= 500
