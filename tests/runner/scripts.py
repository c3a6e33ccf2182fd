"""The sections that pytest runs. It tells what came of each test in a file of lines of JSON (runner/outcomes.py)."""
import contextlib
import json
import os
import pathlib
import shutil
import subprocess
import tempfile

from runner.count import PROOF, TOP, Count

# A daemon's first start makes the 512 directories of a store, which on a disk costs more than all the rest of a short test.
MEMORY = pathlib.Path("/dev/shm")
MEMORY_BYTES = 4 << 30

# It makes one thread of all and everything 20 to 50 times as slow: not for tests of time, of many connections, of
# descriptors, or with other programs at their heart.
MEMCHECK_NOT = "ten_thousand or full_queue or descriptors or memory or slow or rate or deadline or guessing"


@contextlib.contextmanager
def memory():
    """A directory in memory for what tests make, where there is enough of it; else None: the disk's."""
    room = os.statvfs(MEMORY) if MEMORY.is_dir() else None
    if not room or room.f_bavail * room.f_frsize < MEMORY_BYTES:
        yield None
        return
    path = MEMORY / f"entrepot{os.urandom(4).hex()}"  # short: sockets lie below it
    path.mkdir()
    path.chmod(0o1777)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


class Scripts:
    """One way to run tests: `args` of tests/run, environment, a title for names, more arguments for pytest.
    held: what it says is printed as one, at its end. on_disk: what they make lies there, whatever that costs."""

    def __init__(self, args, env=None, title="", held=False, more=(), on_disk=False):
        self.args, self.env, self.title, self.held, self.more, self.on_disk = args, env or {}, title, held, more, on_disk
        self.agains = {}

    def directory(self, name):
        if not list((TOP / "tests" / name).glob("test_*.py")):
            return Count()
        return self.run(f"{self.title}{name}", [f"tests/{name}", *self.more, *self.args.pytest])

    def run(self, title, arguments):
        """Tests by pytest's arguments: a directory, a file, a test's id."""
        with tempfile.TemporaryDirectory(prefix="entrepot-run-") as temporary, memory() as place:
            where = {"TMPDIR": str(place)} if place and not self.on_disk else {}
            outcomes = pathlib.Path(temporary) / "outcomes"
            command = ["/usr/bin/python3", "-m", "pytest", "-p", "no:cacheprovider", "-p", "runner.outcomes", "-q", "-rsfE",
                       "--durations=25", "--durations-min=3",
                       f"--outcomes={outcomes}", *(["--all"] if self.args.all else []), *arguments]
            done = subprocess.run(command, cwd=TOP, stdin=subprocess.DEVNULL,
                                  stdout=subprocess.PIPE if self.held else None,
                                  stderr=subprocess.STDOUT if self.held else None,
                                  env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": str(TOP / "tests"),
                                       **where, **self.env})
            if self.held:
                print(f"--- {title}\n{done.stdout.decode(errors='replace').rstrip()}\n--- end of {title}")
            lines = outcomes.read_text().splitlines() if outcomes.exists() else []
            return self.count(title, done.returncode, [json.loads(line) for line in lines])

    def count(self, title, status, lines):
        count = Count()
        tests, finished = {}, False
        for line in lines:
            finished = finished or "finished" in line
            if "test" in line:
                tests.setdefault(line["test"], []).append(line)
        for test, said in tests.items():
            self.judge(count, test, said)
        if not finished:
            count.fail(f"{title}: pytest ended with {status} in the midst of its tests"
                       + (f", at or after {list(tests)[-1]}" if tests else ""))
        elif status not in (0, 5) and not count.failed:
            count.fail(f"{title}: pytest ended with {status}")
        return count

    def judge(self, count, test, said):
        """said: what was told of one test, of its setup, call and teardown."""
        name = self.title + test.removeprefix("tests/")
        bad = [line for line in said if line["outcome"] == "failed"]
        skipped = [line for line in said if line["outcome"] == "skipped"]
        if bad:
            # An error beside the test itself may be that of what a file's tests share, come from any of them.
            what = test if all(line["when"] == "call" for line in bad) else test.partition("::")[0]
            proof = any(PROOF.search(line["text"]) for line in bad)
            again = self.agains.setdefault(what, lambda: self.again(what))  # one for all of a file's
            count.fail(name, again=None if proof else again)
        elif skipped:
            count.skip(name, skipped[0]["text"])
        else:
            count.passed += 1

    def again(self, test):
        return Scripts(self.args, self.env, self.title, self.held, on_disk=self.on_disk).run(f"{self.title}{test}", [test]).clean()


class Memcheck(Scripts):
    """Every daemon under valgrind: what it finds in one is a failure that no second run takes back."""

    def __init__(self, args):
        super().__init__(args, {"ENTREPOTD": str(TOP / "tests" / "valgrind" / "entrepotd")}, "valgrind ",
                         more=["-k", f"not ({MEMCHECK_NOT})"])

    def run(self, title, arguments):
        with tempfile.TemporaryDirectory(prefix="entrepot-valgrind-") as logs:
            os.chmod(logs, 0o777)  # the daemon's processes leave root behind
            self.env["VALGRIND_LOGS"] = logs
            count = super().run(title, arguments)
            # "--PID-- WARNING: unhandled syscall": a newer kernel's, which fails there and is done without.
            found = {path.name: "".join(line for line in path.open(errors="replace") if line.startswith("=="))
                     for path in sorted(pathlib.Path(logs).iterdir())}
        for name, text in found.items():
            if text:
                count.fail(f"valgrind {name}", text)
        return count

    def again(self, test):
        return Memcheck(self.args).run(f"valgrind {test}", [test]).clean()
