"""Upload sessions (doc/protocol.md, "Upload sessions", "What conformance tests look at")."""
import os
import threading

import pytest

from harness import raw
from harness.daemon import wait_for
from harness.registry import Registry, digest, error

A, B = os.urandom(70_000), os.urandom(30_000)
ALL = digest(A + B)


def patch(registry, url, data, **headers):
    return registry.request("PATCH", url, data=data, headers={k.replace("_", "-"): v for k, v in headers.items()})


def test_begin(registry):
    r = registry.post("blobs/uploads/")
    assert r.status_code == 202 and r.headers["Range"] == "0-0"
    assert r.headers["Content-Length"] == "0"
    assert r.headers["Docker-Upload-UUID"] in r.headers["Location"]
    assert r.headers["Location"].startswith(f"/v2/{registry.image}/blobs/uploads/")
    assert registry.post("blobs/uploads").status_code == 202  # the slash is often forgotten


def test_streamed_patches_then_put(registry):
    url = registry.begin()
    r = patch(registry, url, iter([A[:1000], A[1000:]]))  # chunked, no Content-Range
    assert r.status_code == 202 and r.headers["Range"] == f"0-{len(A) - 1}"
    r = patch(registry, registry.absolute(r), B)
    assert r.headers["Range"] == f"0-{len(A) + len(B) - 1}"
    r = registry.finish(registry.absolute(r), ALL)
    assert r.status_code == 201
    assert r.headers["Location"] == f"/v2/{registry.image}/blobs/{ALL}"
    assert r.headers["Docker-Content-Digest"] == ALL
    assert registry.request("GET", r.headers["Location"]).content == A + B


@pytest.mark.parametrize("prefix,suffix", [("", ""), ("bytes ", ""), ("bytes ", "/*"), ("", "/100000")])
def test_chunks_with_content_range(registry, prefix, suffix):
    url = registry.begin()
    r = patch(registry, url, A, Content_Range=f"{prefix}0-{len(A) - 1}{suffix}")
    assert r.status_code == 202 and r.headers["Range"] == f"0-{len(A) - 1}"
    r = registry.finish(registry.absolute(r), ALL, B,
                        headers={"Content-Range": f"{prefix}{len(A)}-{len(A) + len(B) - 1}{suffix}"})
    assert r.status_code == 201


@pytest.mark.parametrize("header", ["1-70000", "100-70099", "nonsense", "-1-5", "5-4",
                                    "99999999999999999999-99999999999999999999"])
def test_chunk_not_at_the_end_is_416_and_the_session_lives(registry, header):
    url = registry.begin()
    r = patch(registry, url, A, Content_Range=header)
    assert r.status_code == 416 and error(r) == "RANGE_INVALID"
    assert r.headers["Range"] == "0-0" and r.headers["Location"]
    assert registry.request("GET", url).headers["Range"] == "0-0"
    assert registry.finish(url, digest(A), A).status_code == 201


def test_resent_chunk_is_416(registry):
    url = registry.begin()
    assert patch(registry, url, A, Content_Range=f"0-{len(A) - 1}").status_code == 202
    r = patch(registry, url, A, Content_Range=f"0-{len(A) - 1}")
    assert r.status_code == 416 and r.headers["Range"] == f"0-{len(A) - 1}"
    assert registry.finish(url, digest(A)).status_code == 201


def test_put_with_wrong_range_is_416_and_the_session_lives(registry):
    url = registry.begin()
    patch(registry, url, A, Content_Range=f"0-{len(A) - 1}")
    r = registry.finish(url, ALL, B, headers={"Content-Range": f"0-{len(B) - 1}"})
    assert r.status_code == 416
    status = registry.request("GET", url + "?digest=" + ALL)
    assert status.status_code == 204 and status.headers["Range"] == f"0-{len(A) - 1}"
    assert registry.finish(registry.absolute(r), ALL, B).status_code == 201


