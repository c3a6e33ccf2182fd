"""entrepotctl fsck beside a running daemon: what is wrong is found, what merely changes is not; nothing is left."""
import json
import os
import pathlib
import signal
import subprocess

import pytest

from harness.daemon import ENTREPOTCTL, wait_for
from harness.fail import FailPoints
from harness.registry import Registry, digest
from harness.tools import need

HERE = pathlib.Path(__file__).parent


@pytest.fixture
def running(start, tmp_path, monkeypatch):
    daemon = start(top='gc_grace = "0s"\ngc_interval = "1h"\n')
    daemon.allow_error("a blob's bytes have changed")
    registry = Registry(daemon.url, "fsck/image")
    daemon.layer = os.urandom(1 << 20)
    daemon.body = registry.push_image("one", layers=(daemon.layer,))
    daemon.registry_image = registry
    monkeypatch.setenv("ENTREPOT_FAIL_DIR", str(tmp_path / "fail"))  # for entrepotctl alone
    daemon.fail = FailPoints(tmp_path / "fail")
    return daemon


class Fsck:
    """One that runs by itself."""

    def __init__(self, daemon, *args):
        self.process = subprocess.Popen([ENTREPOTCTL, "--json", "-c", str(daemon.conf), "fsck", *args], text=True,
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def end(self):
        out, err = self.process.communicate(timeout=60)
        return self.process.returncode, json.loads(out) if out else err


def collect(daemon):
    def swept():
        return json.loads(daemon.ctl("--json", "gc", "--status").stdout)["sweeps"]

    before = swept()
    daemon.ctl("gc")
    wait_for(lambda: swept() > before, "garbage is collected")


def test_good(running, monkeypatch):
    monkeypatch.delenv("ENTREPOT_FAIL_DIR")
    status, report = running.fsck()
    assert (status, report["found"], report["complete"], report["online"]) == (0, [], True, True)
    assert report["blobs"] == 3 and report["records"] > 10
    text = subprocess.run([ENTREPOTCTL, "-c", str(running.conf), "fsck"], text=True, capture_output=True, timeout=60)
    assert text.returncode == 0 and "a daemon was at work" in text.stdout and not text.stderr
    assert not (running.data_dir / "fsck").exists()
    running.stop()
    assert running.fsck()[1]["online"] is False


@pytest.mark.parametrize("damage", ["changed", "missing"])
def test_damage(running, damage):
    d = digest(running.layer)
    if damage == "missing":
        running.blob_path(d).unlink()
    else:
        running.blob_path(d).write_bytes(running.layer[:-1] + bytes([running.layer[-1] ^ 1]))
    status, report = running.fsck()
    assert status == 4 and [x["kind"] for x in report["found"]] == ["blob"] and d in report["found"][0]["text"]
    assert running.blob_path(d).exists() == (damage != "missing")  # looking changes nothing


def test_collected_meanwhile(running):
    """A blob of the copy whose record and file have gone since."""
    running.fail.arm("fsck_copied", "wait")
    check = Fsck(running)
    running.fail.held("fsck_copied")
    assert running.registry_image.delete(f"manifests/{digest(running.body)}").status_code == 202
    collect(running)
    assert not running.blob_path(digest(running.layer)).exists()
    running.fail.release("fsck_copied")
    status, report = check.end()
    assert (status, report["found"], report["complete"]) == (0, [], True)


def test_healed_meanwhile(running):
    """It was damaged, and is whole by the second look."""
    path = running.blob_path(digest(running.layer))
    path.write_bytes(b"?" * len(running.layer))
    running.fail.arm("fsck_suspects", "wait")
    check = Fsck(running)
    running.fail.held("fsck_suspects")
    path.write_bytes(running.layer)
    running.fail.release("fsck_suspects")
    assert check.end()[0] == 0


def test_orphans(running, tmp_path, monkeypatch):
    """A young one may be a push that is about to be recorded."""
    need("cc")
    if "build-asan" in os.environ.get("ENTREPOTD", ""):
        pytest.skip("slow: a preloaded library and AddressSanitizer do not go together")
    library = tmp_path / "late_clock.so"
    subprocess.run(["cc", "-O1", "-shared", "-fPIC", "-o", str(library), str(HERE / "late_clock.c")], check=True)
    data = b"nobody's"
    running.blob_path(digest(data)).write_bytes(data)
    status, report = running.fsck()
    assert (status, report["orphans"], report["found"]) == (0, 0, [])
    monkeypatch.setenv("LD_PRELOAD", str(library))
    monkeypatch.setenv("LATE_CLOCK_S", "1000")
    status, report = running.fsck()
    assert status == 0 and report["orphans"] == 1 and digest(data) in report["found"][0]["text"]
    assert running.blob_path(digest(data)).exists()


def test_one_at_a_time(running):
    running.fail.arm("fsck_copied", "wait")
    first = Fsck(running)
    running.fail.held("fsck_copied")
    status, why = Fsck(running).end()
    assert status == 8 and "another fsck" in why
    running.fail.release("fsck_copied")
    assert first.end()[0] == 0


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_interrupted(running, sent):
    running.fail.arm("fsck_copied", "wait")
    check = Fsck(running)
    running.fail.held("fsck_copied")
    check.process.send_signal(sent)
    assert check.end()[0] == (-sent if sent == signal.SIGKILL else 128 + sent)
    if sent != signal.SIGKILL:
        assert not (running.data_dir / "fsck").exists()
    assert running.fsck()[0] == 0
    assert not (running.data_dir / "fsck").exists()
