"""Disks that fill up, files that vanish, descriptors that run out, power that fails."""
import os
import random
import resource
import signal
import subprocess
import threading

import pytest

from harness import raw
from harness.daemon import kill, wait_for
from harness.registry import Registry, digest, error


@pytest.fixture
def small_disk(tmp_path):
    if os.getuid() != 0:
        pytest.skip("needs root")
    mount = tmp_path / "disk"
    mount.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=48m", "none", str(mount)], check=True)
    yield mount
    subprocess.run(["umount", "-l", str(mount)], check=True)


def test_disk_full_and_recovery(start, small_disk, tmp_path):
    """Pushes end in 507 with an OCI body; what was acknowledged stays; room heals without a restart."""
    daemon = start(directory=small_disk)
    daemon.allow_error("cannot write", "cannot finish", "cannot create", "cannot open the database", "database's disk")
    registry = Registry(daemon.url)
    kept = {}
    for _ in range(40):
        data = os.urandom(2 << 20)
        r = registry.post("blobs/uploads/")
        if r.status_code == 202:
            r = registry.finish(registry.absolute(r), digest(data), data)
        if r.status_code != 201:
            break
        kept[digest(data)] = data
    assert r.status_code == 507 and error(r) == "UNAVAILABLE" and len(kept) > 10
    (small_disk / "fill").write_bytes(b"")
    try:
        with open(small_disk / "fill", "wb") as f:  # the rest, to the last block
            while True:
                f.write(b"x" * 4096)
                f.flush()
    except OSError:
        pass
    registry = Registry(daemon.url)
    for attempt in (lambda: registry.post("blobs/uploads/?digest=" + digest(b"y" * 9000), data=b"y" * 9000),
                    lambda: registry.put_manifest(b'{"schemaVersion":2,"manifests":[]}', "x",
                                                  "application/vnd.oci.image.index.v1+json")):
        r = attempt()
        assert r.status_code in (507, 201) and (r.status_code == 201 or error(r) == "UNAVAILABLE")
    for d, data in random.sample(sorted(kept.items()), 5):
        assert registry.get(f"blobs/{d}").content == data
    (small_disk / "fill").unlink()
    for pid_file in (small_disk / "data" / "blobs" / "uploads").iterdir():
        pid_file.unlink()
    wait_for(lambda: registry.post("blobs/uploads/?digest=" + digest(b"again"), data=b"again").status_code == 201,
             "pushes work again")
    for d, data in kept.items():
        assert registry.get(f"blobs/{d}").content == data


def test_database_disk_full(start, small_disk):
    """The metadata's disk is full, the blobs' is not: changes get 507, pulls go on, room heals."""
    daemon = start(run=False)
    (small_disk / "data").mkdir(mode=0o777)
    daemon.conf.write_text(daemon.conf.read_text().replace(f'{daemon.dir}/data"', f'{small_disk}/data"')
                           + f'\nblobstore main {{ path = "{daemon.dir}/store" }}\n')
    daemon.allow_error("cannot write the database", "cannot open the database", "database's disk")
    daemon.start()
    registry = Registry(daemon.url)
    data = registry.push_image("x")
    try:
        with open(small_disk / "fill", "wb") as f:
            while True:
                f.write(b"x" * 4096)
                f.flush()
    except OSError:
        pass
    statuses = set()
    for i in range(3000):
        r = registry.put_manifest(data, f"t{i}")
        statuses.add(r.status_code)
        if r.status_code != 201:
            assert r.status_code == 507 and error(r) == "UNAVAILABLE"
            break
    assert 507 in statuses
    assert Registry(daemon.url).get("manifests/x").content == data
    (small_disk / "fill").unlink()
    wait_for(lambda: registry.put_manifest(data, "after").status_code == 201, "changes work again", 20)
    tags = registry.get("tags/list").json()["tags"]
    assert all(registry.get(f"manifests/t{j}").status_code == 200 for j in range(i)) and f"t{i - 1}" in tags


# The catalog looks at once at what a worker could not serve, and may come before the next push.
LOOKED_AT = ("a blob's file is missing", "a blob's bytes have changed")


@pytest.mark.parametrize("damage", ["missing", "short", "long"])
def test_blob_file_damaged(start, damage):
    daemon = start()
    daemon.allow_error(*LOOKED_AT, "a blob's file is missing or damaged")
    registry = Registry(daemon.url)
    d = registry.push_blob(b"precious")
    path = daemon.blob_path(d)
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(b"prec" if damage == "short" else b"precious and more")
    r = registry.get(f"blobs/{d}")
    assert r.status_code == 404 and error(r) == "BLOB_UNKNOWN"
    assert registry.head(f"blobs/{d}").status_code == 404
    assert d in daemon.log_text() and "level=error" in daemon.log_text()
    registry.push_blob(b"precious")
    assert registry.get(f"blobs/{d}").content == b"precious"