def test_content_range_longer_than_the_body(registry):
    url = registry.begin()
    r = patch(registry, url, A, Content_Range=f"0-{len(A)}")
    assert r.status_code == 400 and error(r) == "SIZE_INVALID"
    r = patch(registry, url, iter([A]), Content_Range=f"0-{len(A)}")  # chunked: known at the end only
    assert r.status_code == 400 and error(r) == "SIZE_INVALID"
    assert registry.request("GET", url).headers["Range"] == "0-0"


def test_status_of_a_stale_url(registry):
    url = registry.begin()
    patch(registry, url, A)
    r = registry.request("GET", url)
    assert r.status_code == 204 and r.headers["Range"] == f"0-{len(A) - 1}" and r.headers["Location"]


def test_single_post(registry):
    r = registry.post("blobs/uploads/?digest=" + ALL, data=A + B)
    assert r.status_code == 201 and registry.get(f"blobs/{ALL}").content == A + B
    r = registry.post("blobs/uploads/?digest=" + ALL, data=A)
    assert r.status_code == 400 and error(r) == "DIGEST_INVALID"
    r = registry.post("blobs/uploads/?digest=" + digest(b""), data=b"")
    assert r.status_code == 201
    r = registry.post("blobs/uploads/?digest=" + digest(b"later"), data=b"")
    assert r.status_code == 202
    assert registry.finish(registry.absolute(r), digest(b"later"), b"later").status_code == 201
    assert registry.post("blobs/uploads/?digest=sha256:bad", data=A).status_code == 400


def test_empty_blob_without_patch(registry):
    assert registry.finish(registry.begin(), digest(b"")).status_code == 201


@pytest.mark.parametrize("split", [0, 1, len(A)])
def test_sha512_needs_no_hint(registry, split):
    url = registry.begin()
    if split:
        url = registry.absolute(patch(registry, url, A[:split]))
    d = digest(A, "sha512")
    r = registry.finish(url, d, A[split:])
    assert r.status_code == 201 and r.headers["Docker-Content-Digest"] == d
    assert registry.get(f"blobs/{d}").content == A


def test_digest_algorithm_parameter(registry):
    for name in ("sha256", "sha512"):
        url = registry.begin("?digest-algorithm=" + name)
        assert registry.finish(url, digest(A, name), A).status_code == 201
    r = registry.post("blobs/uploads/?digest-algorithm=md5")
    assert r.status_code == 400


def test_missing_or_malformed_digest_keeps_the_session(registry):
    url = registry.begin()
    patch(registry, url, A)
    for query in ("", "?digest=", "?digest=sha256:zz", "?digest=" + "x" * 500):
        r = registry.request("PUT", url + query)
        assert r.status_code == 400 and error(r) == "DIGEST_INVALID"
    assert registry.finish(url, digest(A)).status_code == 201


def test_mismatch_drops_the_data(registry):
    url = registry.begin()
    r = registry.finish(url, digest(b"other"), A)
    assert r.status_code == 400 and error(r) == "DIGEST_INVALID"
    assert registry.request("GET", url).status_code == 404
    assert registry.get("blobs/" + digest(b"other")).status_code == 404
    assert registry.get("blobs/" + digest(A)).status_code == 404


def test_cancel(registry):
    url = registry.begin()
    patch(registry, url, A)
    assert registry.request("DELETE", url).status_code == 204
    for r in (registry.request("GET", url), registry.request("DELETE", url), patch(registry, url, A),
              registry.finish(url, digest(A), A)):
        assert r.status_code == 404
        assert error(r) == "BLOB_UPLOAD_UNKNOWN"


def test_finished_session_is_gone(registry):
    url = registry.begin()
    assert registry.finish(url, digest(A), A).status_code == 201
    assert patch(registry, url, b"more").status_code == 404
    assert registry.get("blobs/" + digest(A)).content == A


