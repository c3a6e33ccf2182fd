"""A worker dies at each step of an upload; its client sends the same request again and is done."""
import os

import pytest
import requests

from harness.daemon import wait_for
from harness.registry import Registry, digest

A, B = os.urandom(900_000), os.urandom(800_000)


@pytest.fixture
def dying(fail, start):
    daemon = start()
    daemon.fail = fail
    return daemon


def again(daemon, point, method, url, **kw):
    """The same request until it is answered; the first one meets a death."""
    daemon.fail.arm(point, "kill")
    for tries in range(20):
        try:
            r = requests.request(method, url, timeout=30, **kw)
        except requests.RequestException:
            continue
        if r.status_code != 409:  # the dead one's lock goes with it, a moment later
            assert tries > 0 and not daemon.fail.pending(point)
            return r
    raise AssertionError("never answered")


PUT_POINTS = ("worker_upload_written", "store_place_synced", "store_place_renamed", "store_place_done",
              "worker_commit_asked", "worker_commit_done")


@pytest.mark.parametrize("with_rest", [False, True], ids=["empty PUT", "PUT with the rest"])
@pytest.mark.parametrize("point", PUT_POINTS)
def test_a_put(dying, point, with_rest):
    registry = Registry(dying.url, "dying/image")
    url = registry.begin()
    data = A if not with_rest else A + B
    if not with_rest and point == "worker_upload_written":
        pytest.skip("slow: nothing is written by a PUT without a body")
    url = registry.absolute(registry.request("PATCH", url, data=A))
    r = again(dying, point, "PUT", f"{url}&digest={digest(data)}", data=B if with_rest else b"")
    assert r.status_code == 201, r.text
    assert Registry(dying.url, "dying/image").get(f"blobs/{digest(data)}").content == data
    dying.stop()
    assert dying.fsck()[0] == 0


@pytest.mark.parametrize("chunked", [False, True])
def test_a_patch(dying, chunked):
    registry = Registry(dying.url, "dying/image")
    first = registry.absolute(registry.request("PATCH", registry.begin(), data=A))
    r = again(dying, "worker_upload_written", "PATCH", first, data=B if not chunked else list_of(B))
    assert r.status_code == 202 and r.headers["Range"] == f"0-{len(A + B) - 1}"
    assert Registry(dying.url, "dying/image").finish(registry.absolute(r), digest(A + B)).status_code == 201


class list_of:
    """A chunked body that can be sent again."""

    def __init__(self, data):
        self.data = data

    def __iter__(self):
        return iter([self.data[:1000], self.data[1000:]])


def test_the_cut_of_a_replay(dying):
    """Dead between the mark and the cut: the hash of the first try counts no more."""
    registry = Registry(dying.url, "dying/image")
    url = registry.absolute(registry.request("PATCH", registry.begin(), data=A))
    end = registry.absolute(registry.request("PATCH", url, data=B))
    other = os.urandom(len(B))
    r = again(dying, "worker_upload_rewind", "PATCH", url, data=other)
    assert registry.absolute(r) == end
    assert Registry(dying.url, "dying/image").finish(end, digest(A + other)).status_code == 201


def test_a_session_that_nobody_could_link(dying):
    """503 after the file has its place, and the catalog's answer only to the request that comes again."""
    registry = Registry(dying.url, "dying/image")
    dying.allow_error("cannot write")
    url = registry.begin()
    dying.fail.arm("catalog_turn_write", "EIO always")
    r = registry.finish(url, digest(A), A)
    assert r.status_code in (500, 503, 507)
    dying.fail.disarm("catalog_turn_write")
    wait_for(lambda: registry.finish(url, digest(A), A).status_code == 201, "the same request is done")
    assert registry.get(f"blobs/{digest(A)}").content == A
