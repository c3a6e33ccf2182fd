"""What tests share is taken once: ports by one process, names of hosts from a file of the test's own."""
import os
import subprocess
import sys

import pytest

from harness import shared
from harness.daemon import TOP
from harness.tools import need

TAKES = """
import sys
sys.path.insert(0, {tests!r})
from harness import shared
shared.PORTS = iter({ports!r})
print(shared.free_port(), flush=True)
sys.stdin.read()
"""


def test_a_port_has_one_owner():
    """Also while nobody listens there: another run of tests passes it over, and takes it when its owner has ended."""
    first, second = shared.free_port(), shared.free_port()

    def taker(ports):
        return subprocess.Popen([sys.executable, "-c", TAKES.format(tests=str(TOP / "tests"), ports=ports)],
                                stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    third = shared.free_port()
    shared.fcntl.lockf(shared.CLAIMS, shared.fcntl.LOCK_UN, 1, third)
    other = taker([first, second, third])
    assert int(other.stdout.readline()) == third
    late = taker([third, first])
    assert late.stdout.readline() == ""  # nothing is left for it
    late.communicate()
    assert late.returncode != 0
    other.communicate("")
    again = taker([third])
    assert int(again.stdout.readline()) == third
    again.communicate("")


def test_a_daemon_is_in_a_session_of_its_own(entrepot):
    """No end of a shell somewhere continues what a test has stopped, and reloads it."""
    assert {os.getsid(pid) for pid in entrepot.everybody()} == {entrepot.process.pid}


def test_the_machines_hosts_do_not_count(tmp_path):
    """In namespaces where the machine's own file gives the name to somebody else."""
    if os.getuid() != 0:
        pytest.skip("needs root")
    need("unshare", "ip", "getent")
    hosts = tmp_path / "machine"
    hosts.write_text("127.0.0.1 localhost\n192.0.2.1 idocker.io hub.idocker.io\n")
    inner = tmp_path / "inner"
    inner.mkdir()
    script = (f"import sys; sys.path.insert(0, {str(TOP / 'tests')!r})\nfrom harness.shared import apart\n"
              f"done = apart(['getent', 'hosts', 'idocker.io'], {str(inner)!r}, addresses=('10.99.0.1',), "
              "hosts={'10.99.0.1': ('idocker.io',)})\nprint(done.stdout)\n")
    done = subprocess.run(["unshare", "--mount", "--propagation", "private", "sh", "-c",
                           f'mount --bind {hosts} /etc/hosts && getent hosts idocker.io && echo inside && exec {sys.executable} -c "$1"',
                           "sh", script], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60)
    outside, _, inside = done.stdout.partition("inside\n")
    assert "192.0.2.1" in outside and "10.99.0.1" in inside and "192.0.2.1" not in inside, done.stdout
