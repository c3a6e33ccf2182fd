"""A remote that says 429: what is still asked, of whom, and when again."""
import concurrent.futures
import email.utils
import json
import os
import time

import pytest

from harness.daemon import wait_for
from harness.proxy import proxy, upstream  # noqa: F401
from harness.registry import Registry, digest
from harness.upstream import Upstream

MINUTES = 300  # LIMIT_CLOSED_MAX_S
DAY = {"Retry-After": "86400"}


@pytest.fixture
def other():
    up = Upstream()
    yield up
    up.close()


def test_one_kind_does_not_stop_the_others(proxy, upstream):
    """Pulls are over for a day. Blobs, lists and heads are asked for all the same."""
    layer = os.urandom(4000)
    manifest = upstream.image("team/app", layers=[layer])
    client = proxy(upstream)
    assert client.get("manifests/latest").content == manifest
    upstream.rule("GET", "/manifests/", status=429, headers=DAY)
    upstream.image("team/sister")
    assert client.at("team/sister").get("manifests/latest").status_code == 429
    assert client.get("blobs/" + digest(layer)).content == layer
    assert client.get("tags/list").json()["tags"] == ["latest"]
    assert client.head("blobs/" + digest(b"{}")).status_code == 200
    upstream.log.clear()
    answer = client.get("manifests/latest")
    assert answer.content == manifest and "Warning" not in answer.headers
    assert [m for m, _, _ in upstream.log] == ["HEAD"]


def test_a_tag_that_moved_is_served_old_with_a_warning(proxy, upstream):
    manifest = upstream.image("team/app")
    client = proxy(upstream)
    assert client.get("manifests/latest").content == manifest
    upstream.image("team/app", layers=[b"moved"])
    upstream.rule("GET", "/manifests/", status=429, headers=DAY)
    for _ in range(2):  # refused by the remote, then by what is remembered of it
        answer = client.get("manifests/latest")
        assert answer.content == manifest and "too many requests" in answer.headers["Warning"]


def test_heads_that_are_limited_do_not_stop_pulls(proxy, upstream):
    client = proxy(upstream)
    upstream.rule("HEAD", "/manifests/", status=429, headers=DAY)
    for layer in (b"one", b"two"):
        manifest = upstream.image("team/app", layers=[layer])
        answer = client.get("manifests/latest")
        assert answer.content == manifest and "Warning" not in answer.headers
    assert len(upstream.asked("HEAD", "/manifests/")) == 1


def test_the_next_remote_is_asked_and_the_first_left_alone(proxy, upstream, other):
    layers = [os.urandom(3000) for _ in range(3)]
    for up in (upstream, other):
        up.image("team/app", layers=layers)
    client = proxy(upstream, other)
    upstream.rule("GET", "/blobs/", status=429, headers=DAY)
    for layer in layers:
        assert client.get("blobs/" + digest(layer)).content == layer
    assert len(upstream.asked("GET", "/blobs/")) == 1
    status = json.loads(client.daemon.ctl("--json", "proxy", "status").stdout)[0]["remotes"]
    assert 0 < status[0]["limited_s"]["blobs"] <= MINUTES and status[1]["limited_s"] == {}
    assert "too many requests: not asked for blobs" in client.daemon.ctl("proxy", "status").stdout


def http_date(seconds):
    return email.utils.formatdate(time.time() + seconds, usegmt=True)


@pytest.mark.parametrize("value, least, most", [
    ("7", 5, 7), ("86400", MINUTES - 5, MINUTES), ("9" * 40, MINUTES - 5, MINUTES), (lambda: http_date(60), 40, 61),
    (lambda: http_date(10 ** 7), MINUTES - 5, MINUTES), (lambda: http_date(-60), 1, 1), ("soon", 1, 1), ("-1", 1, 1), (None, 1, 1)])
def test_what_retry_after_says(proxy, upstream, value, least, most):
    """Understood, or bounded, and the client is told so. (All forms: unit/test_fetcher_limit.)"""
    value = value() if callable(value) else value
    upstream.rule("GET", "/blobs/", status=429, headers={"Retry-After": value} if value else {})
    answer = proxy(upstream).get("blobs/" + digest(b"x"))
    assert answer.status_code == 429 and least <= int(answer.headers["Retry-After"]) <= most


