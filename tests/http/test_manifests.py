"""Manifests and tags (doc/protocol.md, "Pushing manifests", "Pulling manifests")."""
import json

import pytest

from harness.registry import (DOCKER_IMAGE, DOCKER_LIST, OCI_CONFIG, OCI_IMAGE, OCI_INDEX, OCI_LAYER, Registry, digest,
                              error)

FOREIGN = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"
NONDIST = "application/vnd.oci.image.layer.nondistributable.v1.tar"


def invalid(r, code="MANIFEST_INVALID"):
    assert r.status_code == 400 and error(r) == code, r.text


def test_put_and_get_verbatim(registry):
    data = registry.image_manifest().replace(b", ", b" ,\n\t")  # formatting no serialiser would make
    r = registry.put_manifest(data, "v1")
    assert r.status_code == 201 and r.headers["Docker-Content-Digest"] == digest(data)
    assert r.headers["Location"] == f"/v2/{registry.image}/manifests/{digest(data)}"
    assert "OCI-Subject" not in r.headers and "OCI-Tag" not in r.headers
    for ref, cache in (("v1", "no-cache"), (digest(data), "max-age=31536000, immutable")):
        got, head = registry.get(f"manifests/{ref}"), registry.head(f"manifests/{ref}")
        assert got.content == data and head.content == b""
        for r in (got, head):
            assert r.status_code == 200 and r.headers["Content-Type"] == OCI_IMAGE
            assert r.headers["Content-Length"] == str(len(data))
            assert r.headers["Docker-Content-Digest"] == digest(data)
            assert r.headers["ETag"] == f'"{digest(data)}"' and r.headers["Cache-Control"] == cache
    assert registry.get("manifests/v1", headers={"If-None-Match": f'"{digest(data)}"'}).status_code == 304


def test_accept_chooses_nothing(registry):
    data = registry.push_image("v1")
    for accept in ("application/vnd.docker.distribution.manifest.v1+json", DOCKER_IMAGE, "text/html", "*/*"):
        r = registry.get("manifests/v1", headers={"Accept": accept})
        assert r.content == data and r.headers["Content-Type"] == OCI_IMAGE


@pytest.mark.parametrize("image_type,index_type", [(OCI_IMAGE, OCI_INDEX), (DOCKER_IMAGE, DOCKER_LIST)])
def test_image_and_index(registry, image_type, index_type):
    image = registry.image_manifest(mediaType=image_type)
    assert registry.put_manifest(image, media_type=image_type).status_code == 201
    child = {"mediaType": image_type, "digest": digest(image), "size": len(image),
             "platform": {"os": "linux", "architecture": "amd64"}}
    index = json.dumps({"schemaVersion": 2, "mediaType": index_type, "manifests": [child]}).encode()
    assert registry.put_manifest(index, "multi", media_type=index_type).status_code == 201
    r = registry.get("manifests/multi")
    assert r.content == index and r.headers["Content-Type"] == index_type
    nested = json.dumps({"schemaVersion": 2, "manifests": [
        {"mediaType": index_type, "digest": digest(index), "size": len(index)}]}).encode()
    assert registry.put_manifest(nested, "nested", media_type=OCI_INDEX).status_code == 201


def test_media_type_parameters_are_dropped(registry):
    data = registry.image_manifest()
    assert registry.put_manifest(data, "v1", media_type=OCI_IMAGE + "; charset=utf-8").status_code == 201
    assert registry.get("manifests/v1").headers["Content-Type"] == OCI_IMAGE


def test_types_from_request_and_body(registry):
    with_type, without = registry.image_manifest(), registry.image_manifest(mediaType="")
    assert registry.put_manifest(with_type, "a", media_type=None).status_code == 201
    assert registry.get("manifests/a").headers["Content-Type"] == OCI_IMAGE
    assert registry.put_manifest(without, "b").status_code == 201
    invalid(registry.put_manifest(without, "c", media_type=None))
    invalid(registry.put_manifest(with_type, "d", media_type=DOCKER_IMAGE))
    invalid(registry.put_manifest(with_type, "e", media_type="application/json"))
    invalid(registry.put_manifest(b'{"schemaVersion":1,"fsLayers":[]}', "f",
                                  media_type="application/vnd.docker.distribution.manifest.v1+prettyjws"))


