"""The fetcher and the catalog die at each step of a download: the client's body still completes."""
import concurrent.futures
import os
import signal
import socket

import pytest
import requests

from harness.daemon import wait_for
from harness.proxy import proxy, upstream  # noqa: F401
from harness.registry import Registry, digest


@pytest.fixture
def failing(fail, proxy):

    def make(*ups, **kw):
        client = proxy(*ups, **kw)
        client.daemon.fail = fail
        return client
    return make


BLOB_POINTS = ["fetcher_opened", "fetcher_head", "fetcher_written", "fetcher_received", "fetcher_verified", "store_place_synced",
               "store_place_renamed", "store_place_done", "fetcher_placed", "fetcher_commit_asked",
               "fetcher_committed", "catalog_turn_begun", "catalog_turn_written", "catalog_turn_shown"]


@pytest.mark.parametrize("point", BLOB_POINTS)
def test_a_body_completes_whoever_dies(failing, upstream, point):
    layer = os.urandom(3_000_000)
    upstream.image("team/app", layers=[layer])
    client = failing(upstream, ttl="1h")
    assert client.get("manifests/latest").status_code == 200
    client.daemon.fail.arm(point, "kill")
    r = client.get("blobs/" + digest(layer))
    assert r.status_code == 200 and r.content == layer
    client.daemon.fail.taken(point)
    wait_for(lambda: client.get("blobs/" + digest(layer)).content == layer, "served again")
    wait_for(lambda: not list(client.daemon.data_dir.rglob("partial/sha*")), "nothing is left half")
    upstream.close()
    wait_for(lambda: client.get("blobs/" + digest(layer)).content == layer, "kept")
    client.daemon.stop()
    assert client.daemon.fsck()[0] == 0


@pytest.mark.parametrize("point", ["store_place_renamed", "fetcher_placed"])
def test_a_worker_that_looks_late_has_the_last_byte(failing, upstream, point):
    """The blob is verified and in its place when the fetcher dies, and its successor runs before the worker looks at the
    board: the file that the worker holds is whole, and nobody would write to it any more."""
    layer = os.urandom(3_000_000)
    upstream.image("team/app", layers=[layer])
    client = failing(upstream, stall="30s")
    daemon = client.daemon
    daemon.fail.arm("fetcher_received", "wait")
    daemon.everybody()
    workers, fetcher = daemon.pids("worker"), daemon.pids("fetcher")
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        answer = pool.submit(client.get, "blobs/" + digest(layer))
        daemon.fail.held("fetcher_received")
        for pid in workers:
            os.kill(pid, signal.SIGSTOP)
        daemon.fail.arm(point, "kill")
        daemon.fail.release("fetcher_received")
        daemon.respawned("fetcher", fetcher)
        for pid in workers:
            os.kill(pid, signal.SIGCONT)
        r = answer.result()
    assert r.status_code == 200 and r.content == layer
    assert daemon.pids("worker") == workers


def test_a_manifest_comes_whoever_dies(failing, upstream):
    manifest = upstream.image("team/app")
    for point in ("fetcher_manifest", "catalog_turn_begun", "catalog_turn_written"):
        client = failing(upstream)
        client.daemon.fail.arm(point, "kill")
        assert client.get("manifests/latest").content == manifest
        client.daemon.fail.taken(point)


def test_a_worker_that_dies_costs_its_clients_alone(failing, upstream):
    layer = os.urandom(400000)
    upstream.image("team/app", layers=[layer])
    client = failing(upstream, stall="30s")
    rule = upstream.rule("GET", "/blobs/", stall=200000)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        first = pool.submit(Registry(client.url, client.image).get, "blobs/" + digest(layer))
        assert rule.reached.wait(10)
        old = client.daemon.kill_role("worker")
        client.daemon.respawned("worker", old)
        assert first.exception() is not None or len(first.result().content) < len(layer)
        again = pool.submit(Registry(client.url, client.image).get, "blobs/" + digest(layer))
        wait_for(lambda: "team/app" in client.daemon.ctl("fetches").stdout, "the download goes on")
        rule.go.set()
        assert again.result().content == layer
    assert len(upstream.asked("GET", "/blobs/")) == 1


