"""Starts with a disk that is full or read-only, files of another account, a damaged database: no port hangs,
health tells, what opens is served, and what heals is taken without a restart."""
import os
import pathlib
import shutil
import subprocess

import pytest
import requests

from harness.daemon import BODY, ENTREPOTCTL, Daemon, free_port, wait_for
from harness.registry import Registry, digest, error
from harness.tools import need, own_directory
from harness.users import basic, write_users

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")

TROUBLE = ("log is damaged", "cannot be read either", "cannot open the database", "database's disk",
           "belongs to another account", "cannot be read", "key that signs tokens", "cannot write", "cannot create", "cannot look through",
           "cannot open a blob store", "cannot finish", "cannot read a manifest")


class Place:
    """A data_dir on a small disk of its own; the rest lies elsewhere."""

    def __init__(self):
        self.dir = own_directory("entrepot-states-")
        self.dir.chmod(0o755)
        self.disk = self.dir / "disk"
        self.disk.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=48m,mode=755", "none", str(self.disk)], check=True)
        self.data = self.disk / "data"
        self.admin = free_port()
        self.daemon = None

    def start(self, top="", body=""):
        self.daemon = Daemon(directory=self.dir, top=top, text='admin "127.0.0.1:%d" {{ }}\n' % self.admin + BODY + body)
        self.daemon.conf.write_text(self.daemon.conf.read_text().replace(f'{self.dir}/data"', f'{self.data}/"'))
        self.daemon.allow_error(*TROUBLE)
        return self.daemon.start()

    def again(self):
        self.daemon.start()
        return Registry(self.daemon.url)

    def health(self, which=""):
        return requests.get(f"http://127.0.0.1:{self.admin}/health{which}", timeout=20).status_code

    def remount(self, how):
        subprocess.run(["mount", "-o", f"remount,{how}", str(self.disk)], check=True)

    def fill(self):
        try:
            with open(self.disk / "fill", "wb") as f:
                while True:
                    f.write(b"x" * 4096)
                    f.flush()
        except OSError:
            pass

    def end(self, check):
        try:
            if self.daemon:
                self.daemon.close(check=check)
        finally:
            subprocess.run(["umount", "-l", str(self.disk)], check=True)
            shutil.rmtree(self.dir, ignore_errors=True)


@pytest.fixture
def place(request):
    p = Place()
    yield p
    p.end(check=True)


def chown(path, account):
    subprocess.run(["chown", "-R", account, str(path)], check=True)


def nothing_opens(place):
    """Every port answers, and says so."""
    for path in ("/v2/", "/v2/test/image/manifests/kept", "/v2/_catalog"):
        r = requests.get(place.daemon.url + path, timeout=20)
        assert (r.status_code, error(r)) == (503, "UNAVAILABLE") and r.headers["Retry-After"], (path, r.text)
    assert (place.health(), place.health("/ready"), place.health("/live")) == (503, 503, 200)


def told(place, role, *texts):
    """entrepotctl status does not call it ready, and says why, and what helps."""
    wait_for(lambda: place.daemon.roles(role)[0]["state"] == "degraded", "status tells it")
    row = place.daemon.roles(role)[0]
    text = place.daemon.ctl("status").stdout
    for line in row["trouble"]:
        assert f"{role}: {line}\n" in text, text
    assert "degraded" in text and all(any(t in line for line in row["trouble"]) for t in texts), row


def ready(place):
    rows = place.daemon.roles()
    return all(r["state"] == "ready" and r["trouble"] == [] for r in rows)


def heals(place, registry, kept):
    """Without a restart."""
    wait_for(lambda: place.health() == 200, "it has healed", 20)
    wait_for(lambda: ready(place), "status tells it")
    wait_for(lambda: registry.get("manifests/kept").content == kept, "the worker that we have has its blob store, too")
    registry.push_image("after")
    assert "after" in registry.get("tags/list").json()["tags"]
    place.daemon.stop()
    if "user =" not in place.daemon.conf.read_text():
        assert place.daemon.fsck()[0] == 0


