"""One image of over 100 MB, and an artifact, through every client: what one pushes the others pull."""
import pytest

from harness.registry import Registry
from harness.shared import own_name
from harness.tools import need, run
from test_containerd import containerd  # noqa: F401 (fixture)
from test_podman import podman  # noqa: F401 (fixture)


@pytest.fixture(scope="module")
def pushed(engine, debian, entrepot):
    name = f"{entrepot.registry}/together/docker:12"
    engine.docker("tag", debian, name)
    engine.docker("push", name, timeout=300)
    yield name
    engine.docker("rmi", name)


def layers(entrepot, image):
    return [x["digest"] for x in Registry(entrepot.url, image).get("manifests/12").json()["layers"]]


def test_skopeo(entrepot, pushed, tmp_path):
    need("skopeo")
    target = f"docker://{entrepot.registry}/together/skopeo:12"
    run("skopeo", "--insecure-policy", "copy", "--src-tls-verify=false", f"docker://{pushed}", f"dir:{tmp_path}/d", timeout=300)
    run("skopeo", "--insecure-policy", "copy", "--dest-tls-verify=false", f"dir:{tmp_path}/d", target, timeout=300)
    assert layers(entrepot, "together/skopeo") == layers(entrepot, "together/docker")


def test_podman(entrepot, pushed, podman):
    podman("pull", "--tls-verify=false", pushed, timeout=300)
    target = f"{entrepot.registry}/together/podman:12"
    podman("tag", pushed, target)
    podman("push", "--tls-verify=false", target, timeout=300)
    podman("rmi", "-af")
    podman("pull", "--tls-verify=false", target, timeout=300)
    out = podman("run", "--rm", "--network", "none", "--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024",
                 target, "cat", "/etc/debian_version").stdout
    assert out.strip().splitlines()[-1].startswith("12.")


def test_containerd(entrepot, pushed, containerd):
    target = f"{entrepot.registry}/together/containerd:12"
    containerd.ctr("images", "pull", "--plain-http", pushed, timeout=300)
    containerd.ctr("images", "tag", pushed, target)
    containerd.ctr("images", "push", "--plain-http", target, timeout=300)
    assert layers(entrepot, "together/containerd") == layers(entrepot, "together/docker")
    containerd.ctr("images", "rm", pushed, target)
    containerd.ctr("images", "pull", "--plain-http", target, timeout=300)
    assert containerd.ctr("run", "--rm", target, own_name("deb"), "/bin/cat", "/etc/debian_version").stdout.startswith("12.")


def test_artifact_and_its_referrer(entrepot, layout, containerd):
    """skopeo brings image and artifact; containerd fetches both and pushes the artifact to another image."""
    need("skopeo")
    at = f"{entrepot.registry}/together/artifact"
    for tag in ("one", "artifact"):
        run("skopeo", "--insecure-policy", "copy", "--dest-tls-verify=false", f"oci:{layout.dir}:{tag}", f"docker://{at}:{tag}")
    containerd.ctr("content", "fetch", "--plain-http", f"{at}:artifact")
    target = f"{entrepot.registry}/together/again"
    containerd.ctr("images", "tag", f"{at}:artifact", f"{target}:artifact")
    containerd.ctr("images", "push", "--plain-http", f"{target}:artifact")
    entries = Registry(entrepot.url, "together/again").get("referrers/" + layout.one["digest"]).json()["manifests"]
    assert [e["digest"] for e in entries] == [layout.artifact["digest"]]
    assert entries[0]["artifactType"] == "application/vnd.example.sbom.v1"


def test_podman_pushes_an_index(entrepot, layout, podman):
    name = f"{entrepot.registry}/together/index:1"
    podman("pull", f"oci:{layout.dir}:one")
    image = podman("images", "-q").stdout.split()[0]
    podman("manifest", "create", "list:1", f"containers-storage:{image}", check=False)
    podman("manifest", "push", "--all", "--tls-verify=false", "list:1", f"docker://{name}")
    r = Registry(entrepot.url, "together/index").get("manifests/1")
    assert r.status_code == 200 and len(r.json()["manifests"]) == 1
    child = r.json()["manifests"][0]["digest"]
    assert Registry(entrepot.url, "together/index").head(f"manifests/{child}").status_code == 200
