"""The scrub: damage on the disk is found, put aside, told, and healed by a push."""
import concurrent.futures
import itertools
import json
import os

import pytest

from harness.daemon import wait_for
from harness.registry import Registry, digest, error
from test_turns import OneTurn

TOP = 'scrub_rate = "200M"\nscrub_interval = "30d"\n'
CHANGED, MISSING = "a blob's bytes have changed", "a blob's file is missing:"
MISSED = "file is missing or damaged"  # of a worker that was shown what is hidden


@pytest.fixture
def scrubbed(fail, start):
    def make(top=TOP, **kw):
        daemon = start(top=top, **kw)
        daemon.fail = fail
        daemon.allow_error(CHANGED, MISSING, MISSED)
        return daemon
    return make


def status(daemon):
    return json.loads(daemon.ctl("--json", "scrub", "--status").stdout)


def scrub(daemon):
    before = status(daemon)["passes"]
    daemon.ctl("scrub")
    return wait_for(lambda: (s := status(daemon))["passes"] > before and s, "the pass ends", 30)


def store_path(daemon):
    return daemon.data_dir / "blobs"


def quarantined(daemon, d):
    return (store_path(daemon) / "quarantine" / d.replace(":", "-")).exists()


def damaged_count(daemon):
    return json.loads(daemon.ctl("--json", "repos").stdout)["blobstores"][0]["damaged"]


def flip(path, at=0):
    with open(path, "r+b") as f:
        f.seek(at)
        byte = f.read(1)
        f.seek(at)
        f.write(bytes([byte[0] ^ 1]))


def test_good_blobs_stay(scrubbed):
    daemon = scrubbed()
    registry = Registry(daemon.url, "scrub/good")
    sizes = (0, 1, 4095, 4096, 1 << 20, (1 << 20) + 1, 3 << 20)
    blobs = {registry.push_blob(os.urandom(n)): n for n in sizes}
    d512 = registry.push_blob(os.urandom(5000), alg="sha512")
    s = scrub(daemon)
    assert (s["blobs"], s["bytes"], s["damaged"], s["missing"]) == (len(blobs) + 1, sum(sizes) + 5000, 0, 0)
    for d in [*blobs, d512]:
        assert registry.head(f"blobs/{d}").status_code == 200


@pytest.mark.parametrize("damage", ["first bit", "last bit", "shorter", "longer", "missing"])
def test_damage_is_found_and_a_push_heals(scrubbed, damage):
    daemon = scrubbed()
    registry, other = Registry(daemon.url, "scrub/a"), Registry(daemon.url, "scrub/b")
    data, good = os.urandom(2 << 20), os.urandom(1000)
    for r in (registry, other):
        r.push_blob(data)
    registry.push_blob(good)
    d, path = digest(data), daemon.blob_path(digest(data))
    if damage == "missing":
        path.unlink()
    elif damage in ("shorter", "longer"):
        os.truncate(path, len(data) + (1 if damage == "longer" else -1))
    else:
        flip(path, 0 if damage == "first bit" else len(data) - 1)
    s = scrub(daemon)
    wait_for(lambda: damaged_count(daemon) == 1, "it is counted")
    assert (s["damaged"], s["missing"]) == ((0, 1) if damage == "missing" else (1, 0))
    assert quarantined(daemon, d) == (damage != "missing") and not path.exists()
    for r in (registry, other):
        answer = r.get(f"blobs/{d}")
        assert answer.status_code == 404 and error(answer) == "BLOB_UNKNOWN"
    assert registry.get(f"blobs/{digest(good)}").content == good
    line = next(x for x in daemon.log_text().splitlines() if "level=error" in x and d in x)
    assert "push it again to heal" in line and "store=" in line
    assert other.post(f"blobs/uploads/?mount={d}&from=scrub/a").status_code == 202  # nothing to mount
    again = scrub(daemon)
    assert (again["damaged"], again["missing"], damaged_count(daemon)) == (s["damaged"], s["missing"], 1), "counted once"
    registry.push_blob(data)
    for r in (registry, other):
        assert r.get(f"blobs/{d}").content == data
    assert damaged_count(daemon) == 0 and scrub(daemon)["damaged"] == s["damaged"]
    old = daemon.kill_role("catalog")
    daemon.respawned("catalog", old)
    assert damaged_count(daemon) == 0 and registry.get(f"blobs/{d}").content == data  # healed for good


def test_a_damaged_manifest_hides_its_tags(scrubbed):
    daemon = scrubbed()
    registry = Registry(daemon.url, "scrub/manifest")
    body = registry.push_image("one")
    assert registry.put_manifest(body, "two").status_code == 201
    flip(daemon.blob_path(digest(body)))
    scrub(daemon)

    def hidden():
        return {registry.head(f"manifests/{ref}").status_code for ref in ("one", "two", digest(body))} == {404}

    assert hidden() and registry.get("manifests/one").status_code == 404
    old = daemon.kill_role("catalog")
    daemon.respawned("catalog", old)
    assert hidden() and registry.get("manifests/one").status_code == 404 and damaged_count(daemon) == 1
    assert MISSED not in daemon.log_text()
    assert registry.put_manifest(body).status_code == 201
    for ref in ("one", "two", digest(body)):
        assert registry.get(f"manifests/{ref}").content == body


