"""SIGKILL at every named fail point under load; then what is served is compared with what was acknowledged."""
import os
import random
import shutil
import signal
import subprocess
import threading
import time

import pytest
import requests

from harness.daemon import BODY, ENTREPOTCTL, alive, free_port, wait_for
from harness.fail import NAMES
from harness.registry import OCI_INDEX, Registry, digest

TOP = 'gc_grace = "0s"\ngc_interval = "100ms"\nscrub_rate = "200M"\n'

# A repository whose first image comes and goes while others are at work.
PASSING = 'hosted passing {{ }}\nconnector "127.0.0.1:%d" {{ repository = passing }}\n'


class Client(threading.Thread):
    """Pushes, moves and deletes tags of an image of its own, and remembers what it was promised."""

    def __init__(self, daemon, name, seed):
        super().__init__()
        self.daemon_of_test, self.name, self.rng = daemon, name, random.Random(seed)
        self.registry = Registry(daemon.url, name)
        self.promised = {}  # tag -> (manifest, layer), or None: deleted; missing: unsure
        self.stop, self.count, self.wrong = threading.Event(), 0, []

    def run(self):
        while not self.stop.is_set():
            try:
                self.change()
            except requests.RequestException:
                self.registry = Registry(self.daemon_of_test.url, self.name)
                self.stop.wait(0.02)
            except AssertionError as e:  # an answer that is no acknowledgement, such as 503
                if not any(x in str(e) for x in ("UNAVAILABLE", "BLOB_UPLOAD_UNKNOWN", "BLOB_UPLOAD_INVALID", "TOOMANYREQUESTS")):
                    self.wrong.append(str(e)[:500])
                self.stop.wait(0.02)

    def change(self):
        tag = f"t{self.rng.randrange(6)}"
        if self.rng.random() < 0.75:
            layer = self.rng.randbytes(self.rng.randrange(1, 100_000))
            body = self.registry.image_manifest(layers=(layer,))
            self.promised.pop(tag, None)
            if self.registry.put_manifest(body, tag).status_code == 201:
                self.promised[tag] = (body, layer)
        elif self.promised.get(tag):
            body = self.promised.pop(tag)[0]
            ref = tag if self.rng.random() < 0.5 else digest(body)
            if self.registry.delete(f"manifests/{ref}").status_code == 202:
                self.promised[tag] = None
        self.count += 1

    def check(self):
        registry = Registry(self.daemon_of_test.url, self.name)
        for tag, expected in self.promised.items():
            r = registry.get(f"manifests/{tag}")
            if expected is None:
                assert r.status_code == 404, f"{self.name}:{tag} is deleted and served"
                continue
            assert r.status_code == 200 and r.content == expected[0], f"{self.name}:{tag}: {r.status_code} {r.text}"
            for data in (expected[1], b"{}"):
                assert registry.get(f"blobs/{digest(data)}").content == data


class Storm:
    def __init__(self, daemon, seed=1, clients=3):
        self.daemon = daemon
        self.clients = [Client(daemon, f"storm/c{n}", seed * 100 + n) for n in range(clients)]
        for c in self.clients:
            c.start()

    def working(self):
        before = [c.count for c in self.clients]
        wait_for(lambda: all(c.count > n + 2 for c, n in zip(self.clients, before)), "changes go on", 60)

    def end(self):
        for c in self.clients:
            c.stop.set()
        for c in self.clients:
            c.join()
        assert not any(c.wrong for c in self.clients), [c.wrong[:2] for c in self.clients]

    def check(self):
        """Now, and after a power cut, with fsck between."""
        for c in self.clients:
            c.check()
        self.daemon.kill_all()
        status, report = self.daemon.fsck()
        assert status == 0 and report["complete"], [x for x in report["found"] if x["kind"] != "orphan"]
        self.daemon.start()
        for c in self.clients:
            c.check()
        wait_for(lambda: self.daemon.journals_kept(), "the journals are what they should be again")
        self.daemon.stop()
        status, report = self.daemon.fsck()
        assert status == 0 and not [x for x in report["found"] if x["kind"] != "orphan"], report["found"]
        self.daemon.start()


@pytest.fixture
def stormy(fail, start):
    port = free_port()
    daemon = start(top=TOP, text=BODY + PASSING % port)
    daemon.passing = f"http://127.0.0.1:{port}"
    daemon.fail = fail
    daemon.allow_error("keeps dying", "a blob's bytes have changed", "ended before")
    return daemon


def hold(registry, data=b"layer"):
    """An image of one layer; without grace a sweep may come between blob and manifest, so once more."""
    wait_for(lambda: registry.put_manifest(registry.image_manifest(b"{}", (data,)), "1").status_code == 201, "it is held")


def damage(daemon, victim, data):
    """Changes a blob that a manifest holds."""
    hold(victim, data)
    d = digest(data)
    daemon.blob_path(d).write_bytes(b"?" * len(data))


