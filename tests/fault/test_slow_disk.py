"""A disk that does not answer: whoever needs it waits, and nobody else. One worker serves all."""
import concurrent.futures
import contextlib
import ctypes
import mmap
import os
import pathlib
import subprocess
import tempfile
import time

import pytest
import requests

from harness import raw
from harness.daemon import wait_for
from harness.registry import Registry, digest
from harness.tools import need

HERE = pathlib.Path(__file__).parent


class Gate:
    def __init__(self, directory):
        self.file = directory / "gate"
        self.reached = directory / "gate.reached"

    def shut(self):
        self.reached.unlink(missing_ok=True)
        self.file.touch()

    def open(self):
        self.file.unlink(missing_ok=True)

    def wait(self, count=1):
        wait_for(lambda: self.reached.exists() and self.reached.stat().st_size >= count, "somebody waits for the disk")


@pytest.fixture
def gate(tmp_path):
    g = Gate(tmp_path)
    yield g
    g.open()


@pytest.fixture
def slow(start, gate, tmp_path, monkeypatch):
    """slow(PATH, BYTES): a daemon whose files with PATH in their name and of that size lie behind the gate."""
    need("cc")
    monkeypatch.setattr(tempfile, "tempdir", "/var/tmp")  # a disk: what lies in memory never waits for one
    library = tmp_path / "slow_disk.so"
    subprocess.run(["cc", "-O1", "-shared", "-fPIC", "-o", str(library), str(HERE / "slow_disk.c"), "-ldl"], check=True)

    def make(path, size=0, **kw):
        if "build-asan" in os.environ.get("ENTREPOTD", ""):
            pytest.skip("slow: a preloaded library and AddressSanitizer do not go together")
        for name, value in (("LD_PRELOAD", library), ("SLOW_DISK_GATE", gate.file), ("SLOW_DISK_PATH", path),
                            ("SLOW_DISK_BYTES", size)):
            monkeypatch.setenv(name, str(value))
        daemon = start(workers=1, **kw)
        monkeypatch.delenv("LD_PRELOAD")  # the tests' own programs need no slow disk
        return daemon

    return make


