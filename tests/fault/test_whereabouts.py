"""A blob store whose path leads elsewhere under a running daemon: told, read from where it is, pushed into by nobody."""
import json
import os
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

from harness.daemon import free_port, wait_for
from harness.proxy import upstream  # noqa: F401
from harness.registry import Registry, digest, error

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")

TEXT = """
blobstore main {{{{ path = "{{dir}}/main" }}}}
blobstore disk {{{{ path = "{{dir}}/disk/store" }}}}
hosted plain {{{{ blobstore = main }}}}
hosted other {{{{ blobstore = disk }}}}
proxy up {{{{ blobstore = disk remotes = {{{{"{remote}"}}}} }}}}
connector "127.0.0.1:{{port}}" {{{{ }}}}
admin "127.0.0.1:{admin}" {{{{ }}}}
"""


class Place:
    """A blob store on a disk of its own."""

    def __init__(self, start, fail, remote="http://127.0.0.1:1"):
        self.admin = free_port()
        self.daemon = start(run=False, text=TEXT.format(admin=self.admin, remote=remote), top='gc_interval = "1d"\n')
        self.disk = self.daemon.dir / "disk"
        self.disk.mkdir()
        self.mounts = []
        self.mount(self.disk)
        self.daemon.fail = fail
        self.daemon.allow_error("path leads elsewhere")
        self.daemon.start()
        self.daemon.everybody()
        self.layer = os.urandom(100_000)
        self.at = Registry(self.daemon.url, "other/app")
        self.body = self.at.push_image("1", layers=(self.layer,))

    def mount(self, where, *what):
        subprocess.run(["mount", *(what or ("-t", "tmpfs", "-o", "size=32m", "none")), str(where)], check=True)
        self.mounts.append(where)

    def umount(self, where):
        subprocess.run(["umount", "-l", str(where)], check=True)
        self.mounts.remove(where)

    def end(self):
        for where in reversed(self.mounts):
            subprocess.run(["umount", "-l", str(where)], check=True)

    def health(self):
        return requests.get(f"http://127.0.0.1:{self.admin}/health", timeout=20)

    def store(self):
        return next(s for s in json.loads(self.daemon.ctl("--json", "repos").stdout)["blobstores"] if s["name"] == "disk")

    def pulls(self):
        return self.at.get("manifests/1").content == self.body and self.at.get(f"blobs/{digest(self.layer)}").content == self.layer


@pytest.fixture
def place(fail, start):
    p = Place(start, fail)
    yield p
    p.end()


def unmounted(place):
    kept = place.daemon.dir / "kept"  # the same disk, elsewhere: it is not lost when it is unmounted here
    kept.mkdir()
    place.mount(kept, "--bind", str(place.disk))
    place.umount(place.disk)
    yield
    place.mount(place.disk, "--bind", str(kept))


def moved(place):
    (place.disk / "store").rename(place.disk / "away")
    yield
    (place.disk / "away").rename(place.disk / "store")


def replaced(place):
    moving = moved(place)
    next(moving)
    (place.disk / "store").mkdir()
    yield
    (place.disk / "store").rmdir()
    next(moving, None)


def mounted_over(place):
    place.mount(place.disk)
    (place.disk / "store").mkdir()
    yield
    place.umount(place.disk)


