"""What is no rate: memory, starts, tag pages, the death of a worker. Of ours alone."""
import os
import signal
import subprocess
import time

from harness.daemon import alive, wait_for
from rows import REFERENCE, Row, at_least, at_most
from servers import Ours
from tools import FILL, load, load_start, load_values

OURS = "entrepot"
BLOBS, TAGS = 1_000_000, 100_000
DELETES, FEW = 10_000, 20_000
SLOW, PUSHERS = 1000, 200
PING, PAGE = "/v2/", "/v2/bench/tags/tags/list?n=100&last=t5"


class Fresh:
    """A daemon of a row's own."""

    def __init__(self, bench, name):
        self.server = Ours(bench.directory, f"{name}-{time.monotonic_ns()}")

    def __enter__(self):
        return self.server

    def __exit__(self, *_):
        self.server.close()


def idle(bench):
    with Fresh(bench, "idle") as ours:
        return ours.memory_mib()


def slow_pulls(bench):
    with Fresh(bench, "slow") as ours:
        path = bench.push_blob(ours.port, bench.blobs["64 MiB"])
        clients = load_start("slow", ours.port, path, SLOW)
        assert clients.stdout.readline() == "ready\n"
        used = ours.memory_mib()
        clients.communicate()
        return used


def pushes(bench):
    """The highest of many looks while all of them push."""
    with Fresh(bench, "pushes") as ours:
        clients = load_start("push", ours.port, PUSHERS, 8 << 20)
        highest = 0
        while clients.poll() is None:
            highest = max(highest, ours.memory_mib())
            time.sleep(0.02)
        assert clients.returncode == 0
        return highest


def first_answer(daemon):
    """Milliseconds from the start of the program to the first answer."""
    begin = time.monotonic()
    daemon.start(wait=False)
    took = load("first", daemon.port, PING)["at_s"] - begin
    daemon.stop()
    return took * 1000


def start_empty(bench):
    with Fresh(bench, "start") as ours:
        ours.daemon.stop()
        took = first_answer(ours.daemon)
        ours.daemon.start()
    return took


def filled(bench, name, blobs, tags):
    """A daemon whose catalog has that much; without files."""
    ours = Ours(bench.directory, name)
    ours.daemon.stop()
    subprocess.run([FILL, ours.daemon.data_dir / "catalog", "docker-local", "default", str(blobs), str(tags)], check=True)
    ours.daemon.start()
    return ours


class Large:
    """A daemon with a million blobs and a hundred thousand tags, made once."""

    def __init__(self, bench):
        self.bench = bench
        self.ours = None

    def get(self):
        if not self.ours:
            self.ours = self.bench.opened(filled(self.bench, "large", BLOBS, TAGS))
        return self.ours

    def start(self):
        daemon = self.get().daemon
        daemon.stop()
        took = first_answer(daemon)
        daemon.start()
        return took

    def page(self):
        return load("latency", self.get().port, PAGE, 200)["answer_median_ms"]


class Killing:
    """A worker is killed while 32 clients pull; several answers of one run."""

    def __init__(self, bench):
        self.bench = bench

    def run(self):
        with Fresh(self.bench, "kill") as ours:
            path = self.bench.push_blob(ours.port, self.bench.blobs["4 KiB"])
            clients = load_start("busy", ours.port, path, 32, 3)
            time.sleep(1)
            victim = ours.daemon.pids("worker")[0]
            os.kill(victim, signal.SIGKILL)
            wait_for(lambda: not alive(victim), "the worker is gone")
            out = clients.communicate()[0]
            ours.daemon.allow_error("")
            return load_values(out)

    def lost(self):
        values = self.run()
        return values["lost"] + values["refused"]

    def next_answer(self):
        return self.run()["recovered_p99_ms"]


def rest(ours):
    """Waits until LevelDB has compacted what was filled in: that is no part of what is measured."""
    path = f"/proc/{ours.daemon.pids('catalog')[0]}/io"
    quiet, last = 0, -1
    for _ in range(120):
        with open(path) as f:
            written = next(int(line.split()[1]) for line in f if line.startswith("write_bytes"))
        quiet = quiet + 1 if written == last else 0
        if quiet == 3:
            return
        last = written
        time.sleep(1)


def deletes(bench, blobs):
    """Seconds for 10,000 of them."""
    ours = filled(bench, f"deletes-{blobs}-{time.monotonic_ns()}", blobs, 0)
    rest(ours)
    try:
        return load("delete", ours.port, 16, DELETES)["seconds"]
    finally:
        ours.close()


def rows(bench):
    large, killing = Large(bench), Killing(bench)

    def row(name, unit, call, limit, rounds=None):
        return Row(name, unit, {OURS: call}, [at_most(limit)], less_is_better=True, rounds=rounds)

    yield row("memory, idle", "MiB", lambda: idle(bench), 12, 1)
    yield row(f"memory, {SLOW:,} slow pulls of 64 MiB", "MiB", lambda: slow_pulls(bench), 40, 1)
    yield row(f"memory, {PUSHERS} pushes at once", "MiB", lambda: pushes(bench), 64, 1)
    yield row("start to first answer, empty", "ms", lambda: start_empty(bench), 50)
    yield row("start to first answer, 1,000,000 blobs and 100,000 tags", "ms", large.start, 2000)
    yield row("tag page of 100 out of 100,000", "ms", large.page, 5)
    yield Row(f"deleting {DELETES:,} of {BLOBS:,} blobs (reference: of {FEW:,})", "s",
              {OURS: lambda: deletes(bench, BLOBS), REFERENCE: lambda: deletes(bench, FEW)}, [at_least(1 / 1.2, REFERENCE)],
              less_is_better=True, rounds=3)
    yield row("worker killed under load of 32 clients: requests lost", "requests", killing.lost, 32)
    yield row("worker killed under load: a cut client's next answer, p99", "ms", killing.next_answer, 20)
