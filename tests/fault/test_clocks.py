"""The wall clock jumps: nothing is taken at once, nothing stays for good (src/base/clock.h)."""
import json
import os
import time

import pytest
import requests

from harness.clock import FakeClock
from harness.daemon import wait_for
from harness.proxy import proxy, upstream  # noqa: F401
from harness.registry import Registry, digest
from harness.users import basic, bearer, write_users

DAYS = 3 * 86400
LONG = 'gc_grace = "5m"\nupload_expiry = "5m"\ngc_interval = "1d"\n'
SHORT = 'gc_grace = "2s"\nupload_expiry = "2s"\ngc_interval = "1d"\n'
JUMPED = "msg=\"the wall clock jumped"


@pytest.fixture
def clock(tmp_path, monkeypatch):
    made = FakeClock(tmp_path)

    def around(begin):
        """Only what `begin` starts has the other clock, not the tools of the test."""
        with monkeypatch.context() as m:
            for name, value in made.environment.items():
                m.setenv(name, value)
            return begin()
    made.around = around
    return made


@pytest.fixture
def daemon_of(start, clock):
    def make(top, offset=0):
        clock.set(offset)
        return clock.around(lambda: start(top=top))
    return make


def gc_status(daemon):
    return json.loads(daemon.ctl("--json", "gc", "--status").stdout)


def sweep(daemon):
    before = gc_status(daemon)["sweeps"]
    daemon.ctl("gc")
    wait_for(lambda: (s := gc_status(daemon))["sweeps"] > before and not s["running"], "the sweep ends", 30)


def uploads(daemon):
    return json.loads(daemon.ctl("--json", "repos").stdout)["blobstores"][0]["uploads"]


def upload_files(daemon):
    return [p for p in (daemon.data_dir / "blobs" / "uploads").iterdir() if not p.name.endswith(".sum")]


def seen_surveys(daemon, registry):
    """A whole look at the upload sessions with the clock as it is: a new session is counted, and all older ones."""
    count = len(upload_files(daemon)) + 1
    registry.begin()
    wait_for(lambda: uploads(daemon) == count, f"{count} sessions are counted", 40)


def goes(daemon, d):
    """Sweeps until the blob is gone: how often is the clock's business. Nobody asks for it: that would be a new mark."""
    file = daemon.blob_path(d)
    assert file.exists()
    wait_for(lambda: (sweep(daemon), not file.exists())[1], "the blob is collected", 60)


@pytest.mark.parametrize("before,after", [(0, DAYS), (-DAYS, 0)], ids=["it is wrong now", "it was wrong"])
def test_nothing_goes_at_a_jump_forward(daemon_of, clock, before, after):
    daemon = daemon_of(LONG, before)
    registry = Registry(daemon.url)
    lonely = registry.push_blob(b"nobody names it yet")
    begun = registry.request("PATCH", registry.begin(), data=b"half ")
    assert begun.status_code == 202
    url = registry.absolute(begun)
    if before < 0:
        then = time.time() + before
        for file in upload_files(daemon):
            os.utime(file, (then, then))  # as the kernel writes it under such a clock
    clock.set(after)
    sweep(daemon)
    seen_surveys(daemon, registry)
    wait_for(lambda: daemon.log_text().count(JUMPED) == 1, "the jump is told")
    clock.set(before)
    wait_for(lambda: daemon.log_text().count(JUMPED) == 2, "the way back is told")
    sweep(daemon)
    seen_surveys(daemon, registry)
    assert registry.get("blobs/" + lonely).content == b"nobody names it yet"
    assert registry.finish(url, digest(b"half done"), b"done").status_code == 201
    assert daemon.log_text().count(JUMPED) == 2, "told once each"


def test_a_restart_does_not_believe_a_jump(daemon_of, clock):
    daemon = daemon_of(LONG)
    registry = Registry(daemon.url)
    lonely = registry.push_blob(b"lonely")
    url = registry.begin()
    daemon.stop()
    clock.set(DAYS)
    clock.around(daemon.start)
    wait_for(lambda: JUMPED in daemon.log_text(), "the jump is told")
    sweep(daemon)
    seen_surveys(daemon, registry)
    daemon.stop()
    clock.around(daemon.start)  # and once more, with a clock that has not jumped since
    sweep(daemon)
    seen_surveys(daemon, registry)
    assert daemon.log_text().count(JUMPED) == 1
    assert registry.get("blobs/" + lonely).content == b"lonely"
    assert registry.finish(url, digest(b"all"), b"all").status_code == 201


@pytest.mark.parametrize("before,after", [(0, DAYS), (DAYS, 0)], ids=["forward", "backward"])
def test_what_stays_a_jump_long_is_the_truth(daemon_of, clock, before, after):
    """The clock is steady again, so garbage goes: also what was written, and last asked for, in the future
    (src/shm/recent.h)."""
    daemon = daemon_of(SHORT, before)
    registry = Registry(daemon.url)
    lonely = digest(b"lonely")
    # To a clock that is ahead the kernel's times are days old: a session may end between its requests.
    wait_for(lambda: registry.finish(registry.begin(), lonely, b"lonely").status_code == 201, "it is pushed")
    registry.begin()
    for file in upload_files(daemon):
        os.utime(file, (time.time() + before, time.time() + before))
    clock.set(after)
    wait_for(lambda: JUMPED in daemon.log_text(), "the jump is told")
    goes(daemon, lonely)
    wait_for(lambda: upload_files(daemon) == [], "the upload ends", 60)


def test_a_proxy_does_not_believe_a_tag_of_the_future(clock, proxy, upstream):
    first = upstream.image("team/app", layers=[b"first"])
    clock.set(DAYS)
    client = clock.around(lambda: proxy(upstream, ttl="1h"))
    assert client.get("manifests/latest").status_code == 200
    second = upstream.image("team/app", layers=[b"second"])
    assert first != second
    clock.set(0)
    wait_for(lambda: JUMPED in client.daemon.log_text(), "the jump is told")
    asked = client.get("manifests/latest")
    assert asked.json()["layers"][0]["digest"] == digest(b"second")


def test_tokens_of_the_future_count_for_nothing(start, clock, tmp_path):
    """They would be good for as long as the jump was; the client fetches another one."""
    write_users(tmp_path / "users", {"alice": "secret"})
    (tmp_path / "users").chmod(0o644)
    clock.set(DAYS)
    daemon = clock.around(lambda: start(top=f'auth {{{{ htpasswd = "{tmp_path}/users" }}}}\n'))

    def token():
        url = f"{daemon.url}/v2/token?service=x"
        return requests.get(url, headers=basic("alice", "secret"), timeout=10).json()["token"]

    def status(of):
        return requests.get(f"{daemon.url}/v2/", headers=bearer(of), timeout=10).status_code
    early = token()
    assert status(early) == 200
    clock.set(0)
    wait_for(lambda: JUMPED in daemon.log_text(), "the jump is told")
    daemon.kill_role("worker")  # what a worker remembers of a login lasts a minute
    wait_for(lambda: status(early) == 401, "the token is refused")
    assert status(token()) == 200
