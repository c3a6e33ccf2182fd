"""entrepotctl rebuild: a database that is damaged, old or gone is made anew, with all that was there and nothing that was not."""
import json
import os
import pathlib
import shutil
import subprocess

import pytest

from harness.daemon import ENTREPOTCTL, wait_for
from harness.database import kinds, records
from harness.proxy import proxy, upstream  # noqa: F401
from harness.registry import OCI_IMAGE, OCI_INDEX, Registry, digest

HERE = pathlib.Path(__file__).parent
TOP = 'gc_grace = "0s"\ngc_interval = "1d"\nscrub_rate = "1G"\n'
TEXT = ('blobstore main {{ path = "{dir}/main" }}\nblobstore two {{ path = "{dir}/two" }}\n'
        'hosted one {{ blobstore = main }}\nhosted other {{ blobstore = two }}\nconnector "127.0.0.1:{port}" {{ }}\n')
SURE, GUESSED, FAILED = 0, 1, 8


class Kept:
    """What is there by all that clients were told, and what is not."""

    def __init__(self, daemon):
        self.daemon, self.tags, self.manifests, self.blobs, self.gone = daemon, {}, {}, {}, set()
        self.referrers, self.children = {}, {}

    def at(self, image):
        return Registry(self.daemon.url, image)

    def put(self, image, body, tag=None, media_type=OCI_IMAGE, layers=()):
        ref = tag or digest(body)
        assert self.at(image).put_manifest(body, ref, media_type).status_code == 201
        self.manifests[image, digest(body)] = body, media_type
        if tag:
            self.tags[image, tag] = digest(body)
        for layer in (*layers, *((b"{}",) if layers else ())):
            self.blobs[image, digest(layer)] = layer
        return body

    def push(self, image, tag=None, **more):
        layer = os.urandom(3000)
        return self.put(image, self.at(image).image_manifest(layers=(layer,), **more), tag, layers=(layer,))

    def untag(self, image, tag):
        assert self.at(image).delete("manifests/" + tag).status_code == 202
        del self.tags[image, tag]
        self.gone.add((image, tag))

    def delete(self, image, body):
        assert self.at(image).delete("manifests/" + digest(body)).status_code == 202
        for tag in [t for i, t in self.tags if i == image and self.tags[i, t] == digest(body)]:
            del self.tags[image, tag]
            self.gone.add((image, tag))
        for layer in json.loads(body)["layers"]:
            del self.blobs[image, layer["digest"]]
        del self.manifests[image, digest(body)]
        self.gone.add((image, digest(body)))

    def fill(self):
        """Of everything some, in two stores."""
        for image in ("one/team/app", "other/team/app", "one/base"):
            first, second = self.push(image, "v1"), self.push(image, "v2")
            self.put(image, second, "latest")
            self.put(image, first, "moved")
            self.put(image, second, "moved")
            self.push(image, "going")
            self.untag(image, "going")
            self.delete(image, self.push(image, "deleted"))
            children = [self.push(image), self.push(image, "child")]
            self.children[image] = digest(children[0])  # no tag names it
            index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [
                {"mediaType": OCI_IMAGE, "digest": digest(c), "size": len(c)} for c in children]}
            self.put(image, json.dumps(index).encode(), "many", OCI_INDEX)
            subject = {"mediaType": OCI_IMAGE, "digest": digest(first), "size": len(first)}
            self.referrers[image, digest(first)] = digest(self.push(image, subject=subject))
        self.untag("one/base", "v1")
        plain = json.loads(self.at("one/base").image_manifest(layers=(b"plain",)))
        del plain["mediaType"]  # only the request said what it is
        self.put("one/base", json.dumps(plain).encode(), "plain", layers=(b"plain",))
        self.delete("other/team/app", self.push("other/team/app", "late"))
        return self

    def check(self):
        for (image, d), (body, media_type) in self.manifests.items():
            r = self.at(image).get("manifests/" + d)
            assert (r.status_code, r.content, r.headers["Content-Type"]) == (200, body, media_type), (image, d, r.text)
        for (image, d), data in self.blobs.items():
            assert self.at(image).get("blobs/" + d).content == data, (image, d)
        for image in {i for i, _ in self.manifests}:
            tags = {t: d for (i, t), d in self.tags.items() if i == image}
            assert sorted(self.at(image).get("tags/list").json()["tags"]) == sorted(tags), image
            for tag, d in tags.items():
                assert self.at(image).get("manifests/" + tag).headers["Docker-Content-Digest"] == d
        for image, ref in self.gone:
            assert self.at(image).get("manifests/" + ref).status_code == 404, (image, ref)
        for (image, subject), d in self.referrers.items():
            assert [x["digest"] for x in self.at(image).get("referrers/" + subject).json()["manifests"]] == [d]


