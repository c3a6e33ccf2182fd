"""What blob stores are called, where they lie and to whom they belong may change; their images stay."""
import json
import os
import pathlib
import shutil
import subprocess

import pytest

from harness.daemon import ENTREPOTCTL, ENTREPOTD, HEAD, wait_for
from harness.registry import Registry, digest

HERE = pathlib.Path(__file__).parent
TOP = 'gc_grace = "0s"\ngc_interval = "1d"\nscrub_rate = "1G"\n'
CONNECTOR = 'connector "127.0.0.1:{port}" {{ }}\n'
REFUSED = 78
DYING = "a process keeps dying"
AWAY = ("answers 503", 'err="temporarily unavailable"')


def stores(**paths):
    """A configuration with a hosted repository for each store: store name -> path below the daemon's directory."""
    return "".join(f'blobstore {name} {{{{ path = "{{dir}}/{path}" }}}}\nhosted in-{name} {{{{ blobstore = {name} }}}}\n'
                   for name, path in paths.items()) + CONNECTOR


def conf(daemon, text):
    """The configuration from now on."""
    daemon.write_conf(HEAD + TOP + text)


class Images:
    """What was pushed, and whether it still comes."""

    def __init__(self, daemon):
        self.daemon, self.pushed = daemon, []

    def push(self, repository, image, layers=None):
        layers = layers or (os.urandom(3000), b"the same everywhere")
        body = Registry(self.daemon.url, f"{repository}/{image}").push_image("v1", layers=layers)
        self.pushed.append((repository, image, body, layers))
        return self

    def answers(self):
        """Statuses of pulling all; what comes otherwise than it was pushed counts as 'changed'."""
        found = set()
        for repository, image, body, layers in self.pushed:
            at = Registry(self.daemon.url, f"{repository}/{image}")
            for rest, data in [("manifests/v1", body), *((f"blobs/{digest(x)}", x) for x in layers)]:
                r = at.get(rest)
                found.add("changed" if r.status_code == 200 and r.content != data else r.status_code)
        return found


def through(daemon, command, done):
    """Runs it and waits until it has seen everything."""
    def counter():
        status = json.loads(daemon.ctl("--json", command, "--status").stdout)
        return None if status["running"] else status[done]
    before = wait_for(lambda: (n := counter()) is not None and (n,), f"{command} rests")[0]
    daemon.ctl(command)
    wait_for(lambda: counter() not in (None, before), f"{command} is through", 30)


def press(daemon):
    """All that could take something away or hide it: twice the walk for orphans, and the scrub."""
    for command, done in (("gc", "sweeps"), ("gc", "sweeps"), ("scrub", "passes")):
        through(daemon, command, done)


def clean(daemon):
    daemon.stop()
    status, report = daemon.fsck()
    assert status == 0, json.dumps(report, indent=1)


def refused(daemon, *words):
    told = len(daemon.log_text())
    daemon.start(wait=False)
    code = daemon.process.wait(30)
    text = daemon.log_text()[told:]
    daemon.process = None
    assert code == REFUSED, text
    for word in words:
        assert word in text, text
    daemon.allow_error("do not belong together")


