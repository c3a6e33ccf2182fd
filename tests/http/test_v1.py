"""What is left of Docker's V1 API: ping, users, search (doc/protocol.md, "The V1 API")."""
import concurrent.futures

import pytest

from harness.daemon import Daemon, log_fields
from harness.raw import exchange
from harness.registry import Registry, digest, error

CONF = """
docker_v1_api = true
hosted docker-local {{ }}
hosted docker {{ }}
hosted asleep {{ online = false }}
connector "127.0.0.1:{port}" {{
    host one.example {{ repository = docker-local }}
    host asleep.example {{ repository = asleep }}
}}
"""
IMAGES = {"docker-local": ("library/nginx", "nginx", "team/my-nginx", "team/redis", "zz/nginx-unit"),
          "docker": ("nginx", "other")}


@pytest.fixture(scope="module")
def v1():
    d = Daemon(text=CONF).start()
    for repository, images in IMAGES.items():
        for image in images:
            Registry(d.url, f"{repository}/{image}").push_image("1")
    yield d
    d.close()


def ask(daemon, path, method="GET", host=None, **kw):
    return Registry(daemon.url).request(method, path, headers={"Host": host} if host else {}, **kw)


def search(daemon, query, host="one.example"):
    r = ask(daemon, "/v1/search?" + query, host=host)
    assert r.status_code == 200 and r.headers["Content-Type"] == "application/json", r.text
    return r.json()


def names(daemon, query, host="one.example"):
    return [x["name"] for x in search(daemon, query, host)["results"]]


def test_switched_off(entrepot):
    for path in ("/v1/_ping", "/v1/users/", "/v1/search?q=x", "/v1/", "/v1"):
        for method in ("GET", "POST"):
            r = ask(entrepot, path, method)
            assert r.status_code == 404 and error(r) == "NAME_UNKNOWN"


def test_ping(v1):
    for method in ("GET", "HEAD"):
        r = ask(v1, "/v1/_ping", method)
        assert r.status_code == 200 and r.headers["Content-Type"] == "application/json"
        assert r.headers["X-Docker-Registry-Version"] == "0.6.0"
        assert r.headers["X-Docker-Registry-Standalone"] == "true"
    assert ask(v1, "/v1/_ping").json() is True


@pytest.mark.parametrize("path", ["/v1/users/", "/v1/users"])
def test_users(v1, path):
    """No account is ever created: the engine is sent on to GET, whose answer counts."""
    r = ask(v1, path, "POST", json={"username": "x", "password": "y", "email": "z@example"})
    assert r.status_code == 401 and isinstance(r.json(), str)
    assert ask(v1, path, auth=("x", "y")).status_code == 200
    assert "x" not in [log_fields(line).get("user") for line in v1.access_log_text().splitlines()]


@pytest.mark.parametrize("path,allowed", [("/v1/_ping", "GET, HEAD"), ("/v1/search", "GET, HEAD"), ("/v1/users/", "GET, HEAD, POST")])
def test_wrong_methods(v1, path, allowed):
    for method in ("PUT", "DELETE"):
        r = ask(v1, path, method)
        assert r.status_code == 405 and r.headers["Allow"] == allowed and error(r) == "UNSUPPORTED"


@pytest.mark.parametrize("path", ["/v1/", "/v1/repositories/x/y/images", "/v1/images/0123/json", "/v1/_ping/", "/v1/search/x", "/v1//search"])
def test_images_are_not_served(v1, path):
    r = ask(v1, path)
    assert r.status_code == 404 and error(r) == "NAME_UNKNOWN"


def test_search(v1):
    found = search(v1, "q=nginx")
    assert found["query"] == "nginx" and found["num_results"] == 4
    assert found["results"][0] == {"name": "library/nginx", "description": "", "star_count": 0, "is_official": False,
                                   "is_automated": False}
    assert [x["name"] for x in found["results"]] == ["library/nginx", "nginx", "team/my-nginx", "zz/nginx-unit"]
    assert (found["page"], found["page_size"], found["num_pages"]) == (1, 25, 1)


@pytest.mark.parametrize("query,wanted", [
    ("q=redis", ["team/redis"]), ("q=team/", ["team/my-nginx", "team/redis"]), ("q=y-n", ["team/my-nginx"]),
    ("q=NGINX-Unit", ["zz/nginx-unit"]), ("q=absent", []), ("q=%2Fredis", ["team/redis"]), ("q=library%2fnginx", ["library/nginx"]),
    ("q=docker-local", []), ("q=n.inx", []), ("q=*", []), ("q=%25", [])])
