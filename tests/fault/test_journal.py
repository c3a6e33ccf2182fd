"""The stores' journals: a line a change, whatever dies, and what the daemon does when one lacks something."""
import json
import os
import shutil
import subprocess
import zlib

import pytest

from harness.daemon import ENTREPOTCTL, free_port, wait_for
from harness.fail import FailPoints
from harness.registry import Registry, digest


def path_of(daemon):
    return daemon.data_dir / "blobs" / "journal"


def good(line):
    return line.endswith(b"\n") and len(line) > 9 and b"%08x" % zlib.crc32(line[8:-1]) == line[:8]


def state(daemon):
    """What the journal says is there: {(image, tag): digest}, {(image, digest): type}; every line is good."""
    tags, manifests = {}, {}
    lines = path_of(daemon).read_bytes().splitlines(keepends=True)
    number = None
    for line in lines:
        assert good(line), line
        this, kind, *f = line[9:-1].decode().split(" ")
        if number is not None:
            assert int(this) in (number, number + 1), line
        number = int(this)
        if kind == "M":
            manifests[f[1], f[2]] = f[4]
        elif kind == "m":
            manifests.pop((f[1], f[2]), None)
        elif kind == "T":
            tags[f[1], f[2]] = f[3]
        elif kind == "t":
            tags.pop((f[1], f[2]), None)
    return tags, manifests


def says(daemon, tags):
    """It comes to say so, as soon as the thread has written."""
    wait_for(lambda: path_of(daemon).exists() and state(daemon)[0] == tags, "the journal says what is there")


def test_a_line_a_change(start):
    daemon = start()
    registry = Registry(daemon.url)
    one, two = registry.push_image("a", layers=(b"1",)), registry.push_image("b", layers=(b"2",))
    registry.put_manifest(two, "a")
    registry.push_image("gone", layers=(b"3",))
    assert registry.delete("manifests/gone").status_code == 202
    says(daemon, {("test/image", "a"): digest(two), ("test/image", "b"): digest(two)})
    assert registry.delete("manifests/" + digest(one)).status_code == 202
    wait_for(lambda: ("test/image", digest(one)) not in state(daemon)[1], "a manifest's end is a line")
    assert state(daemon)[1]["test/image", digest(two)] == "application/vnd.oci.image.manifest.v1+json"
    wait_for(lambda: daemon.journals_kept(), "it is kept")
    daemon.stop()
    assert daemon.fsck()[0] == 0


def sealed(number, text):
    body = b" %d %s" % (number, text)
    return b"%08x" % zlib.crc32(body) + body + b"\n"


def filled(daemon, tags=6):
    """Some images; what the journal says once it says so."""
    registry = Registry(daemon.url)
    for n in range(tags):
        registry.push_image(f"t{n}", layers=(os.urandom(100),))
    wait_for(lambda: len(state(daemon)[0]) == tags and daemon.journals_kept(), "the journal has them")
    return registry, state(daemon)


def cut(path):
    path.write_bytes(path.read_bytes()[:-20])


def torn(path):
    with open(path, "ab") as f:
        f.write(b"1234")


def flipped(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def line_lost(path):
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:-3] + lines[-2:]))


def foreign(path):
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(sealed(0, b"J 1 " + b"a" * 32 + b" " + b"b" * 32) + b"".join(lines[1:]))


def emptied(path):
    path.write_bytes(b"")


@pytest.mark.parametrize("damage", [os.unlink, emptied, cut, torn, flipped, line_lost, foreign])
def test_what_it_lacks_is_written_anew(start, damage):
    daemon = start()
    registry, before = filled(daemon)
    daemon.stop()
    damage(path_of(daemon))
    status, report = daemon.fsck()
    assert status == 0 and [x["kind"] for x in report["found"]] == ["note"], report
    daemon.start()
    wait_for(lambda: daemon.journals_kept(), "it is kept again")
    assert state(daemon) == before
    assert daemon.log_text().count("journal of a blob store is written anew") == 2  # and at the first start
    registry = Registry(daemon.url)
    body = registry.push_image("after")
    says(daemon, before[0] | {("test/image", "after"): digest(body)})
    daemon.stop()
    assert daemon.fsck()[1]["found"] == []


def test_one_that_is_whole_is_appended_to(start):
    daemon = start()
    registry, before = filled(daemon)
    daemon.stop()
    first = path_of(daemon).read_bytes()
    daemon.start()
    Registry(daemon.url).push_image("after")
    wait_for(lambda: len(state(daemon)[0]) == 7, "the next line")
    assert path_of(daemon).read_bytes().startswith(first)


