"""Proxies of a real registry, and groups that hold one: docker-registry is the upstream."""
import json
import os
import subprocess
import threading
import time

import pytest
import requests

from harness.daemon import ENTREPOTCTL, free_port, wait_for
from harness.origin import origin  # noqa: F401, a fixture
from harness.proxy import kept
from harness.registry import Registry, digest

CONF = """
hosted local {{ }}
proxy hub {{
    remotes = {{"@URL@"}}
    docker_hub = true
    tag_ttl = @TTL@
    missing_ttl = 0
    connect_timeout = 10s
    @PROXY@
}}
group all {{
    members = {{local, hub}}
    push_to = local
    reserve = {{"team/**"}}
}}
connector "127.0.0.1:{port}" {{ }}
admin "127.0.0.1:@ADMIN@" {{ }}
"""


@pytest.fixture(autouse=True)
def up(origin):
    if not origin.process:
        origin.start()


def conf(origin, ttl="10m", proxy="", admin=None):
    return CONF.replace("@ADMIN@", str(admin or free_port())).replace("@URL@", origin.url).replace("@TTL@", ttl).replace("@PROXY@", proxy)


@pytest.fixture
def proxied(origin, start):
    def make(**kw):
        return start(text=conf(origin, **kw))
    return make


def at(daemon, repo, image):
    return Registry(f"{daemon.url}/repository/{repo}", image)


def test_pulls_by_tag_and_digest_survive_the_upstream(origin, proxied):
    body = origin.registry("library/one").push_image("v1", layers=(b"layer one",))
    daemon = proxied()
    hub = at(daemon, "hub", "one")  # library/ is added
    reply = hub.get("manifests/v1")
    assert (reply.status_code, reply.content) == (200, body), reply.text
    assert reply.headers["Docker-Content-Digest"] == digest(body)
    assert hub.head("manifests/v1").headers["Content-Length"] == str(len(body))
    assert hub.get(f"blobs/{digest(b'layer one')}").content == b"layer one"
    assert hub.get(f"blobs/{digest(b'{}')}").content == b"{}"
    assert hub.get("tags/list").json()["tags"] == ["v1"]
    kept(daemon, "hub", 2)
    origin.stop()
    assert hub.get("manifests/v1").content == body
    assert hub.get(f"manifests/{digest(body)}").content == body
    assert hub.get(f"blobs/{digest(b'layer one')}").content == b"layer one"
    assert hub.get("tags/list").json()["tags"] == ["v1"]
    daemon.kill_all()
    daemon.start()
    assert hub.get("manifests/v1").content == body
    assert hub.get(f"blobs/{digest(b'layer one')}").content == b"layer one"


def test_what_the_upstream_lacks(origin, proxied):
    daemon = proxied()
    hub = at(daemon, "hub", "nothing/here")
    for path in ("manifests/v1", f"manifests/{digest(b'x')}", f"blobs/{digest(b'x')}"):
        assert hub.get(path).status_code == 404
        assert hub.head(path).status_code == 404
    origin.registry("nothing/here").push_image("v1")
    assert hub.get("manifests/v1").status_code == 200  # missing_ttl = 0


def test_a_moved_tag_is_seen_after_its_ttl(origin, proxied):
    first = origin.registry("moving/tag").push_image("v1", layers=(b"first",))
    daemon = proxied(ttl="0")
    hub = at(daemon, "hub", "moving/tag")
    assert hub.get("manifests/v1").content == first
    second = origin.registry("moving/tag").push_image("v1", layers=(b"second",))
    assert hub.get("manifests/v1").content == second
    origin.stop()
    stale = hub.get("manifests/v1")
    assert stale.content == second and stale.headers["Warning"].startswith("299 - ")


def test_without_serve_stale_an_error_is_an_error(origin, proxied):
    origin.registry("not/stale").push_image("v1")
    daemon = proxied(ttl="0", proxy="serve_stale = false")
    hub = at(daemon, "hub", "not/stale")
    assert hub.get("manifests/v1").status_code == 200
    origin.stop()
    reply = hub.get("manifests/v1")
    assert reply.status_code in (502, 503, 504)
    assert reply.json()["errors"][0]["code"] == "UNAVAILABLE"


def test_starts_without_its_upstream(origin, proxied):
    origin.stop()
    daemon = proxied()
    reply = at(daemon, "hub", "any/image").get("manifests/v1")
    assert reply.status_code in (502, 503, 504)
    body = at(daemon, "local", "any/image").push_image("v1")
    assert at(daemon, "local", "any/image").get("manifests/v1").content == body


