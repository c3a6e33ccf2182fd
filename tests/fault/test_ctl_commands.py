"""entrepotctl, all commands alike: JSON wherever it is asked for, and one end for whoever does not say yes."""
import json
import os
import pty
import re
import subprocess

import pytest

from harness.daemon import ENTREPOTCTL, HEAD, Daemon, free_port, wait_for
from harness.registry import Registry

NO = 32
TEXT = """
blobstore main {{{{ path = "{{dir}}/main" }}}}
blobstore {two} {{{{ path = "{{dir}}/two" }}}}
hosted moved {{{{ blobstore = {moved} }}}}
hosted going {{{{ blobstore = main }}}}
proxy up {{{{ blobstore = main remotes = {{{{"http://127.0.0.1:{nobody}"}}}} connect_timeout = 1s }}}}
auth {{{{ htpasswd = "{{dir}}/htpasswd" force_basic_auth = false anonymous_may = {{{{pull, push, delete}}}} }}}}
connector "127.0.0.1:{{port}}" {{{{ }}}}
"""

# What is asked while the daemon runs, then what is asked of a stopped one, in this order.
RUNNING = [
    "status", "repos", "images", "images moved", "tags moved:app", "gc", "gc --now", "gc --status", "gc --orphans", "gc --orphans --yes",
    "scrub", "scrub --status", "fetches", "proxy status", "warm up:app/x:1", "evict up", "repo drop going --yes",
    "cert --dir {dir}/tls registry.example", "user add alice --password-stdin", "user passwd alice --password-stdin",
    "user list", "token create robot", "token list", "token revoke robot", "user del alice",
    "check-access anonymous moved:app", "store list", "fsck", "config check", "config check {conf}",
]
STOPPED = [
    "repo move moved --store two", "store list", "store rename two second", "store adopt second --yes", "fsck", "fsck --repair",
    "rebuild --list", "rebuild --yes",
]
FAILING = {"warm up:app/x:1": 1}


@pytest.fixture(scope="module")
def daemon():
    d = Daemon(text="", workers=1)
    configured(d).start()
    for repo in ("moved", "going"):
        Registry(d.url, f"{repo}/app").push_image("1")
    yield d
    d.close()


def configure(daemon, two="two", moved="main"):
    daemon.write_conf(HEAD + TEXT.format(two=two, moved=moved, nobody=daemon.nobody))


def configured(daemon):
    daemon.nobody = free_port()
    configure(daemon)
    (daemon.dir / "htpasswd").write_text("")
    return daemon


def ctl(daemon, line, *more):
    args = line.format(dir=daemon.dir, conf=daemon.conf).split()
    return subprocess.run([ENTREPOTCTL, *more, "-c", str(daemon.conf), *args], input="a password\n", text=True, timeout=60,
                          capture_output=True)


def documented():
    """The commands of `entrepotctl -h`: "user add", "gc", "gc --status" and so on."""
    rows = []
    for form in re.findall(r"^  ([a-z].*?)(?:  |(?<=\]) (?=[a-z])|$)", subprocess.run([ENTREPOTCTL, "-h"], text=True, capture_output=True).stdout, re.M):
        for part in form.split(", "):
            word, *rest = part.split()
            verbs = rest.pop(0).split("|") if rest and re.fullmatch(r"[a-z|]+", rest[0]) else [""]
            options = re.findall(r"--[a-z-]+", " ".join(rest)) if word in ("gc", "scrub", "fsck", "rebuild") else []
            needed = rest and rest[0].startswith("--")
            rows += [f"{word} {verb}".strip() for verb in verbs if not needed] + [f"{word} {o}" for o in options if o != "--yes"]
    return rows


def test_all_commands_are_in_the_table():
    known = documented()
    assert {"status", "repo move", "user passwd", "gc --orphans", "rebuild --list", "check-access"} <= set(known)
    missing = [x for x in known if not any(f"{row} ".startswith(f"{x} ") for row in RUNNING + STOPPED)]
    assert not missing


def test_each_command_prints_json(daemon):
    wrong = []

    def run(line):
        done = ctl(daemon, line, "--json")
        try:
            told = [json.loads(row) for row in done.stdout.splitlines()]
        except ValueError:
            told = None
        if not told or done.returncode != FAILING.get(line, 0):
            wrong.append((line, done.returncode, done.stdout, done.stderr))
        return told[-1] if told else {}

    answers = {line: run(line) for line in RUNNING}
    assert answers["repo drop going --yes"] == {"dropped": True} and answers["images moved"] == {"images": ["app"]}
    daemon.stop()
    for line in STOPPED:
        if "rename" in line:
            configure(daemon, "second", "second")
        answers[line] = run(line)
        if "move" in line:
            configure(daemon, moved="two")
    assert not wrong
    moved = answers["repo move moved --store two"]
    assert (moved["moved"], moved["repository"], moved["blobstore"], moved["blobs"], moved["section_fits"]) == (True, "moved", "two", 3, False)
    assert answers["store rename two second"] == {"renamed": True, "blobstore": "second", "path": f"{daemon.dir}/two"}
    assert answers["store adopt second --yes"] == {"adopted": True, "blobstore": "second", "path": f"{daemon.dir}/two"}
    assert [(s["name"], s["path"]) for s in answers["store list"]["blobstores"]] == [("main", f"{daemon.dir}/main"), ("two", f"{daemon.dir}/two")]