def test_one_that_is_much_too_long_is_written_anew(start):
    daemon = start()
    registry, before = filled(daemon)
    daemon.stop()
    lines = path_of(daemon).read_bytes().splitlines(keepends=True)
    number = int(lines[-1].split(b" ")[1])
    there = [x.split(b" ", 2)[2].rstrip(b"\n") for x in lines[1:] if b" E " not in x]
    there = there[:1] * 5000 + there
    head = sealed(number, lines[0].split(b" ", 2)[2].rstrip(b"\n"))
    path_of(daemon).write_bytes(head + b"".join(sealed(number, x) for x in there) + sealed(number, b"E %d %d" % (len(there), number)))
    long = path_of(daemon).stat().st_size
    daemon.start()
    wait_for(lambda: path_of(daemon).stat().st_size < long / 10 and daemon.journals_kept(), "it is written anew")
    assert state(daemon) == before
    assert daemon.log_text().count("is written anew") == 1  # at the first start: it lacked nothing


def changes(daemon, registry, until):
    """Tags come, move and go."""
    n = 0
    while not until():
        registry.put_manifest(registry.image_manifest(layers=(b"%d" % n,)), f"m{n % 3}")
        if n % 4 == 0:
            registry.delete(f"manifests/m{n % 2}")
        n += 1


def tags_of(registry):
    return {(registry.image, t): digest(registry.get("manifests/" + t).content) for t in registry.get("tags/list").json()["tags"]}


@pytest.mark.parametrize("point", ["catalog_journal_made", "catalog_journal_placed"])
def test_it_is_written_anew_while_changes_go_on(start, tmp_path, monkeypatch, point):
    monkeypatch.setenv("ENTREPOT_FAIL_DIR", str(tmp_path / "fail"))
    fail = FailPoints(tmp_path / "fail")
    daemon = start()
    registry, before = filled(daemon)
    fail.arm(point, "wait")
    fail.arm("catalog_journal_write", "ENOSPC")
    changes(daemon, registry, (fail.dir / f"{point}.reached").exists)
    changes(daemon, registry, iter([False] * 10 + [True]).__next__)
    assert not daemon.journals_kept()
    fail.release(point)
    wait_for(lambda: daemon.journals_kept(), "it is kept again")
    says(daemon, tags_of(registry))
    assert "cannot write the journal" in daemon.log_text()
    daemon.stop()
    assert daemon.fsck()[1]["found"] == []


def test_changes_between_its_slices(start, tmp_path, monkeypatch):
    """Manifests have been written, tags have not; what changes then is in neither."""
    monkeypatch.setenv("ENTREPOT_FAIL_DIR", str(tmp_path / "fail"))
    fail = FailPoints(tmp_path / "fail")
    daemon = start()
    registry, before = filled(daemon)
    fail.arm("catalog_journal_write", "ENOSPC")
    registry.push_image("not-written")
    fail.taken("catalog_journal_write")
    fail.arm("catalog_journal_write", "wait")
    fail.held("catalog_journal_write")  # before its first line
    registry.push_image("before", layers=(b"before",))
    fail.arm("catalog_journal_write", "wait")
    fail.release("catalog_journal_write")
    fail.held("catalog_journal_write")
    between = registry.push_image("between", layers=(b"between",))
    assert registry.delete("manifests/t0").status_code == 202
    fail.release("catalog_journal_write")
    wait_for(daemon.journals_kept, "it is kept again")
    registry.push_image("after", layers=(b"after",))
    says(daemon, tags_of(registry))
    assert ("test/image", digest(between)) in state(daemon)[1]
    daemon.stop()
    assert daemon.fsck()[1]["found"] == []


def test_a_store_that_takes_no_journal_takes_pushes(start, tmp_path, monkeypatch):
    monkeypatch.setenv("ENTREPOT_FAIL_DIR", str(tmp_path / "fail"))
    fail = FailPoints(tmp_path / "fail")
    daemon = start()
    registry, before = filled(daemon)
    fail.arm("catalog_journal_write", "EIO always")
    for n in range(20):
        registry.push_image(f"more{n}")
    wait_for(lambda: not daemon.journals_kept(), "it is told")
    assert "its journal is not kept" in daemon.ctl("repos").stdout
    assert daemon.log_text().count("cannot write the journal") == 1
    fail.disarm("catalog_journal_write")
    wait_for(lambda: daemon.journals_kept(), "it heals")
    says(daemon, tags_of(registry))