def test_session_is_bound_to_its_image(registry):
    url = registry.begin()
    other = url.replace(registry.image, registry.image + "-other")
    for method in ("GET", "PATCH", "PUT", "DELETE"):
        assert registry.request(method, other, data=b"x").status_code == 404
    assert registry.finish(url, digest(A), A).status_code == 201


def test_unknown_session_ids(registry):
    for bad in ("0" * 32, "x", "..%2f..%2fetc", "0" * 31, "0" * 33, "A" * 32, "%00" * 4):
        r = registry.get("blobs/uploads/" + bad)
        assert r.status_code in (400, 404), bad


def test_two_writers_of_one_session(registry, entrepot):
    """The second gets 409 while the first holds the session, whichever worker takes it."""
    url = registry.begin()
    path = url[len(registry.url):]
    with raw.connect(entrepot) as first:
        first.sendall(f"PATCH {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n12345".encode())
        wait_for(lambda: registry.request("GET", url).headers["Range"] == "0-4", "the first five bytes")
        for _ in range(6):
            r = Registry(registry.url, registry.image).request("PATCH", url, data=b"x")
            assert r.status_code == 409 and error(r) == "BLOB_UPLOAD_INVALID"
        first.sendall(b"67890")
        assert raw.read_response(first)[0] == 202
    assert registry.finish(url, digest(b"1234567890")).status_code == 201


def test_broken_connection_keeps_what_came(registry, entrepot):
    url = registry.begin()
    path = url[len(registry.url):]
    with raw.connect(entrepot) as s:
        s.sendall(f"PATCH {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n".encode() + A[:5000])
        wait_for(lambda: registry.request("GET", url).headers["Range"] == "0-4999", "the prefix is there")
    now = registry.absolute(registry.request("GET", url))
    r = wait_for(lambda: (lambda p: p.status_code == 202 and p)(patch(registry, now, A[5000:])), "the session is free")
    assert r.headers["Range"] == f"0-{len(A) - 1}"
    assert registry.finish(url, digest(A)).status_code == 201


def test_many_small_patches_through_all_workers(registry):
    """Whoever takes the last request knows the digest, from memory or by reading again."""
    url = registry.begin()
    for i in range(40):
        r = Registry(registry.url).request("PATCH", url, data=A[i * 100:i * 100 + 100])
        assert r.status_code == 202
        url = registry.absolute(r)
    assert Registry(registry.url).finish(url, digest(A[:4000])).status_code == 201


def test_two_sessions_finish_one_digest(registry):
    urls = [registry.begin() for _ in range(8)]
    results = []

    def finish(url):
        results.append(Registry(registry.url, registry.image).finish(url, ALL, A + B).status_code)

    threads = [threading.Thread(target=finish, args=(u,)) for u in urls]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert results == [201] * 8 and registry.get("blobs/" + ALL).content == A + B


def test_mount(registry):
    source = registry.at(registry.image + "/source")
    d = source.push_blob(A)
    r = registry.post(f"blobs/uploads/?mount={d}&from={source.image}")
    assert r.status_code == 201 and r.headers["Location"] == f"/v2/{registry.image}/blobs/{d}"
    assert r.headers["Docker-Content-Digest"] == d
    assert registry.get(f"blobs/{d}").content == A


def test_anonymous_mount(registry):
    data = os.urandom(100)
    d = registry.at(registry.image + "/elsewhere").push_blob(data)
    assert registry.post(f"blobs/uploads/?mount={d}").status_code == 201
    assert registry.get(f"blobs/{d}").content == data


@pytest.mark.parametrize("origin", ["&from=no/such", "&from=", ""])
def test_mount_of_what_is_nowhere_is_a_session(registry, origin):
    data = os.urandom(64)
    r = registry.post(f"blobs/uploads/?mount={digest(data)}{origin}")
    assert r.status_code == 202 and r.headers["Range"] == "0-0"
    assert registry.finish(registry.absolute(r), digest(data), data).status_code == 201


