"""Ordinary mistakes with configuration, disks, clocks and second daemons: each a row of a table, and none costs an image.

A row is done to a daemon that holds images in two hosted repositories, of two blob stores, and in a proxy. What
starts or goes on in spite of it is pressed hard: everything is pulled, garbage is collected at once and without
grace, every directory is walked for orphans, every blob is read by the scrub. Then the mistake is taken back, the
same is done again, and every image must come byte for byte, with fsck finding nothing.
"""
import json
import os
import shutil
import subprocess
import time
import unittest.mock

import pytest
import requests

from harness.clock import FakeClock
from harness.daemon import ENTREPOTD, HEAD, Daemon, wait_for
from harness.registry import Registry, digest
from harness.upstream import Upstream

PARTS = {
    "top": 'gc_grace = "0s"\ngc_interval = "1d"\nscrub_rate = "1G"\n',
    "main": 'blobstore main {{ path = "{dir}/main" }}\n',
    "second": 'blobstore second {{ path = "{dir}/second" }}\n',
    "team": "hosted team {{ blobstore = main }}\n",
    "tools": "hosted tools {{ blobstore = second }}\n",
    "hub": 'proxy hub {{ blobstore = main remotes = {{"@upstream@"}} }}\n',
    "all": "group all {{ members = {{team, tools, hub}} push_to = team }}\n",
    "connector": 'connector "127.0.0.1:{port}" {{ }}\n',
}
REFUSED = 78  # EX_CONFIG: not before somebody changes something


class House:
    """A daemon with images; parts of its configuration are changed by name."""

    def __init__(self):
        self.upstream = Upstream()
        self.daemon = Daemon(text=self.text({}))
        self.images = {}
        self.clock = None

    def text(self, changes):
        parts = {**PARTS, **changes}
        return "".join(parts[name] or "" for name in parts).replace("@upstream@", self.upstream.url)

    def write(self, **changes):
        """Another configuration: parts by name, None leaves one out; without any, the right one."""
        self.daemon.write_conf(HEAD + self.text(changes))

    @property
    def dir(self):
        return self.daemon.dir

    def registry(self, repository, image):
        return Registry(self.daemon.url, f"{repository}/{image}")

    def set_clock(self, seconds):
        """Of a daemon that is started from now on, or has been since the first such call."""
        self.clock = self.clock or FakeClock(self.dir)
        self.clock.set(seconds)

    def start(self, wait=True):
        with unittest.mock.patch.dict(os.environ, self.clock.environment if self.clock else {}):
            self.daemon.start(wait)

    def fill(self):
        self.start()
        self.registry("team", "first").push_image("v1")
        self.stop()
        shutil.copytree(self.dir / "data/catalog", self.dir / "yesterday")
        self.start()
        for repository in ("team", "tools"):
            for n in range(3):
                self.push(repository, f"image{n}")
        layers = (os.urandom(3000),)
        self.images["hub", "library/far"] = (self.upstream.image("library/far", "v1", layers=layers), layers)
        assert self.answers() == {200}
        return self

    def push(self, repository, image):
        layers = (os.urandom(2000), b"the same everywhere")
        self.images[repository, image] = (self.registry(repository, image).push_image("v1", layers=layers), layers)

    def answers(self):
        """Statuses of pulling all there is; a body that is not what was pushed counts as 'changed'."""
        statuses = set()
        for (repository, image), (body, layers) in self.images.items():
            at = self.registry(repository, image)
            for rest, data in [("manifests/v1", body)] + [(f"blobs/{digest(x)}", x) for x in layers]:
                try:
                    r = at.get(rest)
                except requests.RequestException:
                    statuses.add("no answer")
                    continue
                statuses.add("changed" if r.status_code == 200 and r.content != data else r.status_code)
        return statuses

    def press(self):
        """Everything that could take something away, at once."""
        self.answers()
        for command, done in (("gc", "sweeps"), ("scrub", "passes")):
            before = self.counter(command, done)
            if before is None or self.daemon.ctl(command, check=False).returncode != 0:
                continue  # a daemon without its database collects and reads nothing
            wait_for(lambda c=command, n=done, b=before: self.counter(c, n) != b, f"{command} is through", 30)

    def counter(self, command, name):
        """How often it was done; None while it cannot be told, or is not over."""
        done = self.daemon.ctl("--json", command, "--status", check=False)
        if done.returncode != 0:
            return None
        status = json.loads(done.stdout)
        return "running" if status.get("running") else status[name]

    def stop(self):
        """Ends it, if it runs."""
        if self.daemon.process is not None:
            self.daemon.stop()

    def move(self, path):
        """Out of the way: a disk that is not mounted, a file that somebody removed."""
        os.rename(self.dir / path, self.dir / "away")

    def move_back(self, path):
        """What was made in its place meanwhile goes."""
        place = self.dir / path
        if place.is_dir():
            shutil.rmtree(place)
        place.unlink(missing_ok=True)
        os.rename(self.dir / "away", place)

    def close(self):
        self.daemon.close(check=False)
        self.upstream.close()


