"""What came of tests, and running a program of theirs."""
import dataclasses
import os
import pathlib
import re
import subprocess
import typing

TOP = pathlib.Path(__file__).resolve().parents[2]
PROGRAM_SECONDS = 120
# Who says so has seen a defect of the program, whatever the next run makes of it: not by chance, never run once more.
PROOF = re.compile(r"(Address|Leak|Thread)Sanitizer:|runtime error: |an assertion failed|^==\d+== ", re.M)


@dataclasses.dataclass
class Failure:
    """again: runs the test alone once more and says whether it passed; None where that would prove nothing."""
    name: str
    again: typing.Callable[[], bool] | None = None


class Count:
    def __init__(self):
        self.passed = 0
        self.failed = []
        self.skipped = []
        self.flaky = []

    def fail(self, name, text="", again=None):
        if text:
            print(f"--- {name}\n{text.rstrip()}\n--- end of {name}")
        self.failed.append(Failure(name, None if PROOF.search(text) else again))

    def skip(self, name, reason):
        # Where every client can be installed, one that is missing is a fault. A kernel is as it is.
        if os.environ.get("CI") == "true" and not reason.startswith(("slow:", "kernel:")):
            self.fail(f"{name}: skipped on CI: {reason}")
        else:
            self.skipped.append(f"{name}: {reason}")

    def add(self, other):
        self.passed += other.passed
        self.failed += other.failed
        self.skipped += other.skipped
        self.flaky += other.flaky

    def clean(self):
        return self.passed > 0 and not self.failed

    def line(self):
        return f"{self.passed} passed, {len(self.failed)} failed, {len(self.skipped)} skipped"


def run(command, timeout=PROGRAM_SECONDS, env=None):
    """(exit status, output); a status of its own says that time ran out."""
    try:
        done = subprocess.run(command, cwd=TOP, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, timeout=timeout,
                              env={**os.environ, **(env or {})})
        return done.returncode, done.stdout.decode(errors="replace")
    except subprocess.TimeoutExpired as e:
        return "time ran out", (e.stdout or b"").decode(errors="replace")
    except OSError as e:
        return "did not run", str(e)


def build(tree):
    command = ["./bootstrap", "tree", tree] + (["check-programs"] if tree == "plain" else [])
    if subprocess.run(command, cwd=TOP, stdin=subprocess.DEVNULL).returncode != 0:
        raise SystemExit(f"tests/run: building the tree `{tree}` failed\n0 passed, 1 failed, 0 skipped")
