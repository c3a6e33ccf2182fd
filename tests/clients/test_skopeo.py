"""skopeo (containers/image) copies everything byte for byte."""
import json
import os

import pytest

from harness.images import Layout, tar_layer
from harness.registry import OCI_INDEX, Registry
from harness.tools import need, run


@pytest.fixture(autouse=True)
def _skopeo():
    need("skopeo")


def skopeo(*args, **kw):
    return run("skopeo", "--insecure-policy", *args, **kw)


def push(layout, tag, entrepot, name, *args):
    skopeo("copy", "--dest-tls-verify=false", *args, f"oci:{layout.dir}:{tag}", f"docker://{entrepot.registry}/{name}")


def test_multi_arch_index(entrepot, layout, tmp_path):
    push(layout, "multi", entrepot, "skopeo/multi:1", "--all", "--preserve-digests")  # its machine-wide cache of layers seen may not matter
    wanted = next(d for d in layout.index if d["annotations"]["org.opencontainers.image.ref.name"] == "multi")
    r = Registry(entrepot.url, "skopeo/multi").get("manifests/1")
    assert r.headers["Docker-Content-Digest"] == wanted["digest"] and r.headers["Content-Type"] == OCI_INDEX
    skopeo("copy", "--all", "--src-tls-verify=false", f"docker://{entrepot.registry}/skopeo/multi:1", f"oci:{tmp_path}/back:x")
    index = json.loads((tmp_path / "back" / "index.json").read_text())
    assert index["manifests"][0]["digest"] == wanted["digest"]
    for blob in (tmp_path / "back" / "blobs" / "sha256").iterdir():
        assert blob.read_bytes() == (layout.dir / "blobs" / "sha256" / blob.name).read_bytes()


def test_docker_schema2_and_zstd(entrepot, layout, tmp_path):
    push(layout, "one", entrepot, "skopeo/v2s2:1", "--format", "v2s2")
    inspected = json.loads(skopeo("inspect", "--raw", "--tls-verify=false",
                                  f"docker://{entrepot.registry}/skopeo/v2s2:1").stdout)
    assert inspected["mediaType"] == "application/vnd.docker.distribution.manifest.v2+json"
    # Content of its own: skopeo remembers for the whole machine where it has seen a layer in another compression.
    fresh = Layout(tmp_path / "fresh")
    fresh.tag(fresh.image([tar_layer({"random": os.urandom(5000)})], compress=bytes,
                          layer_type="application/vnd.oci.image.layer.v1.tar"), "plain")
    push(fresh, "plain", entrepot, "skopeo/zstd:1", "--dest-compress-format", "zstd", "--dest-compress")
    skopeo("copy", "--src-tls-verify=false", f"docker://{entrepot.registry}/skopeo/zstd:1", f"dir:{tmp_path}/dir")
    manifest = json.loads((tmp_path / "dir" / "manifest.json").read_text())
    assert manifest["layers"][0]["mediaType"].endswith("+zstd")


def test_artifact_with_a_referrer(entrepot, layout):
    push(layout, "one", entrepot, "skopeo/signed:1")
    push(layout, "artifact", entrepot, "skopeo/signed:sbom")
    registry = Registry(entrepot.url, "skopeo/signed")
    assert registry.get("manifests/1").headers["Docker-Content-Digest"] == layout.one["digest"]
    entries = registry.get("referrers/" + layout.one["digest"]).json()["manifests"]
    assert [e["digest"] for e in entries] == [layout.artifact["digest"]]
    assert entries[0]["artifactType"] == "application/vnd.example.sbom.v1"
    assert entries[0]["annotations"] == {"org.example.made": "on the spot"}


def test_list_inspect_delete(entrepot, layout):
    for tag in ("a", "b"):
        push(layout, "one", entrepot, f"skopeo/listed:{tag}")
    name = f"docker://{entrepot.registry}/skopeo/listed"
    assert json.loads(skopeo("list-tags", "--tls-verify=false", name).stdout)["Tags"] == ["a", "b"]
    inspected = json.loads(skopeo("inspect", "--tls-verify=false", name + ":a").stdout)
    assert inspected["Digest"] == layout.one["digest"] and inspected["Architecture"] == "amd64"
    skopeo("delete", "--tls-verify=false", name + ":a")
    assert skopeo("inspect", "--tls-verify=false", name + ":b", check=False).returncode != 0  # one manifest, two tags


def test_copy_inside_the_registry_mounts(entrepot, layout):
    push(layout, "one", entrepot, "skopeo/from:1")
    skopeo("copy", "--src-tls-verify=false", "--dest-tls-verify=false", f"docker://{entrepot.registry}/skopeo/from:1",
           f"docker://{entrepot.registry}/skopeo/to:1")
    assert Registry(entrepot.url, "skopeo/to").get("manifests/1").headers["Docker-Content-Digest"] == layout.one["digest"]