def test_many_clients_one_cold_blob(origin, proxied):
    data = os.urandom(5 << 20)
    body = origin.registry("library/big").push_image("v1", layers=(data,))
    daemon = proxied()
    hub = at(daemon, "hub", "big")
    assert hub.get("manifests/v1").content == body
    results, gate = [], threading.Barrier(16)

    def pull():
        gate.wait()
        results.append(requests.get(f"{daemon.url}/repository/hub/v2/big/blobs/{digest(data)}").content == data)

    threads = [threading.Thread(target=pull) for _ in range(16)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert results == [True] * 16


def test_ranges_and_heads_of_cold_blobs(origin, proxied):
    data = os.urandom(3 << 20)
    origin.registry("library/cold").push_image("v1", layers=(data,))
    daemon = proxied()
    hub = at(daemon, "hub", "cold")
    head = hub.head(f"blobs/{digest(data)}")
    assert head.status_code == 200 and head.headers["Content-Length"] == str(len(data))
    part = hub.get(f"blobs/{digest(data)}", headers={"Range": "bytes=1000000-1000099"})
    assert part.status_code == 206 and part.content == data[1000000:1000100]
    assert part.headers["Content-Range"] == f"bytes 1000000-1000099/{len(data)}"
    tail = hub.get(f"blobs/{digest(data)}", headers={"Range": "bytes=-10"})
    assert tail.status_code == 206 and tail.content == data[-10:]
    beyond = hub.get(f"blobs/{digest(data)}", headers={"Range": "bytes=99999999-"})
    assert beyond.status_code == 416


def test_existence_does_not_leak_between_images(origin, proxied):
    body = origin.registry("secret/image").push_image("v1", layers=(b"secret layer",))
    daemon = proxied()
    assert at(daemon, "hub", "secret/image").get(f"blobs/{digest(b'secret layer')}").status_code == 200
    kept(daemon, "hub", 1)
    assert at(daemon, "hub", "other/image").get(f"blobs/{digest(b'secret layer')}").status_code == 404
    assert at(daemon, "hub", "other/image").get(f"manifests/{digest(body)}").status_code == 404


def test_proxies_take_no_writes(origin, proxied):
    hub = at(proxied(), "hub", "any/image")
    for method, path in (("POST", "blobs/uploads/"), ("PUT", "manifests/v1"), ("DELETE", "manifests/v1"),
                         ("DELETE", f"blobs/{digest(b'x')}")):
        reply = hub.request(method, hub.image_path(path), data=b"{}")
        assert reply.status_code == 405 and reply.json()["errors"][0]["code"] == "UNSUPPORTED"


def test_groups_join_both(origin, proxied):
    body = origin.registry("library/nginx").push_image("latest", layers=(b"nginx layer",))
    daemon = proxied()
    group = at(daemon, "all", "nginx")
    assert group.get("manifests/latest").content == body
    assert group.get(f"blobs/{digest(b'nginx layer')}").content == b"nginx layer"
    kept(daemon, "hub", 1)
    mine = group.push_image("mine", layers=(b"mine",))
    assert group.get("manifests/mine").content == mine
    assert group.get("tags/list").json()["tags"] == ["latest", "mine"]
    # the same bytes under the same name, without uploading what the proxy has here
    assert group.head(f"blobs/{digest(b'nginx layer')}").status_code == 200
    assert group.put_manifest(body, "again").status_code == 201
    assert at(daemon, "local", "nginx").get(f"blobs/{digest(b'nginx layer')}").content == b"nginx layer"


def test_reserved_names_never_leave_the_house(origin, proxied):
    origin.registry("team/app").push_image("v1")
    daemon = proxied()
    for way in ("hub", "all"):  # all ways: test_reserved_names.py
        assert at(daemon, way, "team/app").get("manifests/v1").status_code == 404
    assert at(daemon, "all", "team/app").get("tags/list").status_code == 404


def test_a_failing_member_fails_the_group(origin, proxied):
    daemon = proxied()
    at(daemon, "local", "own/app").push_image("v1")
    origin.stop()
    assert at(daemon, "all", "own/app").get("manifests/v1").status_code == 200  # local stands first
    assert at(daemon, "all", "own/app").get("manifests/v2").status_code in (502, 503, 504)


def test_namespaces_choose_the_proxy(origin, proxied):
    body = origin.registry("library/redis").push_image("7")
    daemon = proxied(proxy='namespaces = {{"docker.io"}}')
    reply = requests.get(f"{daemon.url}/v2/library/redis/manifests/7?ns=docker.io")
    assert reply.content == body and reply.headers["OCI-Namespace"] == "docker.io"
    assert requests.get(f"{daemon.url}/v2/library/redis/manifests/7?ns=elsewhere.example").status_code == 404


def test_the_fetcher_may_die_at_any_time(origin, proxied):
    origin.registry("library/again").push_image("v1", layers=(b"again",))
    daemon = proxied()
    daemon.respawned("fetcher", [])  # it is ready
    old = daemon.kill_role("fetcher")
    hub = at(daemon, "hub", "again")
    assert hub.get("manifests/v1").status_code == 200
    daemon.respawned("fetcher", old)
    assert hub.get(f"blobs/{digest(b'again')}").content == b"again"


def test_metrics_of_proxies(origin, proxied):
    origin.registry("library/counted").push_image("v1", layers=(b"counted",))
    admin = free_port()
    daemon = proxied(admin=admin)
    hub = at(daemon, "hub", "counted")
    for _ in range(3):
        assert hub.get("manifests/v1").status_code == 200
    values = dict(line.rsplit(" ", 1) for line in requests.get(f"http://127.0.0.1:{admin}/metrics").text.splitlines()
                  if not line.startswith("#"))
    assert values['entrepot_proxy_lookups_total{result="miss"}'] == "1"
    assert values['entrepot_proxy_lookups_total{result="hit"}'] == "2"
    assert values["entrepot_fetcher_up"] == "1"
    assert int(values['entrepot_proxy_upstream_requests_total{repository="hub"}']) >= 1
    assert values['entrepot_proxy_remotes_up{repository="hub"}'] == "1"
    assert not any(name.startswith("entrepot_proxy_ratelimit") for name in values)  # docker-registry meters nobody


def test_evict(origin, proxied):
    body = origin.registry("library/evicted").push_image("v1", layers=(b"evicted",))
    daemon = proxied()
    hub = at(daemon, "hub", "evicted")
    assert hub.get("manifests/v1").content == body
    assert hub.get(f"blobs/{digest(b'evicted')}").content == b"evicted"
    kept(daemon, "hub", 1)
    assert daemon.ctl("evict", "local", check=False).returncode == 1
    # The client has the last byte before the catalog has heard of the blob.
    wait_for(lambda: "evicted" not in daemon.ctl("fetches").stdout, "the download is over")
    daemon.ctl("evict", "hub:evicted")
    wait_for(lambda: "proxies made room" in daemon.log_text(), "it is evicted")
    origin.stop()
    assert hub.get("manifests/v1").status_code in (502, 503, 504)
    assert hub.get(f"blobs/{digest(b'evicted')}").status_code in (502, 503, 504)
    origin.start()  # after failures in a row the remote is left alone for a second or two
    wait_for(lambda: hub.get("manifests/v1").content == body, "the upstream is asked again", 30)


def test_evict_takes_what_it_is_told(origin, start):
    """One image of one proxy: not its others, and not the same one of another proxy."""
    daemon = start(text=conf(origin) + f'proxy other {{{{ remotes = {{{{"{origin.url}"}}}} tag_ttl = 10m }}}}\n')
    bodies = {n: origin.registry(f"told/{n}").push_image("v1", config=b'{"n":"%s"}' % n.encode()) for n in ("one", "two")}
    for repo, n in (("hub", "one"), ("hub", "two"), ("other", "one")):
        assert at(daemon, repo, f"told/{n}").get("manifests/v1").content == bodies[n]
    daemon.ctl("evict", "hub:told/one")
    wait_for(lambda: "proxies made room" in daemon.log_text(), "it is evicted")
    origin.stop()
    assert at(daemon, "hub", "told/one").get("manifests/v1").status_code in (502, 503, 504)
    assert at(daemon, "hub", "told/two").get("manifests/v1").content == bodies["two"]
    assert at(daemon, "other", "told/one").get("manifests/v1").content == bodies["one"]


def test_room_is_made_for_one_that_did_not_get_in(origin, start):
    """The store is not yet short of room by itself; the next layer is larger than what is left."""
    layers = [os.urandom(900 << 10) for _ in range(5)]
    daemon = start(text='blobstore main {{ path = "{dir}/data/blobs" quota = 4M }}\n' + conf(origin))
    for i, layer in enumerate(layers):
        origin.registry(f"room/{i}").push_blob(layer)
        assert at(daemon, "hub", f"room/{i}").get(f"blobs/{digest(layer)}").content == layer
        if i < 4:
            kept(daemon, "hub", i + 1)
    wait_for(lambda: "proxies made room" in daemon.log_text(), "room is made", 60)


def test_a_failing_member_can_be_skipped(origin, start):
    text = conf(origin).replace("members = {{local, hub}}", "members = {{hub, local}} on_member_error = \"skip\"")
    daemon = start(text=text)
    body = at(daemon, "local", "own/app").push_image("v1")
    origin.stop()
    assert at(daemon, "all", "own/app").get("manifests/v1").content == body
    assert at(daemon, "all", "own/app").get("manifests/v2").status_code == 404


def test_a_failing_first_member_is_not_passed_over(origin, start):
    """A name of the house must not be answered by whoever comes later."""
    daemon = start(text=conf(origin).replace("members = {{local, hub}}", "members = {{hub, local}}"))
    at(daemon, "local", "own/app").push_image("v1")
    origin.stop()
    assert at(daemon, "all", "own/app").get("manifests/v1").status_code in (502, 503, 504)


def test_the_quota_of_the_blob_store_makes_proxies_evict(origin, start):
    """Hosted writes beyond it are refused; a proxy makes room first."""
    layers = [os.urandom(1 << 20) for _ in range(6)]
    text = 'blobstore main {{ path = "{dir}/data/blobs" quota = 4M }}\n' + conf(origin)
    daemon = start(text=text)
    ours, layer = at(daemon, "local", "ours"), os.urandom(1 << 20)
    body = ours.push_image("v1", layers=(layer,))
    pushed = int(time.time())
    wait_for(lambda: int(time.time()) > pushed, "the next second: it is older than all that is pulled")
    for i, layer_of in enumerate(layers):
        origin.registry(f"s/{i}").push_image("v1", layers=(layer_of,))
        hub = at(daemon, "hub", f"s/{i}")
        assert hub.get(f"blobs/{digest(layer_of)}").content == layer_of
    origin_is = at(daemon, "hub", "s/5")
    wait_for(lambda: origin_is.head(f"blobs/{digest(layers[5])}").status_code == 200 and "proxies made room" in daemon.log_text(),
             "room was made", 60)
    store = json.loads(daemon.ctl("--json", "repos").stdout)["blobstores"][0]
    assert store["bytes"] <= 4 << 20

    def kept():
        origin.stop()
        return origin_is.get(f"blobs/{digest(layers[5])}").content == layers[5]
    wait_for(kept, "the last one is kept", 60)
    # What was pushed is older than all of them, and stays.
    assert ours.get("manifests/v1").content == body and ours.get(f"blobs/{digest(layer)}").content == layer


def test_proxies_of_one_blob_store_make_room_together(origin, start):
    """What the store lacks goes once, not once for each of them."""
    size, quota = 720 << 10, 13 << 20
    layers = [os.urandom(size) for _ in range(18)]
    text = 'blobstore main {{ path = "{dir}/data/blobs" quota = 13M }}\n' + conf(origin) + \
        f'proxy other {{{{ remotes = {{{{"{origin.url}"}}}} }}}}\n'
    daemon = start(text=text)
    for i, layer in enumerate(layers):
        origin.registry(f"together/{i}").push_blob(layer)
        assert at(daemon, ("hub", "other")[i % 2], f"together/{i}").get(f"blobs/{digest(layer)}").content == layer
    wait_for(lambda: "proxies made room" in daemon.log_text(), "room was made", 60)
    left = json.loads(daemon.ctl("--json", "repos").stdout)["blobstores"][0]["bytes"]
    assert quota // 10 * 9 - size <= left <= quota // 10 * 9


def test_fsck_knows_that_proxies_need_not_have_all(origin, proxied):
    origin.registry("library/partial").push_image("v1", layers=(b"never pulled",))
    daemon = proxied()
    assert at(daemon, "hub", "partial").get("manifests/v1").status_code == 200
    daemon.stop()
    done = subprocess.run([ENTREPOTCTL, "-c", str(daemon.conf), "fsck"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert done.returncode == 0, done.stdout
