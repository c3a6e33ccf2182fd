"""Groups of hosted repositories: one address to pull from and push to. (Groups with proxies: test_proxy_groups.py.)"""
import json
import os
import subprocess

import pytest
import requests

from harness.daemon import ENTREPOTD, Daemon
from harness.registry import Registry, digest

CONF = """
blobstore main {{ path = "{dir}/data/blobs" }}
blobstore other {{ path = "{dir}/data/other" }}
hosted first {{ blobstore = main }}
hosted second {{ blobstore = main }}
hosted far {{ blobstore = other }}
hosted asleep {{ blobstore = main online = false }}
group inner {{ members = {{second, far}} }}
group all {{ members = {{first, inner, asleep}} push_to = first }}
group closed {{ members = {{first, second}} }}
connector "127.0.0.1:{port}" {{ }}
"""


@pytest.fixture(scope="module")
def daemon():
    d = Daemon(text=CONF).start()
    yield d
    d.close()


def at(daemon, repo, image):
    return Registry(f"{daemon.url}/repository/{repo}", image)


def image_into(registry, text, tag):
    """An image of one layer; its manifest's digest."""
    layer, config = text.encode() * 10, json.dumps({"layer": text}).encode()
    for blob in (layer, config):
        registry.push_blob(blob)
    body = json.dumps({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": digest(config), "size": len(config)},
        "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": digest(layer), "size": len(layer)}],
    }).encode()
    reply = registry.put_manifest(body, tag)
    assert reply.status_code == 201, reply.text
    return digest(body), layer, body


def test_a_tag_comes_from_the_first_member_that_has_it(daemon):
    one, _, _ = image_into(at(daemon, "first", "tags/a"), "one", "both")
    two, layer, _ = image_into(at(daemon, "second", "tags/a"), "two", "both")
    image_into(at(daemon, "second", "tags/a"), "two", "second-only")
    group = at(daemon, "all", "tags/a")
    assert group.get("manifests/both").headers["Docker-Content-Digest"] == one
    assert group.get("manifests/second-only").headers["Docker-Content-Digest"] == two
    assert group.get(f"manifests/{two}").status_code == 200  # by digest: from whoever has it
    assert group.get(f"blobs/{digest(layer)}").content == layer
    assert group.get("manifests/neither").status_code == 404


def test_lists_are_merged_sorted_and_paged(daemon):
    for repo, tags in (("first", ("b", "d")), ("second", ("a", "b")), ("far", ("c",))):
        for tag in tags:
            image_into(at(daemon, repo, "lists/x"), repo + tag, tag)
    base = f"{daemon.url}/repository/all/v2"
    assert requests.get(f"{base}/lists/x/tags/list").json()["tags"] == ["a", "b", "c", "d"]
    page = requests.get(f"{base}/lists/x/tags/list?n=3")
    assert page.json()["tags"] == ["a", "b", "c"]
    assert page.links["next"]["url"] == "/repository/all/v2/lists/x/tags/list?last=c&n=3"
    assert requests.get(daemon.url + page.links["next"]["url"]).json()["tags"] == ["d"]
    images = requests.get(f"{base}/_catalog").json()["repositories"]
    assert images == sorted(set(images)) and "lists/x" in images
    unknown = requests.get(f"{base}/no/such/tags/list")
    assert unknown.status_code == 404 and unknown.json()["errors"][0]["code"] == "NAME_UNKNOWN"


def test_referrers_are_united(daemon):
    subject = {"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": "sha256:" + "5" * 64, "size": 5}
    for repo, kind in (("first", "a/x"), ("far", "a/y"), ("second", "a/x")):
        registry = at(daemon, repo, "refs/r")
        registry.push_blob(b"{}")
        body = json.dumps({
            "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "artifactType": kind,
            "config": {"mediaType": "application/vnd.oci.empty.v1+json", "digest": digest(b"{}"), "size": 2},
            "layers": [], "subject": subject}).encode()
        assert registry.put_manifest(body).status_code == 201
    base = f"{daemon.url}/repository/all/v2/refs/r/referrers/{subject['digest']}"
    everything = requests.get(base).json()["manifests"]
    assert [m["artifactType"] for m in sorted(everything, key=lambda m: m["artifactType"])] == ["a/x", "a/y"]
    some = requests.get(base, params={"artifactType": "a/y"})
    assert [m["artifactType"] for m in some.json()["manifests"]] == ["a/y"]
    assert some.headers["OCI-Filters-Applied"] == "artifactType"
    assert requests.get(f"{daemon.url}/repository/all/v2/none/referrers/{subject['digest']}").json()["manifests"] == []


def test_a_push_lands_in_push_to_and_is_there_at_once(daemon):
    pushed, layer, body = image_into(at(daemon, "all", "team/app"), "pushed", "v1")
    assert at(daemon, "first", "team/app").get("manifests/v1").headers["Docker-Content-Digest"] == pushed
    assert at(daemon, "second", "team/app").get("manifests/v1").status_code == 404
    assert at(daemon, "all", "team/app").get("manifests/v1").content == body
    location = at(daemon, "all", "team/app").put_manifest(body, "v2").headers["Location"]
    assert location == f"/repository/all/v2/team/app/manifests/{pushed}"
    assert requests.get(daemon.url + location).content == body