@pytest.mark.parametrize("how", [unmounted, moved, replaced, mounted_over])
def test_nothing_is_pushed_where_nobody_would_find_it(place, how):
    session = place.at.begin()
    change = how(place)
    next(change)
    wait_for(lambda: "path leads elsewhere" in place.daemon.log_text(), "it is noticed")
    before = {p for p in place.daemon.dir.rglob("*") if p.is_file() and "/catalog/" not in str(p)}
    for attempt in (lambda: place.at.post("blobs/uploads/"), lambda: place.at.post("blobs/uploads/?digest=" + digest(b"y"), data=b"y"),
                    lambda: place.at.request("PATCH", session, data=b"x"), lambda: place.at.finish(session, digest(b""), b""),
                    lambda: place.at.put_manifest(place.body, "2")):
        r = attempt()
        assert (r.status_code, error(r)) == (503, "UNAVAILABLE") and "not where it should be" in r.text and r.headers["Retry-After"], r.text
    assert {p for p in place.daemon.dir.rglob("*") if p.is_file() and "/catalog/" not in str(p)} == before
    assert place.pulls() and place.at.get("manifests/2").status_code == 404
    place.at.at("plain/app").push_image("1")  # others go on
    health = place.health()
    assert health.status_code == 503 and health.json()["blobstores"] == "unavailable" and health.json()["pulls"] == "ok"
    assert (place.store()["open"], place.store()["elsewhere"]) == (False, True)
    assert "LEADS ELSEWHERE" in place.daemon.ctl("repos").stdout
    assert 'blobstore_open{blobstore="disk"} 0' in requests.get(f"http://127.0.0.1:{place.admin}/metrics", timeout=20).text
    catalog = place.daemon.roles("catalog")[0]
    assert catalog["state"] == "degraded" and "the path of blobstore disk leads elsewhere" in catalog["trouble"][0]
    next(change, None)
    wait_for(lambda: place.health().status_code == 200, "it is back")
    assert place.daemon.roles("catalog")[0]["state"] == "ready" and "at its path again" in place.daemon.log_text()
    assert place.at.finish(session, digest(b"late"), b"late").status_code == 201
    place.at.push_image("3")
    assert place.pulls()
    place.daemon.stop()
    assert place.daemon.fsck()[0] == 0


@pytest.mark.parametrize("what", ["a blob", "a manifest"])
def test_a_push_that_was_under_way_is_not_acknowledged(place, what):
    """Its bytes came before the disk went; the catalog looks again."""
    place.daemon.fail.arm("store_place_done", "wait")
    with ThreadPoolExecutor(1) as pool:
        if what == "a blob":
            push = pool.submit(place.at.post, "blobs/uploads/?digest=" + digest(b"y"), data=b"y")
        else:
            push = pool.submit(place.at.put_manifest, place.body + b"\n", "late")
        place.daemon.fail.held("store_place_done")
        moving = moved(place)
        next(moving)
        wait_for(lambda: "path leads elsewhere" in place.daemon.log_text(), "it is noticed")
        place.daemon.fail.release("store_place_done")
        r = push.result(30)
        assert (r.status_code, error(r)) == (503, "UNAVAILABLE"), r.text
    next(moving, None)
    wait_for(lambda: place.health().status_code == 200, "it is back")
    assert place.at.get("manifests/late").status_code == 404
    assert place.at.post("blobs/uploads/?digest=" + digest(b"y"), data=b"y").status_code == 201


def test_what_is_fetched_meanwhile_is_not_kept(fail, start, upstream):  # noqa: F811
    upstream.image("team/app", layers=[b"from afar"])
    place = Place(start, fail, upstream.url)
    try:
        moving = moved(place)
        next(moving)
        wait_for(lambda: "path leads elsewhere" in place.daemon.log_text(), "it is noticed")
        up = Registry(place.daemon.url, "up/team/app")
        assert up.get("manifests/latest").status_code in (502, 503)
        next(moving, None)
        wait_for(lambda: place.health().status_code == 200, "it is back")
        wait_for(lambda: up.get("manifests/latest").status_code == 200, "it is fetched")
    finally:
        place.end()


def test_a_reload_takes_a_store_that_is_back_as_another_file_system(place):
    place.daemon.allow_error("cannot open a blob store")  # for whoever looks while its disk is empty
    shutil.copytree(place.disk, place.daemon.dir / "copy", symlinks=True)
    place.umount(place.disk)
    wait_for(lambda: "path leads elsewhere" in place.daemon.log_text(), "it is noticed")
    place.mount(place.disk)
    shutil.copytree(place.daemon.dir / "copy", place.disk, dirs_exist_ok=True)
    assert place.at.post("blobs/uploads/").status_code == 503, "what is read is still the other one"
    place.daemon.reload()
    wait_for(lambda: place.health().status_code == 200, "it is back")
    place.at.push_image("2")
    assert place.pulls() and len(list((place.disk / "store" / "blobs" / "sha256").glob("*/*"))) > 4