@pytest.mark.parametrize("point", ["catalog_turn_written", "catalog_damage_noted", "catalog_quarantine"])
def test_a_catalog_killed_while_it_notes_damage(scrubbed, point):
    daemon = scrubbed()
    registry = Registry(daemon.url, "scrub/killed")
    data = os.urandom(10000)
    d = registry.push_blob(data)
    assert scrub(daemon)["damaged"] == 0
    flip(daemon.blob_path(d))
    old = daemon.pids("catalog")
    if point == "catalog_turn_written":  # the first turn notes the pass, the second the damage
        daemon.fail.arm("catalog_turn_written", "wait")
        daemon.ctl("scrub")
        daemon.fail.held("catalog_turn_written")
        daemon.fail.arm("catalog_turn_written", "kill")
        daemon.fail.release("catalog_turn_written")
    else:
        daemon.fail.arm(point, "kill")
        daemon.ctl("scrub")
    daemon.fail.taken(point)
    daemon.respawned("catalog", old)
    wait_for(lambda: not status(daemon)["running"], "the pass goes on by itself and ends")
    assert registry.head(f"blobs/{d}").status_code == 404 and damaged_count(daemon) == 1
    assert registry.get(f"blobs/{d}").status_code == 404 and MISSED not in daemon.log_text()
    registry.push_blob(data)
    assert registry.get(f"blobs/{d}").content == data and damaged_count(daemon) == 0


def test_a_push_while_damage_is_noted_keeps_its_file(scrubbed):
    """The worker's rename comes between the note and the move to the quarantine."""
    daemon = scrubbed()
    registry = Registry(daemon.url, "scrub/race")
    data = os.urandom(10000)
    d = registry.push_blob(data)
    flip(daemon.blob_path(d))
    daemon.fail.arm("catalog_damage_noted", "wait")
    daemon.ctl("scrub")
    daemon.fail.held("catalog_damage_noted")
    daemon.fail.arm("store_place_done", "wait")
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        push = pool.submit(Registry(daemon.url, "scrub/race").push_blob, data)
        daemon.fail.held("store_place_done")
        daemon.fail.release("catalog_damage_noted")
        wait_for(lambda: damaged_count(daemon) == 1, "the catalog is through")
        daemon.fail.release("store_place_done")
        push.result(20)
    assert registry.get(f"blobs/{d}").content == data and damaged_count(daemon) == 0


def test_a_push_while_the_damaged_file_is_read(scrubbed):
    """What was read is not what the name leads to any more."""
    daemon = scrubbed()
    registry = Registry(daemon.url, "scrub/read")
    data = os.urandom(10000)
    d = registry.push_blob(data)
    flip(daemon.blob_path(d))
    before = status(daemon)["passes"]
    daemon.fail.arm("catalog_scrub_read", "wait")
    daemon.ctl("scrub")
    daemon.fail.held("catalog_scrub_read")
    registry.push_blob(data)
    daemon.fail.release("catalog_scrub_read")
    wait_for(lambda: status(daemon)["passes"] > before, "the pass ends")
    assert registry.get(f"blobs/{d}").content == data and daemon.blob_path(d).exists() and damaged_count(daemon) == 0


def test_a_blob_that_is_collected_while_it_is_looked_for(scrubbed):
    """Nothing is missing whose record is gone, too."""
    daemon = scrubbed(top=TOP + 'gc_grace = "0s"\ngc_interval = "1d"\n')
    d = Registry(daemon.url, "scrub/collected").push_blob(b"nobody names it")
    before = status(daemon)["passes"]
    daemon.fail.arm("catalog_scrub_open", "wait")
    daemon.ctl("scrub")
    daemon.fail.held("catalog_scrub_open")
    daemon.ctl("gc")
    wait_for(lambda: not daemon.blob_path(d).exists(), "it is collected")
    daemon.fail.release("catalog_scrub_open")
    wait_for(lambda: status(daemon)["passes"] > before, "the pass ends")
    assert status(daemon)["missing"] == damaged_count(daemon) == 0 and MISSING not in daemon.log_text()


@pytest.mark.parametrize("point", ["catalog_scrub_open", "catalog_scrub_read"])
def test_what_cannot_be_read_is_not_damaged(scrubbed, point):
    """The disk, the descriptors or the rights are in the way: it is told, and the blob stays."""
    daemon = scrubbed()
    daemon.allow_error("a blob cannot be read")
    registry = Registry(daemon.url, "scrub/unreadable")
    d = registry.push_blob(b"unreadable")
    daemon.fail.arm(point, "EIO")
    s = scrub(daemon)
    assert "a blob cannot be read" in daemon.log_text() and (s["damaged"], s["missing"], damaged_count(daemon)) == (0, 0, 0)
    assert daemon.blob_path(d).exists() and registry.get(f"blobs/{d}").content == b"unreadable"


