"""Database and blob stores know each other: adopting, renaming, orphans that wait, marks that go."""
import json
import os
import shutil
import subprocess

import pytest
import requests

from harness.daemon import ENTREPOTCTL, ENTREPOTD, free_port, wait_for
from harness.registry import Registry, digest, error

CONF = 'blobstore main {{ path = "{dir}/store" }}\nhosted docker-local {{ blobstore = main }}\n' \
       'connector "127.0.0.1:{port}" {{ repository = docker-local }}\n'
TOP = 'gc_grace = "0s"\ngc_interval = "1d"\nscrub_rate = "1G"\n'
REFUSED = 78


@pytest.fixture
def filled(start):
    port = free_port()
    daemon = start(text=CONF + 'admin "127.0.0.1:%d" {{ }}\n' % port, top=TOP)
    daemon.admin = port
    daemon.allow_error("blob store", "blob's", "belong", 'err="temporarily unavailable"')
    daemon.registry_image = Registry(daemon.url, "team/image")
    daemon.layers = [os.urandom(2000) for _ in range(12)]
    daemon.body = daemon.registry_image.push_image("v1", layers=daemon.layers)
    return daemon


def store(daemon):
    return daemon.dir / "store"


def tool(daemon, *args):
    return subprocess.run([ENTREPOTCTL, "-c", str(daemon.conf), *args], stdin=subprocess.DEVNULL, text=True,
                          capture_output=True, timeout=60)


def identity(directory):
    lines = (directory / "IDENTITY").read_text().splitlines()
    return dict(line.split(" = ", 1) for line in lines if " = " in line)


def whole(daemon):
    r = Registry(daemon.url, "team/image")
    return r.get("manifests/v1").content == daemon.body and all(
        r.get(f"blobs/{digest(x)}").content == x for x in daemon.layers)


