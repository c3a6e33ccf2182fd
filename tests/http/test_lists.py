"""Tags, catalog, referrers (doc/protocol.md, "Lists", "Referrers")."""
import json
import random

import pytest

from harness.registry import OCI_IMAGE, OCI_INDEX, Registry, digest, error


def follow(registry, path):
    """All pages, by Link alone."""
    pages = []
    while path:
        r = registry.request("GET", path)
        assert r.status_code == 200, r.text
        pages.append(r.json())
        link = r.headers.get("Link")
        assert link is None or link.endswith('>; rel="next"')
        path = link.split(";")[0].strip("<>") if link else None
    return pages


TAGS = ["latest", "1.0", "1.0.1", "V2", "_x", "a", "a-b", "a.b", "a_b", "aa", "Z", "0"]


@pytest.fixture
def tagged(registry):
    data = registry.image_manifest()
    shuffled = random.sample(TAGS, len(TAGS))
    assert registry.put_manifest(data, query="?" + "&".join("tag=" + t for t in shuffled)).status_code == 201
    return registry


def test_tags_in_byte_order(tagged):
    r = tagged.get("tags/list")
    assert r.json() == {"name": tagged.image, "tags": sorted(TAGS)} and "Link" not in r.headers
    assert r.headers["Content-Type"] == "application/json"


@pytest.mark.parametrize("n", [1, 2, 5, 11, 12, 13, 1000, 5000, 10 ** 30])
def test_tag_pages(tagged, n):
    pages = follow(tagged, tagged.image_path(f"tags/list?n={n}"))
    assert sum((p["tags"] for p in pages), []) == sorted(TAGS)
    assert all(len(p["tags"]) == n for p in pages[:-1])


def test_n_and_last(tagged):
    ordered = sorted(TAGS)
    assert tagged.get("tags/list?n=3&last=" + ordered[4]).json()["tags"] == ordered[5:8]
    assert tagged.get("tags/list?last=a-").json()["tags"] == [t for t in ordered if t > "a-"]  # need not exist
    assert tagged.get("tags/list?last=zzz").json()["tags"] == []
    r = tagged.get("tags/list?n=0")
    assert r.json()["tags"] == [] and "Link" not in r.headers


@pytest.mark.parametrize("n", ["x", "-1", "1x", "", "0x10", "1.5"])
def test_bad_n(tagged, n):
    r = tagged.get(f"tags/list?n={n}")
    assert r.status_code == 400 and error(r) == "PAGINATION_NUMBER_INVALID"
    assert tagged.request("GET", f"/v2/_catalog?n={n}").status_code == 400


def test_pages_are_clamped(registry):
    data = registry.image_manifest()
    tags = [f"t{i:05}" for i in range(1100)]
    for i in range(0, len(tags), 32):
        query = "?" + "&".join("tag=" + t for t in tags[i:i + 32])
        assert registry.put_manifest(data, query=query).status_code == 201
    pages = follow(registry, registry.image_path("tags/list?n=100000"))
    assert [len(p["tags"]) for p in pages] == [1000, 100]
    assert registry.get("tags/list").json()["tags"] == tags


def test_unknown_image_and_image_without_tags(registry):
    r = registry.get("tags/list")
    assert r.status_code == 404 and error(r) == "NAME_UNKNOWN"
    registry.push_blob(b"x")
    assert registry.get("tags/list").json() == {"name": registry.image, "tags": []}


def test_catalog_of_one_repository(start):
    registry = Registry(start().url)
    assert registry.request("GET", "/v2/_catalog").json() == {"repositories": []}
    images = ["b", "a/x", "a-b/y", "a", "a/x/y", "c"]
    for image in images:
        registry.at(image).push_blob(b"x")
    assert registry.request("GET", "/v2/_catalog").json() == {"repositories": sorted(images)}
    pages = follow(registry, "/v2/_catalog?n=2")
    assert [p["repositories"] for p in pages] == [sorted(images)[i:i + 2] for i in (0, 2, 4)]
    assert registry.request("GET", "/v2/_catalog?last=a/x").json()["repositories"] == ["a/x/y", "b", "c"]


def test_catalog_of_all_repositories(start):
    daemon = start(text='hosted a {{ }}\nhosted a-b {{ }}\nhosted off {{ }}\nconnector "127.0.0.1:{port}" {{ }}\n')
    registry = Registry(daemon.url)
    names = ["a/z", "a/x", "a-b/y", "a-b/a"]
    for name in [*names, "off/x"]:
        registry.at(name).push_blob(b"x")
    assert "off/x" in registry.request("GET", "/v2/_catalog").json()["repositories"]
    daemon.conf.write_text(daemon.conf.read_text().replace("hosted off {", "hosted off { online = false"))
    daemon.reload()
    assert registry.request("GET", "/v2/_catalog").json() == {"repositories": sorted(names)}
    assert sum((p["repositories"] for p in follow(registry, "/v2/_catalog?n=1")), []) == sorted(names)


def attach(registry, subject, artifact_type, n=0, index=False, **more):
    described = {"mediaType": OCI_IMAGE, "digest": subject, "size": 2}
    if index:
        body = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [], "subject": described, **more}
        if artifact_type:
            body["artifactType"] = artifact_type
        data = json.dumps(body).encode()
    else:
        data = registry.image_manifest(subject=described, artifactType=artifact_type or "", **more)
    r = registry.put_manifest(data, media_type=OCI_INDEX if index else OCI_IMAGE)
    assert r.status_code == 201, r.text
    return digest(data)


