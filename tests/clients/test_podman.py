"""podman pushes and pulls, with storage of its own."""
import shutil

import pytest

from harness.registry import Registry
from harness.tools import need, own_directory, run, unmount_below


class Podman:
    def __init__(self, directory):
        need("podman")
        self.dir = directory

    def __call__(self, *args, **kw):
        return run("podman", "--root", self.dir / "root", "--runroot", self.dir / "run", "--storage-driver", "vfs",
                   "--runtime", "runc", "--cgroup-manager", "cgroupfs", "--events-backend", "none", *args, **kw)


@pytest.fixture
def podman():
    p = Podman(own_directory("entrepot-p-"))  # podman bounds the length of its paths
    yield p
    unmount_below(p.dir)
    shutil.rmtree(p.dir, ignore_errors=True)


def test_pull_and_push(podman, entrepot, layout):
    source, target = f"{entrepot.registry}/podman/in:1", f"{entrepot.registry}/podman/out:1"
    podman("pull", f"oci:{layout.dir}:one")
    image = podman("images", "-q").stdout.split()[0]
    podman("push", "--tls-verify=false", image, source)
    podman("rmi", "-af")
    podman("pull", "--tls-verify=false", source)
    podman("tag", source, target)
    podman("push", "--tls-verify=false", target)
    for name in ("podman/in", "podman/out"):
        assert Registry(entrepot.url, name).head("manifests/1").status_code == 200
    out = podman("run", "--rm", "--network", "none", "--ulimit", "nofile=1024:1024",
                 "--ulimit", "nproc=1024:1024", target, check=False)
    assert out.returncode == 0 and "layered hello from a container" in out.stdout, out.stdout


def test_docker_format_and_search(podman, entrepot, layout):
    name = f"{entrepot.registry}/podman/v2s2:1"
    podman("pull", f"oci:{layout.dir}:one")
    image = podman("images", "-q").stdout.split()[0]
    podman("push", "--tls-verify=false", "--format", "v2s2", image, name)
    r = Registry(entrepot.url, "podman/v2s2").get("manifests/1")
    assert r.headers["Content-Type"] == "application/vnd.docker.distribution.manifest.v2+json"
    found = podman("search", "--tls-verify=false", f"{entrepot.registry}/v2s2").stdout
    assert "podman/v2s2" in found


def test_manifest_list(podman, entrepot, layout):
    name = f"{entrepot.registry}/podman/multi:1"
    run("skopeo", "--insecure-policy", "copy", "--all", "--preserve-digests", "--dest-tls-verify=false", f"oci:{layout.dir}:multi",
        f"docker://{name}")
    podman("pull", "--tls-verify=false", "--arch", "arm64", name)
    assert podman("image", "inspect", "--format", "{{.Architecture}}", name).stdout.strip() == "arm64"
