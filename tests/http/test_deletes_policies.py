"""Deletes (doc/protocol.md, "Deletes"); and what a repository's policy forbids."""
import os

import pytest

from harness.registry import OCI_INDEX, Registry, digest, error


def everywhere(registry, path, status):
    """Asked over many connections, so that every worker answers."""
    for _ in range(12):
        assert Registry(registry.url, registry.image).head(path).status_code == status


def test_delete_tag(registry):
    data = registry.push_image("a")
    registry.put_manifest(data, "b")
    r = registry.delete("manifests/a")
    assert r.status_code == 202 and r.content == b""
    everywhere(registry, "manifests/a", 404)
    everywhere(registry, "manifests/b", 200)
    everywhere(registry, "manifests/" + digest(data), 200)
    assert registry.get("tags/list").json()["tags"] == ["b"]
    assert registry.delete("manifests/a").status_code == 404


def test_delete_manifest_takes_its_tags(registry):
    data, other = registry.push_image("a"), registry.push_image("c", config=b'{"o":1}')
    registry.put_manifest(data, "b")
    assert registry.delete("manifests/" + digest(data)).status_code == 202
    for ref in ("a", "b", digest(data)):
        everywhere(registry, f"manifests/{ref}", 404)
    assert registry.get("manifests/c").content == other
    assert registry.get("tags/list").json()["tags"] == ["c"]
    r = registry.delete("manifests/" + digest(data))
    assert r.status_code == 404 and error(r) == "MANIFEST_UNKNOWN"
    assert registry.put_manifest(data, "a").status_code == 201
    everywhere(registry, "manifests/a", 200)


def test_delete_blob_unlinks_here_only(registry):
    other = registry.at(registry.image + "/other")
    d = registry.push_blob(b"shared")
    other.push_blob(b"shared")
    assert registry.delete(f"blobs/{d}").status_code == 202
    everywhere(registry, f"blobs/{d}", 404)
    everywhere(other, f"blobs/{d}", 200)
    r = registry.delete(f"blobs/{d}")
    assert r.status_code == 404 and error(r) == "BLOB_UNKNOWN"
    assert registry.push_blob(b"shared") == d
    everywhere(registry, f"blobs/{d}", 200)


def test_last_content_takes_the_image(registry):
    d = registry.push_blob(b"only")
    assert registry.delete(f"blobs/{d}").status_code == 202
    assert registry.get("tags/list").status_code == 404


def test_an_image_stays_while_it_holds_anything(registry):
    """Blobs without a manifest, or a manifest without blobs."""
    body = registry.push_image("x")
    assert registry.delete(f"manifests/{digest(body)}").status_code == 202
    assert registry.get("tags/list").status_code == 200
    index = b'{"schemaVersion":2,"mediaType":"%s","manifests":[]}' % OCI_INDEX.encode()
    assert registry.put_manifest(index, "i", OCI_INDEX).status_code == 201
    for blob in (b"{}", b"layer"):
        assert registry.delete(f"blobs/{digest(blob)}").status_code == 202
    assert registry.get("tags/list").json()["tags"] == ["i"]
    assert registry.delete(f"manifests/{digest(index)}").status_code == 202
    assert registry.get("tags/list").status_code == 404


def test_delete_switched_off(start):
    registry = Registry(start(hosted="delete = false").url)
    data = registry.push_image("a")
    for path in ("manifests/a", "manifests/" + digest(data), "blobs/" + digest(b"layer")):
        r = registry.delete(path)
        assert r.status_code == 405 and error(r) == "UNSUPPORTED" and "DELETE" not in r.headers["Allow"]
    assert registry.get("manifests/a").content == data


@pytest.mark.parametrize("policy,latest,other", [("allow", 201, 201), ("latest-only", 201, 403), ("deny", 403, 403)])
def test_redeploy(start, policy, latest, other):
    registry = Registry(start(hosted=f'redeploy = "{policy}"').url)
    first = registry.image_manifest()
    second = registry.image_manifest(config=b'{"2":2}')
    for tag, status in (("latest", latest), ("1.0", other)):
        assert registry.put_manifest(first, tag).status_code == 201
        assert registry.put_manifest(first, tag).status_code == 201, "the same again is no change"
        r = registry.put_manifest(second, tag)
        assert r.status_code == status
        if status == 403:
            assert error(r) == "DENIED" and tag in r.json()["errors"][0]["message"]
            assert registry.get(f"manifests/{tag}").content == first
    assert registry.put_manifest(second).status_code == 201, "by digest nothing is redeployed"


