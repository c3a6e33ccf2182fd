"""A child's delete and its parent's push or delete at the same time: the catalog decides, one after the other."""
import concurrent.futures
import json

import pytest

from harness.registry import OCI_IMAGE, OCI_INDEX, Registry, digest


@pytest.fixture
def racing(fail, start):
    registry = Registry(start().url)
    child = registry.push_image("child")
    index = json.dumps({"schemaVersion": 2, "manifests": [
        {"mediaType": OCI_IMAGE, "digest": digest(child), "size": len(child)}]}).encode()
    return registry, fail, child, index


def together(registry, fail, first, second):
    """`first` is held with its changes collected and not written; `second` is sent; both go on."""
    fail.arm("catalog_turn_written", "wait")
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        one = pool.submit(first, Registry(registry.url))
        fail.held("catalog_turn_written")
        two = pool.submit(second, Registry(registry.url))
        fail.release("catalog_turn_written")
        return one.result(), two.result()


def test_child_is_deleted_while_its_index_is_pushed(racing):
    registry, fail, child, index = racing
    put, deleted = together(registry, fail,
                            lambda r: r.put_manifest(index, "multi", media_type=OCI_INDEX),
                            lambda r: r.delete("manifests/" + digest(child)))
    assert (put.status_code, deleted.status_code) == (201, 409)
    assert registry.get("manifests/" + digest(child)).content == child


def test_layer_is_deleted_while_another_image_is_pushed(racing):
    registry, fail, child, _ = racing
    other = registry.image_manifest(config=b'{"other":1}')
    assert registry.delete("manifests/" + digest(child)).status_code == 202
    put, deleted = together(registry, fail, lambda r: r.put_manifest(other, "other"),
                            lambda r: r.delete("blobs/" + digest(b"layer")))
    assert (put.status_code, deleted.status_code) == (201, 409)
    assert registry.get("blobs/" + digest(b"layer")).content == b"layer"


def test_index_is_pushed_while_its_child_is_deleted(racing):
    registry, fail, child, index = racing
    deleted, put = together(registry, fail, lambda r: r.delete("manifests/" + digest(child)),
                            lambda r: r.put_manifest(index, "multi", media_type=OCI_INDEX))
    assert (deleted.status_code, put.status_code) == (202, 400)


def test_child_is_deleted_while_its_index_is_deleted(racing):
    registry, fail, child, index = racing
    assert registry.put_manifest(index, "multi", media_type=OCI_INDEX).status_code == 201
    one, two = together(registry, fail, lambda r: r.delete("manifests/" + digest(index)),
                        lambda r: r.delete("manifests/" + digest(child)))
    assert (one.status_code, two.status_code) == (202, 202)
