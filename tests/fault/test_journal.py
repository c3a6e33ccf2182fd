"""The stores' journals: a line a change, whatever dies, and what the daemon does when one lacks something."""
import os
import pathlib
import re
import shutil
import signal
import stat
import subprocess
import zlib

import pytest
import requests

from harness.daemon import BODY, ENTREPOTCTL, free_port, wait_for
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
    wait_for(lambda: daemon.journals_kept() and len(state(daemon)[0]) == tags, "the journal has them")
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


def first_line(path):
    data = path.read_bytes()
    path.write_bytes(data[:12] + b"?" + data[13:])


def emptied(path):
    path.write_bytes(b"")


@pytest.mark.parametrize("damage", [os.unlink, emptied, cut, torn, flipped, line_lost, first_line, foreign])
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
    assert (daemon.data_dir / "blobs/journal.old").exists() == (damage is foreign)
    assert damage is not first_line or "reason=damaged" in daemon.log_text()
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
def test_it_is_written_anew_while_changes_go_on(fail, start, point):
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


def test_changes_between_its_slices(fail, start):
    """Manifests have been written, tags have not; what changes then is in neither."""
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


def test_a_store_that_takes_no_journal_takes_pushes(fail, start):
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


def copied(daemon):
    """The database as it is now, for later."""
    daemon.stop()
    subprocess.run(["cp", "-a", str(daemon.data_dir / "catalog"), str(daemon.dir / "older")], check=True)
    daemon.start()
    return Registry(daemon.url)


def put_back(daemon):
    """That one."""
    daemon.stop()
    (daemon.data_dir / "catalog").rename(daemon.dir / "newer")
    (daemon.dir / "older").rename(daemon.data_dir / "catalog")
    daemon.allow_error("the database lacks changes")


def incomplete(daemon, r):
    said = r.json()["errors"][0]
    assert (r.status_code, said["code"]) == (503, "UNAVAILABLE") and "entrepotctl rebuild" in said["message"], r.text
    assert r.headers["Retry-After"]


def admin_of(daemon, path):
    return requests.get(f"http://127.0.0.1:{daemon.admin}{path}", timeout=20)


def lacking(daemon, served, missed):
    """A database that lost what was acknowledged: what of it is true is served, and nothing else is."""
    registry = Registry(daemon.url)
    for ref, body in served.items():
        assert registry.get("manifests/" + ref).content == body, ref
    for ref in missed:
        incomplete(daemon, registry.get("manifests/" + ref))
    incomplete(daemon, registry.get("tags/list"))
    incomplete(daemon, registry.post("blobs/uploads/?digest=" + digest(b"y"), data=b"y"))
    incomplete(daemon, registry.delete("manifests/t0"))
    assert "LACKS" in daemon.ctl("repos").stdout
    assert "entrepotctl rebuild" in daemon.ctl("gc", check=False).stderr
    health = admin_of(daemon, "/health")
    assert (health.status_code, health.json()["pulls"], health.json()["pushes"]) == (503, "ok", "unavailable")
    assert re.search(r'entrepot_blobstore_database_lost{.*} 1\n', admin_of(daemon, "/metrics").text)


@pytest.fixture
def watched(start):
    """With /health and /metrics."""
    port = free_port()
    daemon = start(text=f'admin "127.0.0.1:{port}" {{{{ }}}}\n' + BODY)
    daemon.admin = port
    return daemon


def pushed_behind_a_copy(daemon):
    """Images, a copy of the database, and then an image more, to which t2 moves: the registry, what t1 is, and that image."""
    filled(daemon)
    registry = copied(daemon)
    t1 = registry.get("manifests/t1").content
    lost = registry.push_image("lost")
    registry.put_manifest(lost, "t2")
    return registry, t1, lost


def test_a_database_that_fell_back_is_told_and_costs_the_journal_nothing(watched):
    daemon = watched
    registry, t1, lost = pushed_behind_a_copy(daemon)
    assert registry.delete("manifests/t3").status_code == 202
    wait_for(lambda: ("test/image", "t3") not in state(daemon)[0], "the journal has it")
    put_back(daemon)
    before = path_of(daemon).read_bytes()
    for n in range(2):  # not forgotten by a second start either
        daemon.start()
        assert daemon.log_text().count("the database lacks changes") == n + 1
        lacking(daemon, {"t1": t1}, ["lost", "t2", "t3", digest(lost), "never"])
        catalog = daemon.roles("catalog")[0]
        assert catalog["state"] == "degraded" and "lacks changes" in catalog["trouble"][0] and "entrepotctl rebuild" in catalog["trouble"][0]
        daemon.stop()
        assert path_of(daemon).read_bytes() == before
        status, report = daemon.fsck()
        assert status == 4 and "lost" in [x["kind"] for x in report["found"]], report
    subprocess.run([ENTREPOTCTL, "-c", str(daemon.conf), "rebuild", "--yes"], check=True)
    daemon.start()
    registry = Registry(daemon.url)
    assert registry.get("manifests/lost").content == registry.get("manifests/t2").content == lost
    assert registry.get("manifests/t3").status_code == 404
    assert admin_of(daemon, "/health").status_code == 200


