"""Public and private addresses as remotes see them: in a network namespace of the test's own, where a public
address is ours (namespace/addresses.py)."""
import pathlib
import subprocess
import sys

from harness.tools import need

SCRIPT = "set -e; ip link set lo up; ip address add 11.22.33.44/32 dev lo; ip address add 11.22.33.55/32 dev lo; exec \"$@\""


def test_addresses_of_remotes():
    need("ip", "unshare", "openssl")
    inside = pathlib.Path(__file__).parent / "namespace" / "addresses.py"
    done = subprocess.run(["unshare", "--net", "sh", "-c", SCRIPT, "addresses", sys.executable, "-m", "pytest", "-p",
                           "no:cacheprovider", "-q", "-o", "python_files=addresses.py", "-c", str(inside.parents[3] / "pytest.ini"),
                           str(inside)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=300)
    assert done.returncode == 0 and " passed" in done.stdout, done.stdout[-6000:]