@pytest.mark.parametrize("change", [
    {"schemaVersion": 1}, {"schemaVersion": "2"}, {"schemaVersion": 2.5}, {"schemaVersion": None}, {"config": None},
    {"config": []}, {"layers": {}}, {"layers": [None]}, {"layers": [1]}, {"layers": [{"digest": "x", "size": 1}]},
    {"layers": [{"digest": digest(b""), "size": -1}]}, {"layers": [{"digest": digest(b"")}]},
    {"layers": [{"digest": digest(b""), "size": "1"}]}, {"layers": [{"digest": digest(b""), "size": 1e30}]},
    {"manifests": []}, {"mediaType": 5}, {"mediaType": "nonsense"}, {"annotations": []}, {"annotations": {"a": 1}},
    {"subject": {}}, {"subject": []}, {"artifactType": "no slash"},
    {"layers": [{"mediaType": OCI_LAYER, "digest": "sha256:../../../../etc/passwd", "size": 1}]}])
def test_malformed(registry, change):
    body = json.loads(registry.image_manifest())
    body.update(change)
    invalid(registry.put_manifest(json.dumps(body).encode(), "x"))
    assert registry.get("manifests/x").status_code == 404


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"null", b"{}x", b'{"schemaVersion":2,}', b"\xff\xfe", b"\x00",
                                  b"[" * 100_000, b'{"a":' * 100_000, b'"' + b"a" * 1000,
                                  b'{"schemaVersion":2,"a":"\\u0000"}'])
def test_not_json(registry, data):
    invalid(registry.put_manifest(data, "x"))


@pytest.mark.parametrize("key", ["mediaType", "config", "layers", "manifests", "subject", "schemaVersion"])
def test_doubled_keys(registry, key):
    body = json.loads(registry.image_manifest())
    body.setdefault("subject", body["config"])
    text = json.dumps(body)
    twice = text[:-1] + f', "{key}": {json.dumps(body.get(key, []))}, "{key}": {json.dumps(body.get(key, []))}}}'
    invalid(registry.put_manifest(twice.encode(), "x"))


@pytest.mark.parametrize("absent", ["null", "left out"])
def test_null_is_absent(registry, absent):
    """As encoders of Go write lists and maps that were never made."""
    nothing = dict.fromkeys(("subject", "annotations", "artifactType", "manifests"))
    for body, kind in ((json.loads(registry.image_manifest(layers=(), layer=absent)) | nothing | {"layers": None}, OCI_IMAGE),
                       ({"schemaVersion": 2, "manifests": None, "config": None, "layers": None, "n": absent}, OCI_INDEX)):
        if absent != "null":
            body = {k: v for k, v in body.items() if v is not None}
        data = json.dumps(body).encode()
        r = registry.put_manifest(data, "v", media_type=kind)
        assert r.status_code == 201, r.text
        got = registry.get("manifests/v")
        assert got.content == data and got.headers["Content-Type"] == kind


def test_sizes_must_be_true(registry):
    body = json.loads(registry.image_manifest(layers=(b"layer", b"other layer")))
    for path, there in (("config", 2), ("layers", 5)):
        bad = json.loads(json.dumps(body))
        said = bad[path][0] if path == "layers" else bad[path]
        said["size"] += 50_000
        r = registry.put_manifest(json.dumps(bad).encode(), "v")
        assert r.status_code == 400 and error(r) == "SIZE_INVALID", r.text
        (told,) = r.json()["errors"]
        assert told["detail"] == said["digest"]
        assert str(said["size"]) in told["message"] and str(there) in told["message"].split(",")[1]
    image = json.dumps(body).encode()
    assert registry.put_manifest(image, "v").status_code == 201
    for child, size, status in ((image, len(image), 201), (image, len(image) + 1, 400), (b"layer", 5, 201), (b"layer", 4, 400)):
        index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [
            {"mediaType": OCI_IMAGE, "digest": digest(child), "size": size}]}
        r = registry.put_manifest(json.dumps(index).encode(), "index", media_type=OCI_INDEX)
        assert r.status_code == status, r.text
    # What lies elsewhere need not be here, but what is here must be what it says.
    elsewhere = {**body["layers"][0], "mediaType": NONDIST, "size": 7}
    for layer, status in ((elsewhere, 400), ({**elsewhere, "size": 5}, 201), ({**elsewhere, "digest": digest(b"?")}, 201)):
        r = registry.put_manifest(json.dumps({**body, "layers": [layer]}).encode(), "e")
        assert r.status_code == status, r.text


