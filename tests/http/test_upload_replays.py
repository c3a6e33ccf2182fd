"""Every request of an upload may come twice: the client that got no answer, or 503, sends the same again.

oras, helm, flux, jib and `curl --retry` do; the second is answered as the first was, or would have been.
"""
import os

import pytest

from harness import raw
from harness.daemon import wait_for
from harness.registry import Registry, digest, error

A, B = os.urandom(70_000), os.urandom(30_000)


def patch(registry, url, data, **headers):
    return registry.request("PATCH", url, data=data, headers=headers)


def test_a_location_tells_where_it_counts_from(registry):
    r = registry.post("blobs/uploads/")
    assert r.headers["Location"].endswith("?offset=0")
    r = patch(registry, registry.absolute(r), A)
    assert r.headers["Location"].endswith(f"?offset={len(A)}")
    assert registry.request("GET", registry.absolute(r)).headers["Location"] == r.headers["Location"]


@pytest.mark.parametrize("body", [A, [A[:100], A[100:]]], ids=["length", "chunked"])
def test_a_patch_twice_is_kept_once(registry, body):
    first = registry.begin()
    one, two = (patch(registry, first, body if body is A else iter(body)) for _ in range(2))
    for header in ("Location", "Range", "Docker-Upload-UUID"):
        assert one.headers[header] == two.headers[header]
    second = registry.absolute(two)
    for _ in range(2):
        r = patch(registry, second, B)
        assert r.status_code == 202 and r.headers["Range"] == f"0-{len(A + B) - 1}"
    assert registry.finish(registry.absolute(r), digest(A + B)).status_code == 201
    assert registry.get(f"blobs/{digest(A + B)}").content == A + B


def test_other_bytes_the_second_time_have_their_own_hash(registry):
    """What any worker remembers of the hash of the first try, of the same length, must not count."""
    for _ in range(4):  # whichever workers take them
        url = registry.begin()
        url = registry.absolute(patch(Registry(registry.url), url, A))
        end = registry.absolute(patch(Registry(registry.url), url, B))
        other = os.urandom(len(B))
        assert registry.absolute(patch(Registry(registry.url), url, other)) == end
        wrong = Registry(registry.url, registry.image).finish(end, digest(A + B))
        assert wrong.status_code == 400 and error(wrong) == "DIGEST_INVALID"
    assert registry.head(f"blobs/{digest(A + B)}").status_code == 404


def test_a_patch_without_bytes_takes_none_away(registry):
    url = registry.begin()
    patch(registry, url, A)
    r = patch(registry, url, b"")
    assert r.status_code == 202 and r.headers["Range"] == f"0-{len(A) - 1}"
    assert registry.finish(url, digest(A)).status_code == 201  # nor does a PUT


@pytest.mark.parametrize("offset", ["1", "70001", "x", "-1", "", "99999999999999999999"])
def test_an_offset_that_cannot_be(registry, offset):
    url = registry.begin().replace("offset=0", f"offset={offset}")
    r = patch(registry, url, A)
    assert r.status_code == 416 and r.headers["Range"] == "0-0"
    assert registry.finish(registry.absolute(r), digest(A), A).status_code == 201


@pytest.mark.parametrize("body", [b"", B], ids=["nothing", "the rest"])
def test_a_put_twice_is_created_twice(registry, body):
    """The answer was lost: the blob is here, the session is not."""
    url = registry.absolute(patch(registry, registry.begin(), A))
    for _ in range(3):
        r = registry.finish(url, digest(A + body), body)
        assert r.status_code == 201 and r.headers["Docker-Content-Digest"] == digest(A + body)
        assert r.headers["Location"] == f"/v2/{registry.image}/blobs/{digest(A + body)}"
    assert registry.get(f"blobs/{digest(A + body)}").content == A + body


def test_what_another_image_has_is_not_created_by_naming_it(registry):
    data = os.urandom(1000)
    registry.at(registry.image + "/other").push_blob(data)
    for url in (registry.begin().replace("uploads/", "uploads/0"), f"{registry.url}/v2/{registry.image}/blobs/uploads/{'0' * 32}"):
        for body in (b"", data):
            r = registry.finish(url, digest(data), body)
            assert r.status_code == 404 and error(r) == "BLOB_UPLOAD_UNKNOWN"
    assert registry.head(f"blobs/{digest(data)}").status_code == 404


def test_a_put_that_breaks_off_leaves_the_session_as_it_was(registry, entrepot):
    rest = os.urandom(800_000)
    d = digest(A + rest)
    url = registry.absolute(patch(registry, registry.begin(), A))
    path = url[len(registry.url):].split("?")[0]  # as clients ask that keep only the path: no offset
    for cut in (70_000, 600_000, len(rest) - 1):
        with raw.connect(entrepot) as s:
            s.sendall(f"PUT {path}?digest={d} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(rest)}\r\n\r\n".encode() + rest[:cut])
            wait_for(lambda: size_of(entrepot, path) > len(A), "some of it is in the file")
        wait_for(lambda: size_of(entrepot, path) == len(A), "it is cut off")
    r = wait_for(lambda: (r := registry.finish(registry.url + path, d, rest)).status_code != 409 and r, "its lock is free")
    assert r.status_code == 201 and registry.get(f"blobs/{d}").content == A + rest


def size_of(daemon, path):
    """Of a session's file; what a worker has not written yet is not in it."""
    files = list((daemon.data_dir / "blobs" / "uploads").glob(path.rsplit("/", 1)[1] + "-*"))
    return max(f.stat().st_size for f in files)