def test_its_first_line_is_damaged_and_the_database_fell_back(watched):
    """It is this store's all the same: a witness of what the database lost."""
    daemon = watched
    _, t1, lost = pushed_behind_a_copy(daemon)
    wait_for(lambda: state(daemon)[0]["test/image", "t2"] == digest(lost), "the journal has it")
    put_back(daemon)
    first_line(path_of(daemon))
    before = path_of(daemon).read_bytes()
    status, report = daemon.fsck()
    assert status == 4 and "lost" in [x["kind"] for x in report["found"]], report
    daemon.start()
    lacking(daemon, {"t1": t1}, ["lost", "t2"])
    daemon.stop()
    assert path_of(daemon).read_bytes() == before
    done = subprocess.run([ENTREPOTCTL, "-c", str(daemon.conf), "rebuild", "--yes"])
    assert done.returncode == 1  # guesses
    daemon.start()
    assert Registry(daemon.url).get("manifests/lost").content == lost


def fifo(path):
    os.mkfifo(path)


def device(path):
    os.mknod(path, 0o600 | stat.S_IFCHR, os.makedev(1, 3))


def elsewhere(path):
    return path.parent / "elsewhere"


def link(path):
    elsewhere(path).write_text("somebody's")
    path.symlink_to(elsewhere(path))


@pytest.mark.parametrize("name", ["journal", "journal.new"])
@pytest.mark.parametrize("kind", [fifo, os.mkdir, link, device])
def test_one_that_is_no_regular_file(start, kind, name):
    """Nobody waits for it, nothing is followed; it is told, and tried again."""
    daemon = start()
    registry, before = filled(daemon)
    daemon.stop()
    path_of(daemon).unlink()
    path = path_of(daemon).parent / name
    kind(path)
    status, report = daemon.fsck()
    assert [x["kind"] for x in report["found"]] == ["journal" if name == "journal" else "note"], report
    daemon.start()
    wait_for(lambda: "no regular file" in daemon.log_text(), "it is told")
    registry = Registry(daemon.url)
    assert registry.put_manifest(registry.image_manifest(), "after").status_code == 201
    assert not daemon.journals_kept()
    assert kind is not link or elsewhere(path).read_text() == "somebody's"
    (os.rmdir if kind is os.mkdir else os.unlink)(path)
    wait_for(daemon.journals_kept, "it heals")
    says(daemon, tags_of(registry))


def test_a_journal_moved_away_is_a_word_to_do_without(watched):
    """The daemon need not be started anew."""
    daemon = watched
    filled(daemon)
    lost = copied(daemon).push_image("lost")
    wait_for(lambda: ("test/image", "lost") in state(daemon)[0], "the journal has it")
    put_back(daemon)
    daemon.start()
    lacking(daemon, {}, ["lost"])
    path_of(daemon).rename(daemon.dir / "moved-away")
    wait_for(lambda: admin_of(daemon, "/health").status_code == 200, "it goes on")
    registry = Registry(daemon.url)
    assert registry.get("manifests/lost").status_code == 404
    assert registry.put_manifest(registry.image_manifest(layers=(b"after",)), "after").status_code == 201
    assert registry.get("manifests/" + digest(lost)).status_code == 404
    wait_for(daemon.journals_kept, "the journal is written anew")
    daemon.stop()
    assert daemon.fsck()[0] == 0


def test_the_end_of_the_log_is_gone(watched):
    """What LevelDB takes for the end of a crash was acknowledged: the journal has it."""
    daemon = watched
    filled(daemon)
    registry = copied(daemon)
    kept = registry.push_image("kept", layers=(b"kept",))
    lost = registry.push_image("lost", layers=(b"lost",))
    wait_for(lambda: ("test/image", "lost") in state(daemon)[0], "the journal has it")
    daemon.stop()
    log = max((daemon.data_dir / "catalog").glob("*.log"))
    data = log.read_bytes()
    at = data.rindex(b"\0lost\0")
    log.write_bytes(data[:at] + bytes(len(data) - at))
    daemon.allow_error("the database lacks changes")
    daemon.start()
    lacking(daemon, {"kept": kept}, ["lost", digest(lost)])


def test_what_an_older_catalog_knew_is_served(watched):
    """The database falls back under a catalog that dies: the map it left has all, and is no more the last word."""
    daemon = watched
    filled(daemon)
    lost = copied(daemon).push_image("lost")
    wait_for(lambda: ("test/image", "lost") in state(daemon)[0], "the journal has it")
    pid = daemon.pids("catalog")[0]
    os.kill(daemon.process.pid, signal.SIGSTOP)  # so that nobody starts the next one yet
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: pathlib.Path(f"/proc/{pid}/stat").read_text().split()[2] == "Z", "it is dead")
    (daemon.data_dir / "catalog").rename(daemon.dir / "newer")
    (daemon.dir / "older").rename(daemon.data_dir / "catalog")
    daemon.allow_error("the database lacks changes")
    os.kill(daemon.process.pid, signal.SIGCONT)
    wait_for(lambda: "the database lacks changes" in daemon.log_text(), "it is told")
    wait_for(lambda: daemon.ctl("repos", check=False).returncode == 0, "the catalog is back")
    lacking(daemon, {"lost": lost}, ["never"])


