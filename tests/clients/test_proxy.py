"""Every client pulls through a proxy of an open registry; the second pull works with the upstream switched off."""
import shutil

import pytest

from harness.daemon import Daemon
from harness.origin import Origin
from harness.tools import need, own_directory, run
from test_containerd import Containerd
from test_podman import podman  # noqa: F401, a fixture

CONF = """
proxy hub {{
    remotes = {{"@URL@"}}
    docker_hub = true
    tag_ttl = 1h
}}
connector "127.0.0.1:{port}" {{ repository = hub }}
"""


@pytest.fixture(scope="module")
def origin(layout):
    o = Origin().start()
    for tag in ("one", "multi"):
        run("skopeo", "--insecure-policy", "copy", "--all", "--preserve-digests", "--dest-tls-verify=false", f"oci:{layout.dir}:{tag}",
            f"docker://127.0.0.1:{o.port}/library/hello:{tag}")
    yield o
    o.close()


@pytest.fixture
def daemon(origin):
    if not origin.process:
        origin.start()
    d = Daemon(text=CONF.replace("@URL@", origin.url)).start()
    yield d
    d.close()


def test_docker(engine, origin, daemon):
    name = f"{daemon.registry}/hello:one"
    for _ in range(2):
        engine.docker("pull", name)
        assert engine.run(name) == "layered hello from a container\n"
        engine.forget(name)
        origin.stop()


def test_skopeo(origin, daemon, layout):
    need("skopeo")
    d = own_directory("entrepot-skopeo-")
    try:
        for copy in ("first", "second"):
            run("skopeo", "--insecure-policy", "copy", "--all", "--preserve-digests", "--src-tls-verify=false",
                f"docker://{daemon.registry}/hello:multi", f"oci:{d / copy}:multi")
            origin.stop()
        assert (d / "first" / "index.json").read_bytes() == (d / "second" / "index.json").read_bytes()
        assert '"multi"' in run("skopeo", "list-tags", "--tls-verify=false", f"docker://{daemon.registry}/hello").stdout
    finally:
        shutil.rmtree(d, ignore_errors=True)


def test_podman(podman, origin, daemon):
    for _ in range(2):
        podman("pull", "--tls-verify=false", f"{daemon.registry}/hello:one")
        podman("rmi", "-af")
        origin.stop()


def test_containerd(origin, daemon):
    c = Containerd()
    try:
        name = f"{daemon.registry}/hello:multi"
        for _ in range(2):
            c.ctr("images", "pull", "--plain-http", "--all-platforms", name)
            c.ctr("images", "rm", "--sync", name)
            c.ctr("content", "prune", "references", check=False)
            origin.stop()
    finally:
        c.close()