def test_terms(v1, query, wanted):
    assert names(v1, query) == wanted


def test_everything(v1):
    wanted = list(IMAGES["docker-local"])
    assert names(v1, "q=") == names(v1, "") == wanted


def test_names_on_a_connector_without_repository(v1):
    """They begin with the repository's, so that they can be pulled as shown; in byte order."""
    wanted = ["docker-local/library/nginx", "docker-local/nginx", "docker-local/team/my-nginx", "docker-local/zz/nginx-unit",
              "docker/nginx"]
    assert names(v1, "q=nginx", None) == wanted
    for name in wanted:
        assert Registry(v1.url, name).head("manifests/1").status_code == 200
    assert names(v1, "q=docker-local/t", None) == ["docker-local/team/my-nginx", "docker-local/team/redis"]
    assert search(v1, "q=docker/", None)["num_results"] == 2
    assert names(v1, "n=2&page=3&q=nginx", None) == ["docker/nginx"]  # over the border of two repositories
    assert names(v1, "n=3&page=2&q=nginx", None) == wanted[3:]


def test_pages(v1):
    first = search(v1, "q=nginx&n=3")
    assert len(first["results"]) == 3 and first["num_results"] == 4 and first["num_pages"] == 2
    second = search(v1, "q=nginx&n=3&page=2")
    assert [x["name"] for x in second["results"]] == ["zz/nginx-unit"] and second["page"] == 2
    assert search(v1, "q=nginx&n=3&page=3")["results"] == []
    assert search(v1, "q=nginx&n=1000")["page_size"] == 100
    assert search(v1, "q=nginx&n=99999999999999999999")["page_size"] == 100
    assert search(v1, "q=nginx&n=0")["page_size"] == 25
    assert search(v1, "q=nginx&page=0")["page"] == 1
    assert search(v1, "q=nginx&page=99999999999999999999")["results"] == []


@pytest.mark.parametrize("query", ["q=x&n=-1", "q=x&n=x", "q=x&n=1.5", "q=x&page=-1", "q=%00", "q=%0d%0aX:%20y",
                                   "q=" + "x" * 300])
def test_bad_parameters(v1, query):
    assert ask(v1, "/v1/search?" + query, host="one.example").status_code == 400


def test_broken_escapes(v1):
    status, _, _ = exchange(v1, b"GET /v1/search?q=%zz HTTP/1.1\r\nHost: one.example\r\n\r\n")
    assert status == 400


def test_a_term_is_told_back_as_json(v1):
    assert search(v1, "q=%22%5C%3C")["query"] == '"\\<'


def test_offline(v1):
    r = ask(v1, "/v1/search?q=x", host="asleep.example")
    assert r.status_code == 503 and error(r) == "UNAVAILABLE"
    assert all(not n.startswith("asleep") for n in names(v1, "q=", None))


def test_what_was_deleted_is_gone(v1):
    at = Registry(v1.url, "docker/gone")
    data = at.push_image("1")
    assert names(v1, "q=gone", None) == ["docker/gone"]
    assert at.delete("manifests/1").status_code == 202
    assert at.delete("manifests/" + digest(data)).status_code == 202
    for blob in (b"{}", b"layer"):
        at.delete("blobs/" + digest(blob))
    assert names(v1, "q=gone", None) == []


def test_more_images_than_one_answer_of_the_catalog(start):
    """The catalog answers in slices; the search goes on behind each."""
    d = start(top="docker_v1_api = true\n")
    at = Registry(d.url, "many/0000")
    at.push_blob(b"tiny")
    mount = f"blobs/uploads/?mount={digest(b'tiny')}&from=many/0000"

    def fill(thread):
        own = Registry(d.url)
        return [own.at(f"many/{i:04}").post(mount).status_code for i in range(1 + thread, 4200, 8)]

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert {status for part in pool.map(fill, range(8)) for status in part} == {201}
    found = search(d, "q=many/&n=2&page=2050", None)
    assert found["num_results"] == 4200
    assert [x["name"] for x in found["results"]] == ["many/4098", "many/4099"]
    assert [x["name"] for x in search(d, "q=4199", None)["results"]] == ["many/4199"]
