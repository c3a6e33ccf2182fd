"""Power loss: whatever was not synced may vanish.

The daemon's writes are recorded with strace. The record is replayed into a model of a file system that
keeps what was synced and, by mode, loses the rest; the result is checked with fsck and compared with
what had been acknowledged by then.
"""
import collections
import os
import pathlib
import random
import re
import subprocess
import time

import pytest

import harness.daemon
from harness.daemon import ENTREPOTCTL, Daemon, wait_for
from harness.registry import Registry, digest
from harness.tools import need

CALLS = "openat,write,pwrite64,writev,rename,renameat,renameat2,unlink,unlinkat,fsync,fdatasync,ftruncate"
FD = r'(-?\w+)(?:<([^>]*)>)?'


def decode(text):
    return re.sub(rb"\\x([0-9a-f]{2})", lambda m: bytes([int(m[1], 16)]), text.encode("latin-1"))


class Inode:
    def __init__(self):
        self.data, self.durable = bytearray(), b""


class Disk:
    """Names and contents as programs see them, and as they would be after a power loss."""

    def __init__(self, top):
        self.top = str(top)
        self.names, self.durable = {}, {}
        self.pending = collections.defaultdict(list)  # directory -> [(path, inode or None)]

    def name(self, path, inode):
        if inode is None:
            self.names.pop(path, None)
        else:
            self.names[path] = inode
        self.pending[os.path.dirname(path)].append((path, inode))

    def open(self, path, flags):
        if "O_CREAT" in flags and path not in self.names:
            self.name(path, Inode())
        if "O_TRUNC" in flags and path in self.names:
            self.names[path].data = bytearray()

    def rename(self, old, new):
        inode = self.names.get(old)
        if inode:
            self.name(new, inode)
            self.name(old, None)

    def sync_begin(self, path):
        """What a sync that starts now will cover."""
        inode = self.names.get(path)
        return (path, inode, bytes(inode.data) if inode else None, len(self.pending[path]))

    def sync_end(self, begun):
        path, inode, data, count = begun
        if inode:  # also the name it was made with, as every file system in use does
            inode.durable = data
            for where, pending in self.pending.items():
                for item in [x for x in pending if x[1] is inode and x[0] == path]:
                    self.durable[path] = inode
                    pending.remove(item)
            return
        for name, target in self.pending[path][:count]:
            self.apply(self.durable, name, target)
        del self.pending[path][:count]

    @staticmethod
    def apply(names, name, inode):
        if inode is None:
            names.pop(name, None)
        else:
            names[name] = inode

    def after_loss(self, mode, rng):
        """{path: bytes}. `names`: all names are there, contents only when synced; `nothing`: only what was
        synced; `some`: of each directory's changes the first few, of each file's bytes some."""
        names, result = dict(self.durable), {}
        for changes in self.pending.values():
            kept = {"names": len(changes), "nothing": 0, "some": rng.randint(0, len(changes))}[mode]
            for name, inode in changes[:kept]:
                self.apply(names, name, inode)
        for path, inode in names.items():
            data = inode.durable
            if mode == "some" and bytes(inode.data[:len(data)]) == data:
                data = bytes(inode.data[:rng.randint(len(data), len(inode.data))])
            result[path] = data
        return result


