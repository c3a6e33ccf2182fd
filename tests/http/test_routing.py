"""Where requests lead: connectors, hosts, prefixes, first components; and the endpoints about nothing."""
import http.client
import socket

import pytest

from harness.daemon import free_port, log_fields, wait_for
from harness.registry import Registry, digest, error

FOUR = """
hosted alpha {{ }}
hosted beta-1 {{ }}
hosted asleep {{ online = false }}
connector "127.0.0.1:{port}" {{
    host a.example {{ repository = alpha }}
    host B.example {{ repository = beta-1 }}
}}
"""


@pytest.fixture(scope="module")
def four():
    from harness.daemon import Daemon
    daemon = Daemon(text=FOUR).start()
    yield daemon
    daemon.close()


def ask(daemon, method, path, host=None, body=None):
    c = http.client.HTTPConnection("127.0.0.1", daemon.port, timeout=20)
    c.request(method, path, body=body, headers={"Host": host} if host else {})
    r = c.getresponse()
    r.body = r.read()
    c.close()
    return r


@pytest.mark.parametrize("path", ["/v2/", "/v2"])
def test_ping(registry, path):
    for method in ("GET", "HEAD"):
        r = registry.request(method, path)
        assert r.status_code == 200 and r.headers["Content-Type"] == "application/json"
        assert r.headers["Docker-Distribution-Api-Version"] == "registry/2.0"
        assert r.headers["Content-Length"] == "2"
    assert registry.request("GET", path).json() == {}


def test_ping_wrong_method(registry):
    r = registry.request("PUT", "/v2/")
    assert r.status_code == 405 and r.headers["Allow"] == "GET, HEAD" and error(r) == "UNSUPPORTED"


def test_discover(registry):
    r = registry.request("GET", "/v2/_oci/ext/discover")
    assert r.status_code == 200 and r.json() == {"extensions": []}


@pytest.mark.parametrize("path", ["/", "/v1/_ping", "/v3/", "/v2/x", "/v2/a/b", "/index.html", "/v2//manifests/x",
                                  "/repository/", "/repository/x", "/repository/none/v2/"])
def test_paths_that_lead_nowhere(registry, path):
    r = registry.request("GET", path)
    assert r.status_code in (400, 404) and error(r) in ("NAME_UNKNOWN", "NAME_INVALID")


def test_names_may_hold_the_words_of_the_protocol(registry):
    for image in ("tags/list", "blobs/uploads", "a/manifests/b", "x/blobs/y", "referrers", "manifests/manifests"):
        at = registry.at(image)
        data = at.push_image("list")
        assert at.get("manifests/list").content == data
        assert at.get("tags/list").json() == {"name": image, "tags": ["list"]}
        assert at.get("blobs/" + digest(b"layer")).content == b"layer"
        assert at.get("referrers/" + digest(data)).status_code == 200


def test_by_prefix(registry, entrepot):
    at = Registry(entrepot.url + "/repository/docker-local", "pre/fixed")
    url = at.begin()
    assert "/repository/docker-local/v2/pre/fixed/blobs/uploads/" in url
    r = at.finish(url, digest(b"x"), b"x")
    assert r.headers["Location"] == f"/repository/docker-local/v2/pre/fixed/blobs/{digest(b'x')}"
    assert at.request("GET", "/v2/").status_code == 200
    assert registry.at("pre/fixed").get("blobs/" + digest(b"x")).content == b"x"


def test_by_first_component(four):
    at = Registry(four.url, "alpha/team/app")
    url = at.begin()
    assert "/v2/alpha/team/app/blobs/uploads/" in url
    assert at.finish(url, digest(b"x"), b"x").headers["Location"].startswith("/v2/alpha/team/app/blobs/")
    at.push_image("1")
    assert at.get("tags/list").json()["name"] == "alpha/team/app"
    assert at.at("beta-1/team/app").get("blobs/" + digest(b"x")).status_code == 404
    for image in ("gamma/team/app", "team/app", "alpha"):
        r = at.at(image).get("tags/list")
        assert r.status_code == 404 and error(r) == "NAME_UNKNOWN"


def test_mount_from_another_repository_by_first_component(four):
    Registry(four.url, "alpha/source").push_blob(b"mounted across")
    d = digest(b"mounted across")
    at = Registry(four.url, "beta-1/target")
    r = at.post(f"blobs/uploads/?mount={d}&from=alpha/source")
    assert r.status_code == 201 and r.headers["Location"] == f"/v2/beta-1/target/blobs/{d}"
    assert at.get(f"blobs/{d}").content == b"mounted across"


def test_by_host_name(four):
    Registry(four.url, "alpha/named").push_blob(b"by name")
    path = "/v2/named/blobs/" + digest(b"by name")
    assert ask(four, "GET", path, "a.example").body == b"by name"
    assert ask(four, "GET", path, "A.Example:1234").body == b"by name"
    assert ask(four, "GET", path, "b.example").status == 404
    assert ask(four, "GET", path, "c.example").status == 404


def test_offline(four):
    r = Registry(four.url, "asleep/x").get("manifests/latest")
    assert r.status_code == 503 and error(r) == "UNAVAILABLE" and r.headers["Retry-After"]
    assert "asleep" in r.json()["errors"][0]["message"]


def test_ipv6(start):
    port = free_port(socket.AF_INET6)
    daemon = start(text="hosted docker-local {{ }}\nconnector \"127.0.0.1:{port}\" {{ repository = docker-local }}\n"
                        f"connector \"[::1]:{port}\" {{{{ repository = docker-local }}}}\n")
    at = Registry(f"http://[::1]:{port}", "six/x")
    data = at.push_image("1")
    assert at.get("manifests/1").content == data
    assert "client=[::1]:" in wait_for(daemon.access_log_text, "the access log")


def test_request_ids(registry, entrepot):
    r = registry.get("manifests/nothing-here")
    request_id = r.headers["X-Request-Id"]
    line = wait_for(lambda: [x for x in entrepot.access_log_text().splitlines() if request_id in x], "the line")[0]
    fields = log_fields(line)
    assert fields["req"] == request_id and fields["status"] == "404" and fields["method"] == "GET"
    assert fields["repo"] == "docker-local" and fields["image"] == registry.image
    assert fields["ref"] == "nothing-here" and "nothing-here" in fields["target"]
    assert registry.get("manifests/x").headers["X-Request-Id"] != request_id
