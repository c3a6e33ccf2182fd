"""The whole walk of an ops team (doc/walkthrough.md), with names, ports and files as they are in the wild: it runs in
network and mount namespaces of its own, where idocker.io is an address and /etc/docker belongs to the test."""
import pathlib

from harness.shared import run_tests_apart
from harness.tools import need


def test_the_walk(workshop):
    need("ip", "unshare", "dockerd", "docker-registry", "openssl")
    directory = workshop / "walk"
    (directory / "etc-docker").mkdir(parents=True)
    run_tests_apart(pathlib.Path(__file__).parent / "walk" / "walk.py", directory, addresses=("10.99.0.1",),
                    hosts={"10.99.0.1": ("idocker.io", "hub.idocker.io")}, binds={"/etc/docker": directory / "etc-docker"},
                    timeout=900, env={"WALK_DIR": str(directory)})
