"""entrepotctl fetches, proxy status and warm."""
import json
import os

import pytest

from harness.daemon import wait_for
from harness.proxy import proxy, upstream  # noqa: F401
from harness.registry import OCI_INDEX, OCI_IMAGE, digest


def test_fetches_shows_what_runs(proxy, upstream):
    layer = os.urandom(400000)
    upstream.image("team/app", layers=[layer])
    client = proxy(upstream, stall="30s")
    assert json.loads(client.daemon.ctl("--json", "fetches").stdout) == []
    rule = upstream.rule("GET", "/blobs/", stall=200000)
    r = client.get("blobs/" + digest(layer), stream=True)
    assert rule.reached.wait(10)
    running = json.loads(client.daemon.ctl("--json", "fetches").stdout)
    assert [(x["repository"], x["image"], x["digest"], x["total"]) for x in running] == [
        ("up", "team/app", digest(layer), len(layer))]
    assert "team/app" in client.daemon.ctl("fetches").stdout
    rule.go.set()
    assert r.raw.read() == layer
    wait_for(lambda: json.loads(client.daemon.ctl("--json", "fetches").stdout) == [], "it is over")


def test_proxy_status_tells_budget_and_health(proxy, upstream):
    upstream.image("team/app")
    upstream.rule("*", "/manifests/", headers={"RateLimit-Limit": "100;w=21600", "RateLimit-Remaining": "76;w=21600"})
    client = proxy(upstream)
    client.get("manifests/latest")
    p = json.loads(client.daemon.ctl("--json", "proxy", "status").stdout)[0]
    assert (p["repository"], p["rate_limit"], p["rate_left"]) == ("up", 100, 76)
    assert p["remotes"] == [{"url": upstream.url, "up": True, "failures": 0, "down_s": 0, "limited_s": {}}]
    upstream.close()

    def down():
        client.get("manifests/none")
        return json.loads(client.daemon.ctl("--json", "proxy", "status").stdout)[0]["remotes"][0]

    assert wait_for(lambda: not (row := down())["up"] and row, "the remote is down")["failures"] >= 3

    def told():
        client.get("manifests/again")  # asked anew when its time is over, and down for longer then
        return "DOWN" in client.daemon.ctl("proxy", "status").stdout

    wait_for(told, "it is told in words")


def multi_platform(upstream):
    children = []
    for arch in ("amd64", "arm64"):
        data = upstream.image("team/multi", layers=[arch.encode() * 1000])
        children.append({"mediaType": OCI_IMAGE, "digest": digest(data), "size": len(data),
                         "platform": {"os": "linux", "architecture": arch}})
    index = json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": children}).encode()
    upstream.manifest("team/multi", index, "latest", OCI_INDEX)
    return [c["digest"] for c in children]


def test_warm_fetches_one_platform_or_all(proxy, upstream, tmp_path):
    amd, arm = multi_platform(upstream)
    client = proxy(upstream, ttl="1h")
    client.daemon.ctl("warm", "--platform", "linux/arm64", "up:team/multi:latest")
    assert not upstream.asked("GET", amd) and upstream.asked("GET", arm)
    assert upstream.asked("GET", digest(b"arm64" * 1000))
    images = tmp_path / "images"
    images.write_text("# ours\nup:team/multi\n")
    done = json.loads(client.daemon.ctl("--json", "warm", "--all-platforms", str(images)).stdout)
    assert done["good"] and done["manifests"] == 3
    upstream.close()
    image = client.at("team/multi")
    assert image.get("manifests/latest").status_code == 200
    for d in (amd, arm):
        for layer in image.get("manifests/" + d).json()["layers"]:
            assert image.get("blobs/" + layer["digest"]).status_code == 200


def test_warm_tells_what_it_could_not_fetch(proxy, upstream):
    client = proxy(upstream)
    done = client.daemon.ctl("warm", "up:team/none:latest", check=False)
    assert done.returncode == 1 and "does not have it" in done.stdout
    assert client.daemon.ctl("warm", "nowhere:team/none", check=False).returncode == 1


@pytest.mark.parametrize("command", [["fetches"], ["proxy", "status"], ["warm", "docker-local:team/app:1"]])
def test_without_a_proxy_nobody_is_waited_for(entrepot, command):
    """No process answers on the fetcher's socket then: the tool says so instead of waiting for its deadline."""
    done = entrepot.ctl(*command, check=False)
    assert done.returncode == 1 and "no proxy is configured" in done.stderr
