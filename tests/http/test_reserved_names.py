"""Names of the house (`reserve` of a group) reach no remote, whatever way leads to the proxy, and nothing kept under one is
served."""
import json
import re

import pytest
import requests

from harness.daemon import free_port
from harness.proxy import upstream  # noqa: F401, a fixture
from harness.registry import Registry, digest

CONF = """
docker_v1_api = true
hosted local {{ }}
proxy hub {{
    remotes = {{"@URL@"}}
    docker_hub = @HUB@
    namespaces = {{"docker.io"}}
    index = remote
    missing_ttl = 1s
    tag_ttl = 0s
}}
group inner {{ members = {{hub}} @INNER@ }}
group all {{ members = {{local, inner}} push_to = local @ALL@ }}
connector "127.0.0.1:{port}" {{ }}
connector "127.0.0.1:@PROXY@" {{ repository = hub }}
connector "127.0.0.1:@GROUP@" {{ repository = all }}
"""
RESERVED = 'reserve = {{"team/**", "tool"}}'
WAYS = ["all", "inner", "hub", "first component", "connector of the proxy", "connector of the group", "ns", "ns at the group",
        "ns at the group's connector"]


class House:
    """A daemon, and URLs of an image by each way."""

    def __init__(self, start, upstream, where="all", hub="false"):
        self.ports = {"@PROXY@": free_port(), "@GROUP@": free_port()}
        text = CONF.replace("@URL@", upstream.url).replace("@HUB@", hub)
        text = text.replace("@ALL@", RESERVED if where == "all" else "").replace("@INNER@", RESERVED if where == "inner" else "")
        for mark, port in self.ports.items():
            text = text.replace(mark, str(port))
        self.daemon = start(text=text)

    def url(self, way, path):
        proxy, group = (f"http://127.0.0.1:{port}/v2" for port in self.ports.values())
        ns = ("&" if "?" in path else "?") + "ns=docker.io"
        return {"all": f"{self.daemon.url}/repository/all/v2/{path}", "inner": f"{self.daemon.url}/repository/inner/v2/{path}",
                "hub": f"{self.daemon.url}/repository/hub/v2/{path}", "first component": f"{self.daemon.url}/v2/hub/{path}",
                "connector of the proxy": f"{proxy}/{path}", "connector of the group": f"{group}/{path}",
                "ns": f"{self.daemon.url}/v2/{path}{ns}", "ns at the group": f"{self.daemon.url}/repository/all/v2/{path}{ns}",
                "ns at the group's connector": f"{group}/{path}{ns}"}[way]

    def get(self, way, path, **kw):
        return requests.get(self.url(way, path), timeout=30, **kw)


def paths(image, layer):
    return [f"{image}/manifests/latest", f"{image}/manifests/{'sha256:' + 64 * 'a'}", f"{image}/blobs/{digest(layer)}",
            f"{image}/tags/list", f"{image}/referrers/{digest(layer)}"]


def refused(house, way, path):
    for method in ("GET", "HEAD"):
        reply = requests.request(method, house.url(way, path), timeout=30)
        if "referrers" in path:
            assert reply.status_code in (200, 404) and (method == "HEAD" or not reply.json().get("manifests")), (way, path)
        else:
            assert reply.status_code == 404, (way, path)


@pytest.mark.parametrize("where", ["all", "inner"])
def test_no_way_leads_a_reserved_name_to_a_remote(start, upstream, where):
    upstream.image("team/app", layers=[b"foreign"])
    upstream.image("open/app", layers=[b"foreign"])
    house = House(start, upstream, where)
    for way in WAYS:
        for path in paths("team/app", b"foreign"):
            refused(house, way, path)
        house.get(way, f"team/app/blobs/{digest(b'foreign')}", headers={"Range": "bytes=1-2"})
        assert not upstream.log, way
    for way in WAYS:
        upstream.forget()
        assert house.get(way, "open/app/manifests/latest").status_code == 200 and upstream.log, way


def test_what_was_kept_before_is_not_served(start, upstream):
    """The configuration changes: an image of the remote with a name of the house is there already."""
    upstream.image("team/app", layers=[b"foreign"])
    house = House(start, upstream, "nowhere")
    assert house.get("hub", "team/app/manifests/latest").status_code == 200
    assert house.get("hub", f"team/app/blobs/{digest(b'foreign')}").content == b"foreign"
    house.daemon.conf.write_text(house.daemon.conf.read_text().replace("push_to = local", "push_to = local " + RESERVED.format()))
    house.daemon.reload()
    upstream.forget()
    for way in WAYS:
        for path in paths("team/app", b"foreign")[:4]:
            assert house.get(way, path).status_code == 404, (way, path)
    assert "team/app" not in requests.get(f"{house.daemon.url}/repository/hub/v2/_catalog").json()["repositories"]
    assert not [p for _, p, _ in upstream.log if "team/app" in p]


def test_names_of_one_part_at_docker_hub(start, upstream):
    """NAME and library/NAME are one image there."""
    upstream.image("library/tool")
    house = House(start, upstream, hub="true")
    for way in WAYS:
        for image in ("tool", "library/tool"):
            assert house.get(way, f"{image}/manifests/latest").status_code == 404, (way, image)
    assert not upstream.log


def test_a_search_and_warm(start, upstream):
    upstream.image("team/app")
    found = {"results": [{"name": "team/app", "description": ""}, {"name": "open/app", "description": ""}]}
    upstream.rule("GET", "^/v1/search", status=200, headers={"Content-Type": "application/json"}, body=json.dumps(found).encode())
    house = House(start, upstream)
    assert house.daemon.ctl("warm", "hub:team/app:latest", check=False).returncode == 1
    search = f"{house.daemon.url}/v1/search"
    assert requests.get(search, params={"q": "team/app"}).status_code == 200
    assert not [p for _, p, _ in upstream.log if re.search("team(/|%2F)app", p, re.I)]
    names = [r["name"] for r in requests.get(search, params={"q": "app"}).json()["results"]]
    assert "hub/open/app" in names and "hub/team/app" not in names


def test_mounts_and_pushes(start, upstream):
    """A blob a proxy kept under such a name is not lent to a push; the house's own image goes its way."""
    upstream.image("team/app", layers=[b"foreign"])
    house = House(start, upstream, "nowhere")
    assert house.get("hub", f"team/app/blobs/{digest(b'foreign')}").status_code == 200
    house.daemon.conf.write_text(house.daemon.conf.read_text().replace("push_to = local", "push_to = local " + RESERVED.format()))
    house.daemon.reload()
    uploads = house.url("all", f"team/app/blobs/uploads/?mount={digest(b'foreign')}&from=team/app")
    assert requests.post(uploads).status_code == 202
    body = Registry(f"{house.daemon.url}/repository/all", "team/app").push_image("v1")
    assert house.get("all", "team/app/manifests/v1").content == body