def test_mount_needs_the_blob_in_the_named_image(registry):
    data = os.urandom(64)
    registry.at(registry.image + "/a").push_blob(data)
    registry.at(registry.image + "/b").push_blob(b"something else")
    r = registry.post(f"blobs/uploads/?mount={digest(data)}&from={registry.image}/b")
    assert r.status_code == 202


def test_malformed_mounts(registry):
    assert registry.post("blobs/uploads/?mount=sha256:zz&from=a/b").status_code == 400
    for name in ("../x", "A/B", "a//b", "%2e%2e/x"):
        r = registry.post(f"blobs/uploads/?mount={digest(A)}&from={name}")
        assert r.status_code == 400 and error(r) == "NAME_INVALID"


def test_expect_100_continue(registry, entrepot):
    path = registry.begin()[len(registry.url):]
    with raw.connect(entrepot) as s:
        s.sendall(f"PUT {path}&digest={digest(A)} HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n"
                  f"Content-Length: {len(A)}\r\n\r\n".encode())
        assert raw.read_response(s)[0] == 100
        s.sendall(A)
        assert raw.read_response(s)[0] == 201


def test_expect_is_answered_without_100_when_refused(registry, entrepot):
    with raw.connect(entrepot) as s:
        s.sendall(f"PATCH /v2/{registry.image}/blobs/uploads/{'0' * 32} HTTP/1.1\r\nHost: x\r\n"
                  "Expect: 100-continue\r\nContent-Length: 1000000\r\n\r\n".encode())
        status, headers, _ = raw.read_response(s)
        assert status == 404 and headers["connection"] == "close"
        assert raw.closed(s)


def test_methods(registry):
    r = registry.get("blobs/uploads/")
    assert r.status_code == 405 and r.headers["Allow"] == "POST" and error(r) == "UNSUPPORTED"
    r = registry.request("POST", registry.begin())
    assert r.status_code == 405 and error(r) == "UNSUPPORTED"


def test_session_survives_a_restart(start):
    daemon = start()
    registry = Registry(daemon.url)
    url = registry.begin()
    assert patch(registry, url, A).status_code == 202
    daemon.kill_all()
    daemon.start()
    registry = Registry(daemon.url)
    r = registry.request("GET", url)
    assert r.headers["Range"] == f"0-{len(A) - 1}"
    assert registry.finish(registry.absolute(r), ALL, B).status_code == 201


def begin_many(daemon, count, batch=100):
    """Locations of so many new sessions, asked for in batches on one connection."""
    locations = []
    with raw.connect(daemon) as s:
        reader = s.makefile("rb")
        for _ in range(count // batch):
            s.sendall(b"POST /v2/test/image/blobs/uploads/ HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n" * batch)
            for _ in range(batch):
                assert b" 202 " in reader.readline()
                head = {}
                while (line := reader.readline().decode().strip()):
                    name, _, value = line.partition(": ")
                    head[name.lower()] = value
                assert head["content-length"] == "0"
                locations.append(head["location"])
    return locations


def test_ten_thousand_sessions(start):
    """They cost a file each, no descriptor and no memory; the counter bounds them."""
    daemon = start(top="max_uploads = 40000\n")  # a quarter is one client's
    registry = Registry(daemon.url)
    locations = begin_many(daemon, 10_000)
    fds = [len(os.listdir(f"/proc/{pid}/fd")) for pid in daemon.pids("worker")]
    assert max(fds) < 100
    assert registry.finish(daemon.url + locations[1234], digest(A), A).status_code == 201
    registry.begin()
    r = registry.post("blobs/uploads/")
    assert r.status_code == 429 and error(r) == "TOOMANYREQUESTS" and r.headers["Retry-After"]


def test_idle_sessions_expire(start):
    daemon = start(top='upload_expiry = 1s\n')
    registry = Registry(daemon.url)
    url = registry.begin()
    wait_for(lambda: registry.request("GET", url).status_code == 404, "the session expires", 40)