class Replay:
    def __init__(self, lines, top):
        self.disk, self.top, self.begun, self.lines = Disk(top), str(top), {}, collections.deque(lines)
        self.syncs = 0

    def until(self, when):
        while self.lines:
            pid, stamp, text = self.lines[0].split(None, 2)
            if float(stamp) > when:
                return
            self.lines.popleft()
            self.line(pid, text)

    def line(self, pid, text):
        if text.endswith("<unfinished ...>"):
            head = text[:-len("<unfinished ...>")]
            self.begun[pid] = (head, self.sync_covers(head))
            return
        covers = None
        if m := re.match(r"<\.\.\. \w+ resumed>", text):
            head, covers = self.begun.pop(pid, ("", None))
            text = head + text[m.end():]
        if m := re.match(r"(\w+)\((.*)\)\s+= (.*)$", text):
            if not m[3].startswith("-1"):
                self.call(m[1], m[2], m[3], covers)

    def path(self, fd, name=None):
        base = decode(fd.split("<", 1)[1].rsplit(">", 1)[0]).decode() if "<" in fd else ""
        return os.path.normpath(os.path.join(base, name)) if name is not None else base

    def sync_covers(self, text):
        m = re.match(r"(?:fsync|fdatasync)\((\d+<[^>]*>)", text)
        return self.disk.sync_begin(self.path(m[1])) if m else None

    def call(self, name, args, result, covers):
        strings = [decode(x) for x in re.findall(r'"((?:[^"\\]|\\.)*)"', args)]
        first = re.match(r"\d+<[^>]*>", args)
        path = self.path(first[0]) if first else ""
        if name == "openat":
            self.inside(self.path(result)) and self.disk.open(self.path(result), args)
        elif name in ("write", "pwrite64", "writev") and path in self.disk.names:
            inode, data = self.disk.names[path], b"".join(strings)[:int(result)]
            assert len(data) == int(result), "strace cut a string"
            at = int(args.rsplit(",", 1)[1]) if name == "pwrite64" else len(inode.data)
            inode.data[at:at + len(data)] = data
        elif name in ("fsync", "fdatasync"):
            self.syncs += self.inside(path)
            self.disk.sync_end(covers or self.disk.sync_begin(path))
        elif name == "ftruncate" and path in self.disk.names:
            del self.disk.names[path].data[int(args.rsplit(",", 1)[1]):]
        elif name in ("rename", "renameat", "renameat2"):
            dirs = re.findall(r"\w+<[^>]*>", args)
            old, new = (self.path(dirs[i] if name != "rename" else "", strings[i].decode()) for i in (0, 1))
            if self.inside(old):
                self.disk.rename(old, new)
        elif name in ("unlink", "unlinkat"):
            gone = self.path(first[0] if first else "", strings[0].decode())
            if gone in self.disk.names:
                self.disk.name(gone, None)

    def inside(self, path):
        return path.startswith(self.top + "/")


@pytest.fixture
def recorded(start, tmp_path, monkeypatch):
    need("strace")
    if "build-asan" in os.environ.get("ENTREPOTD", ""):
        pytest.skip("slow: the leak checker and strace do not go together")
    wrapper, record = tmp_path / "entrepotd", tmp_path / "record"
    wrapper.write_text(f'#!/bin/sh\nexec strace -D -f -y -xx -ttt -s 1000000 -e signal=none -e trace={CALLS} '
                       f'-o {record} {harness.daemon.ENTREPOTD} "$@"\n')
    wrapper.chmod(0o755)
    monkeypatch.setattr(harness.daemon, "ENTREPOTD", str(wrapper))
    daemon = start(top='gc_grace = "0s"\ngc_interval = "100ms"\nupload_expiry = "1d"\n')
    monkeypatch.undo()
    daemon.record = record
    return daemon


def changes(daemon, count):
    """[(time of the acknowledgement, tag, what it holds then)], one after the other; and when each began."""
    rng, registry, held, log = random.Random(7), Registry(daemon.url, "power/loss"), {}, []
    for _ in range(count):
        tag = f"t{rng.randrange(4)}"
        began = time.time()
        if held.get(tag) and rng.random() < 0.35:
            assert registry.delete(f"manifests/{digest(held[tag][0])}").status_code == 202
            held[tag] = None
        else:
            layer = rng.randbytes(rng.randrange(1, 4000))
            while True:  # without grace a sweep may come between blob and manifest
                body = registry.image_manifest(layers=(layer,))
                r = registry.put_manifest(body, tag)
                if r.status_code == 201:
                    break
                assert r.status_code == 400, r.text
            held[tag] = (body, layer)
        log.append((began, time.time(), tag, held[tag]))
    return log


def materialise(files, old_top, new_top):
    for path, data in files.items():
        target = pathlib.Path(str(new_top) + path[len(str(old_top)):])
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
    (new_top / "data" / "lock").touch()
    (new_top / "data" / "blobs" / "blobs").mkdir(parents=True, exist_ok=True)
    for alg in ("sha256", "sha512"):
        for n in range(256):
            (new_top / "data" / "blobs" / "blobs" / alg / f"{n:02x}").mkdir(parents=True, exist_ok=True)


