"""GET, HEAD and ranges of blobs (doc/protocol.md, "Blobs")."""
import email
import hashlib
import os

import pytest

from harness.registry import digest, error

DATA = os.urandom(100_000)


@pytest.fixture
def blob(registry):
    return registry.push_blob(DATA)


def test_get_and_head_tell_the_same(registry, blob):
    got, head = registry.get(f"blobs/{blob}"), registry.head(f"blobs/{blob}")
    assert got.status_code == head.status_code == 200
    assert got.content == DATA and head.content == b""
    for r in (got, head):
        assert r.headers["Content-Length"] == str(len(DATA))
        assert r.headers["Content-Type"] == "application/octet-stream"
        assert r.headers["Docker-Content-Digest"] == blob
        assert r.headers["ETag"] == f'"{blob}"'
        assert r.headers["Accept-Ranges"] == "bytes"
        assert "max-age=31536000" in r.headers["Cache-Control"]
        assert r.headers["Docker-Distribution-Api-Version"] == "registry/2.0"


def test_encoded_digest_is_the_same_blob(registry, blob):
    assert registry.get("blobs/" + blob.replace(":", "%3A")).content == DATA


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_empty_blob_has_an_explicit_length(registry, method):
    d = registry.push_blob(b"")
    r = registry.request(method, registry.image_path(f"blobs/{d}"))
    assert r.status_code == 200 and r.headers["Content-Length"] == "0"


def test_unknown_blob(registry, blob):
    r = registry.get("blobs/sha256:" + "0" * 64)
    assert r.status_code == 404 and error(r) == "BLOB_UNKNOWN"
    assert registry.head("blobs/sha256:" + "0" * 64).status_code == 404


def test_a_blob_is_not_seen_through_another_image(registry, blob):
    assert registry.at("another/image").get(f"blobs/{blob}").status_code == 404


@pytest.mark.parametrize("bad", ["sha256:xyz", "sha256:" + "A" * 64, "sha256:" + "0" * 63, "md5:" + "0" * 32,
                                 "sha512:" + "0" * 64, "nodigest"])
def test_malformed_digest(registry, bad):
    r = registry.get("blobs/" + bad)
    assert r.status_code == 400 and error(r) == "DIGEST_INVALID"


def test_sha512_is_answered_in_sha512(registry):
    d = registry.push_blob(b"long digests", "sha512")
    r = registry.get(f"blobs/{d}")
    assert r.content == b"long digests" and r.headers["Docker-Content-Digest"] == d
    assert digest(r.content, "sha512") == d


SIZE = len(DATA)


@pytest.mark.parametrize("header,first,last", [
    ("bytes=0-0", 0, 0), ("bytes=10-19", 10, 19), ("bytes=99990-", 99990, SIZE - 1),
    ("bytes=-10", SIZE - 10, SIZE - 1), ("bytes=99999-200000", 99999, SIZE - 1),
    (f"bytes=-{SIZE * 2}", 0, SIZE - 1), ("bytes=0-", 0, SIZE - 1), ("Bytes=5-6", 5, 6)])
def test_one_range(registry, blob, header, first, last):
    r = registry.get(f"blobs/{blob}", headers={"Range": header})
    assert r.status_code == 206
    assert r.headers["Content-Range"] == f"bytes {first}-{last}/{SIZE}"
    assert r.headers["Content-Length"] == str(last - first + 1)
    assert r.content == DATA[first:last + 1]


@pytest.mark.parametrize("header", [f"bytes={SIZE}-", "bytes=500-0", "bytes=-0", f"bytes={SIZE}-{SIZE + 5}",
                                    "bytes=99999999999999999999999-"])
def test_unsatisfiable_range(registry, blob, header):
    r = registry.get(f"blobs/{blob}", headers={"Range": header})
    assert r.status_code == 416 and error(r) == "RANGE_INVALID"
    assert r.headers["Content-Range"] == f"bytes */{SIZE}"
    assert int(r.headers["Content-Length"]) == len(r.content)


@pytest.mark.parametrize("header", ["lines=1-2", "bytes=", "bytes=a-b", "bytes=1", "bytes=1-2;3", "bytes",
                                    "bytes=0-10,5-20", "bytes=" + ",".join(f"{i * 10}-{i * 10 + 1}" for i in range(65))])
def test_ranges_not_understood_or_overlapping_get_all(registry, blob, header):
    r = registry.get(f"blobs/{blob}", headers={"Range": header})
    assert r.status_code == 200 and r.content == DATA


def test_several_ranges_come_as_parts_in_the_order_asked(registry, blob):
    asked = [(50, 59), (0, 4), (SIZE - 3, SIZE - 1)]
    r = registry.get(f"blobs/{blob}", headers={"Range": "bytes=50-59, 0-4 ,-3"})
    assert r.status_code == 206
    assert int(r.headers["Content-Length"]) == len(r.content)
    message = email.message_from_bytes(
        b"Content-Type: " + r.headers["Content-Type"].encode() + b"\r\n\r\n" + r.content)
    parts = message.get_payload()
    assert message.get_content_type() == "multipart/byteranges" and len(parts) == 3
    for part, (first, last) in zip(parts, asked):
        assert part["Content-Range"] == f"bytes {first}-{last}/{SIZE}"
    # email decodes lossily: compare the bytes themselves
    for first, last in asked:
        head = f"Content-Range: bytes {first}-{last}/{SIZE}\r\n\r\n".encode()
        at = r.content.index(head) + len(head)
        assert r.content[at:at + last - first + 1] == DATA[first:last + 1]


def test_head_ignores_range(registry, blob):
    r = registry.head(f"blobs/{blob}", headers={"Range": "bytes=0-1"})
    assert r.status_code == 200 and r.headers["Content-Length"] == str(SIZE)


def test_if_range(registry, blob):
    same = registry.get(f"blobs/{blob}", headers={"Range": "bytes=1-2", "If-Range": f'"{blob}"'})
    other = registry.get(f"blobs/{blob}", headers={"Range": "bytes=1-2", "If-Range": '"sha256:other"'})
    assert same.status_code == 206 and other.status_code == 200 and other.content == DATA


@pytest.mark.parametrize("form", ['"{}"', "{}", 'W/"{}"', '"x", "{}"', "*"])
def test_if_none_match(registry, blob, form):
    r = registry.get(f"blobs/{blob}", headers={"If-None-Match": form.format(blob)})
    assert r.status_code == 304 and r.content == b"" and r.headers["ETag"] == f'"{blob}"'
    assert registry.get(f"blobs/{blob}", headers={"If-None-Match": '"other"'}).status_code == 200


def test_wrong_method(registry, blob):
    for method in ("POST", "PUT", "PATCH"):
        r = registry.request(method, registry.image_path(f"blobs/{blob}"))
        assert r.status_code == 405 and error(r) == "UNSUPPORTED"
        assert r.headers["Allow"] == "GET, HEAD, DELETE"


def test_large_blob_arrives_whole(registry):
    data = os.urandom(1 << 20) * 40
    d = registry.push_blob(data)
    with registry.get(f"blobs/{d}", stream=True) as r:
        h = hashlib.sha256()
        for piece in r.iter_content(1 << 20):
            h.update(piece)
    assert "sha256:" + h.hexdigest() == d
