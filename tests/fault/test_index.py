"""The map of what is there, made anew (src/catalog/publish.c): its room, and who still has the one before."""
import json
import os
import pathlib
import re
import signal

import pytest

from harness import raw
from harness.daemon import wait_for
from harness.proxy import proxy, upstream  # noqa: F401
from harness.registry import OCI_CONFIG, OCI_IMAGE, Registry


def sleep(pid):
    os.kill(pid, signal.SIGSTOP)
    wait_for(lambda: pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "T", "it sleeps")


def ask(sock, path):
    sock.sendall(f"GET {path} HTTP/1.1\r\nHost: here\r\n\r\n".encode())


def test_a_worker_that_slept_does_not_serve_what_was_before(start):
    """While it slept the catalog died, and another worker has acknowledged what only the new map shows."""
    daemon = start()
    registry = Registry(daemon.url, "index/slept")
    body = registry.push_image("x")
    daemon.everybody()
    sleeper, other = daemon.pids("worker")
    sleep(other)
    with raw.connect(daemon) as sock:
        ask(sock, registry.image_path("manifests/x"))
        assert raw.read_response(sock)[0] == 200  # its connection
        os.kill(other, signal.SIGCONT)
        sleep(sleeper)
        try:
            daemon.respawned("catalog", daemon.kill_role("catalog"))
            assert Registry(daemon.url, registry.image).put_manifest(body, "y").status_code == 201
            ask(sock, registry.image_path("manifests/y"))  # before it hears that the catalog died
        finally:
            os.kill(sleeper, signal.SIGCONT)
        status, _, found = raw.read_response(sock)
        assert (status, found) == (200, body)


@pytest.mark.parametrize("count", [24000, 30000], ids=["crowded", "full"])
def test_a_map_that_was_made_too_small(proxy, upstream, count):  # noqa: F811
    """At a start the database's size is all that its room is guessed by; digests that are nearly the same take little."""
    def descriptor(i):
        return {"digest": f"sha256:{i:064x}", "size": 1}

    body = json.dumps({"schemaVersion": 2, "mediaType": OCI_IMAGE, "config": {"mediaType": OCI_CONFIG, **descriptor(0)},
                       "layers": [descriptor(i) for i in range(1, count)]}).encode()
    upstream.manifest("team/app", body, "latest")
    client = proxy(upstream, ttl="1d")
    assert client.get("manifests/latest").content == body
    client.daemon.stop()
    client.daemon.start()
    client.daemon.everybody()
    assert client.get("manifests/latest").content == body
    made = re.findall(r'msg="index published" generation=1 entries=(\d+) slots=(\d+)', client.daemon.log_text())
    entries, slots = map(int, made[-1])
    assert len(made) == 2 and entries > count and entries <= slots * 7 // 10
