"""Turns of the catalog (src/catalog/turn.h): what changes together, what is seen while it is written, and what comes back
when it cannot be."""
import concurrent.futures
import json
import os
import signal

import pytest

from harness.daemon import ENTREPOTD, wait_for
from harness.registry import Registry, digest


@pytest.fixture
def daemon(fail, start):
    d = start(top='gc_grace = "0s"\ngc_interval = "1d"\nscrub_rate = "200M"\n', workers=1)
    d.fail = fail
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
        daemon.blob_path(d).write_bytes(b"?" * len(body))
        daemon.ctl("scrub")
        wait_for(lambda: "a blob's bytes have changed" in daemon.log_text(), "it is found")
        assert registry.get("manifests/x").status_code == 404
    daemon.fail.arm("catalog_index_filled", "wait")
    daemon.fail.arm("catalog_turn_write", "EIO")
    if what == "garbage":
        daemon.ctl("gc")
    else:
        assert registry.delete(f"manifests/{digest(body)}").status_code == 500
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
    """At once, not when somebody else asks for something, nor when the database can be opened again."""
    daemon.allow_error("the database that was open here is gone")
    registry = Registry(daemon.url, "turns/behind")
    body, pids = registry.push_image("x"), daemon.everybody()
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        def put(tag):
            return pool.submit(Registry(daemon.url, registry.image).put_manifest, body, tag)

        daemon.fail.arm("catalog_turn_write", "wait EIO")  # the pool's thread: the catalog reads on
        first = put("first")
        daemon.fail.held("catalog_turn_write")
        asked = sum(r["asks"] for r in daemon.roles("worker"))
        second = put("second")
        wait_for(lambda: sum(r["asks"] for r in daemon.roles("worker")) > asked, "the catalog is asked")
        daemon.ctl("gc", "--status")  # it has read the question, too
        away = (daemon.data_dir / "catalog").rename(daemon.data_dir / "away")
        daemon.fail.release("catalog_turn_write")
        assert first.result(20).status_code == 500 and second.result(20).status_code == 503
        wait_for(lambda: "the database that was open here is gone" in daemon.log_text(), "it is told")
        for command in ("gc", "scrub --status", "repos"):  # not of a turn: told why all the same
            assert "temporarily unavailable" in daemon.ctl(*command.split(), check=False).stderr
        assert registry.get("manifests/x").content == body and not (daemon.data_dir / "catalog").exists()  # none is made
        away.rename(daemon.data_dir / "catalog")
        wait_for(lambda: put("heals").result(20).status_code == 201, "the database is open again")
    assert daemon.all_pids() == pids


def foreign(registry, count, salt):
    """A manifest of many layers that need not be here."""
    body = json.loads(registry.image_manifest(layers=()))
    body["layers"] = [{"digest": digest(f"{salt} {i}".encode()), "size": 1, "urls": ["http://there/"]} for i in range(count)]
    return json.dumps(body).encode()


@pytest.mark.parametrize("first", ["large", "delete"])
def test_light_changes_do_not_wait_for_heavy_ones(daemon, first):
    """Of manifests with thousands of references, and of deletes, a turn takes one; what came behind them is in it all the same."""
    registry = Registry(daemon.url, "turns/heavy")
    bodies = [foreign(registry, 2000, salt) for salt in "ab"]
    small = registry.image_manifest()
    if first == "delete":
        assert [registry.put_manifest(b).status_code for b in bodies] == [201, 201]
    with OneTurn(daemon) as turn:
        if first == "delete":
            heavy = [turn.ask(Registry(daemon.url, registry.image).delete, f"manifests/{digest(b)}") for b in bodies]
        else:
            heavy = [turn.ask(Registry(daemon.url, registry.image).put_manifest, b) for b in bodies]
        light = turn.ask(Registry(daemon.url, registry.image).put_manifest, small, "x")
        daemon.fail.arm("catalog_turn_begun", "wait")
        os.kill(*turn.catalog, signal.SIGCONT)
        daemon.fail.held("catalog_turn_begun")
        daemon.fail.arm("catalog_turn_begun", "wait")
        daemon.fail.release("catalog_turn_begun")
        daemon.fail.held("catalog_turn_begun")  # the second turn
        try:
            assert light.result(20).status_code == 201
            assert heavy[0].result(20).status_code == (202 if first == "delete" else 201) and not heavy[1].done()
        finally:
            daemon.fail.release("catalog_turn_begun")
    assert heavy[1].result(20).status_code == heavy[0].result(20).status_code
    daemon.stop()
    assert daemon.fsck()[0] == 0


def test_thousands_of_tags_go_by_turns(daemon):
    """Each turn takes some of them and the last one the manifest, whoever dies meanwhile."""
    registry = Registry(daemon.url, "turns/tags")
    body = registry.image_manifest()
    tags = [f"t{i:04}" for i in range(2100)]
    for i in range(0, len(tags), 32):
        assert registry.put_manifest(body, query="?" + "&".join("tag=" + t for t in tags[i:i + 32])).status_code == 201
    daemon.fail.arm("catalog_turn_begun", "wait")
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        gone = pool.submit(Registry(daemon.url, registry.image).delete, f"manifests/{digest(body)}")
        daemon.fail.held("catalog_turn_begun")
        daemon.fail.arm("catalog_turn_begun", "wait")
        daemon.fail.release("catalog_turn_begun")
        daemon.fail.held("catalog_turn_begun")
        left = [t for t in tags if registry.head(f"manifests/{t}").status_code == 200]
        assert left and left == tags[-len(left):] and len(left) < len(tags)
        assert registry.head(f"manifests/{digest(body)}").status_code == 200
        daemon.kill_role("catalog")
        daemon.fail.release("catalog_turn_begun")
        if gone.result(60).status_code == 503:  # the next one took its time to begin: what is left waits for who asks again
            wait_for(lambda: registry.delete(f"manifests/{digest(body)}").status_code in (202, 404), "the rest is deleted", 60)
        else:
            assert gone.result().status_code == 202
    assert registry.get("tags/list").json()["tags"] == []
    assert registry.head(f"manifests/{digest(body)}").status_code == 404
    assert json.loads(daemon.ctl("--json", "repos").stdout)["repositories"][0]["tags"] == 0
    daemon.stop()
    assert daemon.fsck()[0] == 0


def test_the_sanitizers_build_runs_turns_twice(daemon):
    """Whatever an operation does beside its batch it does twice there, and some test sees it."""
    with open(ENTREPOTD, "rb") as program:
        sanitized = b"__asan_init" in program.read()
    assert ("the operations of a turn run more than once" in daemon.log_text()) == sanitized