def test_read_only(start):
    daemon = start()
    registry = Registry(daemon.url)
    data = registry.push_image("a")
    url = registry.begin()
    daemon.write_conf(daemon.conf.read_text().replace("{", "{{").replace("}", "}}").replace(
        "hosted docker-local {{", 'hosted docker-local {{ redeploy = "read-only"'))
    daemon.reload()
    registry = Registry(daemon.url)
    for r in (registry.post("blobs/uploads/"), registry.request("PATCH", url, data=b"x"),
              registry.finish(url, digest(b"x"), b"x"), registry.put_manifest(data, "a"),
              registry.delete("manifests/a"), registry.post(f"blobs/uploads/?mount={digest(b'layer')}")):
        assert r.status_code == 403 and error(r) == "DENIED"
        assert "read-only" in r.json()["errors"][0]["message"]
    assert registry.get("manifests/a").content == data


def test_max_blob(start):
    registry = Registry(start(hosted="max_blob = 100K").url)
    fits, too_big = os.urandom(100 << 10), os.urandom((100 << 10) + 1)
    registry.push_blob(fits)
    for body in (too_big, iter([too_big[:50_000], too_big[50_000:]])):  # announced, and found out while it comes
        url = registry.begin()
        r = registry.request("PATCH", url, data=body)
        assert r.status_code == 413 and error(r) == "SIZE_INVALID"
    url = registry.begin()
    r = registry.request("PATCH", url, data=fits)
    assert r.status_code == 202
    assert registry.finish(registry.absolute(r), digest(fits + b"x"), b"x").status_code == 413


UPLOADS = ["put", "put streamed", "patch", "patch streamed", "post"]


def upload(registry, data, way):
    """The last answer of an upload whose bytes come so."""
    method, *streamed = way.split()
    body = iter([data]) if streamed else data
    if method == "post":
        return registry.post(f"blobs/uploads/?digest={digest(data)}", data=body)
    if method == "put":
        return registry.finish(registry.begin(), digest(data), body)
    r = registry.request("PATCH", registry.begin(), data=body)
    return registry.finish(registry.absolute(r), digest(data))


def test_quota(start):
    daemon = start(top='blobstore main {{ path = "{dir}/store"\n quota = 1M }}\n')
    registry = Registry(daemon.url)
    first = registry.push_blob(os.urandom(700_000))
    for way in UPLOADS:
        data = os.urandom(400_000)
        r = upload(registry, data, way)
        assert r.status_code == 403 and error(r) == "DENIED" and "quota" in r.json()["errors"][0]["message"], way
        assert registry.get("blobs/" + digest(data)).status_code == 404
    r = registry.request("PATCH", registry.begin(), data=os.urandom(1_100_000))
    assert r.status_code == 403, "more than the whole quota fits whatever its digest is"
    assert registry.get(f"blobs/{first}").status_code == 200
    registry.push_image("small")
    mounted = registry.at("other/image").post(f"blobs/uploads/?mount={first}&from={registry.image}")
    assert mounted.status_code == 201, "shared bytes are counted once"


def test_at_full_quota_what_adds_no_byte_is_taken(start):
    """A roll-back must work on a full store, and so must a push of what is there already."""
    daemon = start(top='blobstore main {{ path = "{dir}/store"\n quota = 1M }}\n')
    registry = Registry(daemon.url)
    layer = os.urandom(1_000_000)
    old = registry.push_image("v", layers=(layer,))
    new = registry.push_image("v", layers=(layer,), annotations={"new": "x" * 40_000})
    daemon.conf.write_text(daemon.conf.read_text().replace("quota = 1M", "quota = 1000K"))
    daemon.reload()
    for data in (old, new):
        assert registry.put_manifest(data, "v").status_code == 201, "the tag moves"
        assert registry.get("manifests/v").content == data
    r = registry.put_manifest(registry.image_manifest(layers=(layer,), annotations={"n": "1"}), "v")
    assert r.status_code == 403 and error(r) == "DENIED" and "gc" in r.json()["errors"][0]["message"]
    other = registry.at("other/image")
    for way in UPLOADS:
        r = upload(other, layer, way)
        assert r.status_code == 201, (way, r.text)


def test_floor_of_free_disk(start):
    registry = Registry(start(top='blobstore main {{ path = "{dir}/store"\n keep_free = 1000T }}\n').url)
    r = registry.post("blobs/uploads/")
    assert r.status_code == 507 and error(r) == "UNAVAILABLE"