def refused(daemon):
    """Starts it; what it says on the terminal."""
    done = subprocess.run([ENTREPOTD, "-f", "-c", str(daemon.conf)], cwd=daemon.dir, timeout=60, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert done.returncode == REFUSED, done.stdout
    return done.stdout


def admin(daemon, path):
    return requests.get(f"http://127.0.0.1:{daemon.admin}/{path}", timeout=20)


def collect(daemon):
    def sweeps():
        s = json.loads(daemon.ctl("--json", "gc", "--status").stdout)
        return s["sweeps"] if not s["running"] else None
    before = wait_for(lambda: (n := sweeps()) is not None and n + 1, "nothing runs", 30)
    daemon.ctl("gc")
    wait_for(lambda: (n := sweeps()) is not None and n + 1 > before, "all is collected", 30)


def test_both_are_named_and_stay(filled):
    of_database, of_store = identity(filled.data_dir / "catalog"), identity(store(filled))
    assert of_store["database"] == of_database["id"] and of_store["name"] == "main"
    assert of_database["store"] == f"{of_store['id']} main main"
    filled.stop()
    filled.start()
    assert identity(filled.data_dir / "catalog") == of_database and identity(store(filled)) == of_store
    assert json.loads(tool(filled, "--json", "store", "list").stdout)["blobstores"] == [
        {"name": "main", "state": "ours", "id": of_store["id"], "path": str(store(filled))}]


def test_renaming_keeps_all(filled):
    filled.stop()
    filled.conf.write_text(filled.conf.read_text().replace("main", "prime"))
    told = refused(filled)
    assert "entrepotctl store rename main prime" in told
    assert "store rename main prime" in subprocess.run([ENTREPOTD, "-t", "-c", str(filled.conf)], text=True,
                                                       capture_output=True, timeout=60).stderr
    assert tool(filled, "store", "rename", "second", "prime").returncode == 1
    assert tool(filled, "store", "rename", "main", "prime").returncode == 0
    assert tool(filled, "store", "adopt", "prime", "--yes").returncode == 0  # not needed, and costs nothing
    filled.start()
    collect(filled)
    filled.registry_image.push_image("v2", layers=(b"after the rename",))
    assert whole(filled)
    filled.stop()
    assert filled.fsck()[0] == 0
    filled.start()
    assert whole(filled)


@pytest.mark.parametrize("renamed", ["by a reload", "while stopped", "both at once"])
def test_a_renamed_store_may_move(filled, renamed):
    """Its repositories go with it: neither the old name nor the old path is asked for any more."""
    def rename():
        filled.conf.write_text(filled.conf.read_text().replace("main", "prime"))
        assert tool(filled, "store", "rename", "main", "prime").returncode == 0

    def move():
        store(filled).rename(filled.dir / "moved")
        filled.conf.write_text(filled.conf.read_text().replace(f"{filled.dir}/store", f"{filled.dir}/moved"))
    if renamed == "by a reload":
        rename()
        filled.reload()
    filled.stop()
    if renamed == "both at once":
        move()
    if renamed != "by a reload":
        rename()
    if renamed != "both at once":
        if renamed == "while stopped":
            filled.start()
            filled.stop()
        move()
    filled.start()
    assert whole(filled)
    filled.stop()
    assert filled.fsck()[0] == 0


def test_a_renamed_store_that_is_away(filled):
    """Its records have its first name in their keys, also while it cannot say so itself."""
    def used():
        return json.loads(filled.ctl("--json", "repos").stdout)["blobstores"][0]["bytes"]
    before = used()
    filled.stop()
    filled.conf.write_text(filled.conf.read_text().replace("main", "prime"))
    assert tool(filled, "store", "rename", "main", "prime").returncode == 0
    filled.start()
    filled.stop()
    store(filled).rename(filled.dir / "away")
    filled.start()
    assert filled.registry_image.get("manifests/v1").status_code == 503 and used() == before > 0
    assert filled.registry_image.delete("manifests/v1").status_code == 202  # the tag: a record and no file
    (filled.dir / "away").rename(store(filled))
    wait_for(lambda: filled.registry_image.get(f"manifests/{digest(filled.body)}").status_code == 200, "it is back")
    filled.has_stores()
    assert used() == before
    assert filled.registry_image.delete(f"manifests/{digest(filled.body)}").status_code == 202
    filled.registry_image.push_image("v2", layers=(b"after it was away",))
    filled.stop()
    assert filled.fsck()[0] == 0


def test_a_foreign_store_is_adopted_when_told_so(filled):
    """Its blobs are kept, nothing of them is garbage unasked, and pushes find them."""
    filled.stop()
    shutil.rmtree(filled.data_dir)
    told = refused(filled)
    assert "is missing" in told
    listed = tool(filled, "store", "list").stdout
    assert "no database" in listed and "entrepotctl rebuild" in listed
    filled.data_dir.rmdir() if filled.data_dir.exists() and not any(filled.data_dir.iterdir()) else None
    no = tool(filled, "store", "adopt", "main")
    assert no.returncode == 32 and "--yes" in no.stderr and "entrepotctl rebuild brings them back" in no.stdout
    refused(filled)
    assert tool(filled, "store", "adopt", "main", "--yes").returncode == 0  # or before the name
    filled.start()
    collect(filled)
    assert Registry(filled.url, "team/image").get("manifests/v1").status_code == 404
    status = json.loads(filled.ctl("--json", "gc", "--orphans").stdout)
    assert status["left"] == len(filled.layers) + 2 and status["taken"] == 0
    assert len(list((store(filled) / "blobs" / "sha256").glob("*/*"))) == status["left"]
    Registry(filled.url, "team/image").push_image("v1", layers=filled.layers)
    assert whole(filled)


def test_orphans_go_when_told_so(filled):
    count, size = 30, 1000
    for _ in range(count):
        data = os.urandom(size)
        d = digest(data)[7:]
        (store(filled) / "blobs" / "sha256" / d[:2] / d).write_bytes(data)
    collect(filled)
    assert "have no record" in filled.log_text()
    status = json.loads(filled.ctl("--json", "gc", "--orphans").stdout)
    assert status == {"taken": 0, "left": count, "left_bytes": count * size}
    assert "gc --orphans --yes" in filled.ctl("gc", "--orphans").stdout
    filled.stop()
    assert filled.fsck("--repair")[1]["repaired"] == 0  # nor does a repair take them
    filled.start()
    status = json.loads(filled.ctl("--json", "gc", "--orphans", "--yes").stdout)
    assert status == {"taken": count, "left": 0, "left_bytes": 0}
    assert whole(filled)


@pytest.mark.parametrize("moment", ["start", "while it runs"])
def test_a_disk_that_comes_back(filled, moment):
    """503 while it is away, nothing is marked, and all is there without a restart."""
    filled.stop()
    store(filled).rename(filled.dir / "away")
    store(filled).mkdir()
    filled.start()
    r = Registry(filled.url, "team/image").get(f"blobs/{digest(filled.layers[0])}")
    assert r.status_code == 503 and error(r) == "UNAVAILABLE"
    assert "is its disk mounted?" in filled.log_text() and not any(store(filled).iterdir())
    assert json.loads(filled.ctl("--json", "repos").stdout)["blobstores"][0]["open"] is False
    assert "blob store main: it CANNOT BE OPENED" in filled.ctl("repos").stdout
    assert 'blobstore_open{blobstore="main"} 0' in admin(filled, "metrics").text
    assert (admin(filled, "health").status_code, admin(filled, "health/ready").status_code) == (503, 200)
    assert admin(filled, "health").json()["blobstores"] == "unavailable"
    if moment == "start":
        filled.stop()
    store(filled).rmdir()
    (filled.dir / "away").rename(store(filled))
    if moment == "start":
        filled.start()
    wait_for(lambda: whole(filled), "all is served again")
    filled.has_stores()
    wait_for(lambda: admin(filled, "health").json()["blobstores"] == "ok", "health tells it")
    assert json.loads(filled.ctl("--json", "repos").stdout)["blobstores"][0]["damaged"] == 0
    assert filled.registry_image.at("team/after").push_blob(b"after")


def test_a_mark_goes_when_the_bytes_are_right_again(filled):
    d = digest(filled.layers[3])[7:]
    path, good = store(filled) / "blobs" / "sha256" / d[:2] / d, filled.layers[3]
    path.unlink()
    filled.ctl("scrub")

    def damaged():
        return json.loads(filled.ctl("--json", "repos").stdout)["blobstores"][0]["damaged"]
    wait_for(lambda: damaged() == 1, "it is marked")
    path.write_bytes(good)
    filled.ctl("scrub")
    wait_for(lambda: damaged() == 0, "the mark goes")
    assert whole(filled)
    path.unlink()
    filled.ctl("scrub")  # a worker may have it in memory
    wait_for(lambda: damaged() == 1, "it is marked")
    filled.stop()
    path.write_bytes(good)
    status, report = filled.fsck("--repair")
    assert status == 1 and [x["kind"] for x in report["found"]] == ["mark"]
    filled.start()
    assert whole(filled)


@pytest.mark.parametrize("point", ["catalog_identity_recorded", "catalog_store_recorded", "catalog_store_bound"])
def test_a_death_while_it_is_bound(fail, start, point):
    fail.arm(point, "kill")
    daemon = start(text=CONF, top=TOP)
    daemon.allow_error("a process keeps dying", "is its disk mounted?", 'err="temporarily unavailable"')
    fail.taken(point)
    registry = Registry(daemon.url, "team/image")
    wait_for(lambda: registry.post("blobs/uploads/").status_code == 202, "the next catalog has bound it")
    daemon.has_stores()
    body = registry.push_image("v1")
    daemon.stop()
    assert daemon.fsck()[0] == 0
    daemon.start()
    assert Registry(daemon.url, "team/image").get("manifests/v1").content == body