def answered(daemon, args, answer):
    """Runs a command at a terminal where somebody answers. (status, standard output, standard error)"""
    ours, theirs = pty.openpty()
    try:
        process = subprocess.Popen([ENTREPOTCTL, "-c", str(daemon.conf), *args], stdin=theirs, text=True, stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE)
        os.write(ours, answer.encode())
        out, err = process.communicate(timeout=60)
        return process.returncode, out, err
    finally:
        os.close(ours)
        os.close(theirs)


ASKING = {"repo drop moved": True, "store adopt main": False, "rebuild": False}  # while the daemon runs?


@pytest.mark.parametrize("line", ASKING)
def test_who_does_not_say_yes_is_told_that_nothing_was_changed(start, line):
    d = start(run=False, text="")
    configured(d).start()
    body = Registry(d.url, "moved/app").push_image("1")
    if not ASKING[line]:
        d.stop()
    for how in ([], ["--json"]):
        for answer in ("n\n", "\n", "\x04"):
            status, out, err = answered(d, how + line.split(), answer)
            assert status == NO and "nothing was changed: the answer was not yes" in err, (answer, status, out, err)
            assert ("[y/N]" in (err if how else out)) and (not how or out == "")
        done = ctl(d, line, *how)
        assert done.returncode == NO and "nothing was changed" in done.stderr and "--yes" in done.stderr
        assert not how or done.stdout == ""
    if not ASKING[line]:
        d.start()
    assert Registry(d.url, "moved/app").get("manifests/1").content == body
    if not ASKING[line]:
        d.stop()
    status, out, err = answered(d, line.split(), "y\n")
    assert status == 0, (status, out, err)


def no_manifest(catalog):
    next(catalog.glob("MANIFEST-*")).unlink()


def flipped_log(catalog):
    flip(max(catalog.glob("*.log"), key=lambda p: p.stat().st_size))


def changed_identity(catalog):
    """A repair that looks at no sum reads another identity, and takes what is left for another database's; no journal
    could tell the same."""
    (catalog.parent.parent / "main" / "journal").unlink()
    written = (catalog / "IDENTITY").read_text()
    for path in catalog.glob("*.log"):
        data = bytearray(path.read_bytes())
        for name in re.findall("[0-9a-f]{32}", written):
            at = data.find(name.encode())
            if at >= 0:
                at += next(i for i, c in enumerate(name) if c in "0123456789")
                data[at] ^= 1
                path.write_bytes(data)
                return
    raise AssertionError("the log has no identity")


def flipped_table(catalog):
    flip(next(catalog.glob("*.ldb")))


def not_ours(catalog):
    (catalog / "IDENTITY").write_text("nonsense\n")


def flip(path):
    data = bytearray(path.read_bytes())
    data[30] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("damage", [no_manifest, flipped_log, changed_identity, flipped_table, not_ours])
def test_what_is_wrong_is_told_plainly(start, damage):
    """What, where, and what to do; a log's time stamps and levels are no use at a terminal."""
    d = start(run=False, text="")
    configured(d).start()
    Registry(d.url, "moved/app").push_image("1")
    wait_for(d.journals_kept, "the journals have it")
    d.stop()
    if damage is flipped_table:  # a start writes what the log has into a table
        d.start()
        d.stop()
    damage(d.data_dir / "catalog")
    for line in ("fsck", "fsck --repair", "repo move moved --store two"):
        done = ctl(d, line)
        told = done.stderr.splitlines()
        assert done.returncode == (1 if "move" in line else 8) and str(d.data_dir / "catalog") in done.stderr, (line, done)
        assert all(row.startswith(("entrepotctl: ", str(d.dir))) for row in told) and "level=" not in done.stderr, (line, told)
        assert damage is not_ours or "entrepotctl rebuild" in told[-1], (line, told)
        assert not any(told.count(row) > 1 for row in told), told
    if damage is not not_ours:
        done = ctl(d, "rebuild --yes", "--json")
        told = json.loads(done.stdout)
        assert told["complete"] and told["tags"] == 1 and told["lost"] == 0 and "level=" not in done.stderr, done
        assert done.returncode == (1 if damage is changed_identity else 0), "what only the remains know is guessed"


def test_what_is_wrong_beside_a_daemon_is_told_plainly(start):
    """A table that goes bad while the daemon runs, which has read it already."""
    d = start(run=False, text="")
    configured(d).start()
    Registry(d.url, "moved/app").push_image("1")
    d.stop()
    d.start()
    flipped_table(d.data_dir / "catalog")
    d.allow_error("cannot read the database", "cannot open the database", "cannot read a manifest", "database is damaged")
    done = ctl(d, "fsck")
    assert done.returncode == 8 and "level=" not in done.stderr
    assert "stop the daemon, then entrepotctl rebuild" in done.stderr.splitlines()[-1], done.stderr
