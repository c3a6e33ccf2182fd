"""Remotes whose answers do not fit what was asked: refused, remembered, and never passed on."""
import os

import pytest

from harness.daemon import wait_for
from harness.proxy import kept, proxy, upstream  # noqa: F401
from harness.registry import digest

LAYER = os.urandom(400_000)


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_what_is_missing_is_remembered(proxy, upstream, method):
    """For missing_ttl nobody asks the remote for it again, whoever asks here."""
    client = proxy(upstream, missing="1h")
    path = "blobs/" + digest(LAYER)
    assert client.request(method, client.image_path(path)).status_code == 404
    upstream.blob("team/app", LAYER)
    before = len(upstream.log)
    assert client.request(method, client.image_path(path)).status_code == 404
    assert len(upstream.log) == before


def test_a_head_without_a_length(proxy, upstream):
    upstream.blob("team/app", LAYER)
    upstream.rule("HEAD", "/blobs/", chunked=True)
    reply = proxy(upstream).head("blobs/" + digest(LAYER))
    assert reply.status_code == 502 and "Docker-Content-Digest" not in reply.headers


def test_a_rest_of_another_length(proxy, upstream):
    """The download was cut off; what the remote says is the rest is another blob's. It is asked once more."""
    upstream.blob("team/app", LAYER)

    def another(handler):
        first = int(handler.headers["Range"].removeprefix("bytes=").rstrip("-"))
        body = bytes(500_000 - first)
        handler.send_response_only(206)
        handler.send_header("Content-Range", f"bytes {first}-499999/500000")
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    odd = upstream.rule("GET", "/blobs/", times=1, raw=another)
    upstream.rule("GET", "/blobs/", times=1, cut=200_000)
    reply = proxy(upstream).get("blobs/" + digest(LAYER))
    assert odd.used == 1 and reply.status_code == 200 and reply.content == LAYER


def test_a_manifest_by_digest_that_is_another(proxy, upstream):
    wanted = upstream.image("team/app")
    other = upstream.image("team/app", tag="other", layers=[b"another"])
    upstream.rule("GET", "/manifests/sha256:", status=200, body=other,
                  headers={"Content-Type": "application/vnd.oci.image.manifest.v1+json"})
    client = proxy(upstream)
    assert client.get("manifests/" + digest(wanted)).status_code == 502
    upstream.forget()
    wait_for(lambda: client.get("manifests/" + digest(wanted)).content == wanted, "the next good answer heals it")


def test_a_file_that_is_not_whole_is_linked_to_nobody(proxy, upstream):
    """Another image of the proxy has the blob: its bytes are taken from there only if they are all there."""
    for image in ("team/app", "team/sister"):
        upstream.image(image, layers=[LAYER])
    client = proxy(upstream, ttl="1h")
    sister, path = client.at("team/sister"), "blobs/" + digest(LAYER)
    assert client.get(path).content == LAYER
    kept(client.daemon, "up", 1)
    assert sister.get("manifests/latest").status_code == 200
    os.truncate(next(client.daemon.data_dir.rglob(f"blobs/sha256/*/{digest(LAYER)[7:]}")), len(LAYER) - 1)
    assert sister.get(path).content == LAYER