def evict(daemon, d):
    """Takes a blob's file out of the page cache."""
    path = daemon.blob_path(d)
    with open(path, "rb") as f:
        os.fsync(f.fileno())
        os.posix_fadvise(f.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


@contextlib.contextmanager
def in_memory(daemon, digests):
    """The kernel keeps these blobs' files in its page cache, whatever others do to it meanwhile."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    with contextlib.ExitStack() as stack:
        for d in digests:
            with open(daemon.blob_path(d), "rb") as f:
                size = os.fstat(f.fileno()).st_size
                at = ctypes.c_void_p(libc.mmap(None, ctypes.c_size_t(size), mmap.PROT_READ, mmap.MAP_SHARED, f.fileno(),
                                               ctypes.c_long(0)))
            stack.callback(libc.munmap, at, ctypes.c_size_t(size))
            assert libc.mlock(at, ctypes.c_size_t(size)) == 0, os.strerror(ctypes.get_errno())
        yield


def serves(registry, others):
    """Everything else goes on: what the worker holds, what it reads from the page cache, lists."""
    assert registry.get("manifests/kept").status_code == 200
    for d, data in others.items():
        assert registry.get(f"blobs/{d}").content == data
    assert registry.get("tags/list").json()["tags"]
    assert requests.get(registry.url + "/v2/", timeout=5).status_code == 200


@pytest.mark.parametrize("ranged", [False, True])
def test_cold_layers_delay_nobody(slow, gate, ranged):
    layers = [os.urandom(3 << 20) for _ in range(6)]
    names = [digest(data) for data in layers]
    daemon = slow("/blobs/sha256/", 1 << 20)
    registry = Registry(daemon.url, "cold/layers")
    registry.push_image("kept")
    others = {digest(data): data for data in (b"small", os.urandom(200000))}
    for data in [*layers, *others.values()]:
        registry.push_blob(data)
    for d in names:
        assert registry.get(f"blobs/{d}").status_code == 200  # the file is open in the worker's cache
        evict(daemon, d)
    headers = {"Range": "bytes=1000-2999999"} if ranged else {}
    gate.shut()
    with in_memory(daemon, others), concurrent.futures.ThreadPoolExecutor(len(layers)) as pool:
        # more of them than there are threads
        pulls = [pool.submit(Registry(daemon.url, "cold/layers").get, f"blobs/{d}", headers=headers) for d in names]
        gate.wait(3)
        serves(registry, others)
        registry.push_blob(os.urandom(900000))  # in pieces, which threads write
        assert not any(p.done() for p in pulls)
        gate.open()
        for pull, data in zip(pulls, layers):
            assert pull.result(20).content == (data[1000:3000000] if ranged else data)


def test_a_client_may_leave_a_cold_layer(slow, gate):
    data = os.urandom(3 << 20)
    daemon = slow(digest(data)[7:])
    registry = Registry(daemon.url, "cold/left")
    registry.push_image("kept")
    registry.push_blob(data)
    assert registry.get(f"blobs/{digest(data)}").status_code == 200
    evict(daemon, digest(data))
    gate.shut()
    with pytest.raises((requests.exceptions.ReadTimeout, requests.exceptions.ConnectionError)):
        registry.get(f"blobs/{digest(data)}", timeout=0.5)
    gate.wait()
    serves(registry, {})
    gate.open()
    assert registry.get(f"blobs/{digest(data)}").content == data


def test_what_a_thread_reads_is_not_sent_past_it(slow, gate):
    """A rate window that ends meanwhile is no reason for the loop to go to the disk itself; and the connection hears its
    next request."""
    data = os.urandom(3 << 20)
    daemon = slow(digest(data)[7:], top='rate_window = "1s"\nhead_timeout = "2s"\n')
    registry = Registry(daemon.url, "cold/window")
    registry.push_blob(data)
    evict(daemon, digest(data))
    gate.shut()
    with raw.connect(daemon) as s, raw.connect(daemon) as later:
        s.sendall(f"GET /v2/cold/window/blobs/{digest(data)} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        gate.wait()
        later.sendall(b"GET")
        assert raw.read_response(later)[0] == 408  # longer than the window that began before it
        status, headers, body = raw.read_response(s, head_only=True)
        s.setblocking(False)
        with pytest.raises(BlockingIOError):
            body += s.recv(1)
        assert status == 200 and body == b""
        s.settimeout(20)
        gate.open()
        while len(body) < len(data):
            body += s.recv(1 << 20)
        assert body == data
        s.sendall(b"GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n")
        assert raw.read_response(s)[0] == 200


def test_what_lay_in_memory_may_be_gone_before_a_client_takes_it(slow, gate):
    """Within the piece that was looked at when it began: the rest of it is looked at again."""
    data = os.urandom(3 << 20)
    daemon = slow(digest(data)[7:])
    registry = Registry(daemon.url, "cold/late")
    registry.push_image("kept")
    registry.push_blob(data)
    got, want = b"", 1 << 20
    with raw.connect(daemon, receive_bytes=65536) as s:
        s.sendall(f"GET /v2/cold/late/blobs/{digest(data)} HTTP/1.1\r\nHost: x\r\nRange: bytes=0-{want - 1}\r\n\r\n".encode())
        status, _, got = raw.read_response(s, head_only=True)
        assert status == 206
        gate.shut()
        evict(daemon, digest(data))
        while len(got) < want and not gate.reached.exists():
            got += s.recv(16384)
            time.sleep(0.02)
        gate.wait()
        serves(registry, {})
        gate.open()
        while len(got) < want:
            got += s.recv(1 << 20)
    assert got == data[:want]


def test_slow_syncs_delay_nobody(slow, gate):
    daemon = slow("/blobs/uploads/")
    registry = Registry(daemon.url, "slow/sync")
    registry.push_image("kept")
    data = os.urandom(1 << 20)
    gate.shut()
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        push = pool.submit(Registry(daemon.url, "slow/sync").push_blob, data)
        gate.wait()
        serves(registry, {})
        assert not push.done()
        gate.open()
        push.result(20)
    assert registry.get(f"blobs/{digest(data)}").content == data


def test_a_slow_database_delays_no_pull(slow, gate):
    daemon = slow("/data/catalog")
    registry = Registry(daemon.url, "slow/database")
    registry.push_image("kept")
    gate.shut()
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        push = pool.submit(Registry(daemon.url, "slow/database").push_image, "new")
        gate.wait()
        for _ in range(20):
            assert registry.get("manifests/kept").status_code == 200
        assert registry.get("manifests/new").status_code == 404 and not push.done()
        gate.open()
        push.result(20)
    assert registry.get("manifests/new").status_code == 200
