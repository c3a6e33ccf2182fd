"""Blob stores whose disks do not answer, held at fail points of the catalog's threads: others go on as if nothing were."""
import concurrent.futures
import json

import pytest

from harness.daemon import wait_for
from harness.registry import Registry, digest

COUNT = 8
TEXT = "".join(f'blobstore s{n} {{{{ path = "{{dir}}/s{n}" }}}}\nhosted r{n} {{{{ blobstore = s{n} }}}}\n' for n in range(COUNT))
CONNECTOR = 'connector "127.0.0.1:{port}" {{ }}\n'
TOP = 'gc_grace = "0s"\ngc_interval = "1d"\n'


@pytest.fixture
def daemon(fail, start):
    daemon = start(text=TEXT + CONNECTOR, top=TOP)
    daemon.fail = fail
    return daemon


@pytest.fixture
def pool():
    with concurrent.futures.ThreadPoolExecutor(COUNT) as pool:
        yield pool


def at(daemon, n, image="an/image"):
    return Registry(f"{daemon.url}/repository/r{n}", image)


def goes_on(daemon, n):
    """All that a store's clients do, and what an operator asks."""
    registry = at(daemon, n)
    body = registry.push_image("x", layers=(b"layer of %d" % n,))
    assert registry.get("tags/list").json()["tags"] == ["x"]
    assert registry.get("manifests/x").content == body
    assert registry.delete("manifests/x").status_code == 202
    for command in ("status", "repos", "gc --status", "scrub --status"):
        daemon.ctl(*command.split())


def status(daemon, command):
    return json.loads(daemon.ctl("--json", command, "--status").stdout)


def test_where_files_are_looked_for(daemon, pool):
    """In as many stores as there are but one; each has its thread."""
    pushes = []
    for n in range(COUNT - 1):
        daemon.fail.arm("catalog_file_here", "EAGAIN")
        daemon.fail.arm("catalog_file_looked", "wait")
        pushes.append(pool.submit(at(daemon, n).push_blob, b"content"))
        daemon.fail.taken("catalog_file_looked")
    goes_on(daemon, COUNT - 1)
    assert not any(push.done() for push in pushes)
    daemon.fail.release("catalog_file_looked")
    for push in pushes:
        assert push.result(20) == digest(b"content")
    daemon.stop()
    assert daemon.fsck()[0] == 0


def test_where_a_sweep_moves_files(daemon, pool):
    at(daemon, 0).push_blob(b"garbage")
    daemon.fail.arm("catalog_gc_aside", "wait")
    daemon.ctl("gc")
    daemon.fail.held("catalog_gc_aside")
    goes_on(daemon, 1)
    behind = pool.submit(at(daemon, 0).push_blob, b"more")
    assert status(daemon, "gc")["running"] and not behind.done()
    daemon.fail.release("catalog_gc_aside")
    behind.result(20)
    wait_for(lambda: not status(daemon, "gc")["running"], "the sweep ends")
    daemon.stop()
    assert daemon.fsck()[0] == 0


def test_where_a_damaged_blob_is_moved(daemon):
    registry = at(daemon, 0)
    data = b"content that changes"
    registry.put_manifest(registry.image_manifest(layers=(data,)), "kept")
    algorithm, value = digest(data).split(":")
    path = daemon.dir / "s0" / "blobs" / algorithm / value[:2] / value
    path.write_bytes(data.upper())
    daemon.allow_error("in the quarantine")
    daemon.fail.arm("catalog_quarantine", "wait")
    daemon.ctl("scrub")
    daemon.fail.held("catalog_quarantine")
    goes_on(daemon, 1)
    assert registry.get(f"blobs/{digest(data)}").status_code == 404  # nobody is served from it meanwhile
    daemon.fail.release("catalog_quarantine")
    wait_for(lambda: "it is in the quarantine" in daemon.log_text(), "it is told")
    assert not path.exists()
    registry.push_blob(data)
    assert registry.get(f"blobs/{digest(data)}").content == data