def test_a_push_heals_in_the_turn_that_takes_another_holder_away(scrubbed):
    daemon = scrubbed(workers=1)
    registry, other = Registry(daemon.url, "scrub/held"), Registry(daemon.url, "scrub/goes")
    data = os.urandom(1000)
    d = [r.push_blob(data) for r in (registry, other)][0]
    flip(daemon.blob_path(d))
    scrub(daemon)
    wait_for(lambda: damaged_count(daemon) == 1, "it is counted")
    url = registry.begin()
    with OneTurn(daemon) as turn:
        gone = turn.ask(Registry(daemon.url, "scrub/goes").delete, f"blobs/{d}")
        put = turn.ask(Registry(daemon.url, "scrub/held").finish, url, d, data)
    assert (gone.result(20).status_code, put.result(20).status_code) == (202, 201)
    assert registry.get(f"blobs/{d}").content == data and other.head(f"blobs/{d}").status_code == 404


def test_a_worker_that_meets_damage_tells(scrubbed):
    """No pass is needed: whoever cannot serve a blob says so."""
    daemon = scrubbed()
    registry = Registry(daemon.url, "scrub/told")
    d = registry.push_blob(b"small")
    flip(daemon.blob_path(d))
    old = daemon.kill_role("worker")  # their memory has good bytes
    daemon.respawned("worker", old)
    assert Registry(daemon.url, "scrub/told").get(f"blobs/{d}").status_code == 404
    wait_for(lambda: damaged_count(daemon) == 1 and quarantined(daemon, d), "it is put aside")


def test_the_rate_is_kept(scrubbed):
    """Bytes are counted, not time: whoever looks again and again during a pass sees it stand in many places."""
    daemon = scrubbed(top='scrub_rate = "512K"\n')
    registry = Registry(daemon.url, "scrub/rate")
    for _ in range(12):
        registry.push_blob(os.urandom(1 << 18))
    daemon.ctl("scrub")
    seen = set()
    wait_for(lambda: (seen.add((s := status(daemon))["bytes"]) or not s["running"]), "the pass ends", 30)
    assert len(seen) > 4 and max(seen) == 12 << 18


def test_a_pass_survives_its_catalog(scrubbed):
    daemon = scrubbed(top='scrub_rate = "64K"\n')
    registry = Registry(daemon.url, "scrub/resumed")
    registry.push_blob(os.urandom(2 << 20))
    daemon.ctl("scrub")
    begun = wait_for(lambda: (s := status(daemon))["running"] and s["started"], "it runs")
    wait_for(lambda: registry.push_blob(os.urandom(10)), "a turn later")
    old = daemon.kill_role("catalog")
    daemon.respawned("catalog", old)
    s = status(daemon)
    assert s["running"] and s["started"] == begun


def test_a_pass_asked_for_while_one_runs(scrubbed):
    """Follows it: what was read before may have changed since."""
    daemon = scrubbed()
    registry = Registry(daemon.url, "scrub/again")
    registry.push_blob(b"first")
    passes = status(daemon)["passes"]
    daemon.fail.arm("catalog_scrub_open", "wait")
    daemon.ctl("scrub")
    daemon.fail.held("catalog_scrub_open")
    for _ in range(2):
        daemon.ctl("scrub")
    daemon.fail.release("catalog_scrub_open")
    wait_for(lambda: status(daemon)["passes"] == passes + 2 and not status(daemon)["running"], "both passes end")


def test_marks_are_looked_at_before_all_others(scrubbed):
    """Though a pass of days is under way: who brought a blob's bytes back asks for it."""
    daemon = scrubbed()
    registry = Registry(daemon.url, "scrub/marks")
    small = next(data for n in itertools.count() if (data := b"%d" % n) and digest(data).startswith("sha256:ff"))
    d = registry.push_blob(small)
    path = daemon.blob_path(d)
    path.write_bytes(b"?" * len(small))
    scrub(daemon)
    assert damaged_count(daemon) == 1
    others = (os.urandom(100) for _ in itertools.count())
    for data in itertools.islice((x for x in others if digest(x) < d), 6):  # in order of digests: these come first
        registry.push_blob(data)

    def next_one():
        daemon.fail.arm("catalog_scrub_open", "wait")
        daemon.fail.release("catalog_scrub_open")
        daemon.fail.held("catalog_scrub_open")
    daemon.fail.arm("catalog_scrub_open", "wait")
    daemon.ctl("scrub")
    daemon.fail.held("catalog_scrub_open")
    next_one()  # what is marked was looked at, and is what it was
    path.write_bytes(small)
    daemon.ctl("scrub")
    next_one()
    next_one()
    wait_for(lambda: damaged_count(daemon) == 0, "the mark goes")
    daemon.fail.release("catalog_scrub_open")
