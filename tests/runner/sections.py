"""The sections by name, and in which order and beside what they run."""
from runner import programs
from runner.count import TOP, Count
from runner.programs import MEMCHECK, MEMCHECK_SECONDS, SANITIZERS
from runner.scripts import Memcheck, Scripts

PYTEST = ("http", "fault", "clients", "pkg")
# Rows one after the other; the lanes of a row run beside each other.
ROWS = ((("lint", "unit", "fuzz", "tsan"),),
        (("fault",), ("asan-fault",), ("asan", "pkg"), ("http", "clients", "valgrind")))
# What a real file system does is part of them, and podman takes no long paths; under ASan fault runs in memory, too.
ON_DISK = ("fault", "clients", "pkg")
BESIDE = ("clients", "http", "pkg")  # told when they are over: another lane is read meanwhile
NAMES = tuple(name for row in ROWS for lane in row for name in lane)
ASAN = {"ENTREPOTD": str(TOP / "build-asan" / "entrepotd"), "ENTREPOTCTL": str(TOP / "build-asan" / "entrepotctl"),
        **SANITIZERS}


def asan(args):
    count = programs.cmocka("build-asan", SANITIZERS)
    count.add(programs.replay("build-asan", SANITIZERS))
    count.add(Scripts(args, ASAN, "asan ", held=True).directory("http"))
    return count


def asan_fault(args):
    return Scripts(args, ASAN, "asan ", held=True).directory("fault")


def valgrind(args):
    count = programs.cmocka("build", {"ENTREPOT_UNDER_VALGRIND": "1"}, MEMCHECK, MEMCHECK_SECONDS)
    count.add(programs.replay("build", under=MEMCHECK, timeout=MEMCHECK_SECONDS))
    count.add(Memcheck(args).directory("http"))
    return count


RUN = {"lint": lambda args: programs.lint(args.all), "unit": lambda args: programs.cmocka("build"),
       "fuzz": lambda args: programs.replay("build"), "tsan": lambda args: programs.tsan(),
       "asan": asan, "asan-fault": asan_fault, "valgrind": valgrind}


def run(name, args):
    try:
        count = Scripts(args, held=name in BESIDE, on_disk=name in ON_DISK).directory(name) if name in PYTEST else RUN[name](args)
    except SystemExit as e:  # a build that failed: the other lane's results count all the same
        print(e)
        count = Count()
        count.fail(f"{name}: building failed")
    if not (count.passed or count.failed or count.skipped):
        count.fail(f"{name}: there was nothing to run")
    return count