def test_what_is_not_there_names_the_key_that_allows_it(registry):
    index = {"schemaVersion": 2, "manifests": [{"mediaType": OCI_IMAGE, "digest": digest(b"absent"), "size": 6}]}
    r = registry.put_manifest(json.dumps(index).encode(), "index", media_type=OCI_INDEX)
    assert r.status_code == 400 and error(r) == "MANIFEST_BLOB_UNKNOWN"
    assert r.json()["errors"][0]["detail"] == digest(b"absent")
    assert "index_children = lax" in r.json()["errors"][0]["message"]
    image = registry.image_manifest(config=b"not pushed", push=False)
    assert "index_children" not in registry.put_manifest(image, "v").text


def test_what_is_held_keeps_its_type(registry):
    """Also under a tag that may move: whoever pulls the digest relies on it."""
    data = registry.image_manifest(mediaType="")
    assert registry.put_manifest(data, "oci").status_code == 201
    for ref in ("oci", "other", digest(data)):
        r = registry.put_manifest(data, ref, media_type=DOCKER_IMAGE)
        assert r.status_code == 400 and error(r) == "MANIFEST_INVALID" and OCI_IMAGE in r.text
    assert registry.put_manifest(data, "again").status_code == 201
    for ref in ("oci", "again", digest(data)):
        assert registry.get(f"manifests/{ref}").headers["Content-Type"] == OCI_IMAGE
    assert registry.head("manifests/other").status_code == 404
    other = registry.at(registry.image + "/elsewhere")
    other.image_manifest()
    assert other.put_manifest(data, "docker", media_type=DOCKER_IMAGE).status_code == 201
    assert other.get("manifests/docker").headers["Content-Type"] == DOCKER_IMAGE
    assert registry.delete("manifests/" + digest(data)).status_code == 202
    assert registry.put_manifest(data, "docker", media_type=DOCKER_IMAGE).status_code == 201
    assert registry.get("manifests/docker").headers["Content-Type"] == DOCKER_IMAGE


@pytest.mark.parametrize("media_type", ["text/plain; charset=utf-8", "application/vnd.x+json;version=1.5"])
def test_descriptors_may_have_parameters(registry, media_type):
    body = json.loads(registry.image_manifest())
    body["config"]["mediaType"] = body["layers"][0]["mediaType"] = body["artifactType"] = media_type
    data = json.dumps(body).encode()
    assert registry.put_manifest(data, "v").status_code == 201
    assert registry.get("manifests/v").json() == body


def test_an_image_is_not_an_index(registry):
    body = json.loads(registry.image_manifest())
    body["manifests"] = []
    for media_type in (OCI_IMAGE, OCI_INDEX):
        body["mediaType"] = media_type
        invalid(registry.put_manifest(json.dumps(body).encode(), "x", media_type=media_type))


def test_unknown_fields_and_inline_data_are_legal(registry):
    body = json.loads(registry.image_manifest())
    body["config"]["data"] = "e30="
    body["com.example.custom"] = {"deep": [1, 2, {"x": None}]}
    body["annotations"] = {"org.example": "w\u00f6rld"}
    assert registry.put_manifest(json.dumps(body).encode(), "x").status_code == 201


def test_no_layers_and_empty_index(registry):
    assert registry.put_manifest(registry.image_manifest(layers=()), "none").status_code == 201
    empty = json.dumps({"schemaVersion": 2, "manifests": []}).encode()
    assert registry.put_manifest(empty, "empty", media_type=OCI_INDEX).status_code == 201