def test_a_database_that_fell_back_is_told_and_costs_the_journal_nothing(start):
    daemon = start()
    registry, before = filled(daemon)
    daemon.stop()
    subprocess.run(["cp", "-a", str(daemon.data_dir / "catalog"), str(daemon.dir / "older")], check=True)
    daemon.start()
    registry = Registry(daemon.url)
    lost = registry.push_image("lost")
    says(daemon, before[0] | {("test/image", "lost"): digest(lost)})
    daemon.stop()
    (daemon.data_dir / "catalog").rename(daemon.dir / "newer")
    (daemon.dir / "older").rename(daemon.data_dir / "catalog")
    daemon.allow_error("the database lacks changes")
    for n in range(2):  # not forgotten by a second start either
        daemon.start()
        wait_for(lambda: daemon.log_text().count("the database lacks changes") == n + 1, "it is told")
        assert "LACKS" in daemon.ctl("repos").stdout
        registry = Registry(daemon.url)
        body = registry.push_image(f"after{n}")
        wait_for(lambda: state(daemon)[0].get(("test/image", f"after{n}")) == digest(body), "it goes on")
        assert state(daemon)[0]["test/image", "lost"] == digest(lost)
        daemon.stop()
        status, report = daemon.fsck()
        assert status == 4 and "lost" in [x["kind"] for x in report["found"]], report
    # The newer one is back: what it lacks now is what was pushed to the older one.
    shutil.rmtree(daemon.data_dir / "catalog")
    (daemon.dir / "newer").rename(daemon.data_dir / "catalog")
    status, report = daemon.fsck()
    told = [x["text"] for x in report["found"] if x["kind"] == "lost"]
    assert status == 4 and any("after0" in x for x in told) and not any("test/image:lost" in x for x in told), report


