"""Calls that fail: an error the client can read, nothing acknowledged, and work goes on without a restart."""
import errno as errnos
import os
import subprocess

import pytest

from harness import raw
from harness.daemon import wait_for
from harness.registry import Registry, digest, error
from harness.tools import need


@pytest.fixture
def failing(fail, start):
    daemon = start()
    daemon.fail = fail
    daemon.allow_error("cannot write", "cannot finish", "cannot open", "cannot store", "cannot read")
    return daemon


def push(registry, data):
    r = registry.post("blobs/uploads/")
    return registry.finish(registry.absolute(r), digest(data), data) if r.status_code == 202 else r


# What no client can mend and an operator can: come back later. EIO is a defect of the disk.
TOLD = {"ENOSPC": 507, "EDQUOT": 507, "EROFS": 503, "EACCES": 503, "EMFILE": 503, "EIO": 500}


@pytest.mark.parametrize("errno", TOLD)
@pytest.mark.parametrize("point", ["worker_upload_write", "store_place_sync", "catalog_turn_write"])
def test_a_push_that_fails(failing, point, errno):
    registry = Registry(failing.url, "failing/push")
    kept = registry.push_image("kept")
    pids = failing.everybody()
    data = os.urandom(50_000)
    failing.fail.arm(point, f"{errno} always")
    for n in range(3):
        r = push(Registry(failing.url, "failing/push"), data)
        assert error(r) and (r.status_code == TOLD[errno] or (n > 0 and point == "catalog_turn_write" and r.status_code == 503))
        r = Registry(failing.url, "failing/push").put_manifest(kept, "moved")
        assert r.status_code in (500, 503, 507) or point == "worker_upload_write" and r.status_code == 201
    fresh = Registry(failing.url, "failing/push")
    assert fresh.head(f"blobs/{digest(data)}").status_code == 404  # nothing was promised, nothing is told
    assert fresh.get("manifests/kept").content == kept
    failing.fail.disarm(point)
    wait_for(lambda: push(Registry(failing.url, "failing/push"), data).status_code == 201, "pushes work again")
    assert fresh.get(f"blobs/{digest(data)}").content == data
    assert failing.all_pids() == pids
    failing.stop()
    assert failing.fsck()[0] == 0


@pytest.mark.parametrize("errno", ["EDQUOT", "EIO", "EROFS"])
def test_the_database_s_log_that_cannot_be_synced(failing, errno):
    """LevelDB tells why as text alone; a client hears it as of any other file."""
    need("strace")
    registry = Registry(failing.url, "failing/push")
    kept = registry.push_image("kept")
    log = max((failing.data_dir / "catalog").glob("*.log"))
    trace = subprocess.Popen(["strace", "-f", "-p", str(failing.pids("catalog")[0]), "-P", str(log), "-o", "/dev/null",
                              "-e", f"inject=fdatasync:error={errno}"], stderr=subprocess.PIPE, text=True)
    try:
        while "attached" not in trace.stderr.readline():
            pass
        r = registry.put_manifest(kept, "moved")
        assert (r.status_code, bool(error(r))) == (TOLD[errno], True), r.text
    finally:
        trace.terminate()
        trace.communicate()
    told = [line for line in failing.log_text().splitlines() if "cannot write the database" in line]
    assert log.name in told[0] and os.strerror(getattr(errnos, errno)) in told[0], told
    wait_for(lambda: registry.put_manifest(kept, "later").status_code == 201, "it heals")
    failing.stop()
    assert failing.fsck()[0] == 0


@pytest.mark.parametrize("errno", ["EIO", "EMFILE"])
def test_a_pull_that_fails(failing, errno):
    registry = Registry(failing.url, "failing/pull")
    data = os.urandom(200_000)
    registry.push_blob(data)
    failing.fail.arm("worker_blob_open", f"{errno} always")
    r = registry.get(f"blobs/{digest(data)}")
    assert r.status_code in (500, 503) and error(r)
    failing.fail.disarm("worker_blob_open")
    assert registry.get(f"blobs/{digest(data)}").content == data


def test_idle_connections_give_their_descriptors(fail, start):
    """Whoever else has taken them all: a connection that waits for nothing makes room."""
    failing = start(workers=1)
    idle = [raw.connect(failing) for _ in range(4)]
    for s in idle:
        s.sendall(b"GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n")
        assert raw.read_response(s)[0] == 200
    fail.arm("worker_accept", "EMFILE always")
    late = raw.connect(failing)
    assert all(raw.closed(s) for s in idle)
    fail.disarm("worker_accept")
    late.sendall(b"GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n")
    assert raw.read_response(late)[0] == 200
    assert "want of descriptors" in failing.log_text()


@pytest.mark.parametrize("errno", ["EMFILE", "ENOSPC"])
def test_accept_that_fails(failing, errno):
    """A connection waits in the queue until there is room."""
    failing.fail.arm("worker_accept", f"{errno} always")
    s = raw.connect(failing)
    s.sendall(b"GET /v2/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    failing.fail.disarm("worker_accept")
    s.settimeout(20)
    assert s.recv(100).startswith(b"HTTP/1.1 200")