@pytest.mark.parametrize("how", ["full", "read-only"])
def test_a_disk_that_cannot_be_written(place, how):
    place.start()
    registry = Registry(place.daemon.url)
    data = os.urandom(100_000)
    registry.push_blob(data)
    kept = registry.push_image("kept")
    place.daemon.stop()
    if how == "full":
        place.fill()
    else:
        place.remount("ro")
    registry = place.again()
    assert (place.health(), place.health("/ready"), place.health("/live")) == (503, 200, 200)
    assert registry.get("manifests/kept").content == kept
    assert registry.get(f"blobs/{digest(data)}").content == data
    r = registry.put_manifest(kept, "moved")
    assert r.status_code == (507 if how == "full" else 503) and error(r) == "UNAVAILABLE"
    assert registry.get("manifests/moved").status_code == 404
    told(place, "catalog", "the database's disk cannot be written", "pulls are served, changes are refused")
    text = place.daemon.log_text()
    assert ("No space left" if how == "full" else "Read-only file system") in text and str(place.data) in text
    assert "can be read and not written" in text
    assert not (place.daemon.run_dir / "catalog-view").exists()
    if how == "full":
        (place.disk / "fill").unlink()
    else:
        place.remount("rw")
    heals(place, registry, kept)


def test_a_view_that_a_crash_left(place):
    """Is removed, and what it links to is not."""
    place.start()
    kept = Registry(place.daemon.url).push_image("kept")
    place.daemon.stop()
    view = place.daemon.run_dir / "catalog-view"
    view.mkdir()
    (view / "000005.ldb").symlink_to(place.data / "catalog" / "CURRENT")
    place.remount("ro")
    registry = place.again()
    assert registry.get("manifests/kept").content == kept
    assert (place.data / "catalog" / "CURRENT").read_text().startswith("MANIFEST-")
    place.remount("rw")
    heals(place, registry, kept)


@pytest.mark.parametrize("part", ["catalog", "catalog/CURRENT", "."])
def test_a_database_of_another_account(place, part):
    """As after a restore, or a start without `user`."""
    place.start(top='user = "nobody"\n')
    kept = Registry(place.daemon.url).push_image("kept")
    place.daemon.stop()
    what = place.data / part
    if part == ".":
        what = place.data
        for path in (place.data, *place.data.rglob("*")):
            path.chmod(0o700 if path.is_dir() else 0o600)
    what.chmod(0o700 if what.is_dir() else 0o600)
    chown(what, "root:root")
    registry = place.again()
    wait_for(lambda: "Permission denied" in place.daemon.log_text(), "the log tells it")
    assert str(place.data / part if part != "." else place.data) in place.daemon.log_text()
    nothing_opens(place)
    told(place, "catalog", "belongs to another account", "chown -R", "all requests are answered 503")
    chown(place.data, "nobody")
    heals(place, registry, kept)


def test_a_store_of_another_account(place):
    place.start(top='user = "nobody"\n')
    kept = Registry(place.daemon.url).push_image("kept")
    place.daemon.stop()
    (place.data / "blobs").chmod(0o700)
    chown(place.data / "blobs", "root:root")
    registry = place.again()
    for attempt in (lambda: registry.get("manifests/kept"), lambda: registry.post("blobs/uploads/"),
                    lambda: registry.post("blobs/uploads/?digest=" + digest(b"y"), data=b"y")):
        r = attempt()
        assert (r.status_code, error(r)) == (503, "UNAVAILABLE"), r.text
    told(place, "catalog", "blobstore main cannot be used: entrepotctl store list")
    text = place.daemon.log_text()
    assert "a blob store belongs to another account" in text and "Permission denied" in text
    chown(place.data / "blobs", "nobody")
    wait_for(lambda: registry.post("blobs/uploads/").status_code == 202, "it has healed")
    wait_for(lambda: place.daemon.log_text().count("can be opened again") == 3, "all processes have it")
    heals(place, registry, kept)


def test_keys_of_another_account(place):
    """Logins are 503, whoever needs none is served, and it heals."""
    users = pathlib.Path(place.dir) / "users"
    write_users(users, {"alice": "secret"})
    auth = f'auth {{{{ htpasswd = "{users}"\n force_basic_auth = false }}}}\n'
    auth += 'role all {{ users = {{alice}}\n images = {{"**:**"}}\n may = {{pull, push, delete}} }}\n'
    place.start(top='user = "nobody"\n', body=auth)
    alice = requests.Session()
    alice.headers.update(basic("alice", "secret"))
    kept = Registry(place.daemon.url, session=alice).push_image("kept")
    place.daemon.stop()
    chown(place.data / "auth", "root:root")
    place.again()
    assert Registry(place.daemon.url).get("manifests/kept").content == kept
    r = alice.get(place.daemon.url + "/v2/", timeout=20)
    assert (r.status_code, error(r)) == (503, "UNAVAILABLE")
    told(place, "auth", "the key that signs tokens cannot be used", "logins are answered 503")
    text = place.daemon.log_text()
    assert "key that signs tokens" in text and "permission denied" in text and f"{place.data}" in text
    chown(place.data / "auth", "nobody")
    wait_for(lambda: alice.get(place.daemon.url + "/v2/", timeout=20).status_code == 200, "logins work again")
    heals(place, Registry(place.daemon.url, session=alice), kept)