def test_no_referrers_is_an_empty_index(registry):
    r = registry.get("referrers/" + digest(b"anything"))
    assert r.status_code == 200 and r.headers["Content-Type"] == OCI_INDEX
    assert r.json() == {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": []}
    assert "OCI-Filters-Applied" not in r.headers
    r = registry.get("referrers/sha256:bad")
    assert r.status_code == 400 and error(r) == "DIGEST_INVALID"


def test_referrers(registry):
    subject = digest(b"the subject need not exist")
    sbom = attach(registry, subject, "application/vnd.example.sbom", annotations={"a.b": 'q"uote', "\u00fc": "\u20ac"})
    sig = attach(registry, subject, "application/vnd.example.sig")
    by_config = attach(registry, subject, None)
    index = attach(registry, subject, "application/vnd.example.sbom", index=True)
    plain = attach(registry, subject, None, index=True)
    attach(registry, digest(b"someone else"), "application/vnd.example.sbom")
    entries = {m["digest"]: m for m in registry.get("referrers/" + subject).json()["manifests"]}
    assert set(entries) == {sbom, sig, by_config, index, plain}
    assert entries[sbom]["artifactType"] == "application/vnd.example.sbom"
    assert entries[sbom]["annotations"] == {"a.b": 'q"uote', "\u00fc": "\u20ac"}
    assert entries[sbom]["mediaType"] == OCI_IMAGE and entries[index]["mediaType"] == OCI_INDEX
    assert entries[sbom]["size"] == len(registry.get("manifests/" + sbom).content)
    assert entries[by_config]["artifactType"] == "application/vnd.oci.image.config.v1+json"
    assert "artifactType" not in entries[plain] and "annotations" not in entries[sig]

    def filtered(*types):
        r = registry.get(f"referrers/{subject}?" + "&".join("artifactType=" + t for t in types))
        assert [x.strip() for x in r.headers["OCI-Filters-Applied"].split(",")] == ["artifactType"]
        return {m["digest"] for m in r.json()["manifests"]}

    assert filtered("application/vnd.example.sbom") == {sbom, index}
    assert filtered("application/vnd.example.sbom", "application/vnd.example.sig") == {sbom, index, sig}
    assert filtered("application/vnd.example.none") == set()
    assert filtered("nope") == filtered("no%20type") == filtered("%22%3C%3E") == set()


def test_referrers_by_types_as_clients_write_them(registry):
    subject = digest(b"any")
    types = ["application/spdx+json", "text/plain; charset=utf-8", "application/vnd.a+b;version=1.5"]
    made = [attach(registry, subject, kind) for kind in types]
    entries = {m["digest"]: m["artifactType"] for m in registry.get("referrers/" + subject).json()["manifests"]}
    assert entries == dict(zip(made, types))
    for written, expected in [("application/spdx+json", made[0]), ("application/spdx%2Bjson", made[0]),
                              ("application/spdx%20json", made[0]), ("text/plain;%20charset=utf-8", made[1]),
                              ("text/plain;+charset=utf-8", made[1]), ("application/vnd.a+b;version=1.5", made[2])]:
        r = registry.get(f"referrers/{subject}?artifactType={written}")
        assert [m["digest"] for m in r.json()["manifests"]] == [expected], written
    r = registry.get(f"referrers/{subject}?artifactType=" + "a" * 256)
    assert r.status_code == 400 and "255 bytes" in r.text


def test_referrers_come_and_go(registry):
    subject = registry.image_manifest(config=b'{"s":1}')
    referrer = attach(registry, digest(subject), "a/b")
    assert registry.put_manifest(subject).status_code == 201
    assert registry.delete("manifests/" + digest(subject)).status_code == 202
    assert len(registry.get("referrers/" + digest(subject)).json()["manifests"]) == 1
    assert registry.delete("manifests/" + referrer).status_code == 202
    assert registry.get("referrers/" + digest(subject)).json()["manifests"] == []


def test_referrer_pages(registry):
    subject = digest(b"popular")
    all_of_them = {attach(registry, subject, "a/b", annotations={"n": str(i)}) for i in range(7)}
    for query in ("?n=3", "?n=3&artifactType=a%2Fb"):
        pages = follow(registry, registry.image_path(f"referrers/{subject}{query}"))
        assert [len(p["manifests"]) for p in pages] == [3, 3, 1]
        assert {m["digest"] for p in pages for m in p["manifests"]} == all_of_them


def test_fallback_tag_is_an_ordinary_tag(registry):
    tag = "sha256-" + "0" * 64
    data = json.dumps({"schemaVersion": 2, "manifests": []}).encode()
    assert registry.put_manifest(data, tag, media_type=OCI_INDEX).status_code == 201
    assert registry.get(f"manifests/{tag}").content == data


def test_lists_wrong_method(registry):
    for path in ("tags/list", "referrers/" + digest(b"")):
        r = registry.delete(path)
        assert r.status_code == 405 and r.headers["Allow"] == "GET, HEAD"
