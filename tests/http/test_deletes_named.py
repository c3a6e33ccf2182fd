"""What a manifest that stays needs is not deleted (doc/protocol.md, "Deletes"): clean-up scripts break no image."""
import itertools
import json

import pytest

from harness.registry import (DOCKER_IMAGE, DOCKER_LIST, OCI_CONFIG, OCI_IMAGE, OCI_INDEX, Registry, digest, error)

LAYERS = (b"a base", b"a layer")


def index_of(*manifests, media_type=OCI_INDEX, child=OCI_IMAGE):
    return json.dumps({"schemaVersion": 2, "mediaType": media_type, "manifests": [
        {"mediaType": child, "digest": digest(m), "size": len(m)} for m in manifests]}).encode()


def delete(registry, data, kind="manifests"):
    return registry.delete(f"{kind}/{digest(data)}")


def held(reply, *parents):
    assert reply.status_code == 409 and error(reply) == "DENIED", reply.text
    message = reply.json()["errors"][0]["message"]
    assert any(digest(p) in message for p in parents), message


def multi(registry, tag="multi"):
    """Two platforms' images that share a layer, below a tagged index."""
    children = [registry.image_manifest(config=b'{"n":%d}' % i, layers=LAYERS) for i in range(2)]
    for child in children:
        assert registry.put_manifest(child).status_code == 201
    index = index_of(*children)
    assert registry.put_manifest(index, tag, media_type=OCI_INDEX).status_code == 201
    return index, children


def whole(registry, index, children):
    for data in (index, *children):
        assert registry.get(f"manifests/{digest(data)}").content == data
    for layer in LAYERS:
        assert registry.get("blobs/" + digest(layer)).content == layer


def test_children_and_layers_of_what_stays_are_held(registry):
    index, children = multi(registry)
    for child in children:
        held(delete(registry, child), index)
    for blob in (*LAYERS, b'{"n":0}', b'{"n":1}'):
        held(delete(registry, blob, "blobs"), *children)
    whole(registry, index, children)
    assert registry.delete("manifests/multi").status_code == 202, "a tag names, it is not named"
    for child in children:
        held(delete(registry, child), index)  # the index is here by its digest
    whole(registry, index, children)


def test_parents_then_children_then_blobs(registry):
    """The order of the specification's conformance program."""
    index, children = multi(registry)
    assert delete(registry, index).status_code == 202
    assert registry.head("manifests/multi").status_code == 404
    assert delete(registry, children[0]).status_code == 202
    held(delete(registry, LAYERS[0], "blobs"), children[1])
    assert delete(registry, b'{"n":0}', "blobs").status_code == 202
    assert delete(registry, children[1]).status_code == 202
    for blob in (*LAYERS, b'{"n":1}'):
        assert delete(registry, blob, "blobs").status_code == 202
        assert registry.head("blobs/" + digest(blob)).status_code == 404
    assert registry.get("tags/list").status_code == 404


def test_the_conformance_programs_content(registry):
    """What it pushes: images, artifacts with subjects, nested indexes, an index of nothing; deleted parents first."""
    image = registry.push_image("image")
    empty = registry.push_image("nolayers", layers=())
    sbom = registry.push_image("sbom", config=b"{ }", artifactType="a/b", subject={
        "mediaType": OCI_IMAGE, "digest": digest(image), "size": len(image)})
    inner, none = index_of(image, empty), index_of()
    outer = index_of(inner, none, sbom, child=OCI_INDEX)
    for data in (inner, none, outer):
        assert registry.put_manifest(data, media_type=OCI_INDEX).status_code == 201
    for data in (outer, inner, none, sbom, image, empty):
        assert delete(registry, data).status_code == 202, data
        assert registry.head("manifests/" + digest(data)).status_code == 404
    for blob in (b"{}", b"layer", b"{ }"):
        assert delete(registry, blob, "blobs").status_code == 202


def test_nested_indexes(registry):
    image = registry.push_image("x")
    inner = index_of(image, media_type=DOCKER_LIST, child=DOCKER_IMAGE)
    outer = index_of(inner, child=DOCKER_LIST)
    for data, media_type in ((inner, DOCKER_LIST), (outer, OCI_INDEX)):
        assert registry.put_manifest(data, media_type=media_type).status_code == 201
    held(delete(registry, inner), outer)
    held(delete(registry, image), inner)
    assert [delete(registry, x).status_code for x in (outer, inner, image)] == [202] * 3