def test_mistakes_in_the_file_of_users_are_told_by_status(place):
    users = pathlib.Path(place.dir) / "us\x1b[7mers"
    users.write_text("alice:no hash\n")
    place.start(body=f'auth {{{{ htpasswd = "{users}" }}}}\n')
    place.daemon.allow_error("mistake in the file of users")
    told(place, "auth", f"mistakes in the file of users {place.dir}/us?[7mers", "nobody can log in")
    write_users(users, {"alice": "secret"})
    wait_for(lambda: ready(place), "it has healed")
    users.write_text("alice:no hash\n")
    told(place, "auth", "the users read before count")


@pytest.mark.parametrize("damage", ["CURRENT", "MANIFEST"])
def test_a_database_that_does_not_open(place, damage):
    place.start()
    Registry(place.daemon.url).push_image("kept")
    place.daemon.stop()
    for path in (place.data / "catalog").glob(f"{damage}*"):
        path.write_bytes(b"damaged\n")
    place.again()
    wait_for(lambda: "cannot open the database" in place.daemon.log_text(), "the log tells it")
    nothing_opens(place)
    told(place, "catalog", "the database is damaged: stop entrepotd, then entrepotctl rebuild", "all requests are answered 503")


def newest_log(place):
    return max((place.data / "catalog").glob("*.log"), key=lambda p: int(p.stem))


def test_a_changed_byte_in_the_log(place):
    """LevelDB drops what stands behind it without a word; the registry says so and keeps all as it is."""
    place.start()
    registry = Registry(place.daemon.url)
    kept = {f"t{n}": registry.push_image(f"t{n}") for n in range(20)}
    place.daemon.stop()
    log = newest_log(place)
    whole = log.read_bytes()
    place_of = whole.index(b"\0t10\0")
    log.write_bytes(whole[:place_of] + b"?" + whole[place_of + 1:])
    registry = place.again()
    wait_for(lambda: "pulls of what can be read of it are served" in place.daemon.log_text(), "the log tells it")
    assert f"file={log.name}" in place.daemon.log_text() and "log is damaged" in place.daemon.log_text()
    assert registry.get("manifests/t1").content == kept["t1"], "what is whole is served"
    for attempt in (lambda: registry.get("manifests/t19"), lambda: registry.get("tags/list"),
                    lambda: registry.post("blobs/uploads/?digest=" + digest(b"y"), data=b"y"),
                    lambda: registry.delete("manifests/t1")):
        r = attempt()
        assert (r.status_code, error(r)) == (503, "UNAVAILABLE"), r.text
    assert place.health() == 503
    told(place, "catalog", "the database is damaged: stop entrepotd, then entrepotctl rebuild", "pulls of what can be read are served")
    status, text = fsck_refused(place)
    assert status == 8 and "log is damaged" in text, text
    assert log.read_bytes() != whole and len(log.read_bytes()) == len(whole), "nothing is cut"
    log.write_bytes(whole)
    wait_for(lambda: place.health() == 200, "it has healed", 20)
    for tag, data in kept.items():
        assert registry.get(f"manifests/{tag}").content == data


