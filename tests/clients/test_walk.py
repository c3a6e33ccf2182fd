"""The whole walk of an ops team (doc/walkthrough.md), with names, ports and files as they are in the wild: it runs in
network and mount namespaces of its own, where idocker.io is an address and /etc/docker belongs to the test."""
import os
import pathlib
import subprocess
import sys

from harness.tools import need

SCRIPT = """
set -e
ip link set lo up
ip address add 10.99.0.1/32 dev lo
mount --make-rprivate /
cp /etc/hosts "$1/hosts"
printf '10.99.0.1 idocker.io hub.idocker.io\\n' >>"$1/hosts"
mount --bind "$1/hosts" /etc/hosts
mkdir -p /etc/docker "$1/etc-docker"
mount --bind "$1/etc-docker" /etc/docker
shift
exec "$@"
"""


def test_the_walk(workshop):
    need("ip", "unshare", "dockerd", "docker-registry", "openssl")
    walk = pathlib.Path(__file__).parent / "walk"
    directory = workshop / "walk"
    directory.mkdir()
    done = subprocess.run(["unshare", "--net", "--mount", "sh", "-c", SCRIPT, "walk", str(directory),
                           sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-x", "-q", "-rs", str(walk / "walk.py"),
                           "-o", "python_files=walk.py", "-c", str(walk.parents[2] / "pytest.ini")],
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=900,
                          env={**os.environ, "WALK_DIR": str(directory)})
    assert done.returncode == 0 and " passed" in done.stdout, done.stdout[-8000:]
