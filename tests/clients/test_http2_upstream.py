"""An upstream that speaks HTTP/2: a docker-registry behind Debian's nginx."""
import concurrent.futures
import os

import pytest

from harness.daemon import Daemon, wait_for
from harness.front import Nginx
from harness.origin import origin  # noqa: F401, a fixture
from harness.registry import Registry, digest

CONF = """
proxy hub {{
    remotes = {{"https://localhost:@PORT@"}}
    ca_file = "@CA@"
    tag_ttl = 1h
}}
connector "127.0.0.1:{port}" {{ repository = hub }}
"""


@pytest.fixture
def front(origin):
    nginx = Nginx(origin.port)
    yield nginx
    nginx.close()


@pytest.fixture
def daemon(front):
    d = Daemon(text=CONF.replace("@PORT@", str(front.port)).replace("@CA@", str(front.dir / "ca.crt"))).start()
    yield d
    d.close()


def test_many_layers_at_once(origin, front, daemon):
    layers = [os.urandom(200_000 + 100_000 * n) for n in range(12)]
    body = origin.registry("team/app").push_image("one", layers=layers)
    client = Registry(daemon.url, "team/app")
    assert client.get("manifests/one").content == body
    with concurrent.futures.ThreadPoolExecutor(len(layers)) as pool:
        got = list(pool.map(lambda layer: Registry(daemon.url, "team/app").get("blobs/" + digest(layer)).content, layers))
    assert got == layers
    asked = front.asked()
    assert {line[0] for line in asked} == {"HTTP/2.0"}
    for layer in layers:
        assert sum(line[1] == "GET" and line[2].endswith(digest(layer)) for line in asked) == 1


def test_an_upstream_that_restarts(origin, front, daemon):
    """Its connections are gone; the next blob comes all the same."""
    layers = [os.urandom(300_000) for _ in range(2)]
    origin.registry("team/other").push_image("one", layers=layers)
    client = Registry(daemon.url, "team/other")
    assert client.get("manifests/one").status_code == 200
    assert client.get("blobs/" + digest(layers[0])).content == layers[0]
    front.process.terminate()
    front.process.wait(20)
    front.launch("nginx", "-c", front.dir / "nginx.conf")
    wait_for(lambda: client.get("blobs/" + digest(layers[1])).content == layers[1], "the second layer comes")