def test_what_damage_hides_is_not_what_was_before_it(place):
    """Behind a changed byte of the log a tag moved and others went: the old ones are not served again."""
    place.start()
    registry = Registry(place.daemon.url)
    kept = registry.push_image("kept")
    old = registry.push_image("moves", layers=(b"old",))
    gone = registry.push_image("goes", layers=(b"gone",))
    registry.put_manifest(kept, "goes-too")
    registry.push_image("between", layers=(b"between",))
    registry.put_manifest(kept, "moves")
    assert registry.delete("manifests/" + digest(gone)).status_code == 202
    assert registry.delete("manifests/goes-too").status_code == 202
    wait_for(lambda: b" t docker-local test/image goes-too\n" in journal(place), "the journal tells it")
    place.daemon.stop()
    log = newest_log(place)
    whole = log.read_bytes()
    place_of = whole.index(b"\0between\0")
    log.write_bytes(whole[:place_of] + b"?" + whole[place_of + 1:])
    registry = place.again()
    wait_for(lambda: "pulls of what can be read of it are served" in place.daemon.log_text(), "the log tells it")
    assert registry.get("manifests/kept").content == kept
    assert registry.get("manifests/" + digest(old)).content == old  # it is there still, by its digest
    for ref in ("moves", "goes", "goes-too", digest(gone)):
        r = registry.get("manifests/" + ref)
        assert (r.status_code, error(r)) == (503, "UNAVAILABLE"), (ref, r.text)


def test_a_log_on_a_failing_disk(place):
    """A sector that cannot be read is an error that is told, not the end of whoever reads it."""
    need("strace")
    place.start()
    Registry(place.daemon.url).push_image("kept")
    place.daemon.stop()
    log = newest_log(place)
    r = subprocess.run(["strace", "-f", "-o", "/dev/null", "-P", str(log), "-e", "inject=pread64:error=EIO", str(ENTREPOTCTL),
                        "-c", str(place.daemon.conf), "fsck"], capture_output=True, text=True, timeout=60,
                       env={**os.environ, "ASAN_OPTIONS": "detect_leaks=0"})  # which works not under strace
    assert r.returncode == 8 and "cannot read the database's log" in r.stderr and f"file={log.name}" in r.stderr, r


def journal(place):
    return (place.data / "blobs" / "journal").read_bytes()


def test_a_damaged_block_of_a_table(place):
    """Pulls of what other blocks have are served. (Some blocks have nothing that pulls need.)"""
    place.start()
    registry = Registry(place.daemon.url)
    kept = {f"t{n:03}": registry.push_image(f"t{n:03}", layers=(b"%d" % n,)) for n in range(60)}
    for _ in range(2):  # a start writes the log's content into a table
        place.daemon.stop()
        registry = place.again()
    place.daemon.stop()
    table = max((place.data / "catalog").glob("*.ldb"), key=lambda p: p.stat().st_size)
    whole = table.read_bytes()
    results = []
    for at in range(100, len(whole) - 100, max(len(whole) // 8, 1)):
        table.write_bytes(whole[:at] + bytes([whole[at] ^ 255]) + whole[at + 1:])
        registry = place.again()
        wait_for(lambda: place.health() == 200 or "database is damaged: pulls" in place.daemon.log_text(), "it serves")
        answers = {tag: registry.get("manifests/" + tag) for tag in kept}
        assert all(r.status_code == 503 or r.content == kept[tag] for tag, r in answers.items())
        results.append(sum(r.status_code == 200 for r in answers.values()))
        place.daemon.stop()
        (place.dir / "log").write_text("")
    assert min(results) > 0 and 0 < len([r for r in results if r < len(kept)]), results


def fsck_refused(place):
    """Offline: beside the daemon the same file is copied."""
    place.daemon.stop()
    r = subprocess.run([str(ENTREPOTCTL), "-c", str(place.daemon.conf), "fsck"], capture_output=True, text=True, timeout=60)
    place.again()
    return r.returncode, r.stdout + r.stderr


@pytest.mark.parametrize("end", [b"", b"\0" * 3000, b"\x9c" * 3000])
def test_a_log_that_a_power_cut_left_unfinished(place, end):
    """What was acknowledged is there, and the daemon starts."""
    place.start()
    registry = Registry(place.daemon.url)
    kept = {f"t{n}": registry.push_image(f"t{n}") for n in range(5)}
    place.daemon.stop()
    log = newest_log(place)
    whole = log.read_bytes()
    unfinished = whole[whole.rindex(b"\0t4\0"):][:200]  # the beginning of one that would have come next
    log.write_bytes(whole + b"\x12\x34\x56\x78\x00\x02\x01" + unfinished + end)
    registry = place.again()
    assert place.health() == 200
    for tag, data in kept.items():
        assert registry.get(f"manifests/{tag}").content == data
    heals(place, registry, registry.push_image("kept"))