def ctl(daemon, *args, good=True):
    done = subprocess.run([ENTREPOTCTL, "-c", str(daemon.conf), *args], text=True, timeout=60, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert (done.returncode == 0) == good, done.stdout
    return done.stdout


@pytest.fixture
def make_old(tmp_path):
    """Makes of a stopped daemon's data what a version before identities has left."""
    program = tmp_path / "old_format"
    subprocess.run(["cc", "-O1", "-o", str(program), str(HERE / "old_format.c"), "-lleveldb"], check=True)

    def make(daemon, *paths):
        subprocess.run([str(program), str(daemon.data_dir / "catalog")], check=True)
        for path in (daemon.data_dir / "catalog", *(daemon.dir / p for p in paths)):
            for name in ("IDENTITY", "lock"):
                (path / name).unlink(missing_ok=True)
    return make


STEPS = ("catalog_identity_recorded", "catalog_store_recorded", "catalog_store_bound")


@pytest.mark.parametrize("step", STEPS)
def test_a_first_start_dies_while_it_binds(start, fail, step):
    daemon = start(run=False, top=TOP, text=stores(a="a", b="b"))
    daemon.allow_error(DYING, *AWAY)
    fail.arm(step, "kill")
    daemon.start()
    fail.taken(step)
    for repository in ("in-a", "in-b"):
        pushes = Registry(daemon.url, f"{repository}/try")
        wait_for(lambda p=pushes: p.post("blobs/uploads/").status_code == 202, "it takes pushes")
    daemon.has_stores()
    images = Images(daemon).push("in-a", "x").push("in-b", "y")
    daemon.stop()
    daemon.start()
    press(daemon)
    assert images.answers() == {200}
    clean(daemon)


@pytest.mark.parametrize("step", [None, *STEPS])
def test_data_of_before_identities_is_bound(start, fail, make_old, step):
    daemon = start(top=TOP, text=stores(a="a", b="b"))
    images = Images(daemon).push("in-a", "x").push("in-b", "y")
    daemon.stop()
    make_old(daemon, "a", "b")
    if step:
        daemon.allow_error(DYING, *AWAY)
        fail.arm(step, "kill")
    daemon.start()
    if step:
        fail.taken(step)
    wait_for(lambda: images.answers() == {200}, "images are served")
    daemon.has_stores()
    press(daemon)
    assert images.answers() == {200}
    images.push("in-a", "z")
    daemon.stop()
    daemon.start()
    press(daemon)
    assert images.answers() == {200}
    clean(daemon)


def test_a_store_renamed_by_its_command_keeps_its_images(start):
    daemon = start(top=TOP, text=stores(a="a"))
    images = Images(daemon).push("in-a", "x")
    conf(daemon, stores(b="./a").replace("in-b", "in-a"))  # the lock is known by any name
    ctl(daemon, "store", "rename", "a", "b")
    daemon.reload()
    press(daemon)
    assert images.answers() == {200}
    daemon.stop()
    daemon.start()
    press(daemon)
    assert images.push("in-a", "y").answers() == {200}
    clean(daemon)


def test_a_renamed_store_that_is_not_mounted_is_not_a_new_one(start):
    daemon = start(top=TOP, text=stores(a="a"))
    images = Images(daemon).push("in-a", "x")
    daemon.stop()
    conf(daemon, stores(b="a").replace("in-b", "in-a"))
    ctl(daemon, "store", "rename", "a", "b")
    daemon.start()
    assert images.answers() == {200}
    daemon.stop()
    os.rename(daemon.dir / "a", daemon.dir / "away")
    (daemon.dir / "a").mkdir()
    daemon.allow_error(*AWAY)
    daemon.start()
    assert images.answers() <= {503, 200}  # a small manifest may come from memory; never a 404
    assert 503 in images.answers()
    assert Registry(daemon.url, "in-a/new").post("blobs/uploads/").status_code == 503
    daemon.stop()
    assert not os.listdir(daemon.dir / "a")
    os.rmdir(daemon.dir / "a")
    os.rename(daemon.dir / "away", daemon.dir / "a")
    daemon.start()
    press(daemon)
    assert images.answers() == {200}
    clean(daemon)


def test_a_new_store_has_the_old_name_of_a_renamed_one(start):
    daemon = start(top=TOP, text=stores(a="one"))
    images = Images(daemon).push("in-a", "x")
    daemon.stop()
    conf(daemon, stores(b="one", a="two").replace("in-b", "in-old").replace("in-a", "in-new").replace("in-old", "in-a"))
    ctl(daemon, "store", "rename", "a", "b")
    daemon.start()
    assert images.answers() == {200}
    images.push("in-new", "y", layers=(b"the same everywhere", b"other"))
    press(daemon)
    assert images.answers() == {200}
    same = digest(b"the same everywhere")[7:]
    for path in ("one", "two"):  # each has its own copy
        assert (daemon.dir / path / "blobs/sha256" / same[:2] / same).exists()
    Registry(daemon.url, "in-new/y").delete("manifests/v1")
    images.pushed.pop()
    press(daemon)
    assert images.answers() == {200}
    clean(daemon)


def test_a_section_is_added_for_the_blobs_of_data_dir(start):
    daemon = start(top=TOP, text="hosted in-a {{ }}\n" + CONNECTOR)
    images = Images(daemon).push("in-a", "x")
    blobs = 'blobstore images {{ path = "{dir}/data/blobs" }}\nhosted in-a {{ blobstore = images }}\n' + CONNECTOR
    conf(daemon, blobs)
    daemon.hup()
    wait_for(lambda: "reload refused" in daemon.log_text(), "the reload is refused")
    daemon.allow_error("do not belong together", "reload refused")
    assert "store rename" in daemon.log_text()
    press(daemon)
    assert images.answers() == {200}
    daemon.stop()
    refused(daemon, "store rename main images")
    assert "store rename" in subprocess.run([ENTREPOTD, "-t", "-c", str(daemon.conf)], stderr=subprocess.PIPE, text=True).stderr
    ctl(daemon, "store", "rename", "main", "images")
    daemon.start()
    press(daemon)
    assert images.answers() == {200}
    clean(daemon)


@pytest.mark.parametrize("new_name", ["a", "b"])
def test_a_store_that_lost_its_identity_is_adopted_with_its_images(start, new_name):
    daemon = start(top=TOP, text=stores(a="a"))
    images = Images(daemon).push("in-a", "x")
    daemon.stop()
    if new_name == "b":
        conf(daemon, stores(b="a").replace("in-b", "in-a"))
        ctl(daemon, "store", "rename", "a", "b")
        daemon.start()
        daemon.stop()
    (daemon.dir / "a/IDENTITY").unlink()
    refused(daemon, f"store adopt {new_name}")
    ctl(daemon, "store", "adopt", "--yes", new_name)
    daemon.start()
    press(daemon)
    assert images.answers() == {200}
    clean(daemon)


def test_what_an_adopted_store_has_without_records_stays(start, make_old):
    """Also in a database of before identities, whose time of making nobody knows."""
    daemon = start(top=TOP, text=stores(a="a"))
    images = Images(daemon).push("in-a", "x")
    other = start(top=TOP, text=stores(a="a"))
    Images(other).push("in-a", "y")
    other.stop()
    daemon.stop()
    make_old(daemon, "a")
    daemon.start()
    daemon.stop()
    shutil.copytree(other.dir / "a", daemon.dir / "other")
    conf(daemon, stores(a="a", b="other"))
    refused(daemon, "store adopt b")
    ctl(daemon, "store", "adopt", "--yes", "b")
    daemon.start()
    before = {p.name for p in (daemon.dir / "other/blobs").rglob("*") if p.is_file()}
    for n in range(12):  # so that there are more files with a record than without
        images.push("in-b", f"z{n}")
    press(daemon)
    assert before <= {p.name for p in (daemon.dir / "other/blobs").rglob("*") if p.is_file()}
    assert images.answers() == {200}
    assert "gc --orphans" in daemon.log_text()


def test_a_disk_that_comes_late_is_served_and_locked(start):
    daemon = start(top=TOP, text=stores(a="a", b="b"))
    images = Images(daemon).push("in-a", "x").push("in-b", "y")
    daemon.stop()
    os.rename(daemon.dir / "a", daemon.dir / "away")
    (daemon.dir / "a").mkdir()
    daemon.allow_error(*AWAY)
    daemon.start()
    assert 503 in images.answers()
    (daemon.dir / "a").rmdir()
    os.rename(daemon.dir / "away", daemon.dir / "a")
    wait_for(lambda: images.answers() == {200}, "the disk's images are served")
    daemon.has_stores()
    press(daemon)
    assert images.answers() == {200}
    other = start(run=False, top=TOP, text=stores(a="a"))
    other.conf.write_text(other.conf.read_text().replace(f"{other.dir}/a\"", f"{daemon.dir}/a\""))
    shutil.copytree(daemon.data_dir / "catalog", other.data_dir / "catalog")  # even where it would belong
    other.start(wait=False)
    assert other.process.wait(30) != 0
    other.process = None
    assert "another entrepotd uses this blob store" in other.log_text()
    other.allow_error("another entrepotd")
    clean(daemon)


def test_a_store_that_cannot_be_written_to_does_not_stop_the_others(start, make_old):
    """At its first start with identities: it answers 503 until it could be bound."""
    daemon = start(top=TOP, text=stores(a="a", b="b"))
    images = Images(daemon).push("in-a", "x").push("in-b", "y")
    daemon.stop()
    make_old(daemon, "a", "b")
    path = str(daemon.dir / "a")
    subprocess.run(["mount", "--bind", path, path], check=True)
    try:
        subprocess.run(["mount", "-o", "remount,ro,bind", path], check=True)
        daemon.allow_error(*AWAY)
        daemon.start()
        wait_for(lambda: 200 in images.answers(), "the other store's images are served")
        assert images.answers() == {200, 503}
        images.push("in-b", "z")
        assert "cannot be written to and does not say yet whose it is" in daemon.log_text()
    finally:
        subprocess.run(["umount", "-l", path], check=True)
    wait_for(lambda: images.answers() == {200}, "all are served when it can be written to")
    daemon.has_stores()
    assert images.push("in-a", "after").answers() == {200}
    press(daemon)
    assert images.answers() == {200}
    clean(daemon)


def test_one_directory_mounted_in_two_places_is_one_store(start):
    daemon = start(run=False, top=TOP, text=stores(a="a", b="b"))
    for name in ("a", "b"):
        (daemon.dir / name).mkdir()
    subprocess.run(["mount", "--bind", str(daemon.dir / "a"), str(daemon.dir / "b")], check=True)
    try:
        refused(daemon, "are one directory")
    finally:
        subprocess.run(["umount", str(daemon.dir / "b")], check=True)