def rebuild(daemon, *args):
    done = subprocess.run([ENTREPOTCTL, "--json", "-c", str(daemon.conf), "rebuild", *(args or ("--yes",))], text=True, timeout=120,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    return done.returncode, json.loads(done.stdout) if done.stdout else done.stderr


def serves_all(daemon, kept):
    """And goes on: pushes, the journals, what fsck says."""
    daemon.start()
    kept.check()
    kept.push("one/team/app", "after")
    kept.untag("other/team/app", "v1")
    wait_for(daemon.journals_kept, "the journals are kept again")
    daemon.ctl("gc")
    kept.check()
    daemon.stop()
    status, report = daemon.fsck()
    assert status == 0 and not [x for x in report["found"] if x["kind"] != "orphan"], report["found"]


@pytest.fixture
def kept(start):
    daemon = start(text=TOP + TEXT)
    return Kept(daemon).fill()


def catalog(daemon):
    return daemon.data_dir / "catalog"


def flip(path, at):
    data = bytearray(path.read_bytes())
    data[int(len(data) * at)] ^= 0x20
    path.write_bytes(data)


def logs(daemon):
    return sorted(catalog(daemon).glob("*.log"), key=lambda p: p.stat().st_size)


def flipped_log(daemon):
    flip(logs(daemon)[-1], 0.3)


def all_in_tables(daemon):
    """A start writes what the log has into a table."""
    daemon.start()
    daemon.stop()
    tables = sorted(catalog(daemon).glob("*.ldb"))
    assert tables
    return tables


def flipped_table(daemon):
    flip(all_in_tables(daemon)[0], 0.4)


def no_table(daemon):
    for path in all_in_tables(daemon):
        path.unlink()


def no_current(daemon):
    (catalog(daemon) / "CURRENT").unlink()


def no_manifest(daemon):
    for path in catalog(daemon).glob("MANIFEST-*"):
        path.write_bytes(b"damaged\n")


def no_log(daemon):
    for path in logs(daemon):
        path.unlink()


def nothing(daemon):
    shutil.rmtree(catalog(daemon))


def empty(daemon):
    nothing(daemon)
    catalog(daemon).mkdir()


DAMAGES = [flipped_log, flipped_table, no_table, no_current, no_manifest, no_log, nothing, empty]


def test_a_byte_anywhere_in_a_table(kept):
    """Whichever record the byte is in, the journals have all."""
    kept.daemon.stop()
    wrong = []
    for table in all_in_tables(kept.daemon):
        whole = table.read_bytes()
        for at in range(30):
            flip(table, at / 30)
            status, report = rebuild(kept.daemon, "--list")
            if (status, report["complete"], report["tags"], report["manifests"]) != (SURE, True, len(kept.tags), len(kept.manifests)):
                wrong.append((table.name, at, status, report))
            table.write_bytes(whole)
    assert not wrong


@pytest.mark.parametrize("damage", DAMAGES)
def test_all_comes_back_and_nothing_else(kept, damage):
    daemon = kept.daemon
    kept.check()
    daemon.stop()
    damage(daemon)
    before = {p.name: p.read_bytes() for p in catalog(daemon).glob("*") if p.is_file()} if catalog(daemon).exists() else None
    status, report = rebuild(daemon)
    assert (status, report["guessed"], report["lost"], report["missing"], report["unnamed"]) == (SURE, 0, 0, 0, 4), report
    assert (report["tags"], report["manifests"]) == (len(kept.tags), len(kept.manifests))
    if before is None:
        assert report["damaged"] == ""
    else:
        aside = pathlib.Path(report["damaged"])
        assert {p.name: p.read_bytes() for p in aside.glob("*") if p.is_file()} == before  # as it was, to the byte
    assert not (daemon.data_dir / "rebuild").exists()
    serves_all(daemon, kept)


# What a rebuild makes: the same records with the same values, or (OWN_TIMES) values of the same length that hold files' own
# times. The others are not made of what clients pushed: the journals' numbers, the stores' identities, suspects, the scrub's
# place, the version; and marks of damage, of which a blob's next read makes a new one.
SAME, OWN_TIMES, NOT_MADE = "TGKRU", "BILM", "JNQSVD"


def made(daemon):
    found = {k: v for k, v in records(daemon).items() if chr(k[0]) not in NOT_MADE}
    return {k: len(v) if chr(k[0]) in OWN_TIMES else v for k, v in found.items()}


def test_records_are_those_that_were_there(kept):
    """One and all: whatever record the catalog comes to write, rebuild does."""
    daemon = kept.daemon
    assert sorted(SAME + OWN_TIMES + NOT_MADE) == sorted(kinds()), "a new kind: does a rebuild make it?"

    def collected(sweeps):
        status = json.loads(daemon.ctl("--json", "gc", "--status").stdout)
        return not status["running"] and status["sweeps"] >= sweeps

    for n in range(1, 4):  # what nobody names has no record afterwards
        daemon.ctl("gc")
        wait_for(lambda: collected(n), "garbage is collected")
    stopped(kept)
    before = made(daemon)
    assert {chr(k[0]) for k in before} == set(SAME + OWN_TIMES)
    nothing(daemon)
    assert rebuild(daemon)[0] == SURE
    after = made(daemon)
    assert {k: (before.get(k), after.get(k)) for k in {*before, *after} if before.get(k) != after.get(k)} == {}


def journal(daemon, store="main"):
    return daemon.dir / store / "journal"


def stopped(kept):
    wait_for(kept.daemon.journals_kept, "the journals are kept")
    kept.daemon.stop()


def test_a_look_changes_nothing(kept):
    daemon = kept.daemon
    stopped(kept)
    flipped_log(daemon)
    before = {p: p.read_bytes() for p in daemon.dir.rglob("*") if p.is_file()}
    status, report = rebuild(daemon, "--list")
    assert (status, report["tags"], len([x for x in report["found"] if x["kind"] == "unnamed"])) == (SURE, len(kept.tags), 4)
    assert {p: p.read_bytes() for p in daemon.dir.rglob("*") if p.is_file()} == before


def test_it_needs_a_yes_no_daemon_and_all_stores(kept):
    daemon = kept.daemon
    status, text = rebuild(daemon)
    assert status == FAILED, text
    stopped(kept)
    flipped_log(daemon)
    (daemon.dir / "two").rename(daemon.dir / "away")
    shutil.copytree(daemon.dir / "away", daemon.dir / "two", ignore=lambda _, names: [n for n in names if len(n) > 6])
    assert (daemon.dir / "two/blobs/sha256/00").is_dir() and not (daemon.dir / "two/IDENTITY").exists()
    assert rebuild(daemon)[0] == FAILED and not list(daemon.data_dir.glob("catalog.damaged*"))
    shutil.rmtree(daemon.dir / "two")
    (daemon.dir / "away").rename(daemon.dir / "two")
    nothing(daemon)
    done = subprocess.run([ENTREPOTCTL, "-c", str(daemon.conf), "rebuild"], text=True, input="", capture_output=True)
    assert done.returncode == 32 and "add --yes" in done.stderr and not catalog(daemon).exists()
    (daemon.dir / "two").rename(daemon.dir / "away")
    (daemon.dir / "two").mkdir()
    assert rebuild(daemon)[0] == FAILED and not catalog(daemon).exists()
    (daemon.dir / "two").rmdir()
    assert rebuild(daemon)[0] == FAILED and not catalog(daemon).exists()
    (daemon.dir / "away").rename(daemon.dir / "two")
    assert rebuild(daemon)[0] == SURE
    serves_all(daemon, kept)


def test_another_configuration_of_the_same_data_dir(kept):
    """The stores are not locked, the database is."""
    daemon = kept.daemon
    wait_for(daemon.journals_kept, "the journals are kept")
    whole = daemon.conf.read_text()
    for store in ("main", "two"):
        shutil.copytree(daemon.dir / store, daemon.dir / f"copy-{store}")
        whole = whole.replace(f'/{store}"', f'/copy-{store}"')
    other = daemon.dir / "other.conf"
    other.write_text(whole)
    done = subprocess.run([ENTREPOTCTL, "-c", str(other), "rebuild", "--yes"], capture_output=True, text=True)
    assert done.returncode == FAILED and "a daemon uses it" in done.stderr
    kept.check()


def test_the_messages_of_a_missing_database_name_it(kept):
    daemon = kept.daemon
    stopped(kept)
    nothing(daemon)
    daemon.process = subprocess.Popen([os.environ.get("ENTREPOTD", str(HERE.parents[1] / "build/entrepotd")), "-t", "-c", str(daemon.conf)],
                                      stderr=subprocess.PIPE, text=True)
    text = daemon.process.communicate()[1]
    daemon.process = None
    assert "entrepotctl rebuild" in text, text
    assert rebuild(daemon)[0] == SURE
    serves_all(daemon, kept)


@pytest.mark.parametrize("point", ["rebuild_made", "rebuild_aside", "rebuild_placed"])
@pytest.mark.parametrize("damage", [flipped_log, nothing])
def test_killed_it_is_run_again(fail, kept, monkeypatch, damage, point):
    daemon = kept.daemon
    stopped(kept)
    damage(daemon)
    fail.arm(point, "kill")
    assert rebuild(daemon)[0] == -9
    assert not fail.pending(point)
    monkeypatch.delenv("ENTREPOT_FAIL_DIR")
    if damage is flipped_log and point == "rebuild_aside":
        journal(daemon).unlink()  # so that the second one must find what the first put aside
        status, report = rebuild(daemon)
        assert status == GUESSED and report["guessed"] > 0, report
        return
    assert rebuild(daemon)[0] == SURE
    assert not (daemon.data_dir / "rebuild").exists()
    serves_all(daemon, kept)


def test_an_older_database_comes_up_to_date(kept):
    """As after a backup of yesterday was put back: what was pushed since is there, what was deleted is not."""
    daemon = kept.daemon
    stopped(kept)
    subprocess.run(["cp", "-a", str(catalog(daemon)), str(daemon.dir / "older")], check=True)
    daemon.start()
    kept.push("one/team/app", "since")
    kept.untag("one/team/app", "v1")
    stopped(kept)
    nothing(daemon)
    (daemon.dir / "older").rename(catalog(daemon))
    daemon.allow_error("the database lacks changes")
    daemon.start()
    assert kept.at("one/team/app").get("manifests/since").status_code == 503
    daemon.stop()
    status, report = rebuild(daemon)
    assert (status, report["guessed"]) == (SURE, 0)
    serves_all(daemon, kept)


def line_of(data, text):
    """Where a line that contains `text` begins and ends; the last such."""
    at = data.rindex(text)
    return data.rindex(b"\n", 0, at) + 1, data.index(b"\n", at) + 1


def test_what_a_damaged_journal_does_not_tell_is_found_or_told(kept):
    """No database; in the journal lines of a tag, of its manifest and of an index' child have changed."""
    daemon = kept.daemon
    body = kept.push("one/team/app", "named-by-its-tag")
    lost = kept.push("one/team/app", "lost")
    stopped(kept)
    nothing(daemon)
    data = bytearray(journal(daemon).read_bytes())
    for text in (b" M one team/app " + digest(body).encode(), b" T one team/app lost ",
                 b" M one base " + kept.children["one/base"].encode()):
        begin, end = line_of(data, text)
        data[begin + 12] ^= 1
    journal(daemon).write_bytes(data)
    status, report = rebuild(daemon)
    assert status == GUESSED and report["guessed"] > 0
    del kept.tags["one/team/app", "lost"]
    daemon.start()
    kept.check()
    assert kept.at("one/team/app").get("manifests/" + digest(lost)).content == lost
    daemon.stop()


def test_without_journals_what_the_database_had_is_a_guess(kept):
    daemon = kept.daemon
    stopped(kept)
    all_in_tables(daemon)
    no_current(daemon)
    for store in ("main", "two"):
        journal(daemon, store).unlink()
    status, report = rebuild(daemon)
    assert (status, report["guessed"]) == (GUESSED, len(kept.tags) + len(kept.manifests)), report
    serves_all(daemon, kept)


def test_with_neither_nothing_is_invented_and_nothing_collected(kept):
    daemon = kept.daemon
    stopped(kept)
    nothing(daemon)
    for store in ("main", "two"):
        journal(daemon, store).unlink()
    files = {p for p in daemon.dir.glob("*/blobs/sha256/*/*")}
    status, report = rebuild(daemon)
    assert (status, report["tags"], report["manifests"]) == (GUESSED, 0, 0)
    assert report["unnamed"] == len({(i.split("/")[0], d) for i, d in kept.manifests}) + 4
    daemon.start()
    assert kept.at("one/team/app").get("manifests/v1").status_code == 404
    for _ in range(2):
        daemon.ctl("gc")
    daemon.stop()
    assert {p for p in daemon.dir.glob("*/blobs/sha256/*/*")} == files


def test_what_has_no_bytes_is_told(kept):
    daemon = kept.daemon
    layer = os.urandom(2000)
    body = kept.at("one/team/app").image_manifest(layers=(layer,))
    kept.at("one/team/app").put_manifest(body, "no-layer")
    other = kept.at("one/team/app").image_manifest(layers=(b"other",))
    kept.at("one/team/app").put_manifest(other, "no-manifest")
    short = os.urandom(100)
    truncated = kept.at("one/team/app").image_manifest(layers=(short,))
    kept.at("one/team/app").put_manifest(truncated, "short-layer")
    changed = kept.at("one/team/app").image_manifest(layers=(b"changed",))
    kept.at("one/team/app").put_manifest(changed, "changed")
    stopped(kept)
    nothing(daemon)
    for d in (digest(layer), digest(other)):
        (daemon.dir / "main/blobs/sha256" / d[7:9] / d[7:]).unlink()
    os.truncate(daemon.dir / "main/blobs/sha256" / digest(short)[7:9] / digest(short)[7:], 50)
    path = daemon.dir / "main/blobs/sha256" / digest(changed)[7:9] / digest(changed)[7:]
    path.write_bytes(changed.replace(b'"size": 7', b'"size": 8'))  # a manifest all the same
    assert path.read_bytes() != changed
    status, report = rebuild(daemon)
    texts = [(x["kind"], x["text"]) for x in report["found"]]
    assert status == GUESSED and (report["lost"], report["missing"]) == (4, 2), report
    assert any(k == "missing" and digest(layer) in t for k, t in texts)
    for tag in ("no-manifest", "changed"):
        assert any(k == "lost" and f"one/team/app:{tag}:" in t for k, t in texts)
    kept.tags["one/team/app", "no-layer"] = digest(body)
    kept.tags["one/team/app", "short-layer"] = digest(truncated)
    daemon.start()
    kept.check()
    # A push of the same heals it.
    kept.at("one/team/app").push_blob(layer)
    assert kept.at("one/team/app").get("blobs/" + digest(layer)).content == layer
    daemon.stop()
    assert daemon.fsck()[0] == 0


def test_a_repository_without_a_section_comes_back_too(kept):
    daemon = kept.daemon
    stopped(kept)
    whole = daemon.conf.read_text()
    daemon.conf.write_text(whole.replace("hosted one { blobstore = main }\n", ""))
    nothing(daemon)
    status, report = rebuild(daemon)
    assert status == SURE and report["tags"] == len(kept.tags), report
    daemon.conf.write_text(whole)
    serves_all(daemon, kept)


@pytest.mark.parametrize("damage", [flipped_log, flipped_table, no_table])
def test_what_can_be_read_is_served_until_then(kept, damage):
    """A daemon over the damaged database loses nothing that rebuild could use."""
    daemon = kept.daemon
    stopped(kept)
    damage(daemon)
    daemon.allow_error("log is damaged", "cannot be read either", "cannot open the database", "cannot read the database", "cannot read a manifest")
    daemon.start()
    wait_for(lambda: "entrepotctl rebuild" in daemon.log_text(), "the log names the way")
    for (image, d), (body, _) in kept.manifests.items():
        r = kept.at(image).get("manifests/" + d)
        assert r.status_code == 503 or (r.status_code == 200 and r.content == body), (r.status_code, r.text)
    assert kept.at("one/new").post("blobs/uploads/").status_code in (202, 503)
    daemon.stop()
    assert rebuild(daemon)[0] == SURE
    serves_all(daemon, kept)


def move(daemon, store):
    subprocess.run([ENTREPOTCTL, "-c", str(daemon.conf), "repo", "move", "one", "--store", store], check=True)


def configure_moved(daemon):
    daemon.conf.write_text(daemon.conf.read_text().replace("hosted one { blobstore = main }", "hosted one { blobstore = two }"))


@pytest.mark.parametrize("started,damage", [(True, nothing), (False, nothing), (False, no_current)])
def test_a_repository_that_was_moved(kept, started, damage):
    """Its new store's journal tells of it, before a daemon has started, too."""
    daemon = kept.daemon
    stopped(kept)
    move(daemon, "two")
    for args in (["fsck", "--repair"], ["rebuild", "--list"], ["rebuild", "--yes"]):  # nothing is looked for in the old place
        done = subprocess.run([ENTREPOTCTL, "-c", str(daemon.conf), *args], capture_output=True, text=True, timeout=60)
        assert done.returncode == FAILED and "keep blobstore = two" in done.stderr, done
    configure_moved(daemon)
    if started:
        daemon.start()
        stopped(kept)
    assert daemon.fsck()[1]["found"] == []
    damage(daemon)
    status, report = rebuild(daemon)
    assert (status, report["lost"], report["missing"]) == (SURE, 0, 0), report
    assert (report["tags"], report["manifests"]) == (len(kept.tags), len(kept.manifests))
    serves_all(daemon, kept)


def test_a_repository_that_was_moved_and_the_configuration_was_not_changed(kept):
    """With the database goes the file that says where it is; its images are not called nobody's."""
    daemon = kept.daemon
    stopped(kept)
    move(daemon, "two")
    nothing(daemon)
    done = subprocess.run([ENTREPOTCTL, "-c", str(daemon.conf), "rebuild", "--yes"], capture_output=True, text=True)
    assert done.returncode == FAILED and "set blobstore = two" in done.stderr, done
    assert not catalog(daemon).exists() and journal(daemon, "two").exists()
    configure_moved(daemon)
    assert rebuild(daemon)[0] == SURE
    serves_all(daemon, kept)


def test_a_repository_that_was_moved_there_and_back(kept):
    """What went while it was elsewhere is not in its first store's journal any more."""
    daemon = kept.daemon
    stopped(kept)
    whole = daemon.conf.read_text()
    move(daemon, "two")
    configure_moved(daemon)
    daemon.start()
    kept.untag("one/team/app", "v2")
    kept.push("one/team/app", "elsewhere")
    stopped(kept)
    move(daemon, "main")
    daemon.conf.write_text(whole)
    nothing(daemon)
    assert rebuild(daemon)[0] == SURE
    serves_all(daemon, kept)


def test_one_of_before_identities(kept, tmp_path):
    """No journal, no identities, and a log that is damaged at its very end."""
    daemon = kept.daemon
    stopped(kept)
    program = tmp_path / "old_format"
    subprocess.run(["cc", "-O1", "-o", str(program), str(HERE / "old_format.c"), "-lleveldb"], check=True)
    subprocess.run([program, catalog(daemon)], check=True)
    for path in (catalog(daemon) / "IDENTITY", *daemon.dir.glob("*/IDENTITY"), *daemon.dir.glob("*/journal")):
        path.unlink()
    no_current(daemon)
    status, report = rebuild(daemon)
    assert status == GUESSED and report["tags"] >= len(kept.tags), report
    serves_all(daemon, kept)


def test_what_a_proxy_keeps(proxy, upstream):
    layers = [os.urandom(2000), os.urandom(3000)]
    manifest = upstream.image("team/app", layers=layers)
    client = proxy(upstream, ttl="1h")
    assert client.get("manifests/latest").content == manifest
    assert client.get("blobs/" + digest(layers[0])).content == layers[0]
    daemon = client.daemon
    wait_for(daemon.journals_kept, "the journal is kept")
    daemon.stop()
    nothing(daemon)
    status, report = rebuild(daemon)
    assert (status, report["tags"], report["missing"]) == (SURE, 1, 0), report
    daemon.start()
    assert client.get("manifests/latest").content == manifest
    assert client.get("blobs/" + digest(layers[0])).content == layers[0]
    assert client.get("blobs/" + digest(layers[1])).content == layers[1]  # fetched now
    daemon.stop()
    assert daemon.fsck()[0] == 0


def test_what_a_full_disk_cuts_short_is_not_called_all(kept):
    """LevelDB's repair leaves out what it has no room for, and says nothing."""
    daemon = kept.daemon
    for _ in range(250):  # a log much longer than what is there by it
        kept.delete("one/churn", kept.push("one/churn"))
    kept.gone = set()
    stopped(kept)
    for store in ("main", "two"):
        journal(daemon, store).unlink()
    no_current(daemon)
    disk = daemon.data_dir / "rebuild"
    disk.mkdir()
    statuses = []
    for kib in [*range(80, 1200, 80), 32 * 1024]:
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={kib}k", "none", str(disk)], check=True)
        try:
            status, report = rebuild(daemon, "--list")
        finally:
            subprocess.run(["umount", str(disk)], check=True)
        assert status == FAILED or (report["tags"], report["manifests"]) == (len(kept.tags), len(kept.manifests)), (kib, report)
        statuses.append(status)
    assert statuses[0] == FAILED and statuses[-1] == GUESSED, statuses


def test_large_manifests_take_little_memory(kept):
    """What is written at once has a bound in bytes: manifests have thousands of records each."""
    daemon = kept.daemon
    layer = b"the same"
    registry = kept.at("one/large")
    body = json.loads(registry.image_manifest(layers=(layer,)))
    body["layers"] *= 20_000
    for n in range(30):
        body["annotations"] = {"n": str(n)}
        kept.put("one/large", json.dumps(body).encode(), f"n{n}")
    stopped(kept)
    nothing(daemon)
    limit = [] if "asan" in str(ENTREPOTCTL) else ["prlimit", f"--data={100 << 20}"]  # its shadow would count
    done = subprocess.run([*limit, ENTREPOTCTL, "-c", str(daemon.conf), "rebuild", "--yes"], capture_output=True, text=True)
    assert done.returncode == SURE, done
    daemon.start()
    kept.check()
    daemon.stop()
