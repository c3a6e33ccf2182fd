"""Who gets a place among a worker's connections: limits of descriptors, idle connections, shares of addresses."""
import pathlib
import re
import resource
import signal
import socket

import pytest

from harness.daemon import ENTREPOTD, free_port, kill, log_fields
from harness.raw import closed, read_response
from harness.registry import Registry

GET = b"GET /v2/ HTTP/1.1\r\nHost: localhost\r\n\r\n"
UPLOAD = (b"POST /v2/a/blobs/uploads/?digest=sha256:" + b"0" * 64
          + b" HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\nExpect: 100-continue\r\n\r\n")
limited = pytest.mark.skipif("valgrind" in ENTREPOTD, reason="valgrind has descriptors of its own")
PROXIED = """
connector "127.0.0.1:%d" {{
    repository = docker-local
    trusted_proxies = {{"127.0.0.9"}}
}}
connector "127.0.0.1:%d" {{
    repository = docker-local
    trusted_proxies = {{"127.0.0.9"}}
    proxy_protocol = true
}}
hosted docker-local {{ }}
connector "127.0.0.1:{port}" {{ repository = docker-local }}
"""


@pytest.fixture(autouse=True)
def room_for_clients():
    old = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(old[0], 4096), max(old[1], 4096)))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, old)


@pytest.fixture
def crowd():
    """Opens connections; all end with the test."""
    sockets = []

    def connect(daemon, address="127.0.0.2", port=None, say=b""):
        s = socket.socket()
        s.settimeout(20)
        s.bind((address, 0))
        s.connect(("127.0.0.1", port or daemon.port))
        s.sendall(say)
        sockets.append(s)
        return s

    yield connect
    for s in sockets:
        s.close()


def files(soft, hard):
    return lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def answered(s, data=GET):
    """True: the daemon answers. False: it has ended the connection."""
    try:
        s.sendall(data)
        return read_response(s) is not None
    except (BrokenPipeError, ConnectionResetError):
        return False


def busy(s, head=b""):
    """Its request is under way: the daemon waits for the body."""
    try:
        s.sendall(head + UPLOAD)
        response = read_response(s, head_only=True)
    except (BrokenPipeError, ConnectionResetError):
        return False
    return response is not None and response[0] == 100


def open_files(pid):
    limits = pathlib.Path(f"/proc/{pid}/limits").read_text()
    return [int(n) for n in re.search(r"Max open files +(\d+) +(\d+)", limits).groups()]


def fitted(daemon):
    line = next(x for x in daemon.log_text().splitlines() if "max_connections is more than" in x)
    return log_fields(line)


@limited
def test_the_soft_limit_is_raised(start, crowd):
    """More connections than the soft limit of the start allows, all of them idle, and all stay."""
    daemon = start(top="max_connections_per_address = 4000\n", workers=1, preexec=files(1024, 4096))
    assert [open_files(pid) for pid in daemon.everybody()] == [[4096, 4096]] * len(daemon.all_pids())
    assert 1100 < int(fitted(daemon)["used"]) < 2048 and fitted(daemon)["open_files"] == "4096"
    idle = [crowd(daemon) for _ in range(1100)]
    assert Registry(daemon.url).request("GET", "/v2/").status_code == 200
    assert answered(idle[0]) and answered(idle[-1])


@limited
def test_idle_connections_do_not_stop_the_service(start, crowd):
    """More of them than there can be descriptors, from many addresses and without a word."""
    daemon = start(workers=1, preexec=files(1024, 1024))
    used = int(fitted(daemon)["used"])
    data = Registry(daemon.url).push_image("x")
    idle = [crowd(daemon, f"127.0.1.{i % 200 + 1}") for i in range(1100)]
    assert Registry(daemon.url).get("manifests/x").content == data
    assert closed(idle[0]) and answered(idle[-1])
    assert daemon.roles("worker")[0]["connections"] <= used < 512
    assert "want of descriptors" not in daemon.log_text()


@limited
def test_a_connection_has_a_descriptor_for_its_file(start, crowd):
    """As many uploads at once as there may be connections: each has a file, and nobody lacks one."""
    daemon = start(top="max_connections_per_address = 1000\n", workers=1, preexec=files(128, 128))
    count = int(fitted(daemon)["used"])
    assert count > 10
    assert all(busy(crowd(daemon)) for _ in range(count))
    assert "want of descriptors" not in daemon.log_text() and "cannot create" not in daemon.log_text()


@limited
def test_a_reload_fits_too(start):
    daemon = start(workers=1, preexec=files(1024, 1024), top="max_connections = 100\n")
    assert "max_connections is more than" not in daemon.log_text()
    daemon.conf.write_text(daemon.conf.read_text().replace("= 100\n", "= 5000\n"))
    daemon.reload()
    assert fitted(daemon)["max_connections"] == "5000"


