"""Ranges of blobs that are not here yet: what may be said of bytes that nobody has verified."""
import os

import requests

from harness.daemon import wait_for
from harness.proxy import proxy, upstream  # noqa: F401
from harness.registry import digest

MIB = 1 << 20
LAYER = os.urandom(12 * MIB)
PROMISES = ("Docker-Content-Digest", "ETag")


def at(first, last):
    return {"Range": f"bytes={first}-{last}"}


def test_a_far_range_comes_at_once_and_promises_nothing(proxy, upstream):
    """The whole stalls at its beginning; a range far ahead is fetched alone."""
    upstream.blob("team/app", LAYER)
    rule = upstream.rule("GET", "/blobs/", times=1, stall=1000)
    client = proxy(upstream, stall="30s")
    far = client.get("blobs/" + digest(LAYER), headers=at(10 * MIB, 10 * MIB + 999))
    assert far.status_code == 206 and far.content == LAYER[10 * MIB:10 * MIB + 1000]
    assert far.headers["Content-Range"] == f"bytes {10 * MIB}-{10 * MIB + 999}/{len(LAYER)}"
    assert not [h for h in PROMISES if h in far.headers] and far.headers["Cache-Control"] == "no-store"
    rule.go.set()
    wait_for(lambda: client.head("blobs/" + digest(LAYER)).headers.get("Cache-Control") != "no-store"
             and client.daemon.log_text().count("a download failed") == 0, "the whole comes")
    whole = client.get("blobs/" + digest(LAYER))
    assert whole.content == LAYER
    kept = client.get("blobs/" + digest(LAYER), headers=at(10 * MIB, 10 * MIB + 999))
    assert kept.headers["Docker-Content-Digest"] == digest(LAYER) and kept.headers["ETag"] == f'"{digest(LAYER)}"'


def test_the_end_of_a_cold_blob_is_never_sent_unverified(proxy, upstream):
    """The remote's last byte is wrong: whoever asks for the end, however far ahead, does not get all of it."""
    upstream.blob("team/app", LAYER)
    upstream.rule("GET", "/blobs/", wrong=True)
    client = proxy(upstream)
    for headers in (at(10 * MIB, ""), at(10 * MIB, len(LAYER) - 1), {"Range": "bytes=-1000"}, {}):
        try:
            reply = client.get("blobs/" + digest(LAYER), headers=headers)
        except requests.exceptions.RequestException:
            continue  # cut off before its end
        assert reply.status_code >= 500, headers


def test_the_end_of_a_cold_blob_comes_when_it_is_verified(proxy, upstream):
    upstream.blob("team/app", LAYER)
    client = proxy(upstream)
    reply = client.get("blobs/" + digest(LAYER), headers={"Range": "bytes=-1000"})
    assert reply.status_code == 206 and reply.content == LAYER[-1000:]
    assert reply.headers["Docker-Content-Digest"] == digest(LAYER)
    assert not [h for h in upstream.asked("GET", "/blobs/") if "Range" in h]
