"""Databases that earlier builds wrote are opened and serve all that was promised of them."""
import json
import pathlib
import tarfile

import pytest

from harness.daemon import wait_for
from harness.registry import Registry, digest

STORED = sorted((pathlib.Path(__file__).parent / "stored").glob("*.tar.gz"))


def check(daemon, expected):
    for e in expected:
        registry = Registry(daemon.url, e["image"])
        r = registry.get(f"manifests/{e['reference']}", headers={"Accept": "*/*"})
        assert (r.status_code, r.text, r.headers["Content-Type"]) == (200, e["body"], e["type"])
        body = json.loads(e["body"])
        for d in body.get("layers", []):
            data = registry.get(f"blobs/{d['digest']}").content
            assert digest(data) == d["digest"]
        for d in body.get("manifests", []):
            assert registry.get(f"manifests/{d['digest']}").status_code == 200
        if "subject" in body:
            r = registry.get(f"referrers/{body['subject']['digest']}?artifactType={body['artifactType']}")
            shown = {m["digest"]: m for m in r.json()["manifests"]}[digest(e["body"].encode())]
            assert shown["artifactType"] == body["artifactType"] and shown["annotations"] == body["annotations"]
            assert shown["size"] == len(e["body"])


@pytest.mark.parametrize("stored", STORED, ids=lambda p: p.name.split(".")[0])
def test_a_stored_database(start, stored):
    """Served, changed, collected, checked; and again after a restart."""
    daemon = start(run=False, top='gc_interval = "1s"\ngc_grace = "0s"\n')
    with tarfile.open(stored) as tar:
        tar.extractall(daemon.data_dir)
    expected = json.loads((daemon.data_dir / "expected.json").read_text())
    assert len(expected) >= 10
    (daemon.data_dir / "expected.json").unlink()
    daemon.start()
    check(daemon, expected)
    assert Registry(daemon.url, "app/gone").get("manifests/x").status_code == 404
    web = Registry(daemon.url, "app/web")
    wait_for(lambda: web.put_manifest(web.image_manifest(layers=(b"base", b"new")), "new").status_code == 201,
             "it takes pushes")  # without grace a sweep may come between blob and manifest
    old = next(e for e in expected if e["reference"] == "v3")
    assert web.delete(f"manifests/{digest(old['body'].encode())}").status_code == 202
    expected.remove(old)
    lost = json.loads(old["body"])["layers"][1]["digest"]
    wait_for(lambda: web.head(f"blobs/{lost}").status_code == 404, "what nobody needs is collected")
    check(daemon, expected)
    daemon.stop()
    assert daemon.fsck()[0] == 0
    daemon.start()
    check(daemon, expected)
