"""An entrepotd of the test's own: configuration, processes, logs."""
import ctypes
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import time

import requests

from harness.shared import free_port
from harness.tools import own_directory

TOP = pathlib.Path(__file__).resolve().parents[2]
ENTREPOTD = os.environ.get("ENTREPOTD", str(TOP / "build" / "entrepotd"))
ENTREPOTCTL = os.environ.get("ENTREPOTCTL", str(TOP / "build" / "entrepotctl"))

LIBC = ctypes.CDLL(None)

UP = ("ready", "degraded")  # of a process: it serves, if perhaps not all

PATIENCE = 8 if "valgrind" in ENTREPOTD else 1

HEAD = """
data_dir   = "{dir}/data"
run_dir    = "{dir}/run"
log        = "{dir}/log"
access_log = "{dir}/access.log"
workers    = {workers}
"""
BODY = """
hosted docker-local {{
    {hosted}
}}
connector "127.0.0.1:{port}" {{
    repository = docker-local
}}
"""


def wait_for(condition, what, timeout=15.0):
    """Polls until condition() is true; its value is returned."""
    timeout *= PATIENCE
    end = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"{what}: not within {timeout} s")
        time.sleep(0.01)


class Daemon:
    """`top` and `hosted` are lines added to the default configuration; `text` replaces it."""

    def __init__(self, top="", hosted="", text=None, directory=None, preexec=None, workers=2):
        self.own_dir = directory is None
        self.dir = pathlib.Path(directory or own_directory("entrepot-test-"))
        self.port = free_port()
        self.program = ENTREPOTD
        self.preexec = preexec
        self.workers = workers
        self.allowed_errors = []
        self.process = None
        self.conf = self.dir / "entrepot.conf"
        body = text if text is not None else BODY
        self.write_conf(HEAD + top + body, hosted)

    def write_conf(self, template, hosted=""):
        self.conf.write_text(template.format(dir=self.dir, port=self.port, hosted=hosted, workers=self.workers))

    @property
    def registry(self):
        return f"127.0.0.1:{self.port}"

    @property
    def url(self):
        return f"http://{self.registry}"

    @property
    def data_dir(self):
        return self.dir / "data"

    def blob_path(self, digest):
        """Where the blob store `blobs` of the default configuration keeps a blob."""
        alg, value = digest.split(":")
        return self.data_dir / "blobs" / "blobs" / alg / value[:2] / value

    @property
    def run_dir(self):
        return self.dir / "run"

    def start(self, wait=True):
        self.stderr = open(self.dir / "stderr", "ab")
        # A session of its own: when the last shell of a group of processes ends, the kernel sends SIGHUP and SIGCONT to
        # those of the group if one of them is stopped, as a test may have stopped ours. SIGTERM when we die.
        self.process = subprocess.Popen([self.program, "-f", "-c", str(self.conf)], cwd=self.dir,
                                        stderr=self.stderr, stdout=self.stderr, start_new_session=True,
                                        preexec_fn=self.before_exec)
        if wait:
            wait_for(self.serving, "the daemon serves", 20)
        return self

    def before_exec(self):
        LIBC.prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG
        if self.preexec:
            self.preexec()

    def serving(self):
        if self.process.poll() is not None:
            raise AssertionError(f"entrepotd ended with {self.process.returncode}:\n"
                                 + self.log_text()[-3000:])
        try:
            return requests.get(self.url + "/v2/", timeout=5).status_code in (200, 400, 401, 503)  # 400: an HTTPS port
        except requests.RequestException:
            return False

    def stop(self, sig=signal.SIGTERM, timeout=20):
        if self.process is None:
            return
        if self.process.poll() is None:
            self.process.send_signal(sig)
        code = self.process.wait(timeout * PATIENCE)
        self.process = None
        self.stderr.close()
        assert code == 0, f"entrepotd ended with {code}:\n{self.log_text()[-3000:]}"

    def close(self, check=True):
        """Ends everything, then judges the log."""
        try:
            if self.process is not None and self.process.poll() is None:
                self.stop()
        finally:
            self.reap()
            text = self.log_text()
            if self.own_dir:
                shutil.rmtree(self.dir, ignore_errors=True)
        if check:
            self.judge(text)

    def judge(self, text):
        for bad in ("ERROR: AddressSanitizer", "ERROR: LeakSanitizer", "runtime error:",
                    "an assertion failed"):
            assert bad not in text, text[-6000:]
        for line in text.splitlines():
            if "level=error" in line and not any(a in line for a in self.allowed_errors):
                raise AssertionError(f"unexpected error in the log: {line}")

    def allow_error(self, *texts):
        self.allowed_errors += texts

    def reap(self):
        if self.process is not None and self.process.poll() is None:
            for pid in self.all_pids():
                kill(pid, signal.SIGKILL)
            self.process.kill()
            self.process.wait(10)
        self.process = None

    def log_text(self):
        text = ""
        for name in ("log", "stderr"):
            path = self.dir / name
            if path.exists():
                text += path.read_text(errors="replace")
        return text

    def access_log_text(self):
        path = self.dir / "access.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def ctl(self, *args, check=True):
        done = subprocess.run([ENTREPOTCTL, "-s", str(self.run_dir), *args], text=True, timeout=60,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        if check:
            assert done.returncode == 0, done.stderr
        return done

    def fsck(self, *args):
        """(exit status, report) of the offline check."""
        done = subprocess.run([ENTREPOTCTL, "--json", "-c", str(self.conf), "fsck", *args], text=True, timeout=120,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        return done.returncode, json.loads(done.stdout) if done.stdout else done.stderr

    def status(self):
        return json.loads(self.ctl("--json", "status").stdout)

    def journals_kept(self):
        """Are the stores' journals complete, and appended to?"""
        return all(s["journal"] for s in json.loads(self.ctl("--json", "repos").stdout)["blobstores"])

    def roles(self, role=None):
        return [r for r in self.status()["roles"] if role in (None, r["role"])]

    def pids(self, role):
        return [r["pid"] for r in self.roles(role) if r["pid"]]

    def everybody(self):
        """all_pids(), once all are there and ready: a daemon serves with its first worker."""
        def ready():
            rows = self.roles()
            return sum(r["role"] == "worker" for r in rows) == self.workers and all(r["state"] in UP for r in rows)

        wait_for(ready, "everybody is ready")
        return self.all_pids()

    def has_stores(self):
        """Waits until everybody has opened what could not be opened at first: each process looks for itself."""
        def opened():
            last = {}
            for line in self.log_text().splitlines():
                if "answers 503\" store=" in line or "can be opened again" in line:
                    last[tuple(re.findall(r" (?:pid|store)=(\S+)", line))] = "again" in line
            there = set(self.all_pids())
            return all(is_open for (pid, _), is_open in last.items() if int(pid) in there)

        self.everybody()
        wait_for(opened, "every process has its blob stores")

    def all_pids(self):
        """Master first, then its children."""
        master = self.process.pid
        pids = [master]
        for entry in pathlib.Path("/proc").glob("[0-9]*/stat"):
            try:
                fields = entry.read_text().rsplit(")", 1)[1].split()
            except (FileNotFoundError, ProcessLookupError):
                continue
            if int(fields[1]) == master:
                pids.append(int(entry.parent.name))
        return pids

    def kill_role(self, role, sig=signal.SIGKILL):
        if role == "worker":  # one that dies before it is ready is told as an error, and waited for
            wait_for(lambda: [r["state"] in UP for r in self.roles(role)] == [True] * self.workers, "workers are ready")
        pids = self.pids(role)
        for pid in pids:
            kill(pid, sig)
        return pids

    def kill_all(self):
        """SIGKILL to every process at once, as a power cut would end them."""
        self.process.send_signal(signal.SIGSTOP)  # it starts nobody while we look who is there
        pids = self.all_pids()
        for pid in pids:
            kill(pid, signal.SIGKILL)
        self.process.wait(10)
        self.process = None
        wait_for(lambda: not any(alive(pid) for pid in pids), "all processes are gone")

    def respawned(self, role, old):
        """Waits until `role` is ready in processes other than `old`."""
        def ready():
            rows = self.roles(role)
            return rows and all(r["state"] in UP and r["pid"] not in old for r in rows)
        wait_for(ready, f"{role} is respawned")

    def hup(self):
        generation = self.status()["generation"]
        self.process.send_signal(signal.SIGHUP)
        return generation

    def reload(self):
        """HUP and wait until the new generation serves alone: no older worker accepts, or hears a connection that is
        idle. Those it closes may be in a client's hands until then."""
        def done():
            return self.log_text().count('msg="reloaded"')

        def finishes(pid):
            return re.search(rf'pid={pid} msg="finishing|msg="process ended" .*child_pid={pid} ', self.log_text())

        before = done()
        old = self.pids("worker")
        self.hup()
        wait_for(lambda: done() > before, "the reload is done")
        wait_for(lambda: all(map(finishes, old)), "the old workers finish")


def kill(pid, sig):
    try:
        os.kill(pid, sig)
    except ProcessLookupError:
        pass


def alive(pid):
    try:
        state = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def log_fields(line):
    """A logfmt line as a dict."""
    fields = {}
    for name, quoted, bare in re.findall(r'(\w+)=(?:"((?:[^"\\]|\\.)*)"|(\S*))', line):
        fields[name] = quoted or bare
    return fields