@pytest.mark.parametrize("size", [0, 200_000])
@pytest.mark.parametrize("damage", ["missing", "changed"])
def test_manifest_file_damaged(start, damage, size):
    daemon = start()
    daemon.allow_error(*LOOKED_AT, "a manifest's file is missing or damaged")
    registry = Registry(daemon.url)
    data = registry.push_image("x", annotations={"a": "b" * size})
    path = daemon.blob_path(digest(data))
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(data.replace(b"schemaVersion", b"SchemaVersion"))
    r = registry.get("manifests/x")
    assert r.status_code == 404 and error(r) == "MANIFEST_UNKNOWN"
    assert registry.put_manifest(data, "x").status_code == 201
    assert registry.get("manifests/x").content == data


def test_a_large_manifest_damaged_between_two_pulls(start):
    """It is sent from its file, which the worker keeps open and has hashed once: not any more."""
    daemon = start(workers=1)
    daemon.allow_error(*LOOKED_AT, "a manifest's file is missing or damaged")
    registry = Registry(daemon.url)
    data = registry.image_manifest(annotations={"a": "x" * 200_000})
    assert registry.put_manifest(data, "x").status_code == 201
    path = daemon.blob_path(digest(data))
    registry.push_blob(data)
    assert registry.get(f"blobs/{digest(data)}").content == data  # as a blob nobody hashes it
    assert all(registry.get("manifests/x").content == data for _ in range(2))
    before = path.stat().st_ctime_ns

    def damaged():
        path.write_bytes(data.replace(b"xxx", b"xyx"))
        return path.stat().st_ctime_ns != before  # the kernel's clock has ticks

    wait_for(damaged, "the change is one")
    r = registry.get("manifests/x")
    assert r.status_code == 404 and error(r) == "MANIFEST_UNKNOWN"
    assert registry.put_manifest(data, "x").status_code == 201
    assert registry.get("manifests/x").content == data


def test_descriptors_run_out(start):
    """With few descriptors a worker says how many connections that makes, and serves all the same."""
    daemon = start(preexec=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64)))
    registry = Registry(daemon.url)
    data = registry.push_image("x")
    pids = daemon.everybody()
    idle = []
    for _ in range(300):
        try:
            idle.append(raw.connect(daemon, timeout=1))
        except OSError:
            break
    assert len(idle) > 100
    assert "max_connections is more than the limit of open files" in daemon.log_text()
    assert Registry(daemon.url).get("manifests/x").content == data
    for s in idle:
        s.close()
    assert daemon.all_pids() == pids


def test_index_grows_under_readers(start):
    """Thousands of tags: the shared index is replaced several times while others read it."""
    daemon = start()
    registry = Registry(daemon.url)
    data = registry.image_manifest()
    stop, wrong = threading.Event(), []

    def read():
        at = Registry(daemon.url)
        while not stop.is_set():
            r = at.get("manifests/t0")
            if r.status_code != 200 or r.content != data:
                wrong.append(r.status_code)

    assert registry.put_manifest(data, "t0").status_code == 201
    readers = [threading.Thread(target=read) for _ in range(3)]
    for t in readers:
        t.start()
    try:
        count = 24_000
        for i in range(0, count, 32):
            query = "?" + "&".join(f"tag=t{j}" for j in range(i, i + 32))
            assert registry.put_manifest(data, query=query).status_code == 201
    finally:
        stop.set()
        for t in readers:
            t.join()
    assert not wrong
    assert daemon.log_text().count("index published") >= 2
    for i in range(0, count, 997):
        assert registry.head(f"manifests/t{i}").status_code == 200
    old = daemon.kill_role("catalog")
    daemon.respawned("catalog", old)
    for i in range(0, count, 997):
        assert Registry(daemon.url).head(f"manifests/t{i}").status_code == 200


