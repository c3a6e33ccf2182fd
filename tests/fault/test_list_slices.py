"""Lists come from the catalog in slices (src/catalog/slice.h): whole and in order all the same, and others get their turn
between two of them."""
import concurrent.futures
import contextlib
import json
import re

import pytest
import requests

from harness.daemon import TOP, Daemon, free_port
from harness.registry import OCI_IMAGE, OCI_INDEX, Registry, digest

SLICE = (TOP / "src/catalog/slice.h").read_text()
KEYS = int(re.search(r"#define SLICE_KEYS\s+(\d+)", SLICE)[1])
SEEK = int(re.search(r"#define SLICE_SEEK\s+(\d+)", SLICE)[1])
BYTES = int(re.search(r"#define SLICE_BYTES\s+\((\d+)u << 10\)", SLICE)[1]) << 10

TAGS = [f"t{i:05}" for i in range(2 * KEYS + 300)]
SUBJECT = digest(b"the subject")
TYPES = ("application/vnd.example.sbom", "application/vnd.example.sig")
REFERRERS = 3 * KEYS
IMAGES = KEYS + 200

CONF = """
docker_v1_api = true
hosted main {{ }}
hosted other {{ }}
hosted third {{ }}
group all {{ members = {{main, other}} }}
connector "127.0.0.1:{port}" {{ repository = main }}
connector "127.0.0.1:%d" {{ }}
admin "127.0.0.1:%d" {{ }}
""" + "".join(f"hosted empty-{i:03} {{{{ }}}}\n" for i in range(2 * KEYS // SEEK))


def in_threads(calls, threads=8):
    with concurrent.futures.ThreadPoolExecutor(threads) as pool:
        return list(pool.map(lambda call: call(), calls))


def referrer(artifact_type, n, annotations=None):
    body = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [], "artifactType": artifact_type,
            "subject": {"mediaType": OCI_IMAGE, "digest": SUBJECT, "size": 2}, "annotations": {"n": str(n), **(annotations or {})}}
    return json.dumps(body).encode()


def push_tags(registry, tags):
    body = registry.image_manifest()

    def push(some):
        r = Registry(registry.url, registry.image).put_manifest(body, query="?" + "&".join("tag=" + t for t in some))
        assert r.status_code == 201, r.text
    in_threads([lambda i=i: push(tags[i:i + 32]) for i in range(0, len(tags), 32)])
    return body


def follow(url, path):
    """All pages of a list, by Link alone."""
    while path:
        r = Registry(url).request("GET", path)
        assert r.status_code == 200, r.text
        yield r.json()
        link = r.headers.get("Link")
        path = link.split(";")[0].strip("<>") if link else None


class Filled:
    """A daemon whose lists are longer than a slice."""

    def __init__(self):
        self.port, self.admin = free_port(), free_port()
        self.daemon = Daemon(text=CONF % (self.port, self.admin)).start()
        self.url = self.daemon.url
        self.all = f"http://127.0.0.1:{self.port}"

    def lists(self):
        text = requests.get(f"http://127.0.0.1:{self.admin}/metrics", timeout=20).text
        return {name: int(float(re.search(rf"^entrepot_list_{name} (\S+)$", text, re.M)[1]))
                for name in ("slices_total", "slice_keys_max", "slice_bytes_max")}

    @contextlib.contextmanager
    def slices(self, least, most=1000):
        """What is asked within is answered in so many slices."""
        before = self.lists()["slices_total"]
        yield
        assert least <= self.lists()["slices_total"] - before <= most


@pytest.fixture(scope="module")
def filled():
    made = Filled()
    one = Registry(made.url, "many/tags")
    push_tags(one, TAGS[::2])
    push_tags(Registry(f"{made.url}/repository/other", "many/tags"), TAGS[1::2] + TAGS[:10])
    bodies = [referrer(TYPES[i % 2], i) for i in range(REFERRERS)]
    assert set(in_threads([lambda b=b: Registry(made.url, "many/referrers").put_manifest(b, media_type=OCI_INDEX).status_code
                           for b in bodies])) == {201}
    made.referrers = [sorted(digest(b) for b in bodies[i::2]) for i in range(2)]
    for repo, count in (("main", IMAGES), ("third", 50)):
        Registry(f"{made.url}/repository/{repo}", "image/0000").push_blob(b"tiny")
        mount = f"blobs/uploads/?mount={digest(b'tiny')}&from=image/0000"
        assert set(in_threads([lambda i=i: Registry(f"{made.url}/repository/{repo}", f"image/{i:04}").post(mount).status_code
                               for i in range(1, count)])) == {201}
    yield made
    try:
        lists = made.lists()
        assert KEYS <= lists["slice_keys_max"] <= KEYS + SEEK and lists["slice_bytes_max"] <= BYTES + 65536
    finally:
        made.daemon.close()


@pytest.mark.parametrize("query", ["", "?n=1000", "?n=999", "?n=300&last=t00500", "?last=t00499x"])
def test_tags(filled, query):
    last = query.partition("last=")[2]
    with filled.slices(len(TAGS[::2]) // 1000):
        pages = list(follow(filled.url, f"/v2/many/tags/tags/list{query}"))
    assert sum((p["tags"] for p in pages), []) == [t for t in TAGS[::2] if t > last]
    if "n=" in query:
        n = int(re.search(r"n=(\d+)", query)[1])
        assert all(len(p["tags"]) == n for p in pages[:-1])
    else:
        assert len(pages) == 1


@pytest.mark.parametrize("query", ["", "?n=1000", "?n=7&last=t02200"])
def test_tags_of_a_group(filled, query):
    last = query.partition("last=")[2]
    pages = list(follow(filled.url, f"/repository/all/v2/many/tags/tags/list{query}"))
    assert sum((p["tags"] for p in pages), []) == [t for t in TAGS if t > last]
    assert query or len(pages) == 1


@pytest.mark.parametrize("query", ["", "?n=1000", "?n=77"])
def test_images(filled, query):
    names = [f"image/{i:04}" for i in range(IMAGES)] + ["many/referrers", "many/tags"]
    pages = list(follow(filled.url, f"/v2/_catalog{query}"))
    assert sum((p["repositories"] for p in pages), []) == names
    names = ["main/" + n for n in names] + ["other/many/tags"] + [f"third/image/{i:04}" for i in range(50)]
    with filled.slices(2):
        pages = list(follow(filled.all, f"/v2/_catalog{query}"))
    assert sum((p["repositories"] for p in pages), []) == names
    ours = json.loads(filled.daemon.ctl("--json", "images").stdout)["images"]
    assert ours == names
    assert json.loads(filled.daemon.ctl("--json", "tags", "main:many/tags").stdout)["tags"] == TAGS[::2]


def test_search(filled):
    found = requests.get(f"{filled.url}/v1/search?q=many", timeout=20).json()
    assert [x["name"] for x in found["results"]] == ["many/referrers", "many/tags"]
    with filled.slices(2):
        assert requests.get(f"{filled.url}/v1/search?q=nothing", timeout=20).json()["num_results"] == 0


@pytest.mark.parametrize("where", ["main", "all"])
@pytest.mark.parametrize("query", ["", "?n=1000", "?n=99"])
def test_referrers(filled, where, query):
    pages = list(follow(filled.url, f"/repository/{where}/v2/many/referrers/referrers/{SUBJECT}{query}"))
    found = [m["digest"] for p in pages for m in p["manifests"]]
    assert found == sorted(filled.referrers[0] + filled.referrers[1])
    assert all(len(p["manifests"]) == (99 if "n=99" in query else 1000) for p in pages[:-1])


@pytest.mark.parametrize("where", ["main", "all"])
def test_filtered_referrers(filled, where):
    path = f"/repository/{where}/v2/many/referrers/referrers/{SUBJECT}"
    for which in range(2):
        pages = list(follow(filled.url, f"{path}?n=200&artifactType={TYPES[which]}"))
        assert [m["digest"] for p in pages for m in p["manifests"]] == filled.referrers[which]
        assert all(len(p["manifests"]) == 200 for p in pages[:-1])
    with filled.slices(REFERRERS // KEYS, 2 * (REFERRERS // KEYS + 1)):  # no manifest need be read
        r = Registry(filled.url).request("GET", path + "?artifactType=application/none")
        assert (r.status_code, r.json()["manifests"], "Link" in r.headers) == (200, [], False)


@pytest.fixture
def stepped(fail, start):
    """A daemon whose workers can be held between two slices of a list."""
    daemon = start(workers=2, top="docker_v1_api = true\n")
    daemon.fail = fail
    return daemon


def test_others_are_answered_between_two_slices(stepped):
    registry = Registry(stepped.url, "many/tags")
    body = push_tags(registry, TAGS)
    stepped.fail.arm("worker_list_more", "wait")
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        reading = pool.submit(Registry(stepped.url, "many/tags").get, "tags/list")
        stepped.fail.held("worker_list_more")
        other = Registry(stepped.url, "other/image")  # of the other worker
        other.push_image("pushed")
        assert other.get("tags/list").json()["tags"] == ["pushed"]
        # What has gone behind the place is not listed, what was listed is.
        second = other.at("many/tags")
        for tag in (TAGS[0], TAGS[-1]):
            assert second.delete(f"manifests/{tag}").status_code == 202
        stepped.fail.release("worker_list_more")
        assert reading.result(20).json()["tags"] == TAGS[:-1]
    assert registry.get("tags/list").json()["tags"] == TAGS[1:-1]
    # The image goes while it is listed.
    stepped.fail.arm("worker_list_more", "wait")
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        reading = pool.submit(Registry(stepped.url, "many/tags").get, "tags/list")
        stepped.fail.held("worker_list_more")
        other = Registry(stepped.url, "many/tags")
        assert other.delete("manifests/" + digest(body)).status_code == 202
        for blob in (b"{}", b"layer"):
            other.delete("blobs/" + digest(blob))
        stepped.fail.release("worker_list_more")
        seen = reading.result(20)
    assert seen.status_code == 200 and 0 < len(seen.json()["tags"]) < len(TAGS) and seen.json()["tags"] == TAGS[1:-1][:len(seen.json()["tags"])]