@pytest.fixture
def house():
    h = House()
    yield h
    h.close()


# A row: what is done, "running" or "stopped" (what the daemon is when it is done) and how it is taken up ("start",
# "reload" or not at all), what comes of it ("refused": with which words; "serves": with which answers to pulls).
ROWS = {}


def row(taken_up, refused=None, serves=(200,), log=None):
    def add(steps):
        ROWS[steps.__name__] = (steps, taken_up, refused, set(serves), log)
        return steps
    return add


def refused_and_served(*words):
    """Both ways of taking up one edit of the configuration."""
    def add(steps):
        row("start", refused=words)(steps)
        ROWS[steps.__name__ + "_by_reload"] = (steps, "reload", words, {200}, None)
        return steps
    return add


# --- the configuration


@refused_and_served("store rename")
def a_store_section_gets_another_name(h):
    h.write(main='blobstore prime {{ path = "{dir}/main" }}\n', team="hosted team {{ blobstore = prime }}\n",
            hub=PARTS["hub"].replace("main", "prime"))
    yield
    h.write()


@refused_and_served()
def the_paths_of_two_stores_are_exchanged(h):
    h.write(main='blobstore main {{ path = "{dir}/second" }}\n', second='blobstore second {{ path = "{dir}/main" }}\n')
    yield
    h.write()


@refused_and_served()
def a_second_section_for_the_same_path(h):
    h.write(second='blobstore second {{ path = "{dir}/main" }}\n')
    yield
    h.write()


@refused_and_served()
def a_second_section_for_the_same_path_by_a_link(h):
    link = h.dir / "link"
    link.unlink(missing_ok=True)
    link.symlink_to("main")
    h.write(second='blobstore second {{ path = "{dir}/link" }}\n')
    yield
    h.write()


@refused_and_served()
def a_store_inside_another(h):
    h.write(second='blobstore second {{ path = "{dir}/main/blobs" }}\n')
    yield
    h.write()


@refused_and_served("repo move")
def a_repository_is_told_to_lie_in_another_store(h):
    h.write(team="hosted team {{ blobstore = second }}\n")
    yield
    h.write()


@refused_and_served("repo drop")
def a_hosted_repository_becomes_a_proxy_with_a_quota(h):
    h.write(team='proxy team {{ blobstore = main remotes = {{"@upstream@"}} quota = 1M }}\n',
            all="group all {{ members = {{team, tools, hub}} push_to = tools }}\n")
    yield
    h.write()


@refused_and_served()
def data_dir_is_another_and_empty(h):
    text = h.daemon.conf.read_text().replace(f"{h.dir}/data", f"{h.dir}/other")
    h.daemon.conf.write_text(text)
    yield
    h.write()


@refused_and_served("push_to")
def a_group_pushes_to_whom_it_does_not_have(h):
    h.write(all="group all {{ members = {{tools, hub}} push_to = team }}\n")
    yield
    h.write()


@refused_and_served()
def the_file_is_cut_in_the_middle(h):
    text = h.daemon.conf.read_text()
    h.daemon.conf.write_text(text[:text.index("group all") + 12])
    yield
    h.write()


@row("start", serves=(200, 404), log="team")
def a_repository_s_section_is_removed(h):
    h.write(team=None, all="group all {{ members = {{tools, hub}} push_to = tools }}\n")
    yield
    h.write()


@row("start", serves=(200, 404), log="team")
def a_repository_gets_another_name(h):
    h.write(team="hosted squad {{ blobstore = main }}\n", all="group all {{ members = {{squad, tools, hub}} push_to = squad }}\n")
    yield
    h.write()


@row("start")
def hosted_repositories_are_over_a_new_quota(h):
    h.write(main='blobstore main {{ path = "{dir}/main" quota = 1K }}\n')
    yield
    h.write()


@row("reload")
def keep_free_is_more_than_the_disk_has(h):
    h.write(second='blobstore second {{ path = "{dir}/second" keep_free = 900T }}\n')
    yield
    h.write()


# --- disks and files