def test_missing_content_is_named(registry):
    data = registry.image_manifest(config=b"absent config", layers=(b"absent 1", b"absent 2"), push=False)
    registry.push_blob(b"absent 2")
    r = registry.put_manifest(data, "x")
    assert r.status_code == 400 and error(r) == "MANIFEST_BLOB_UNKNOWN"
    assert [e["detail"] for e in r.json()["errors"]] == [digest(b"absent config"), digest(b"absent 1")]
    assert registry.get("manifests/x").status_code == 404


def test_content_of_another_image_does_not_count(registry):
    other = registry.at(registry.image + "/other")
    data = other.image_manifest(config=b"c-elsewhere", layers=(b"l-elsewhere",))
    assert error(registry.put_manifest(data, "x")) == "MANIFEST_BLOB_UNKNOWN"


@pytest.mark.parametrize("layer", [
    {"mediaType": FOREIGN, "urls": ["https://example.com/x"]}, {"mediaType": FOREIGN}, {"mediaType": NONDIST},
    {"mediaType": OCI_LAYER, "urls": ["https://example.com/x"]}])
def test_layers_kept_elsewhere_need_not_be_here(registry, layer):
    body = json.loads(registry.image_manifest())
    body["layers"].append(dict(layer, digest=digest(b"far away"), size=8))
    assert registry.put_manifest(json.dumps(body).encode(), "x").status_code == 201


def index_of(d, size):
    return json.dumps({"schemaVersion": 2, "manifests": [{"mediaType": OCI_IMAGE, "digest": d, "size": size}]}).encode()


def test_index_children_strict(registry):
    r = registry.put_manifest(index_of(digest(b"nowhere"), 7), "x", media_type=OCI_INDEX)
    assert r.status_code == 400 and error(r) == "MANIFEST_BLOB_UNKNOWN"
    layer = b"a layer as child, as build caches have it"
    assert registry.put_manifest(index_of(registry.push_blob(layer), len(layer)), "x", media_type=OCI_INDEX).status_code == 201


def test_index_children_lax(start):
    registry = Registry(start(hosted='index_children = "lax"').url)
    assert registry.put_manifest(index_of(digest(b"nowhere"), 7), "x", media_type=OCI_INDEX).status_code == 201


def test_digest_in_the_path(registry):
    data = registry.image_manifest()
    assert registry.put_manifest(data).status_code == 201
    invalid(registry.put_manifest(data + b" "[:0], digest(b"other")), "DIGEST_INVALID")
    for bad in ("sha256:baddigeststring", "sha256:" + "A" * 64, "md5:" + "0" * 32):
        invalid(registry.put_manifest(data, bad), "DIGEST_INVALID")
        assert registry.get("manifests/" + bad).status_code in (400, 404)
        assert registry.head("manifests/" + bad).status_code in (400, 404)


@pytest.mark.parametrize("tag", [".hidden", "-x", "a" * 129, "sp%20ace", "ta%C3%A4g", "a+b"])
def test_bad_tags(registry, tag):
    data = registry.image_manifest()
    r = registry.put(f"manifests/{tag}", data=data, headers={"Content-Type": OCI_IMAGE})
    assert r.status_code == 400 and error(r) == "TAG_INVALID"
    assert registry.get(f"manifests/{tag}").status_code == 400


def test_longest_names(registry):
    at = registry.at("/".join(["a" * 50] * 5)[:255])
    data = at.push_image("T" + "a" * 127)
    assert at.get("manifests/T" + "a" * 127).content == data


def test_tags_move(registry):
    first, second = registry.push_image("latest"), registry.push_image("latest", config=b'{"x":1}')
    assert registry.get("manifests/latest").content == second
    assert registry.get("manifests/" + digest(first)).content == first


