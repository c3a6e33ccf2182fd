"""Turns of the catalog (src/catalog/turn.h): what changes together, what is seen while it is written, and what comes back
when it cannot be."""
import concurrent.futures
import os
import signal

import pytest

from harness.daemon import wait_for
from harness.fail import FailPoints
from harness.registry import Registry, digest


@pytest.fixture
def daemon(start, tmp_path, monkeypatch):
    monkeypatch.setenv("ENTREPOT_FAIL_DIR", str(tmp_path / "fail"))
    d = start(top='gc_grace = "0s"\ngc_interval = "1d"\nscrub_rate = "200M"\n', workers=1)
    d.fail = FailPoints(tmp_path / "fail")
    d.allow_error("cannot write the database", "a blob's bytes have changed")
    return d


class OneTurn:
    """What is asked within comes to the catalog at once, in this order."""

    def __init__(self, daemon):
        self.daemon, self.pool = daemon, concurrent.futures.ThreadPoolExecutor(8)

    def asks(self):
        return sum(r["asks"] for r in self.daemon.roles("worker"))

    def __enter__(self):
        self.catalog = self.daemon.kill_role("catalog", signal.SIGSTOP)
        return self

    def ask(self, call, *args, **kw):
        before = self.asks()
        future = self.pool.submit(call, *args, **kw)
        wait_for(lambda: self.asks() > before, "the catalog is asked")
        return future

    def __exit__(self, *_):
        for pid in self.catalog:
            os.kill(pid, signal.SIGCONT)
        self.pool.shutdown()


def test_what_is_deleted_is_hidden_before_it_is_written(daemon):
    registry = Registry(daemon.url, "turns/hidden")
    body = registry.push_image("x")
    daemon.fail.arm("catalog_turn_write", "wait")
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        gone = pool.submit(Registry(daemon.url, registry.image).delete, f"manifests/{digest(body)}")
        daemon.fail.held("catalog_turn_write")
        seen = [registry.get(f"manifests/{ref}").status_code for ref in ("x", digest(body))]
        daemon.fail.release("catalog_turn_write")
        assert (seen, gone.result(20).status_code) == ([404, 404], 202)


@pytest.mark.parametrize("what", ["manifest", "garbage", "damaged"])
def test_a_failed_write_brings_back_what_was_seen(daemon, what):
    """Before the database is opened again and the index made anew: that may take long."""
    registry = Registry(daemon.url, "turns/back")
    body = registry.push_image("x")
    lonely = registry.push_blob(os.urandom(100))
    if what == "damaged":
        d = digest(body)
        (daemon.data_dir / "blobs" / "blobs" / "sha256" / d[7:9] / d[7:]).write_bytes(b"?" * len(body))
        daemon.ctl("scrub")
        wait_for(lambda: "a blob's bytes have changed" in daemon.log_text(), "it is found")
        assert registry.get("manifests/x").status_code == 404
    daemon.fail.arm("catalog_index_filled", "wait")
    daemon.fail.arm("catalog_turn_write", "EIO")
    if what == "garbage":
        daemon.ctl("gc")
    else:
        assert registry.delete(f"manifests/{digest(body)}").status_code == 507
    daemon.fail.held("catalog_index_filled")
    seen = (registry.head(f"blobs/{lonely}").status_code, registry.get("manifests/x").status_code)
    daemon.fail.release("catalog_index_filled")
    assert seen == (200, 404 if what == "damaged" else 200)


def test_put_and_deleted_in_one_turn(daemon):
    registry = Registry(daemon.url, "turns/both")
    body = registry.push_image("kept")
    with OneTurn(daemon) as turn:
        put = turn.ask(Registry(daemon.url, registry.image).put_manifest, body, "x")
        gone = turn.ask(Registry(daemon.url, registry.image).delete, "manifests/x")
    assert (put.result(20).status_code, gone.result(20).status_code) == (201, 202)
    assert registry.get("manifests/x").status_code == 404 and registry.get("manifests/kept").content == body
    daemon.stop()
    assert daemon.fsck()[0] == 0


def test_who_looks_through_the_database_sees_what_came_before(daemon):
    """The last but one blob of an image goes in the turn that brings another: the image stays."""
    registry = Registry(daemon.url, "turns/image")
    old, new = os.urandom(100), os.urandom(200)
    registry.push_blob(old)
    url = registry.begin()
    with OneTurn(daemon) as turn:
        put = turn.ask(Registry(daemon.url, registry.image).finish, url, digest(new), new)
        gone = turn.ask(Registry(daemon.url, registry.image).delete, f"blobs/{digest(old)}")
    assert (put.result(20).status_code, gone.result(20).status_code) == (201, 202)
    assert daemon.ctl("images", "docker-local").stdout == "turns/image\n"
    daemon.stop()
    assert daemon.fsck()[0] == 0


def test_who_waits_behind_a_failed_write_is_answered(daemon):
    """At once, not when somebody else asks for something."""
    registry = Registry(daemon.url, "turns/behind")
    body, pids = registry.push_image("x"), daemon.everybody()
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        def put(tag):
            return pool.submit(Registry(daemon.url, registry.image).put_manifest, body, tag)

        for turn in range(5):
            daemon.fail.arm("catalog_turn_tombstones", "wait")
            first = put(f"first{turn}")
            daemon.fail.held("catalog_turn_tombstones")
            asked = sum(r["asks"] for r in daemon.roles("worker"))
            second = put(f"second{turn}")
            wait_for(lambda: sum(r["asks"] for r in daemon.roles("worker")) > asked, "the catalog is asked")
            daemon.fail.arm("catalog_turn_write", "EIO")
            daemon.fail.release("catalog_turn_tombstones")
            assert first.result(20).status_code == 507 and second.result(20).status_code in (201, 507)
            wait_for(lambda: put("heals").result(20).status_code == 201, "the database is open again")
    assert daemon.all_pids() == pids