def check(files, daemon, promised, unsure):
    after = Daemon()
    try:
        materialise(files, daemon.dir, after.dir)
        status, report = after.fsck()
        assert status == 0, report
        after.start()
        registry = Registry(after.url, "power/loss")
        for tag, expected in promised.items():
            r = registry.get(f"manifests/{tag}")
            if tag == unsure:
                assert r.status_code in (200, 404)
            elif expected is None:
                assert r.status_code == 404
            else:
                assert r.content == expected[0]
                assert registry.get("blobs/" + digest(expected[1])).content == expected[1]
    finally:
        after.close()


def test_what_was_synced_is_enough(recorded):
    daemon = recorded
    log = changes(daemon, 24)
    daemon.stop()
    wait_for(lambda: daemon.record.read_text().count("+++ exited") >= 4, "strace has written all")
    lines = [x for x in daemon.record.read_text().splitlines() if "+++" not in x and "---" not in x]
    replay = Replay(lines, daemon.data_dir)
    rng, promised = random.Random(11), {}
    for i, (began, acknowledged, tag, held) in enumerate(log):
        if i % 3 == 1:  # in the middle of a change
            replay.until(began + (acknowledged - began) * rng.random())
            check(replay.disk.after_loss("some", rng), daemon, promised, tag)
        promised[tag] = held
        replay.until(acknowledged)
        if i % 3 == 2:
            check(replay.disk.after_loss(("nothing", "names", "some")[i // 3 % 3], rng), daemon, promised, None)
    assert replay.syncs > 50


def lines_of(daemon):
    return [x for x in daemon.record.read_text().splitlines() if "+++" not in x and "---" not in x]


def journal_synced(daemon):
    """Was the journal synced after the last line? The time of that."""
    written, synced = 0, 0
    name = "".join(f"\\x{c:02x}" for c in b"/blobs/journal")
    for line in lines_of(daemon):
        if name + ">" in line and " resumed" not in line:
            stamp, call = line.split(None, 3)[1:3]
            written = float(stamp) if call.startswith("write(") else written
            synced = float(stamp) if call.startswith("fdatasync(") and written else synced
    return synced if synced > written > 0 else None


@pytest.mark.parametrize("mode", ["nothing", "some"])
def test_the_journal_outlives_power_and_database(recorded, mode):
    """A second after the last change power and database are lost: the database is made anew of what was synced."""
    daemon = recorded
    log = changes(daemon, 24)
    when = wait_for(lambda: journal_synced(daemon), "the journal is synced")
    end = time.time()
    assert end > when > log[-1][0]
    daemon.stop()
    wait_for(lambda: daemon.record.read_text().count("+++ exited") >= 4, "strace has written all")
    replay = Replay(lines_of(daemon), daemon.data_dir)
    replay.until(end)
    files = {p: d for p, d in replay.disk.after_loss(mode, random.Random(3)).items() if "/catalog/" not in p}
    after = Daemon()
    try:
        materialise(files, daemon.dir, after.dir)
        done = subprocess.run([ENTREPOTCTL, "-c", str(after.conf), "rebuild", "--yes"], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        assert after.fsck()[0] == 0
        after.start()
        registry = Registry(after.url, "power/loss")
        for tag, held in {tag: held for _, _, tag, held in log}.items():
            r = registry.get(f"manifests/{tag}")
            assert r.status_code == 404 if held is None else r.content == held[0]
            assert held is None or registry.get("blobs/" + digest(held[1])).content == held[1]
    finally:
        after.close()


def test_the_model_finds_a_missing_sync(recorded):
    """The same record without the syncs of blobs: the model must lose something, or it proves nothing."""
    daemon = recorded
    log = changes(daemon, 4)
    daemon.stop()
    wait_for(lambda: daemon.record.read_text().count("+++ exited") >= 4, "strace has written all")
    lines = [x for x in daemon.record.read_text().splitlines() if "+++" not in x and "---" not in x]
    replay = Replay(lines, daemon.data_dir)
    sync_end = replay.disk.sync_end
    replay.disk.sync_end = lambda begun: None if "/uploads/" in begun[0] else sync_end(begun)
    replay.until(log[-1][1])
    with pytest.raises(AssertionError):
        check(replay.disk.after_loss("names", random.Random(1)), daemon, {tag: held for _, _, tag, held in log}, None)
