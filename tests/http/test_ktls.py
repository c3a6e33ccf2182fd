"""Large files over TLS: encrypted by the kernel (kTLS), and by copying where it cannot or must not."""
import os
import pathlib
import re
import socket
import ssl
import subprocess

import pytest

from harness.daemon import Daemon
from harness.registry import digest
from harness.tools import need, own_directory
from test_tls import CONF, Client, certificate, context, push

HERE = pathlib.Path(__file__).parent
TCP_ULP = 31


def kernel_can():
    """The module is loaded by asking for it on a connected socket."""
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as s:
        try:
            s.setsockopt(socket.IPPROTO_TCP, TCP_ULP, b"tls")
        except OSError as e:
            return e.strerror
    return True


def kernel_sessions():
    """Connections whose sending side the kernel has encrypted so far."""
    text = pathlib.Path("/proc/net/tls_stat").read_text()
    return sum(int(n) for n in re.findall(r"^TlsTx(?:Sw|Device)\s+(\d+)", text, re.M))


@pytest.fixture(scope="module", params=["kernel", "copy"])
def path_taken(request):
    need("openssl", "cc")
    can = kernel_can()
    if request.param == "kernel" and can is not True:
        pytest.skip(f"kernel: it has no TLS: {can}")
    directory = own_directory("entrepot-ktls-")
    certificate(directory, "default", "localhost")
    certificate(directory, "named", "named.example")
    daemon = Daemon(text=CONF, directory=directory)
    daemon.own_dir = True
    if request.param == "copy" and can is True:
        if "build-asan" in os.environ.get("ENTREPOTD", ""):
            pytest.skip("slow: a preloaded library and AddressSanitizer do not go together")
        library = directory / "no_ktls.so"
        subprocess.run(["cc", "-O1", "-shared", "-fPIC", "-o", library, HERE / "no_ktls.c", "-ldl"], check=True)
        os.environ["LD_PRELOAD"] = str(library)
    try:
        daemon.start()
    finally:
        os.environ.pop("LD_PRELOAD", None)
    yield daemon, request.param == "kernel"
    daemon.close()


@pytest.mark.parametrize("version", ["TLSv1_2", "TLSv1_3"])
@pytest.mark.parametrize("size", [100_000, (3 << 20) + 1, 40 << 20])
def test_files(path_taken, version, size):
    daemon, by_kernel = path_taken
    before = kernel_sessions() if by_kernel else 0
    v = getattr(ssl.TLSVersion, version)
    data = os.urandom(1 << 20) * (size // (1 << 20) + 1)
    data = data[:size]
    push(daemon, "ktls/files", data)
    c = Client(daemon, context(daemon, minimum_version=v, maximum_version=v))
    for _ in range(2):  # the connection goes on after a file
        assert c.ask(f"/v2/ktls/files/blobs/{digest(data)}")[2] == data
    status, _, part = c.ask(f"/v2/ktls/files/blobs/{digest(data)}", headers="Range: bytes=70001-99998\r\n")
    assert status == 206 and part == data[70001:99999]
    assert c.ask("/v2/")[0] == 200
    c.close()
    if by_kernel:
        assert kernel_sessions() > before


def test_slow_readers(path_taken):
    """The socket is full again and again: what was refused is offered again, and nothing twice."""
    daemon, _ = path_taken
    data = os.urandom(6 << 20)
    push(daemon, "ktls/slow", data)
    raw = socket.socket()
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    raw.connect(("127.0.0.1", daemon.port))
    s = context(daemon).wrap_socket(raw, server_hostname="localhost")
    s.sendall(f"GET /v2/ktls/slow/blobs/{digest(data)} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    assert s.makefile("rb").read().partition(b"\r\n\r\n")[2] == data