def test_tag_parameters(registry):
    data = registry.image_manifest()
    tags = [f"t{i}" for i in range(12)]
    query = "?" + "&".join(f"tag={t}" for t in tags + ["t0", "t1"])
    r = registry.put_manifest(data, query=query)
    assert r.status_code == 201
    assert [t.strip() for t in r.headers["OCI-Tag"].split(",")] == tags
    assert all(registry.get(f"manifests/{t}").content == data for t in tags)


def test_bad_tag_parameters(registry):
    data = registry.image_manifest()
    assert error(registry.put_manifest(data, query="?tag=ok&tag=.no")) == "TAG_INVALID"
    assert registry.put_manifest(data, "a", query="?tag=b").status_code == 400
    r = registry.put_manifest(data, query="?" + "&".join(f"tag=t{i}" for i in range(33)))
    assert r.status_code == 414
    assert registry.get("manifests/" + digest(data)).status_code == 404


def test_sha512_and_what_a_tag_remembers(registry):
    data = registry.image_manifest()
    long = digest(data, "sha512")
    r = registry.put_manifest(data, long, query="?tag=long")
    assert r.status_code == 201 and r.headers["Docker-Content-Digest"] == long
    for ref in (long, "long"):
        r = registry.get(f"manifests/{ref}")
        assert r.content == data and r.headers["Docker-Content-Digest"] == long
    invalid(registry.put_manifest(data + b"\n", long), "DIGEST_INVALID")


def test_oci_subject(registry):
    subject = {"mediaType": OCI_IMAGE, "digest": digest(b"not here yet"), "size": 12}
    data = registry.image_manifest(subject=subject)
    for _ in range(2):
        r = registry.put_manifest(data, "x")
        assert r.status_code == 201 and r.headers["OCI-Subject"] == subject["digest"]
    index = json.dumps({"schemaVersion": 2, "manifests": [], "subject": subject}).encode()
    assert registry.put_manifest(index, media_type=OCI_INDEX).headers["OCI-Subject"] == subject["digest"]


def test_size_limit(registry):
    base = registry.image_manifest(annotations={"pad": ""})
    fits = base.replace(b'"pad": ""', b'"pad": "' + b"x" * (3_910_000 - len(base)) + b'"')
    assert registry.put_manifest(fits, "big").status_code == 201
    assert registry.get("manifests/big").content == fits
    too_big = fits + b" " * 300_000
    for body in (too_big, iter([too_big])):  # announced, and chunked
        r = registry.put("manifests/bigger", data=body, headers={"Content-Type": OCI_IMAGE})
        assert r.status_code == 413 and error(r) == "SIZE_INVALID"


def test_many_layers(registry):
    config, layer = registry.descriptor(b"{}", OCI_CONFIG), registry.descriptor(b"one layer, often")
    body = {"schemaVersion": 2, "mediaType": OCI_IMAGE, "config": config, "layers": [layer] * 20_000}
    data = json.dumps(body).encode()
    assert registry.put_manifest(data, "many").status_code == 201
    assert registry.get("manifests/many").content == data
    assert registry.delete("manifests/" + digest(data)).status_code == 202


def test_conditions(registry):
    first, second = registry.image_manifest(), registry.image_manifest(config=b'{"y":1}')
    assert registry.put_manifest(first, "c", If_None_Match="*").status_code == 201
    assert registry.put_manifest(second, "c", If_None_Match="*").status_code == 412
    assert registry.put_manifest(second, "c", If_Match=f'"{digest(b"x")}"').status_code == 412
    assert registry.get("manifests/c").content == first
    assert registry.put_manifest(second, "c", If_Match=f'"{digest(first)}"').status_code == 201
    assert registry.get("manifests/c").content == second


def test_unknown_manifest(registry):
    for ref in ("absent", "sha256:" + "0" * 64):
        r = registry.get(f"manifests/{ref}")
        assert r.status_code == 404 and error(r) == "MANIFEST_UNKNOWN"
        assert registry.head(f"manifests/{ref}").status_code == 404


def test_body_on_get_is_ignored(registry):
    data = registry.push_image("v1")
    for _ in range(3):
        assert registry.request("GET", registry.image_path("manifests/v1"), data=b"unasked" * 100).content == data
