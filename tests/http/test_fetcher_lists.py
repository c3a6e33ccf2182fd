"""Tags, catalog and referrers of a proxy's remote, merged with what is here."""
import json

from harness.proxy import proxy, upstream  # noqa: F401
from harness.registry import OCI_IMAGE, digest


def test_tags_of_all_pages(proxy, upstream):
    for i in range(10):
        upstream.image("team/app", f"v{i}")
    client = proxy(upstream)
    assert client.get("tags/list").json()["tags"] == [f"v{i}" for i in range(10)]
    asked = len(upstream.log)
    assert asked == 4
    client.get("tags/list")
    assert len(upstream.log) == asked  # kept for a while


def test_catalog(proxy, upstream):
    upstream.image("team/app")
    upstream.image("team/other")
    client = proxy(upstream)
    assert client.request("GET", "/v2/_catalog").json()["repositories"] == ["team/app", "team/other"]


def signature(subject, upstream):
    body = {"schemaVersion": 2, "mediaType": OCI_IMAGE, "artifactType": "application/x.sign",
            "config": {"mediaType": "application/vnd.oci.empty.v1+json", "digest": digest(b"{}"), "size": 2},
            "layers": [], "subject": {"mediaType": OCI_IMAGE, "digest": digest(subject), "size": len(subject)}}
    return json.dumps(body).encode()


def test_referrers_by_the_api_and_by_the_fallback_tag(proxy, upstream):
    subject = upstream.image("team/app")
    data = signature(subject, upstream)
    d = upstream.manifest("team/app", data)
    client = proxy(upstream)
    found = client.get("referrers/" + digest(subject)).json()["manifests"]
    assert [(x["digest"], x["artifactType"]) for x in found] == [(d, "application/x.sign")]
    upstream.referrers_api = False
    subject2 = upstream.image("team/app", "two", layers=[b"two"])
    data2 = signature(subject2, upstream)
    index = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": [
        {"mediaType": OCI_IMAGE, "digest": digest(data2), "size": len(data2), "artifactType": "application/x.sign"}]}
    upstream.manifest("team/app", json.dumps(index).encode(), digest(subject2).replace(":", "-"),
                      "application/vnd.oci.image.index.v1+json")
    found = client.get("referrers/" + digest(subject2)).json()["manifests"]
    assert [x["digest"] for x in found] == [digest(data2)]
    assert client.get("referrers/" + digest(b"nobody")).json()["manifests"] == []


def test_lists_that_are_no_json(proxy, upstream):
    upstream.image("team/app")
    client = proxy(upstream)
    upstream.rule("GET", "tags/list", status=200, body=b"<html>")
    assert client.get("tags/list").status_code == 502