def provoke(daemon, point, victim):
    """What makes somebody come by."""
    if point in ("master_reload", "master_replaced"):
        daemon.process.send_signal(signal.SIGHUP)
    elif point in ("master_fork", "catalog_survey") or point.startswith("catalog_index"):
        daemon.kill_role("catalog")
    elif point == "worker_accept":
        requests.get(daemon.url + "/v2/", timeout=5)  # the clients keep their connections
    elif point == "worker_blob_open":
        end = time.monotonic() + 30
        while daemon.fail.pending(point) and time.monotonic() < end:  # without grace a sweep may come between
            Registry(daemon.url, "storm/victim").get("blobs/" + victim.push_blob(os.urandom(100_000)))
    elif point == "worker_blob_marked":
        victim.get("blobs/" + digest(b"nobody has it"))
    elif point == "worker_list_more":
        empty = b'{"schemaVersion":2,"mediaType":"%s","manifests":[]}' % OCI_INDEX.encode()  # nothing that a sweep could take
        for i in range(0, 1100, 20):  # more than a slice (src/catalog/slice.h)
            query = "?" + "&".join(f"tag=n{n}" for n in range(i, i + 20))
            assert victim.put_manifest(empty, media_type=OCI_INDEX, query=query).status_code == 201
        victim.get("tags/list")
    elif point == "worker_upload_rewind":
        url = victim.absolute(victim.request("PATCH", victim.begin(), data=b"a" * 1000))
        for _ in range(2):
            victim.request("PATCH", url, data=os.urandom(500))
    elif point in ("catalog_held_written", "catalog_drop_written"):
        hold(Registry(daemon.passing, "storm/passing"))
        daemon.ctl("repo", "drop", "passing", "--yes", check=False)
    elif point in ("catalog_journal_made", "catalog_journal_placed"):
        daemon.fail.arm("catalog_journal_write", "ENOSPC")  # it is written anew then
    elif point in ("catalog_damage_noted", "catalog_quarantine"):
        damage(daemon, victim, b"victim" * 1000)
        daemon.ctl("scrub")
    elif point in ("catalog_scrub_open", "catalog_scrub_read"):
        hold(victim)  # else there may be nothing to read: without grace a sweep takes what no manifest names
        daemon.ctl("scrub")


# AddressSanitizer's slow run of the same repeats every eighth one.
# Steps of a download need an upstream: test_fetcher_kills.py walks them; those of fsck: test_fsck_online.py;
# those of a first start: test_stores.py; those of a move: test_repo_move.py;
# those of rebuild: test_rebuild.py; that of logins: test_auth_life.py.
FIRST_START = ("catalog_identity_recorded", "catalog_store_bound", "catalog_store_recorded")
NAMES = [name for name in NAMES if not name.startswith(("fetcher_", "fsck_", "repo_move_", "rebuild_", "auth_")) and name not in FIRST_START]
POINTS = NAMES[::8] if "build-asan" in os.environ.get("ENTREPOTD", "") else NAMES


@pytest.mark.parametrize("point", POINTS)
def test_killed_at(stormy, point):
    daemon = stormy
    storm = Storm(daemon)
    victim = Registry(daemon.url, "storm/victim")
    try:
        storm.working()
        daemon.fail.arm(point, "kill")
        try:
            provoke(daemon, point, victim)
        except (requests.RequestException, AssertionError):
            assert not daemon.fail.pending(point)  # it died of it
        daemon.fail.taken(point, 30)
        if point.startswith("master_"):
            children = [p for p in daemon.all_pids() if p != daemon.process.pid]
            daemon.process.wait(10)
            wait_for(lambda: not any(alive(p) for p in children), "orphaned processes leave", 30)
            daemon.stderr.close()
            daemon.start()
        storm.working()
    finally:
        storm.end()
    wait_for(lambda: all(r["state"] == "ready" for r in daemon.roles()), "all are back", 30)
    if point in ("catalog_damage_noted", "catalog_quarantine"):
        victim = Registry(daemon.url, "storm/victim")
        wait_for(lambda: victim.head("blobs/" + digest(b"victim" * 1000)).status_code == 404, "it is hidden")
        victim.push_blob(b"victim" * 1000)
    storm.check()


def test_fsck_beside_a_storm(stormy):
    """Whatever changes while it looks: nothing is wrong, so nothing is told."""
    storm, blobs = Storm(stormy, 7), 0
    try:
        for _ in range(6):
            storm.working()
            status, report = stormy.fsck()
            assert (status, report["found"], report["complete"], report["online"]) == (0, [], True, True), report
            blobs += report["blobs"]
        assert blobs > 0  # with a sweep each 100 ms there may be none at times
    finally:
        storm.end()
    storm.check()
    assert not (stormy.data_dir / "fsck").exists()


@pytest.mark.parametrize("point", [None, "catalog_turn_written", "catalog_journal_write", "catalog_journal_appended",
                                   "catalog_journal_made", "catalog_journal_placed"])
def test_the_database_is_lost_after_a_storm(stormy, point):
    """All that was promised comes back from the journals and the blobs."""
    storm = Storm(stormy, 11)
    try:
        storm.working()
        if point:
            stormy.fail.arm(point, "kill")
            provoke(stormy, point, None)
            stormy.fail.taken(point, 30)
            storm.working()
    finally:
        storm.end()
    wait_for(stormy.journals_kept, "the journals are what they should be again", 30)
    stormy.stop()
    shutil.rmtree(stormy.data_dir / "catalog")
    done = subprocess.run([ENTREPOTCTL, "-c", str(stormy.conf), "rebuild", "--yes"], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    stormy.start()
    storm.check()


def soak(daemon, seconds, seed):
    rng = random.Random(seed)
    storm = Storm(daemon, seed, clients=4)
    killed = 0
    try:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            ready = [r["pid"] for r in daemon.roles() if r["state"] == "ready" and r["role"] != "master"]
            if ready:
                try:
                    os.kill(rng.choice(ready), signal.SIGKILL)
                    killed += 1
                except ProcessLookupError:
                    pass
            time.sleep(0.05)
        storm.working()
    finally:
        storm.end()
    wait_for(lambda: all(r["state"] == "ready" for r in daemon.roles()), "all are back", 90)
    assert killed > seconds
    storm.check()


def test_a_process_dies_every_50_ms(stormy):
    soak(stormy, 10, 1)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2, 5))
def test_a_process_dies_every_50_ms_for_minutes(stormy, seed):
    soak(stormy, 120, seed)
