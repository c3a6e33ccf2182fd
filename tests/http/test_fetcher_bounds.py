"""What strangers may keep busy: downloads, questions and places of the fetcher, by client and by proxy."""
import os
import socket
import threading

import pytest
import requests

from harness.daemon import wait_for
from harness.proxy import proxy, upstream  # noqa: F401
from harness.registry import Registry, digest
from harness.upstream import Upstream

SLOTS = 4096  # BOARD_SLOTS_MAX
CLIENT = 256  # SHARES_CLIENT_MAX
TWO = """
proxy one {{ remotes = {{"@ONE@"}} missing_ttl = 1s stall_timeout = 60s }}
proxy two {{ remotes = {{"@TWO@"}} missing_ttl = 1s }}
connector "127.0.0.1:{port}" {{ trusted_proxies = {{"127.0.0.1"}} }}
"""


def unknown(n):
    return f"sha256:{n:064x}"


class Flood:
    """Requests that nobody answers yet, each with a connection of its own; `client` is who makes them."""

    def __init__(self, daemon):
        self.daemon, self.sockets = daemon, []

    def ask(self, path, client, method="GET"):
        s = socket.create_connection(("127.0.0.1", self.daemon.port))
        s.sendall(f"{method} {path} HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: {client}\r\n\r\n".encode())
        self.sockets.append(s)
        return s

    def close(self):
        for s in self.sockets:
            s.close()


@pytest.fixture
def other():
    up = Upstream()
    yield up
    up.close()


@pytest.fixture
def two(start, upstream, other):
    daemon = start(text=TWO.replace("@ONE@", upstream.url).replace("@TWO@", other.url))
    flood = Flood(daemon)
    yield daemon, flood
    for rule in upstream.rules:
        rule.go.set()
    flood.close()


def get(daemon, path, client, **kw):
    return requests.get(daemon.url + path, headers={"X-Forwarded-For": client}, timeout=30, **kw)


def ask_all(first, last, ask):
    """ask(session, n) by eight sessions; what it returns, but None."""
    found = []

    def some(start):
        session = requests.Session()
        for n in range(start, last, 8):
            wrong = ask(session, n)
            if wrong:
                found.append((n, wrong))
                return

    threads = [threading.Thread(target=some, args=(first + i,)) for i in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    return found


def test_what_nobody_has_takes_no_place(two, upstream, other):
    """More unknown digests than there are places, one after the other: their places and files are free at once."""
    daemon, _ = two
    layer = os.urandom(3000)
    upstream.blob("team/app", layer)

    def ask(session, n):
        reply = session.get(f"{daemon.url}/v2/one/team/app/blobs/{unknown(n)}", timeout=30)
        return None if reply.status_code == 404 else (reply.status_code, reply.text)

    assert not ask_all(1, SLOTS + 100, ask)
    assert Registry(daemon.url, "one/team/app").get("blobs/" + digest(layer)).content == layer
    partials = [p for p in daemon.data_dir.rglob("*") if p.is_file() and any(unknown(n)[7:] in p.name for n in (1, 2, 3))]
    assert not partials


def refused_beyond(asked, n):
    """Of these all but n wait; those are refused, with a time to come again."""
    refused = []
    for s in asked:
        s.setblocking(False)

    def answers():
        for s in asked:
            try:
                head = s.recv(65536)
            except BlockingIOError:
                continue
            if head:
                refused.append(head)
        return len(refused) >= n

    wait_for(answers, "what is beyond the share is answered", 60)
    assert len(refused) == n
    for head in refused:
        assert head.startswith(b"HTTP/1.1 429 ") and b"\r\nRetry-After: " in head


PATHS = {"blob": ("GET", "team/app/blobs/{}"), "head": ("HEAD", "team/app/blobs/{}"), "manifest": ("GET", "team/app/manifests/{}"),
         "tags": ("GET", "team/{}/tags/list")}


@pytest.mark.parametrize("what", PATHS)
def test_one_client_does_not_keep_others_waiting(two, upstream, what):
    """The remote is slow. A client has its share of questions; beyond it 429, while others are asked for."""
    daemon, flood = two
    upstream.rule("*", "0000", hold=True)
    method, path = PATHS[what]

    def path_of(n):
        return "/v2/one/" + path.format(unknown(n) if "/blobs" in path or "/manifests" in path else unknown(n)[7:])

    asked = [flood.ask(path_of(n), "192.0.2.1", method) for n in range(CLIENT + 20)]
    refused_beyond(asked, 20)
    assert get(daemon, path_of(CLIENT + 99), "192.0.2.1").status_code == 429
    flood.ask(path_of(9999), "192.0.2.2", method)
    for rule in upstream.rules:
        rule.go.set()
    wait_for(lambda: [1 for m, p, _ in upstream.log if path_of(9999).removeprefix("/v2/one") in p], "another client's reaches the remote")


def test_one_proxy_does_not_keep_others_waiting(two, upstream, other):
    """Several clients ask a slow remote; another proxy's blobs come. (The bounds themselves: tests/unit/test_fetcher_share.c.)"""
    daemon, flood = two
    layer = os.urandom(3000)
    other.blob("team/app", layer)
    upstream.rule("*", "sha256:0", hold=True)
    for n in range(600):
        flood.ask(f"/v2/one/team/app/blobs/{unknown(n)}", f"192.0.2.{n // 200}")
    assert get(daemon, f"/v2/two/team/app/blobs/{digest(layer)}", "192.0.2.1").content == layer


def test_a_client_by_ipv6_is_its_network(two, upstream):
    daemon, flood = two
    upstream.rule("*", "sha256:0", hold=True)
    refused_beyond([flood.ask(f"/v2/one/team/app/blobs/{unknown(n)}", f"2001:db8:1:2:{n:x}::7") for n in range(CLIENT + 2)], 2)
