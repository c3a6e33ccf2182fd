"""What a worker holds for clients that take, or send, their time."""
import pathlib
import re
import socket

import pytest

from harness.raw import read_response
from harness.registry import Registry, digest

READERS = 300
MANY = 64 << 20  # bytes, for all of them: a fifth of a megabyte each
TOP = "rate_window = 10m\n"


def held(daemon):
    """Bytes of the one worker's own memory."""
    text = pathlib.Path(f"/proc/{daemon.pids('worker')[0]}/status").read_text()
    return int(re.search(r"RssAnon:\s+(\d+) kB", text).group(1)) << 10


@pytest.fixture
def slow():
    """Asks and takes nothing but the head of the answer, whose status is returned."""
    sockets = []

    def ask(daemon, path, address="127.0.0.1"):
        s = socket.socket()
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        s.settimeout(60)
        s.bind((address, 0))
        s.connect(("127.0.0.1", daemon.port))
        s.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        sockets.append(s)
        head = s.recv(1)
        while b"\r\n\r\n" not in head:
            head += s.recv(1)
        return int(head.split()[1])

    ask.sockets = sockets
    yield ask
    for s in sockets:
        s.close()


def large_manifest(registry, tag, size=4_000_000):
    data = registry.image_manifest(annotations={"a": tag * (size // len(tag))})
    assert len(data) > size and registry.put_manifest(data, tag).status_code == 201
    return data


def test_slow_readers_of_large_manifests(start, slow):
    """One manifest of 4 MB for all, and some of their own for a few."""
    daemon = start(workers=1, top=TOP)
    registry = Registry(daemon.url)
    data = large_manifest(registry, "same")
    for i in range(24):
        large_manifest(registry, f"own{i}")
    assert registry.get("manifests/same").content == data
    before = held(daemon)
    path = f"/v2/{registry.image}/manifests/"
    for i in range(24):
        assert slow(daemon, path + f"own{i}") == 200
    for i in range(READERS - 24):
        assert slow(daemon, path + ("same" if i % 2 else digest(data))) == 200
    assert held(daemon) - before < MANY
    body = b""
    while len(body) < len(data):  # the last one comes to its end all the same
        body += slow.sockets[-1].recv(1 << 20)
    assert body == data
