"""What tests share with each other, with other runs of them and with the machine: ports, the file of hosts, network
and mount namespaces, names of containers (which name cgroups). Each is taken here and nowhere else."""
import fcntl
import itertools
import os
import pathlib
import random
import shlex
import socket
import subprocess
import sys

TOP = pathlib.Path(__file__).resolve().parents[2]

# Below those that the kernel gives to clients, who would take a free one before it is used.
PORTS = itertools.cycle(random.sample(range(20000, 32000), 12000))
# Byte PORT of this file is locked by the process that has the port, until it ends: also while nobody listens there.
CLAIMS = os.open(f"/tmp/entrepot-test-ports.{os.getuid()}", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)


def free_port(family=socket.AF_INET, host=None):
    """A port where nobody listens, and that no other run of tests takes while this process lives."""
    while True:
        port = next(PORTS)
        try:
            fcntl.lockf(CLAIMS, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
        except OSError:
            continue
        with socket.socket(family, socket.SOCK_STREAM) as s:
            try:
                s.bind((host or ("127.0.0.1" if family == socket.AF_INET else "::1"), port))
                return port
            except OSError:
                fcntl.lockf(CLAIMS, fcntl.LOCK_UN, 1, port)


def own_name(prefix):
    """For a container: its name is that of a cgroup, which all runs on a machine share."""
    return f"{prefix}-{os.urandom(4).hex()}"


def write_hosts(path, names):
    """{address: names}; nothing of the machine's own file, which may give the same names to others."""
    lines = ["127.0.0.1 localhost", "::1 localhost"] + [f"{address} {' '.join(known)}" for address, known in names.items()]
    pathlib.Path(path).write_text("\n".join(lines) + "\n")


def apart(command, directory, addresses=(), hosts=None, binds=None, timeout=300, env=None):
    """Runs a command in network and mount namespaces of its own, as root, with files of its own in `directory`.
    addresses: what the loopback device has beside its own. hosts: see write_hosts(). binds: {directory that programs
    look into: what they find there}."""
    hosts_file = pathlib.Path(directory) / "hosts"
    write_hosts(hosts_file, hosts or {})
    steps = ["set -e", "ip link set lo up", "mount --make-rprivate /"]
    steps += [f"ip address add {address}/32 dev lo" for address in addresses]
    for place, source in {**(binds or {}), "/etc/hosts": hosts_file}.items():
        if place != "/etc/hosts":
            steps.append(f"mkdir -p {shlex.quote(str(place))}")
        steps.append(f"mount --bind {shlex.quote(str(source))} {shlex.quote(str(place))}")
    steps.append('exec "$@"')
    return subprocess.run(["unshare", "--net", "--mount", "sh", "-c", "\n".join(steps), "apart", *map(str, command)],
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          errors="replace", timeout=timeout, env={**os.environ, **(env or {})})


def run_tests_apart(file, directory, timeout=300, env=None, **kw):
    """A file of tests, whatever it is called, by pytest in namespaces of its own; all must pass."""
    file = pathlib.Path(file)
    done = apart([sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-x", "-q", "-rs", "-o",
                  f"python_files={file.name}", "-c", TOP / "pytest.ini", file], directory, timeout=timeout, env=env, **kw)
    assert done.returncode == 0 and " passed" in done.stdout, done.stdout[-8000:]
