"""contrib/gdb shows what is there: of processes that stand still at a known place."""
import concurrent.futures
import os
import subprocess

from harness.daemon import TOP
from harness.proxy import proxy, upstream  # noqa: F401
from harness.registry import Registry, digest
from harness.tools import need


def gdb(pid, *commands):
    need("gdb")
    done = subprocess.run(["gdb", "-q", "-batch", "-p", str(pid), "-x", str(TOP / "contrib/gdb/entrepot.py"),
                           *[x for c in commands for x in ("-ex", c)]],
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=120)
    return done.stdout


def test_a_turn_and_the_index(fail, start):
    daemon = start()
    daemon.everybody()
    registry = Registry(daemon.url, "team/app")
    manifest = registry.push_image("a")
    fail.arm("catalog_turn_begun", "wait")
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        push = pool.submit(registry.push_blob, b"another layer")
        fail.held("catalog_turn_begun")
        told = gdb(daemon.pids("catalog")[0], "entrepot-role", "entrepot-turn", "entrepot-index docker-local team/app a")
        fail.release("catalog_turn_begun")
        push.result()
    assert "catalog, slot 0, generation 1" in told, told
    assert "op_blob_commit" in told and "0 wait, 0 for files, 1 run" in told, told
    assert "INDEX_COMPLETE" in told and f"T live {digest(manifest)} {len(manifest)} bytes" in told, told


def test_what_waits_for_a_file(fail, start):
    daemon = start()
    daemon.everybody()
    registry = Registry(daemon.url, "team/app")
    fail.arm("catalog_file_here", "EAGAIN")
    fail.arm("catalog_file_looked", "wait")
    layer = b"a layer that a thread looks for"
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        push = pool.submit(registry.push_blob, layer)
        fail.held("catalog_file_looked")
        told = gdb(daemon.pids("catalog")[0], "entrepot-turn")
        fail.release("catalog_file_looked")
        push.result()
    assert f"working FILE_LOOK {digest(layer)}" in told and "0 wait, 1 for files, 0 run" in told, told


def test_a_download(proxy, upstream):
    layer = os.urandom(400000)
    upstream.image("team/app", layers=[layer])
    client = proxy(upstream, stall="60s")
    rule = upstream.rule("GET", "/blobs/", stall=200000)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        pull = pool.submit(Registry(client.url, client.image).get, "blobs/" + digest(layer))
        assert rule.reached.wait(10)
        told = gdb(client.daemon.pids("fetcher")[0], "entrepot-jobs", "entrepot-board")
        seen = gdb(client.daemon.pids("worker")[0], "entrepot-board")
        rule.go.set()
        assert pull.result().content == layer
    assert f"up {digest(layer)}" in told and "images ['team/app']" in told, told
    for text in (told, seen):
        assert "of 400000" in text and "1 of 4096 slots taken" in text, text