def test_a_database_that_lost_all_is_told_by_fsck(start):
    daemon = start()
    filled(daemon)
    daemon.stop()
    for path in (daemon.data_dir / "catalog").glob("*.log"):
        path.write_bytes(b"")
    done = subprocess.run([ENTREPOTCTL, "-c", str(daemon.conf), "fsck"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 8 and "lost all it had" in done.stderr and "entrepotctl rebuild" in done.stderr, done


def test_what_a_database_that_fell_back_lost_is_no_orphan(start):
    """Neither the walk nor a repair takes away what a rebuild brings back."""
    daemon = start(top='gc_grace = "0s"\ngc_interval = "1d"\n', run=False)
    daemon.start()
    registry, before = filled(daemon, tags=60)
    daemon.stop()
    subprocess.run(["cp", "-a", str(daemon.data_dir / "catalog"), str(daemon.dir / "older")], check=True)
    daemon.start()
    registry = Registry(daemon.url)
    layer = os.urandom(100)
    lost = registry.push_image("lost", layers=(layer,))
    says(daemon, before[0] | {("test/image", "lost"): digest(lost)})
    daemon.stop()
    shutil.rmtree(daemon.data_dir / "catalog")
    (daemon.dir / "older").rename(daemon.data_dir / "catalog")
    daemon.allow_error("the database lacks changes")
    daemon.start()
    wait_for(daemon.journals_kept, "the journal was looked at")
    for n in range(2):
        daemon.ctl("gc")
        wait_for(lambda: (s := json.loads(daemon.ctl("--json", "gc", "--status").stdout))["sweeps"] > n and not s["running"],
                 "all is walked over")
    daemon.stop()
    blobs = daemon.data_dir / "blobs/blobs/sha256"
    files = [blobs / d[7:9] / d[7:] for d in (digest(lost), digest(layer))]
    assert all(f.exists() for f in files)
    assert daemon.fsck("--repair")[1]["orphans"] == 2
    assert all(f.exists() for f in files)
    subprocess.run([ENTREPOTCTL, "-c", str(daemon.conf), "rebuild", "--yes"], check=True)
    daemon.start()
    assert Registry(daemon.url).get("manifests/lost").content == lost
    assert Registry(daemon.url).get("blobs/" + digest(layer)).content == layer


def test_stores_have_their_own_and_repositories_that_go_leave_theirs(start):
    ports = free_port(), free_port()
    text = ('blobstore main {{ path = "{dir}/main" }}\nblobstore two {{ path = "{dir}/two" }}\n'
            'hosted one {{ blobstore = main }}\nhosted other {{ blobstore = two }}\n'
            'connector "127.0.0.1:{port}" {{ repository = one }}\nconnector "127.0.0.1:%d" {{ repository = other }}\n' % ports[0])
    daemon = start(text=text)
    here, there = Registry(daemon.url), Registry(f"http://127.0.0.1:{ports[0]}")
    here.push_image("here")
    there.push_image("there")
    main, two = daemon.dir / "main/journal", daemon.dir / "two/journal"
    wait_for(lambda: b" T one " in main.read_bytes() and b" T other " in two.read_bytes(), "each its own")
    assert b" other " not in main.read_bytes() and b" one " not in two.read_bytes()
    daemon.ctl("repo", "drop", "other", "--yes")
    wait_for(lambda: b" t other test/image there\n" in two.read_bytes() and b" m other " in two.read_bytes(), "what went is told")
    daemon.stop()
    # A store's new name changes nothing of its journal.
    before = main.read_bytes()
    daemon.conf.write_text(daemon.conf.read_text().replace("blobstore main", "blobstore prime").replace("= main", "= prime"))
    subprocess.run([ENTREPOTCTL, "-c", str(daemon.conf), "store", "rename", "main", "prime"], check=True)
    daemon.start()
    Registry(daemon.url).push_image("more")
    wait_for(lambda: b" T one test/image more " in main.read_bytes(), "it goes on")
    assert main.read_bytes().startswith(before)
    daemon.stop()
    assert daemon.fsck()[1]["found"] == []


def test_an_older_database_that_was_only_looked_at_is_not_missed(start):
    daemon = start()
    registry, before = filled(daemon)
    daemon.stop()
    subprocess.run(["cp", "-a", str(daemon.data_dir / "catalog"), str(daemon.dir / "older")], check=True)
    daemon.start()
    Registry(daemon.url).push_image("late")
    wait_for(lambda: ("test/image", "late") in state(daemon)[0], "the journal has it")
    after = state(daemon)
    daemon.stop()
    (daemon.data_dir / "catalog").rename(daemon.dir / "newer")
    (daemon.dir / "older").rename(daemon.data_dir / "catalog")
    daemon.allow_error("the database lacks changes")
    daemon.start()
    wait_for(lambda: "the database lacks changes" in daemon.log_text(), "it is told")
    daemon.stop()
    shutil.rmtree(daemon.data_dir / "catalog")
    (daemon.dir / "newer").rename(daemon.data_dir / "catalog")
    assert daemon.fsck()[0] == 0
    daemon.start()
    wait_for(daemon.journals_kept, "the journal is kept")
    assert state(daemon) == after and daemon.log_text().count("the database lacks changes") == 1
    assert "LACKS" not in daemon.ctl("repos").stdout
    daemon.stop()
    assert daemon.fsck()[1]["found"] == []


def test_what_the_database_lost_stays_however_long_the_journal(start):
    """It is not written anew while the database lacks something of it."""
    daemon = start()
    registry, before = filled(daemon)
    daemon.stop()
    subprocess.run(["cp", "-a", str(daemon.data_dir / "catalog"), str(daemon.dir / "older")], check=True)
    daemon.start()
    Registry(daemon.url).push_image("lost")
    wait_for(lambda: ("test/image", "lost") in state(daemon)[0], "the journal has it")
    daemon.stop()
    lines = path_of(daemon).read_bytes().splitlines(keepends=True)
    number = int(lines[-1].split(b" ")[1])
    text = lines[-1].split(b" ", 2)[2].rstrip(b"\n")
    path_of(daemon).write_bytes(b"".join(lines) + b"".join(sealed(number + 1 + n, text) for n in range(6000)))
    shutil.rmtree(daemon.data_dir / "catalog")
    (daemon.dir / "older").rename(daemon.data_dir / "catalog")
    daemon.allow_error("the database lacks changes")
    daemon.start()
    wait_for(lambda: "the database lacks changes" in daemon.log_text(), "it is told")
    Registry(daemon.url).push_image("after")
    wait_for(lambda: ("test/image", "after") in state(daemon)[0], "it goes on")
    assert ("test/image", "lost") in state(daemon)[0]
    assert daemon.journals_kept()


def test_a_turn_that_fails_leaves_no_line(start, tmp_path, monkeypatch):
    monkeypatch.setenv("ENTREPOT_FAIL_DIR", str(tmp_path / "fail"))
    fail = FailPoints(tmp_path / "fail")
    daemon = start()
    registry, before = filled(daemon)
    body = registry.image_manifest(layers=(b"refused",))
    fail.arm("catalog_turn_write", "ENOSPC")
    assert registry.put_manifest(body, "refused").status_code == 507
    after = wait_for(lambda: registry.put_manifest(body, "taken").status_code == 201 and body, "it heals")
    says(daemon, before[0] | {("test/image", "taken"): digest(after)})
    wait_for(daemon.journals_kept, "the journal is kept")
    assert daemon.log_text().count("is written anew") == 1  # at the first start: it lacked nothing
    daemon.stop()
    assert daemon.fsck()[1]["found"] == []