@row("start", refused=("is missing", "mounted"))
def the_database_s_directory_is_not_there(h):
    h.move("data/catalog")
    yield
    h.move_back("data/catalog")


@row("start", refused=("is missing", "mounted"))
def the_database_s_directory_is_empty(h):
    h.move("data/catalog")
    h.daemon.dir.joinpath("data/catalog").mkdir()
    yield
    h.move_back("data/catalog")


@row("start", refused=())
def data_dir_is_not_mounted(h):
    h.move("data")
    yield
    h.move_back("data")


@row("start", serves=(503,), log="cannot open the database")
def the_database_s_current_is_removed(h):
    h.move("data/catalog/CURRENT")
    yield
    h.move_back("data/catalog/CURRENT")


@row("start", serves=(200, 503), log="main")
def a_store_s_disk_is_not_mounted(h):
    h.move("main")
    (h.dir / "main").mkdir()
    yield
    h.move_back("main")


@row("reload", refused=("mounted",))
def a_store_s_disk_goes_under_a_reload(h):
    h.move("main")
    (h.dir / "main").mkdir()
    yield
    h.move_back("main")


@row("start", serves=(200, 503))
def a_store_s_directory_is_gone(h):
    h.move("second")
    yield
    h.move_back("second")


@row("start", refused=())
def another_disk_is_mounted_in_a_store_s_place(h):
    h.move("main")
    other = Daemon(text='blobstore main {{ path = "{dir}/main" }}\nhosted team {{ blobstore = main }}\n'
                        'connector "127.0.0.1:{port}" {{ }}\n')
    try:
        other.start()
        Registry(other.url, "team/image0").push_image("v1", layers=(b"foreign",))
        other.stop()
        shutil.copytree(other.dir / "main", h.dir / "main")
    finally:
        other.close(check=False)
    yield
    h.move_back("main")


@row("start", refused=())
def a_store_is_there_twice(h):
    shutil.copytree(h.dir / "main", h.dir / "copy")
    h.write(second='blobstore second {{ path = "{dir}/copy" }}\n')
    yield
    h.write()


@row("start")
def a_store_moves_with_all_it_has(h):
    os.rename(h.dir / "main", h.dir / "moved")
    h.write(main='blobstore main {{ path = "{dir}/moved" }}\n')
    yield
    os.rename(h.dir / "moved", h.dir / "main")
    h.write()


@row("start", serves=(200, 503))
def yesterday_s_database_comes_back_from_a_backup(h):
    h.move("data/catalog")
    shutil.copytree(h.dir / "yesterday", h.dir / "data/catalog")
    yield
    h.move_back("data/catalog")


@row("start")
def a_store_s_working_directories_are_cleaned_away(h):
    for name in ("uploads", "trash", "partial", "quarantine"):
        shutil.rmtree(h.dir / "main" / name)
    yield


@row("start", refused=())
def a_store_s_identity_is_garbage(h):
    h.move("main/IDENTITY")
    (h.dir / "main/IDENTITY").write_bytes(b"\0" * 100)
    yield
    h.move_back("main/IDENTITY")


@row("start", refused=())
def a_store_s_identity_is_removed(h):
    h.move("main/IDENTITY")
    yield
    h.move_back("main/IDENTITY")


# --- clocks


DAYS = 3 * 86400


@row("start")
def the_clock_is_ahead_at_a_start(h):
    h.set_clock(DAYS)
    yield
    h.set_clock(0)


@row("start")
def the_clock_is_at_its_beginning_at_a_start(h):
    """Its battery is empty."""
    h.set_clock(1000 - int(time.time()))
    yield
    h.set_clock(0)


def with_a_clock(h, seconds):
    """The running daemon gets one that is so far off; what is not old is not garbage then."""
    h.stop()
    h.set_clock(seconds)
    h.write(top=PARTS["top"].replace('gc_grace = "0s"', 'gc_grace = "1h"'))
    h.start()


def jumps(h, *offsets):
    """Under the running daemon, in the middle of a push."""
    at, layer = h.registry("team", "half"), os.urandom(2000)
    body = at.image_manifest(layers=(layer,))  # pushes what it names
    for seconds in offsets:
        told = h.daemon.log_text().count("the wall clock jumped")
        h.set_clock(seconds)
        wait_for(lambda n=told: h.daemon.log_text().count("the wall clock jumped") > n, "the jump is told")
        h.press()
    assert at.put_manifest(body, "v1").status_code == 201
    h.images["team", "half"] = (body, (layer,))


