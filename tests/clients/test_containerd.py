"""containerd (ctr) pulls, pushes and runs."""
import shutil
import subprocess

import pytest

from harness.daemon import wait_for
from harness.registry import Registry
from harness.shared import own_name
from harness.tools import need, own_directory, run, unmount_below


class Containerd:
    def __init__(self):
        need("containerd", "ctr", "runc")
        self.dir = own_directory("entrepot-ctd-")
        config = self.dir / "config.toml"
        config.write_text(f'version = 2\nroot = "{self.dir}/root"\nstate = "{self.dir}/state"\n'
                          'disabled_plugins = ["io.containerd.grpc.v1.cri"]\n'
                          f'[grpc]\naddress = "{self.dir}/s"\n[ttrpc]\naddress = "{self.dir}/s.ttrpc"\n')
        self.log = open(self.dir / "log", "ab")
        self.process = subprocess.Popen(["containerd", "--config", str(config)], stdout=self.log, stderr=self.log)
        wait_for(lambda: self.ctr("version", check=False).returncode == 0, "containerd is up", 30)

    def ctr(self, *args, **kw):
        return run("ctr", "-a", self.dir / "s", *args, **kw)

    def close(self):
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(10)
        self.log.close()
        unmount_below(self.dir)
        shutil.rmtree(self.dir, ignore_errors=True)


@pytest.fixture(scope="module")
def containerd():
    c = Containerd()
    yield c
    c.close()


@pytest.fixture
def seeded(entrepot, layout):
    """A multi-arch image put there by another client."""
    need("skopeo")
    name = f"{entrepot.registry}/containerd/multi:1"
    run("skopeo", "--insecure-policy", "copy", "--all", "--preserve-digests", "--dest-tls-verify=false", f"oci:{layout.dir}:multi",
        f"docker://{name}")
    return name


def test_pull_run_push(containerd, entrepot, seeded):
    containerd.ctr("images", "pull", "--plain-http", "--all-platforms", seeded)
    listed = containerd.ctr("images", "ls", "-q").stdout.split()
    assert seeded in listed
    out = containerd.ctr("run", "--rm", seeded, own_name("test"))
    assert out.stdout == "layered hello from a container\n"
    target = f"{entrepot.registry}/containerd/pushed:2"
    containerd.ctr("images", "tag", seeded, target)
    containerd.ctr("images", "push", "--plain-http", target)
    source, pushed = (Registry(entrepot.url, f"containerd/{n}").get(f"manifests/{t}") for n, t in (("multi", 1), ("pushed", 2)))
    assert source.content == pushed.content and source.headers["Content-Type"] == pushed.headers["Content-Type"]
    assert containerd.ctr("images", "push", "--plain-http", target).returncode == 0  # what exists is no work


def test_fetch_by_digest(containerd, entrepot, seeded, layout):
    image = f"{entrepot.registry}/containerd/multi@{layout.one['digest']}"
    containerd.ctr("images", "pull", "--plain-http", image)
    assert image in containerd.ctr("images", "ls", "-q").stdout.split()
