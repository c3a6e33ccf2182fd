"""The sections of programs: cmocka's and the fuzz targets over their corpora, in any tree, under any tool."""
import re

from runner.count import PROGRAM_SECONDS, TOP, Count, build, run

MEMCHECK = ("valgrind", "-q", "--leak-check=full", "--show-leak-kinds=definite", "--errors-for-leak-kinds=definite",
            "--error-exitcode=97")
MEMCHECK_SECONDS = 1200
SANITIZERS = {"ASAN_OPTIONS": "detect_leaks=1:abort_on_error=0:exitcode=99",
              "UBSAN_OPTIONS": "print_stacktrace=1"}


def names(directory, prefix):
    return sorted(p.stem for p in (TOP / "tests" / directory).glob(f"{prefix}_*.c"))


def cmocka(tree, env=None, under=(), timeout=PROGRAM_SECONDS, only=None):
    count = Count()
    for name in only or names("unit", "test"):
        count.add(one_cmocka(name, tree, env, under, timeout))
    return count


def one_cmocka(name, tree, env, under, timeout):
    """Counts TAP lines. A program that ends early or badly is a failure of its own."""
    count = Count()
    status, text = run([*under, f"{tree}/tests/unit/{name}"], timeout, {**(env or {}), "CMOCKA_MESSAGE_OUTPUT": "TAP"})
    planned = sum(int(n) for n in re.findall(r"^1\.\.(\d+)", text, re.M))
    bad = re.findall(r"^not ok \d+ - (\S+)", text, re.M)
    skipped = re.findall(r"^(?:not )?ok \d+ (?:- \S+ *)?# [Ss][Kk][Ii][Pp] *(\S*)", text, re.M)
    good = len(re.findall(r"^ok \d+(?!.*# [Ss][Kk][Ii][Pp])", text, re.M))
    for test in skipped:
        count.skip(f"{tree} {name} {test}", "slow: what valgrind itself needs" if under else "skipped by the program")
    count.passed += good

    def again():
        return one_cmocka(name, tree, env, under, timeout).clean()

    if bad:
        for test in bad:
            count.fail(f"{tree} {name} {test}", text if test == bad[0] else "", again)
    elif status != 0 or planned == 0 or good + len(skipped) != planned:
        count.fail(f"{tree} {name} (exit status {status}, {good} of {planned} tests)", text, again)
    return count


def replay(tree, env=None, under=(), timeout=PROGRAM_SECONDS, only=None):
    count = Count()
    for name in only or names("fuzz", "fuzz"):
        count.add(one_replay(name, tree, env, under, timeout))
    return count


def one_replay(name, tree, env, under, timeout):
    count = Count()
    program = f"{tree}/tests/fuzz/{name}"
    if not (TOP / program).exists():
        # Makefile.am leaves out a target whose oracle is not installed;
        # lint_files sees to it that none is forgotten.
        count.skip(f"{tree} {name}", "not built here")
        return count
    status, text = run([*under, program, f"tests/fuzz/corpus/{name.removeprefix('fuzz_')}"], timeout, env)
    if status == 0:
        count.passed += 1
    else:
        count.fail(f"{tree} {name} (exit status {status})", text or "no output",
                   lambda: one_replay(name, tree, env, under, timeout).clean())
    return count


def tsan():
    """What processes share in memory and threads share in a process, under ThreadSanitizer."""
    build("tsan")
    count = Count()
    for name in ("test_threads", "test_pool"):
        status, text = run([f"build-tsan/tests/unit/{name}"], env={"TSAN_OPTIONS": "exitcode=98"})
        if status == 0:
            count.passed += 1
        else:
            count.fail(f"tsan {name} (exit status {status})", text)
    return count


def lint(everything):
    """tests/lint/lint_*; one is slow when it says so at its top."""
    count = Count()
    for path in sorted((TOP / "tests" / "lint").glob("lint_*")):
        name = f"lint {path.name}"
        if "slow:" in path.read_text()[:400] and not everything:
            count.skip(name, "slow: runs with --all and in ./bootstrap lint")
            continue
        status, text = run([str(path)], timeout=1800)
        if status == 0:
            count.passed += 1
        else:
            count.fail(name, text)
    return count