@row("running")
def the_clock_jumps_ahead(h):
    with_a_clock(h, 0)
    jumps(h, DAYS)
    yield
    h.set_clock(0)
    h.write()


@row("running")
def the_clock_jumps_ahead_and_back(h):
    with_a_clock(h, 0)
    jumps(h, DAYS, 0)
    yield
    h.write()


@row("running")
def the_clock_goes_back(h):
    with_a_clock(h, 0)
    jumps(h, -DAYS)
    yield
    h.set_clock(0)
    h.write()


@row("running")
def images_are_pushed_while_the_clock_is_ahead(h):
    with_a_clock(h, DAYS)
    h.push("tools", "of-the-future")
    h.push("team", "image1")  # its tag moves
    jumps(h, 0)
    yield
    h.write()


@row("running")
def images_are_pushed_while_the_clock_is_behind(h):
    with_a_clock(h, -DAYS)
    h.push("tools", "of-the-past")
    h.push("team", "image1")
    jumps(h, 0)
    yield
    h.write()


# --- second daemons


def beside(h, changes=(), **kw):
    """Another daemon of this configuration but for its run_dir, logs and port: it must not start."""
    other = Daemon(**kw)
    other.dir.mkdir(exist_ok=True)
    text = h.daemon.conf.read_text().replace(f":{h.daemon.port}", f":{other.port}")
    for old, new in ((f"{h.dir}/run", f"{other.dir}/run"), (f"{h.dir}/log", f"{other.dir}/log"),
                     (f"{h.dir}/access.log", f"{other.dir}/access.log"), *changes):
        text = text.replace(old, new)
    other.conf.write_text(text)
    try:
        done = subprocess.run([ENTREPOTD, "-f", "-c", str(other.conf)], cwd=other.dir, timeout=30,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        assert done.returncode != 0, done.stdout
    finally:
        other.close(check=False)


@row("running")
def a_second_daemon_of_the_same_configuration(h):
    beside(h)
    yield


@row("running")
def a_second_daemon_with_another_data_dir(h):
    beside(h, ((f"{h.dir}/data", f"{h.dir}/elsewhere"),))
    yield


@row("running")
def a_second_daemon_with_a_copy_of_data_dir(h):
    shutil.copytree(h.dir / "data", h.dir / "copied", ignore_dangling_symlinks=True)
    beside(h, ((f"{h.dir}/data", f"{h.dir}/copied"),))
    yield


@row("running")
def a_second_daemon_by_another_name_of_the_store(h):
    (h.dir / "alias").symlink_to(h.dir)
    beside(h, ((f"{h.dir}/data", f"{h.dir}/elsewhere"), (f"{h.dir}/main", f"{h.dir}/alias/main"),
               (f"{h.dir}/second", f"{h.dir}/alias/second")))
    yield


@row("running")
def a_repair_beside_the_daemon(h):
    assert h.daemon.fsck("--repair")[0] == 8
    yield


# --- the drive


def take_up(h, how, refused, log):
    """True: it serves in spite of it."""
    daemon = h.daemon
    if how == "reload":
        told = len(daemon.log_text())
        daemon.process.send_signal(1)
        text = wait_for(lambda: (t := daemon.log_text()[told:]) and
                        ("reload refused" in t or 'msg="reloaded"' in t) and t, "the reload has its verdict", 30)
        assert ("reload refused" in text) == (refused is not None), text
    elif how == "start":
        told = len(daemon.log_text())
        h.start(wait=False)
        if refused is not None:
            assert daemon.process.wait(30) in (1, REFUSED), daemon.log_text()[told:]
            daemon.process = None
        else:
            wait_for(daemon.serving, "it serves in spite of it", 30)
        text = daemon.log_text()[told:]
    else:
        return True
    for word in (*(refused or ()), *([log] if log else ())):
        assert word in text, text
    return daemon.process is not None


# AddressSanitizer's slow run of the same repeats every fourth one.
@pytest.mark.parametrize("name", list(ROWS)[::4] if "build-asan" in ENTREPOTD else list(ROWS))
def test_costs_no_image(house, name):
    steps, how, refused, answers, log = ROWS[name]
    h = house.fill()
    if how == "start":
        h.stop()
    doing = steps(h)
    next(doing)
    if take_up(h, how, refused, log):
        h.press()
        assert h.answers() <= answers
    h.stop()
    assert next(doing, "over") == "over"
    h.start()
    h.press()
    assert h.answers() == {200}
    h.stop()
    status, report = h.daemon.fsck()
    assert status == 0, json.dumps(report, indent=1)