def test_subjects_and_their_referrers_are_free(registry):
    image = registry.push_image("x")
    sbom = registry.image_manifest(config=b"{ }", artifactType="a/b", subject={
        "mediaType": OCI_IMAGE, "digest": digest(image), "size": len(image)})
    assert registry.put_manifest(sbom).status_code == 201
    assert delete(registry, image).status_code == 202
    held(delete(registry, b"{ }", "blobs"), sbom)
    assert delete(registry, sbom).status_code == 202


def test_blobs_as_children(registry):
    """Build caches have layers as children of an index."""
    cache = b"a build's cache"
    registry.push_blob(cache)
    index = index_of(cache, child="application/vnd.oci.image.layer.v1.tar")
    assert registry.put_manifest(index, "cache", media_type=OCI_INDEX).status_code == 201
    held(delete(registry, cache, "blobs"), index)
    assert delete(registry, index).status_code == 202
    assert delete(registry, cache, "blobs").status_code == 202


def test_a_child_that_is_also_a_blob(registry):
    image = registry.push_image("x")
    registry.push_blob(image)
    index = index_of(image)
    assert registry.put_manifest(index, media_type=OCI_INDEX).status_code == 201
    held(delete(registry, image), index)
    assert delete(registry, image, "blobs").status_code == 202, "the index means the manifest"
    assert registry.get("manifests/x").content == image


def test_other_images_hold_nothing_here(registry):
    registry.push_image("x")
    other = registry.at(registry.image + "/other")
    assert other.post(f"blobs/uploads/?mount={digest(b'layer')}&from={registry.image}").status_code == 201
    assert other.delete("blobs/" + digest(b"layer")).status_code == 202
    assert registry.get("blobs/" + digest(b"layer")).content == b"layer"


def test_what_is_not_here_is_unknown(registry):
    layer = {"mediaType": "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", "digest": digest(b"far"),
             "size": 3, "urls": ["https://example.com/far"]}
    body = json.loads(registry.image_manifest())
    body["layers"].append(layer)
    assert registry.put_manifest(json.dumps(body).encode(), "x").status_code == 201
    r = registry.delete("blobs/" + digest(b"far"))
    assert r.status_code == 404 and error(r) == "BLOB_UNKNOWN"


def test_lax_children_are_free_and_layers_held(start):
    registry = Registry(start(hosted='index_children = "lax"').url)
    index, children = multi(registry)
    assert delete(registry, children[0]).status_code == 202, "pushing the index asks for none"
    held(delete(registry, LAYERS[0], "blobs"), children[1])
    assert registry.get("manifests/multi").content == index
    registry.push_blob(b"a build's cache")
    cache = index_of(b"a build's cache", child="application/vnd.oci.image.layer.v1.tar")
    assert registry.put_manifest(cache, media_type=OCI_INDEX).status_code == 201
    assert delete(registry, b"a build's cache", "blobs").status_code == 202


@pytest.mark.parametrize("order", list(itertools.permutations(("index", "child", "blob")))[1:], ids="-".join)
def test_a_key_lifts_it(start, order):
    """The v1.1.1 conformance suite may be set to delete blobs first."""
    registry = Registry(start(hosted="delete_referenced = true").url)
    index, children = multi(registry)
    things = {"index": (index, "manifests"), "child": (children[0], "manifests"), "blob": (LAYERS[0], "blobs")}
    for name in order:
        assert delete(registry, *things[name]).status_code == 202


def test_reload_changes_the_key(start):
    daemon = start()
    registry = Registry(daemon.url)
    index, children = multi(registry)
    held(delete(registry, children[0]), index)
    text = daemon.conf.read_text().replace("hosted docker-local {", "hosted docker-local { delete_referenced = true")
    daemon.conf.write_text(text)
    daemon.reload()
    assert delete(Registry(daemon.url), children[0]).status_code == 202


def test_config_of_another_kind(registry):
    """An artifact's config and layers are held like an image's."""
    body = registry.image_manifest(config=b"[]", layers=(b"chart",), artifactType="a/helm")
    assert registry.put_manifest(body, "chart").status_code == 201
    assert json.loads(body)["config"]["mediaType"] == OCI_CONFIG
    for blob in (b"[]", b"chart"):
        held(delete(registry, blob, "blobs"), body)