TWO = ('blobstore main {{ path = "{dir}/main" }}\nblobstore two {{ path = "{dir}/two" }}\n'
       'hosted one {{ blobstore = main }}\nhosted other {{ blobstore = two }}\n'
       'connector "127.0.0.1:{port}" {{ }}\n')


def test_a_database_that_lacks_something_is_left_alone(start):
    """Another look at it changes no file."""
    daemon = start(text=TWO)
    Registry(daemon.url, "one/app").push_image("kept")
    copied(daemon)
    Registry(daemon.url, "one/app").push_image("lost")
    wait_for(lambda: b" T one app lost " in (daemon.dir / "main/journal").read_bytes(), "the journal has it")
    put_back(daemon)
    (daemon.dir / "two").rename(daemon.dir / "away")
    daemon.allow_error("a blob store is empty", "cannot open a blob store")
    daemon.start()
    incomplete(daemon, Registry(daemon.url, "one/app").get("manifests/lost"))
    files = sorted(p.name for p in (daemon.data_dir / "catalog").iterdir())
    shutil.rmtree(daemon.dir / "two", ignore_errors=True)
    (daemon.dir / "away").rename(daemon.dir / "two")
    wait_for(lambda: "the blob store can be opened again" in daemon.log_text(), "stores and database are tried again")
    daemon.ctl("repos")  # that is over
    assert sorted(p.name for p in (daemon.data_dir / "catalog").iterdir()) == files
    incomplete(daemon, Registry(daemon.url, "one/app").get("manifests/lost"))


def test_the_journal_of_a_store_that_comes_back_later(fail, start):
    """Until then nothing tells that the database lacks anything; then nothing is answered before it was looked at."""
    daemon = start(text=TWO)
    kept = Registry(daemon.url, "one/app").push_image("kept")
    copied(daemon)
    lost = Registry(daemon.url, "other/app").push_image("lost")
    wait_for(lambda: b" T other app lost " in (daemon.dir / "two/journal").read_bytes(), "the journal has it")
    put_back(daemon)
    (daemon.dir / "two").rename(daemon.dir / "away")
    (daemon.dir / "two").mkdir()
    daemon.allow_error("a blob store is empty", "cannot open a blob store")
    daemon.start()
    fail.arm("catalog_journal_write", "wait")  # in the thread that reads journals whole
    Registry(daemon.url, "one/app").push_image("meanwhile")
    fail.held("catalog_journal_write")
    assert "the database lacks changes" not in daemon.log_text()
    shutil.rmtree(daemon.dir / "two")
    (daemon.dir / "away").rename(daemon.dir / "two")
    other = Registry(daemon.url, "other/app")
    wait_for(lambda: "entrepotctl rebuild" in other.get("manifests/lost").text, "it is told")
    assert Registry(daemon.url, "one/app").get("manifests/kept").content == kept
    incomplete(daemon, Registry(daemon.url, "one/app").post("blobs/uploads/?digest=" + digest(b"y"), data=b"y"))
    fail.release("catalog_journal_write")
    daemon.stop()
    subprocess.run([ENTREPOTCTL, "-c", str(daemon.conf), "rebuild", "--yes"], check=True)
    daemon.start()
    assert Registry(daemon.url, "other/app").get("manifests/lost").content == lost
    assert Registry(daemon.url, "one/app").get("manifests/meanwhile").status_code == 200


def test_one_that_fell_back_under_an_earlier_version(start):
    """That went on, gave other numbers to what came then and noted it in a line."""
    daemon = start()
    registry, before = filled(daemon)
    wait_for(daemon.journals_kept, "it is kept")
    end = path_of(daemon).stat().st_size
    for n in range(3):
        registry.put_manifest(registry.image_manifest(), f"after{n}")
    wait_for(lambda: ("test/image", "after2") in state(daemon)[0], "the journal has it")
    daemon.stop()
    data = path_of(daemon).read_bytes()
    lines = [x.split(b" ", 2) for x in data[end:].splitlines()]
    last, number = lines[0][2], int(lines[0][1])
    path_of(daemon).write_bytes(data[:end] + sealed(number, last) + sealed(number + 1, b"L %d" % (number - 1)) +
                                b"".join(sealed(int(n), text) for _, n, text in lines[2:]))
    daemon.allow_error("the database lacks changes")
    daemon.start()
    wait_for(lambda: "the database lacks changes" in daemon.log_text(), "it is told")
    wait_for(lambda: Registry(daemon.url).get("manifests/never").status_code == 503, "misses are final no more")
    incomplete(daemon, Registry(daemon.url).get("manifests/never"))


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
    assert daemon.ctl("gc", check=False).returncode != 0
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
    daemon.stop()
    assert ("test/image", "lost") in state(daemon)[0]


def test_a_turn_that_fails_leaves_no_line(fail, start):
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
