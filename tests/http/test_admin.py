"""The admin listener: health and metrics, also while parts of the daemon are gone."""
import os
import re
import signal

import pytest
import requests

from harness.daemon import BODY, TOP, free_port, wait_for
from harness.registry import Registry, digest

NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
LABEL = r'[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\["\\n])*"'
SAMPLE = re.compile(rf"^({NAME})(?:\{{({LABEL}(?:,{LABEL})*)\}})? (-?[0-9.e+]+|\+Inf|NaN)$")


def parse(text):
    """Prometheus' text format 0.0.4, strictly: {family: (type, {(sample, labels): value})}."""
    assert text.endswith("\n")
    families, current, helped = {}, None, None
    for line in text[:-1].split("\n"):
        if m := re.fullmatch(rf"# HELP ({NAME}) (.+)", line):
            assert m[1] not in families, f"{m[1]} twice"
            helped = m[1]
        elif m := re.fullmatch(rf"# TYPE ({NAME}) (counter|gauge|histogram)", line):
            assert m[1] == helped, "TYPE follows HELP"
            current = m[1]
            families[current] = (m[2], {})
        else:
            m = SAMPLE.match(line)
            assert m, f"not a sample: {line!r}"
            kind, samples = families[current]
            allowed = {current} if kind != "histogram" else {current + x for x in ("_bucket", "_sum", "_count")}
            assert m[1] in allowed, f"{m[1]} outside its family {current}"
            key = (m[1], m[2] or "")
            assert key not in samples, f"{key} twice"
            samples[key] = float(m[3])
    for name, (kind, samples) in families.items():
        assert (kind == "counter") == name.endswith("_total"), name
        assert all(v >= 0 for v in samples.values()), name
        if kind == "histogram":
            buckets = [v for (n, _), v in samples.items() if n.endswith("_bucket")]
            assert buckets == sorted(buckets) and buckets[-1] == samples[(name + "_count", "")]
            assert (name + "_bucket", 'le="+Inf"') in samples
    return families


class Admin:
    def __init__(self, port):
        self.url = f"http://127.0.0.1:{port}"

    def get(self, path, **kw):
        return requests.get(self.url + path, timeout=10, **kw)

    def metrics(self):
        r = self.get("/metrics")
        assert r.status_code == 200 and r.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
        return parse(r.text)

    def value(self, name, labels=""):
        return self.metrics()["entrepot_" + name][1][("entrepot_" + name, labels)]


@pytest.fixture
def daemon(start):
    port = free_port()
    d = start(text=BODY + f'admin "127.0.0.1:{port}" {{{{ }}}}\n')
    d.admin = Admin(port)
    return d


def test_health(daemon):
    assert daemon.admin.get("/health/live").json() == {"status": "ok"}
    assert daemon.admin.get("/health/ready").json() == {"status": "ok", "pulls": "ok"}
    r = daemon.admin.get("/health")
    assert r.status_code == 200 and r.json() == {"status": "ok", "pulls": "ok", "pushes": "ok", "blobstores": "ok"}
    assert r.headers["Cache-Control"] == "no-store"
    assert requests.head(daemon.admin.url + "/health", timeout=10).status_code == 200


def test_only_health_and_metrics(daemon):
    assert daemon.admin.get("/v2/").status_code == 404
    r = requests.post(daemon.admin.url + "/metrics", timeout=10)
    assert r.status_code == 405 and r.headers["Allow"] == "GET, HEAD"
    for path in ("/metrics", "/health"):
        assert requests.get(daemon.url + path, timeout=10).status_code == 404  # not for the world


