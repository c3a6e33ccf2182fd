"""docker search and podman search, through the leftovers of the V1 API."""
import pytest

from harness.daemon import Daemon, wait_for
from harness.registry import Registry
from test_podman import podman  # noqa: F401 (fixture)


@pytest.fixture(scope="module")
def searched():
    d = Daemon(top="docker_v1_api = true\n").start()
    for image in ("library/nginx", "team/nginx-unit", "team/redis"):
        Registry(d.url, image).push_image("1")
    yield d
    d.close()


def test_docker_search(engine, searched):
    out = engine.docker("search", "--format", "{{.Name}}", f"{searched.registry}/nginx").stdout.split()
    assert out == ["library/nginx", "team/nginx-unit"] or out == [f"{searched.registry}/{x}" for x in
                                                                  ("library/nginx", "team/nginx-unit")]
    wait_for(lambda: "/v1/search?" in searched.access_log_text(), "the line")
    out = engine.docker("search", "--limit", "1", "--format", "{{.Name}}", f"{searched.registry}/nginx").stdout.split()
    assert len(out) == 1


def test_docker_search_finds_nothing(engine, searched):
    out = engine.docker("search", "--format", "{{.Name}}", f"{searched.registry}/absent").stdout
    assert out.strip() == ""


def test_docker_search_where_it_is_switched_off(engine, entrepot):
    assert engine.docker("search", f"{entrepot.registry}/nginx", check=False).returncode != 0


def test_podman_search(podman, searched):
    out = podman("search", "--tls-verify=false", "--format", "{{.Name}}", f"{searched.registry}/nginx").stdout.split()
    assert out == [f"{searched.registry}/{x}" for x in ("library/nginx", "team/nginx-unit")]