def test_a_far_range_of_a_download_that_has_failed(failing, upstream):
    """By the time the worker hears where the bytes come to lie, they do not come any more, and its only client wants
    a range of its own."""
    layer = os.urandom(12 << 20)
    upstream.image("team/app", layers=[layer])
    client = failing(upstream)
    daemon = client.daemon
    daemon.fail.arm("fetcher_opened", "wait")
    daemon.fail.arm("fetcher_write", "ENOSPC")
    daemon.everybody()
    workers = daemon.pids("worker")
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        answer = pool.submit(client.get, "blobs/" + digest(layer), headers={"Range": "bytes=11000000-11000099"})
        daemon.fail.held("fetcher_opened")
        for pid in workers:
            os.kill(pid, signal.SIGSTOP)
        daemon.fail.release("fetcher_opened")
        wait_for(lambda: 'msg="a download failed"' in daemon.log_text(), "the download fails")
        for pid in workers:
            os.kill(pid, signal.SIGCONT)
        r = answer.result()
    assert r.status_code == 206 and r.content == layer[11000000:11000100]
    assert daemon.pids("worker") == workers


def test_downloads_that_are_over_make_room(failing, upstream):
    """No place on the board is free: the oldest that only lingers for late readers goes; if there is none, 429."""
    first, second, third = (os.urandom(4000) for _ in range(3))
    for layer in (first, second, third):
        upstream.blob("team/app", layer)
    client = failing(upstream)
    client.daemon.fail.arm("fetcher_slot", "ENOSPC")
    refused = client.get("blobs/" + digest(first))
    assert refused.status_code == 429 and "Retry-After" in refused.headers
    client.daemon.fail.taken("fetcher_slot")
    wait_for(lambda: client.get("blobs/" + digest(second)).content == second, "it comes")
    wait_for(lambda: "sha256" not in client.daemon.ctl("fetches").stdout, "the download is over")
    client.daemon.fail.arm("fetcher_slot", "ENOSPC")
    assert client.get("blobs/" + digest(third)).content == third
    client.daemon.fail.taken("fetcher_slot")
    assert client.get("blobs/" + digest(second)).content == second


@pytest.mark.parametrize("how", ["length", "no length", "wrong"])
def test_the_last_byte_waits_until_the_blob_is_verified(failing, upstream, how):
    """All has come and the fetcher waits before it compares: the client has all but one byte, also of another blob."""
    layer = os.urandom(4000)
    upstream.blob("team/app", layer)
    upstream.rule("GET", "/blobs/", chunked=how == "no length", wrong=how == "wrong")
    client = failing(upstream, stall="30s")
    client.daemon.fail.arm("fetcher_received", "wait")
    with socket.create_connection(("127.0.0.1", client.daemon.port), timeout=30) as s:
        s.sendall(f"GET /v2/team/app/blobs/{digest(layer)} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        client.daemon.fail.held("fetcher_received")
        body = b""
        if how != "no length":  # without, nobody hears anything before the end
            got = b""
            while b"\r\n\r\n" not in got or len(got.split(b"\r\n\r\n", 1)[1]) < len(layer) - 1:
                got += s.recv(65536)
            body = got.split(b"\r\n\r\n", 1)[1]
            assert body == layer[:-1]
        client.daemon.fail.release("fetcher_received")
        while True:
            try:
                more = s.recv(65536)
            except ConnectionResetError:
                more = b""
            if not more:
                break
            body += more
    if how == "wrong":
        assert body == layer[:-1]
    else:
        assert body.endswith(layer)


def test_a_disk_that_is_full_in_the_middle(failing, upstream):
    layer = os.urandom(3_000_000)
    upstream.image("team/app", layers=[layer])
    client = failing(upstream)
    client.daemon.fail.arm("fetcher_write", "ENOSPC")
    try:
        r = client.get("blobs/" + digest(layer))
        assert r.status_code in (200, 507) and r.content != layer
    except requests.RequestException:
        pass  # cut: the head was out already
    assert not client.daemon.fail.pending("fetcher_write")
    wait_for(lambda: client.get("blobs/" + digest(layer)).content == layer, "space heals it")
