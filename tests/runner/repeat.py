"""One test, file or section many times, while every core is kept busy by somebody else: finds races."""
import contextlib
import ctypes
import os
import re
import signal
import subprocess
import sys

from runner import programs, sections
from runner.count import TOP, Count
from runner.scripts import Scripts


def dies_with_us():
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


@contextlib.contextmanager
def busy():
    """A loop for each core, two at least."""
    loops = [subprocess.Popen([sys.executable, "-c", "while True: pass"], preexec_fn=dies_with_us)
             for _ in range(max(2, len(os.sched_getaffinity(0))))]
    try:
        yield
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()


def target(name, args):
    """A function that runs what is called so once: a section, a file of tests, a test; None when nothing is."""
    if name in sections.NAMES:
        return lambda: sections.run(name, args)
    stem = name.rpartition("/")[2].partition("::")[0].removesuffix(".py").removesuffix(".c")
    test = name.rpartition("::")[2]
    function = re.compile(rf"^(?:def|static void) {re.escape(test.partition('[')[0])}\(", re.M)
    for path in sorted((TOP / "tests").glob("*/*.[pc]*")):
        if path.suffix not in (".py", ".c") or ("::" in name and path.stem != stem):
            continue
        whole = path.stem == stem and "::" not in name
        if not (whole or function.search(path.read_text())):
            continue
        if path.parent.name in sections.PYTEST:
            what = str(path.relative_to(TOP)) + ("" if whole else f"::{test}")
            return lambda: Scripts(args, held=True).run(what, [what])
        if path.parent.name == "unit":  # a cmocka program runs as a whole
            return lambda: programs.cmocka("build", only=[path.stem])
        if path.parent.name == "fuzz":
            return lambda: programs.replay("build", only=[path.stem])
    return None


def repeat(names, times, args):
    targets = [target(name, args) for name in names]
    unknown = [name for name, run in zip(names, targets) if run is None]
    if unknown:
        raise SystemExit(f"tests/run: no section, file or test is called {', '.join(unknown)}")
    total = Count()
    with busy():
        for turn in range(1, times + 1):
            count = Count()
            for run in targets:
                count.add(run())
            print(f"=== {turn} of {times}: {count.line()}")
            total.add(count)
    return total
