"""Load generators as calls: wrk, and our own client (tests/bench/load.c)."""
import pathlib
import re
import subprocess

TOP = pathlib.Path(__file__).resolve().parents[2]
LOAD = TOP / "build/tests/bench/load"
FILL = TOP / "build/tests/bench/fill"
ACCEPT = "application/vnd.docker.distribution.manifest.v2+json"


def wrk(url, seconds, connections=32):
    """Requests a second, MiB a second (also of answers that were cut by the end)."""
    out = subprocess.run(["wrk", "-t2", f"-c{connections}", f"-d{seconds}s", "-H", f"Accept: {ACCEPT}", url],
                         stdout=subprocess.PIPE, text=True, check=True).stdout
    assert "Non-2xx" not in out, out
    amount, unit = re.search(r"Transfer/sec:\s+([\d.]+)(\w?)B", out).groups()
    return (float(re.search(r"Requests/sec:\s+([\d.]+)", out).group(1)),
            float(amount) * {"": 2 ** -20, "K": 2 ** -10, "M": 1, "G": 2 ** 10}[unit])


def load_start(*args):
    return subprocess.Popen([LOAD, *map(str, args)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def load_values(out):
    return {name: float(value) for name, value in (line.split() for line in out.splitlines())}


def load(*args):
    """What our client measured, by name."""
    process = load_start(*args)
    out = process.communicate()[0]
    assert process.returncode == 0, f"load {args} failed"
    return load_values(out)
