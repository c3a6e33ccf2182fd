"""What a worker holds for clients that take, or send, their time."""
import os
import pathlib
import re
import socket

import pytest

from harness.daemon import ENTREPOTD, wait_for
from harness.raw import read_response
from harness.registry import OCI_IMAGE, Registry, digest

pytestmark = pytest.mark.skipif("valgrind" in ENTREPOTD, reason="valgrind needs memory of its own")
READERS = 300
MANY = 64 << 20  # bytes, for all of them: a fifth of a megabyte each
TOP = "rate_window = 10m\n"


def held(daemon):
    """Bytes of the one worker's own memory."""
    text = pathlib.Path(f"/proc/{daemon.pids('worker')[0]}/status").read_text()
    return int(re.search(r"RssAnon:\s+(\d+) kB", text).group(1)) << 10


@pytest.fixture(autouse=True)
def freed_memory_is_free(monkeypatch):
    """AddressSanitizer keeps what was freed, 256 MB by default."""
    monkeypatch.setenv("ASAN_OPTIONS", os.environ.get("ASAN_OPTIONS", "") + ":quarantine_size_mb=1")


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


def long_list(registry):
    """A list of referrers of almost 4 MB: more than the kernel takes off us."""
    subject = registry.push_image("subject")
    for i in range(500):  # of each 8 KiB of annotations are shown
        data = registry.image_manifest(subject=registry.descriptor(subject, OCI_IMAGE, push=False),
                                       annotations={f"a{i}": "x" * 7_800})
        assert registry.put_manifest(data).status_code == 201
    return f"/v2/{registry.image}/referrers/{digest(subject)}"


PROXIED = """
hosted docker-local {{ }}
group everything {{ members = {{docker-local}} }}
connector "127.0.0.1:{port}" {{ }}
"""


@pytest.mark.parametrize("repository", ["docker-local", "everything"])
def test_slow_readers_of_long_lists(start, slow, repository):
    """They get what one client may have at once, the others their lists."""
    daemon = start(workers=1, text=TOP + PROXIED)
    path = long_list(Registry(daemon.url, "docker-local/test/image")).replace("docker-local", repository)
    expected = Registry(daemon.url).request("GET", path).content
    assert len(expected) > 3_800_000
    before = held(daemon)
    answers = [slow(daemon, path) for _ in range(READERS // 6)]
    assert set(answers) == {200, 429} and answers.index(429) > 1
    assert held(daemon) - before < MANY
    assert slow(daemon, path + "?n=1") == 200
    assert Registry(daemon.url).request("GET", path).status_code == 429
    others = [slow(daemon, path, f"127.0.0.{i}") for i in (2, 3)]
    assert others == [200, 200]
    body = b""
    while len(body) < len(expected):
        body += slow.sockets[-1].recv(1 << 20)
    assert body == expected
    for s in slow.sockets:
        s.close()
    wait_for(lambda: Registry(daemon.url).request("GET", path).content == expected, "there is room again")


def all_taken(daemon):
    """Nothing is on its way to the daemon any more (proc(5), /proc/net/tcp)."""
    port = f":{daemon.port:04X}"
    for line in pathlib.Path("/proc/net/tcp").read_text().splitlines()[1:]:
        _, local, remote, state, queues = line.split()[:5]
        out, come = queues.split(":")
        if local.endswith(port) and state == "01" and int(come, 16) or remote.endswith(port) and int(out, 16):
            return False
    return True


def test_slow_senders_of_large_manifests(start, slow):
    daemon = start(workers=1, top=TOP)
    registry = Registry(daemon.url)
    data = large_manifest(registry, "x")
    head = f"PUT /v2/{registry.image}/manifests/y HTTP/1.1\r\nHost: x\r\nContent-Length: {len(data)}\r\n" \
           f"Content-Type: application/vnd.oci.image.manifest.v1+json\r\n\r\n".encode()
    before = held(daemon)
    senders = []
    for _ in range(READERS):
        s = socket.create_connection(("127.0.0.1", daemon.port), 60)
        slow.sockets.append(s)
        senders.append(s)
        s.sendall(head + data[:1_000_000])
    wait_for(lambda: all_taken(daemon), "all is taken", 60)
    assert held(daemon) - before < MANY
    assert read_response(senders[-1])[0] == 429
    for s in senders[1:]:
        s.close()
    wait_for(lambda: daemon.roles("worker")[0]["connections"] < 5, "the others are gone")
    senders[0].sendall(data[1_000_000:])
    assert read_response(senders[0])[0] == 201