def test_one_asks_whether_it_is_over(proxy, upstream):
    """Then the others, who wait for what it hears."""
    layers = [os.urandom(3000) for _ in range(6)]
    upstream.image("team/app", layers=layers)
    client = proxy(upstream, stall="30s")
    upstream.rule("GET", "/blobs/", times=1, status=429, headers={"Retry-After": "1"})
    assert client.get("blobs/" + digest(b"first")).status_code == 429
    probe = upstream.rule("GET", "/blobs/", times=1, hold=True)

    def over():
        return client.get("blobs/" + digest(b"second")).status_code == 404

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        first = pool.submit(lambda: wait_for(over, "it is over"))
        assert probe.reached.wait(20)
        asked = len(upstream.asked("GET", "/blobs/"))
        pulls = [pool.submit(Registry(client.url, client.image).get, "blobs/" + digest(x)) for x in layers]

        def in_line():
            return len(json.loads(client.daemon.ctl("--json", "fetches").stdout)) == 1 + len(layers)

        wait_for(in_line, "all are asked for")
        assert len(upstream.asked("GET", "/blobs/")) == asked
        probe.go.set()
        assert [p.result().content for p in pulls] == layers
        first.result()


def test_a_download_that_was_cut_off_waits_for_it(proxy, upstream):
    layer = os.urandom(400_000)
    upstream.image("team/app", layers=[layer])
    client = proxy(upstream)
    upstream.rule("GET", "/blobs/", times=1, status=429, headers={"Retry-After": "2"})
    upstream.rule("GET", "/blobs/", times=1, cut=200_000)
    assert client.get("blobs/" + digest(layer)).content == layer
    assert len(upstream.asked("GET", "/blobs/")) == 3


def test_a_download_that_was_cut_off_goes_on_where_it_may(proxy, upstream, other):
    """One remote is limited for minutes, the other was only out of order for a moment."""
    layer = os.urandom(400_000)
    for up in (upstream, other):
        up.image("team/app", layers=[layer])
    client = proxy(upstream, other)
    upstream.rule("GET", "/blobs/", status=429, headers=DAY)
    upstream.rule("GET", "/blobs/", times=1, cut=200_000)
    other.rule("GET", "/blobs/", times=1, status=503)
    assert client.get("blobs/" + digest(layer)).content == layer
    assert len(upstream.asked("GET", "/blobs/")) == len(other.asked("GET", "/blobs/")) == 2


def test_a_token_server_that_says_429(proxy, upstream, tmp_path):
    secret = tmp_path / "password"
    secret.write_text(upstream.password)
    upstream.auth = "token"
    for image in ("team/app", "team/sister"):
        upstream.image(image)
    client = proxy(upstream, more=f'username = "robot"\n password_file = "{secret}"')
    assert client.get("manifests/latest").status_code == 200
    tokens = upstream.rule("GET", "^/token", status=429, headers=DAY)
    for image in ("team/sister", "team/third"):
        answer = client.at(image).get("manifests/latest")
        assert answer.status_code == 429 and int(answer.headers["Retry-After"]) <= MINUTES
    assert tokens.used == 1
    assert "Warning" not in client.get("manifests/latest").headers  # it has its token


def test_few_pulls_left_for_the_time_of_their_window(proxy, upstream):
    manifest = upstream.image("team/app")
    client = proxy(upstream, more="rate_reserve = 10")
    upstream.rule("*", "/manifests/", times=2, headers={"RateLimit-Limit": "100;w=3", "RateLimit-Remaining": "5;w=3"})
    assert client.get("manifests/latest").content == manifest
    moved = upstream.image("team/app", layers=[b"moved"])
    answer = client.get("manifests/latest")
    if answer.content != moved:  # else three seconds went by
        assert answer.content == manifest and "few pulls" in answer.headers["Warning"]
    wait_for(lambda: client.get("manifests/latest").content == moved, "its window is over")
    assert "Warning" not in client.get("manifests/latest").headers