def test_a_stopped_catalog(daemon):
    """Pulls are served, so load balancers keep us; whoever watches is told; the answer does not wait for long."""
    registry = Registry(daemon.url)
    data = registry.push_image("x")
    pid = daemon.pids("catalog")[0]
    os.kill(pid, signal.SIGSTOP)
    try:
        r = daemon.admin.get("/health")
        assert r.status_code == 503 and r.json() == {"status": "unavailable", "pulls": "ok", "pushes": "unavailable"}
        assert daemon.admin.get("/health/ready").status_code == 200
        assert daemon.admin.get("/health/live").status_code == 200
        families = daemon.admin.metrics()
        assert families["entrepot_catalog_up"][1] == {("entrepot_catalog_up", ""): 0}
        assert "entrepot_repository_tags" not in families
        assert registry.get("manifests/x").content == data
    finally:
        os.kill(pid, signal.SIGCONT)
    wait_for(lambda: daemon.admin.get("/health").status_code == 200, "all is well again")


def test_health_over_index_changes(daemon):
    """A catalog that is born again hands a new index round: ready all the while."""
    for _ in range(3):
        old = daemon.kill_role("catalog")
        for _ in range(20):
            assert daemon.admin.get("/health/ready").status_code == 200
        daemon.respawned("catalog", old)


def test_metrics_count(daemon):
    registry = Registry(daemon.url, "metrics/image")
    body = registry.push_image("one", layers=(b"layer",), config=b"{}")
    registry.put_manifest(body, "two")
    repo = 'repository="docker-local",type="hosted"'
    for name, expected in (("images", 1), ("tags", 2), ("manifests", 1), ("blobs", 2), ("bytes", len(body) + 7)):
        assert daemon.admin.value("repository_" + name, repo) == expected
    families = daemon.admin.metrics()
    answered = sum(v for (_, labels), v in families["entrepot_http_requests_total"][1].items() if '"2xx"' in labels)
    received = sum(families["entrepot_received_bytes_total"][1].values())
    assert answered >= 7 and received > len(body)
    assert registry.get("manifests/none").status_code == 404
    families = daemon.admin.metrics()
    assert sum(v for (_, labels), v in families["entrepot_http_requests_total"][1].items() if '"4xx"' in labels) >= 1
    assert families["entrepot_http_request_duration_seconds"][0] == "histogram"
    assert daemon.admin.value("catalog_up") == 1 and daemon.admin.value("index_generation") >= 1


def documented():
    """The families in the table of doc/architecture.md; `_x` goes on where the name before it has its first `_`."""
    table, begin = set(), ""
    for row in (TOP / "doc/architecture.md").read_text().split("| metric |")[1].split("\n\n")[0].splitlines()[2:]:
        for name in re.findall(r"`(\w+)`", row.split("|")[1]):
            begin = begin if name.startswith("_") else name.split("_")[0]
            table.add("entrepot_" + (begin if name.startswith("_") else "") + name)
    return table


def test_the_families_are_those_that_are_documented(start):
    port = free_port()
    d = start(text=BODY + 'proxy up {{ remotes = {{"http://127.0.0.1:9"}} }}\n' + f'admin "127.0.0.1:{port}" {{{{ }}}}\n')
    metered = {"entrepot_proxy_ratelimit_limit", "entrepot_proxy_ratelimit_remaining"}
    d.everybody()
    families = Admin(port).metrics()
    assert set(families) | metered == documented()


def test_metrics_tell_damage_and_garbage(daemon):
    daemon.allow_error("a blob's bytes have changed")
    registry = Registry(daemon.url, "metrics/damage")
    d = registry.push_blob(b"precious")
    path = daemon.blob_path(d)
    path.write_bytes(b"Precious")
    daemon.ctl("scrub")
    store = next(iter(daemon.admin.metrics()["entrepot_blobstore_bytes"][1]))[1]
    wait_for(lambda: daemon.admin.value("blobstore_damaged_blobs", store) == 1, "the alarm")
    assert daemon.admin.value("scrub_damaged_total") == 1
    daemon.ctl("gc")
    wait_for(lambda: daemon.admin.value("gc_sweeps_total") == 1, "a sweep is counted")
    registry.push_blob(b"precious")
    assert daemon.admin.value("blobstore_damaged_blobs", store) == 0 and digest(b"precious") == d