def test_a_push_without_push_to_says_what_to_do(daemon):
    reply = requests.post(f"{daemon.url}/repository/closed/v2/team/app/blobs/uploads/")
    assert reply.status_code == 405
    error = reply.json()["errors"][0]
    assert error["code"] == "UNSUPPORTED" and "push_to" in error["message"]
    reply = at(daemon, "closed", "team/app").put_manifest(b"{}", "v1")
    assert reply.status_code == 405 and "push_to" in reply.json()["errors"][0]["message"]


def test_deletes_belong_to_the_hosted_repository(daemon):
    pushed, layer, _ = image_into(at(daemon, "all", "team/gone"), "gone", "v1")
    for path in ("manifests/v1", f"manifests/{pushed}", f"blobs/{digest(layer)}"):
        reply = requests.delete(f"{daemon.url}/repository/all/v2/team/gone/{path}")
        assert reply.status_code == 405 and reply.json()["errors"][0]["code"] == "UNSUPPORTED"
    assert at(daemon, "all", "team/gone").get("manifests/v1").status_code == 200
    requests.delete(f"{daemon.url}/repository/first/v2/team/gone/manifests/{pushed}")
    assert at(daemon, "all", "team/gone").get("manifests/v1").status_code == 404


def test_what_another_member_has_need_not_be_uploaded(daemon):
    """HEAD says that it is here; the manifest that relies on it is taken."""
    image, layer, body = image_into(at(daemon, "second", "shared/app"), "shared", "v1")
    group = at(daemon, "all", "shared/app")
    assert group.head(f"blobs/{digest(layer)}").status_code == 200
    assert at(daemon, "first", "shared/app").get(f"blobs/{digest(layer)}").status_code == 404
    assert group.put_manifest(body, "mine").status_code == 201
    assert at(daemon, "first", "shared/app").get(f"blobs/{digest(layer)}").content == layer


def test_head_does_not_promise_what_cannot_be_linked(daemon):
    """Another store: the client must upload it, so it is told so; a GET serves it all the same."""
    _, layer, body = image_into(at(daemon, "far", "shared/far"), "faraway", "v1")
    group = at(daemon, "all", "shared/far")
    assert group.head(f"blobs/{digest(layer)}").status_code == 404
    assert group.get(f"blobs/{digest(layer)}").content == layer
    reply = group.put_manifest(body, "mine")
    assert reply.status_code == 400
    assert {e["code"] for e in reply.json()["errors"]} == {"MANIFEST_BLOB_UNKNOWN"}


def test_mounts_within_the_group(daemon):
    _, layer, _ = image_into(at(daemon, "second", "mount/source"), "mounted", "v1")
    base = f"{daemon.url}/repository/all/v2/mount/target/blobs/uploads/"
    reply = requests.post(base, params={"mount": digest(layer), "from": "mount/source"})
    assert reply.status_code == 201 and reply.headers["Location"].endswith(f"/mount/target/blobs/{digest(layer)}")
    assert at(daemon, "first", "mount/target").get(f"blobs/{digest(layer)}").content == layer
    reply = requests.post(base, params={"mount": digest(b"nowhere"), "from": "mount/source"})
    assert reply.status_code == 202


@pytest.mark.parametrize("text,told", [
    ("group a {{ members = {{b}} }}\ngroup b {{ members = {{a}} }}\n", "group a leads back to itself"),
    ("group a {{ members = {{a}} }}\n", "group a leads back to itself"),
    ("group a {{ members = {{first}} push_to = b }}\ngroup b {{ members = {{first}} }}\n", "push_to: b is not a hosted"),
    ("".join(f"group g{i} {{{{ members = {{{{g{(i + 1) % 12}}}}} }}}}\n" for i in range(12)), "leads back to itself"),
    ("group a {{ }}\n", "group a needs members"),
    ("group first {{ members = {{second}} }}\n", "another repository has this name"),
])
def test_mistakes_in_groups(start, text, told):
    daemon = start(run=False, text='hosted first {{ }}\nhosted second {{ }}\n' + text + 'connector "127.0.0.1:{port}" {{ }}\n')
    done = subprocess.run([ENTREPOTD, "-t", "-c", str(daemon.conf)], stderr=subprocess.PIPE, text=True)
    assert done.returncode == os.EX_CONFIG and told in done.stderr


POLICIES = """
hosted strict {{ redeploy = "deny" }}
hosted open {{ }}
hosted asleep {{ online = false }}
group all {{ members = {{strict, open}} push_to = strict }}
group dead {{ members = {{open, asleep}} push_to = asleep }}
connector "127.0.0.1:{port}" {{ }}
"""


def test_redeploy_policy_through_a_group(start):
    daemon = start(text=POLICIES)
    group = at(daemon, "all", "team/app")
    first = group.push_image("v1", layers=(b"first",))
    assert group.put_manifest(first, "v1").status_code == 201  # the same again
    other = group.image_manifest(layers=(b"second",))
    reply = group.put_manifest(other, "v1")
    assert reply.status_code == 403
    message = reply.json()["errors"][0]
    assert message["code"] == "DENIED" and "strict" in message["message"] and "v1" in message["message"]
    assert group.get("manifests/v1").content == first


def test_an_offline_push_to_says_so(start):
    daemon = start(text=POLICIES)
    body = at(daemon, "open", "team/app").push_image("v1")
    assert at(daemon, "dead", "team/app").get("manifests/v1").content == body
    reply = at(daemon, "dead", "team/app").post("blobs/uploads/")
    assert reply.status_code == 503
    assert "asleep" in reply.json()["errors"][0]["message"]
    assert reply.headers["Retry-After"]