def random_changes(registry, rng, acked, stop):
    """Pushes, tag moves and deletes; `acked` is what was promised: ref -> bytes or None; unsure refs leave it."""
    while not stop.is_set():
        tag = f"t{rng.randrange(12)}"
        action = rng.random()
        try:
            if action < 0.7:
                layer = rng.randbytes(rng.randrange(1, 30_000))
                data = registry.image_manifest(layers=(layer,))
                acked.pop(tag, None)
                if registry.put_manifest(data, tag).status_code == 201:
                    acked[tag] = (data, layer)
            else:
                acked.pop(tag, None)
                if registry.delete(f"manifests/{tag}").status_code in (202, 404):
                    acked[tag] = None
        except Exception:
            return


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_what_was_acknowledged_survives_a_power_cut(start, seed):
    daemon = start()
    rng = random.Random(seed)
    promised = {}
    for round_number in range(3):
        stop = threading.Event()
        threads = []
        for n in range(4):
            registry = Registry(daemon.url, f"durable/{n}")
            acked = promised.setdefault(n, {})
            threads.append(threading.Thread(target=random_changes,
                                            args=(registry, random.Random(rng.random()), acked, stop)))
        for t in threads:
            t.start()
        wait_for(lambda: all(len(a) >= 4 + round_number for a in promised.values()), "some changes", 30)
        daemon.kill_all()
        stop.set()
        for t in threads:
            t.join()
        daemon.start()
        for n, acked in promised.items():
            registry = Registry(daemon.url, f"durable/{n}")
            for tag, expected in acked.items():
                r = registry.get(f"manifests/{tag}")
                if expected is None:
                    assert r.status_code == 404
                else:
                    assert r.content == expected[0]
                    assert registry.get("blobs/" + digest(expected[1])).content == expected[1]


def test_workers_killed_during_pushes(start):
    """Every 201 that was read is true, whoever dies meanwhile."""
    daemon = start()
    daemon.allow_error("keeps dying")
    stop = threading.Event()
    results = {}

    def push(n):
        at = Registry(daemon.url, f"storm/{n}")
        i = 0
        while not stop.is_set():
            i += 1
            data = os.urandom(20_000)
            try:
                r = at.finish(at.begin(), digest(data), data)
                if r.status_code == 201:
                    results[(n, digest(data))] = data
            except Exception:
                at = Registry(daemon.url, f"storm/{n}")

    threads = [threading.Thread(target=push, args=(n,)) for n in range(4)]
    for t in threads:
        t.start()
    for _ in range(12):
        before = len(results)
        wait_for(lambda: len(results) > before + 3, "pushes go on", 30)
        victim = random.choice(daemon.pids("worker") + daemon.pids("catalog"))
        kill(victim, signal.SIGKILL)  # it may have gone meanwhile: the catalog's death ends what waits for it
    stop.set()
    for t in threads:
        t.join()
    wait_for(lambda: all(r["state"] == "ready" for r in daemon.roles()), "all are back", 30)
    for (n, d), data in results.items():
        assert Registry(daemon.url, f"storm/{n}").get(f"blobs/{d}").content == data


def remount(mount, how):
    subprocess.run(["mount", "-o", f"remount,{how}", str(mount)], check=True)


def test_a_store_that_becomes_read_only(start, small_disk, tmp_path):
    """Every change of a read-only store is 503 with an OCI error, pulls go on, and it heals."""
    daemon = start(run=False)
    (small_disk / "store").mkdir()
    daemon.conf.write_text(daemon.conf.read_text() + f'\nblobstore main {{ path = "{small_disk}/store" }}\n')
    daemon.allow_error("cannot create", "cannot write", "cannot finish")
    daemon.start()
    registry = Registry(daemon.url)
    kept = registry.push_image("kept")
    data = os.urandom(100_000)
    registry.push_blob(data)
    begun = registry.begin()
    remount(small_disk, "ro")
    index = b'{"schemaVersion":2,"manifests":[],"annotations":{"new":"yes"}}'
    tries = {
        "begin": lambda: registry.post("blobs/uploads/"),
        "at once": lambda: registry.post("blobs/uploads/?digest=" + digest(b"y" * 9000), data=b"y" * 9000),
        "patch": lambda: registry.request("PATCH", begun, data=b"z" * 9000),
        "finish": lambda: registry.finish(begun, digest(b"z" * 9000), b"z" * 9000),
        "manifest": lambda: registry.put_manifest(index, "x", "application/vnd.oci.image.index.v1+json"),
    }
    for name, attempt in tries.items():
        r = attempt()
        assert (r.status_code, error(r)) == (503, "UNAVAILABLE"), (name, r.status_code, r.text)
        assert r.headers["Retry-After"], name
    assert registry.get("manifests/kept").content == kept
    assert registry.get(f"blobs/{digest(data)}").content == data
    remount(small_disk, "rw")
    assert registry.push_blob(b"again")
    assert registry.put_manifest(index, "x", "application/vnd.oci.image.index.v1+json").status_code == 201