def test_the_longest_idle_goes_first(start, crowd):
    daemon = start(top="max_connections = 5\nmax_connections_per_address = 5\n", workers=1)
    a, b, c = crowd(daemon), crowd(daemon), crowd(daemon, say=b"GET /v2/ HTTP/1.1\r\nHo")
    assert busy(a) and answered(b)  # c never says all of its request
    d, e = crowd(daemon), crowd(daemon)
    assert answered(d) and answered(e)
    f = crowd(daemon)
    assert answered(f) and closed(c)
    g = crowd(daemon)
    assert answered(g) and closed(b)
    assert all(answered(s) for s in (d, e, f, g))
    a.sendall(b"x" * 9)
    assert read_response(a)[0] == 400  # another digest than it said


def test_a_request_that_came_meanwhile_is_answered(start, crowd):
    """A worker that hangs finds requests and new connections at the same time."""
    daemon = start(top="max_connections = 4\nmax_connections_per_address = 4\n", workers=1)
    idle = [crowd(daemon) for _ in range(4)]
    assert all(answered(s) for s in idle)
    worker = daemon.pids("worker")[0]
    kill(worker, signal.SIGSTOP)
    try:
        for s in idle:
            s.sendall(GET)
        late = [crowd(daemon, say=GET) for _ in range(4)]
    finally:
        kill(worker, signal.SIGCONT)
    assert all(read_response(s)[0] == 200 for s in idle + late)


def test_whoever_finds_all_busy_waits(start, crowd):
    daemon = start(top="max_connections = 3\nmax_connections_per_address = 3\n", workers=1)
    held = [crowd(daemon) for _ in range(3)]
    assert all(busy(s) for s in held)
    waits = [crowd(daemon, say=GET) for _ in range(5)]
    with pytest.raises(TimeoutError):
        waits[0].settimeout(0.3)
        waits[0].recv(1)
    waits[0].settimeout(20)
    held[1].sendall(b"x" * 9)
    assert read_response(held[1])[0] == 400
    assert all(read_response(s)[0] == 200 for s in waits)
    assert "all connections are in use" in daemon.log_text()


def test_an_address_has_a_share(start, crowd):
    daemon = start(top="max_connections = 40\nmax_connections_per_address = 3\n", workers=1)
    held = [crowd(daemon) for _ in range(3)]
    assert all(busy(s) for s in held)
    assert not answered(crowd(daemon)) and not answered(crowd(daemon))
    assert answered(crowd(daemon, "127.0.0.3"))
    line = next(x for x in daemon.log_text().splitlines() if "has its share of connections" in x)
    assert log_fields(line)["address"] == "127.0.0.2" and log_fields(line)["share"] == "3"
    held[0].sendall(b"x" * 9)
    assert read_response(held[0])[0] == 400
    assert answered(crowd(daemon))


def test_of_its_own_idle_connections_first(start, crowd):
    daemon = start(top="max_connections = 40\nmax_connections_per_address = 2\n", workers=1)
    other, a, b = crowd(daemon, "127.0.0.3"), crowd(daemon), crowd(daemon)
    assert answered(other) and answered(a) and answered(b)
    assert answered(crowd(daemon)) and closed(a)
    assert answered(b) and answered(other)


def test_the_share_is_a_quarter(start, crowd):
    daemon = start(top="max_connections = 16\n", workers=1)
    assert all(busy(crowd(daemon)) for _ in range(4))
    assert not answered(crowd(daemon))


def test_proxies_have_no_share(start, crowd):
    """A proxy that is trusted stands for many; what its protocol tells counts, IPv6 by the /64."""
    forwards, names = free_port(), free_port()
    daemon = start(text="max_connections_per_address = 2\n" + PROXIED % (forwards, names), workers=1)
    assert all(busy(crowd(daemon, "127.0.0.9", forwards)) for _ in range(5))
    assert [busy(crowd(daemon, "127.0.0.8", forwards)) for _ in range(3)] == [True, True, False]

    def named(client, family="TCP4", own="127.0.0.1"):
        head = f"PROXY {family} {client} {own} 50000 443\r\n".encode() if client else b"PROXY UNKNOWN\r\n"
        return busy(crowd(daemon, "127.0.0.9", names), head)

    assert [named("203.0.113.9") for _ in range(3)] == [True, True, False]
    assert named("203.0.113.10")
    assert [named(f"2001:db8::{i}", "TCP6", "::1") for i in (1, 2, 3)] == [True, True, False]
    assert named("2001:db8:0:1::1", "TCP6", "::1")
    assert all(named(None) for _ in range(4))
