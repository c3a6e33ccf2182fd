"""Databases that earlier builds wrote are opened and serve all that was promised of them."""
import json
import os
import pathlib
import subprocess
import tarfile

import pytest

from harness.daemon import ENTREPOTCTL, ENTREPOTD, wait_for
from harness.registry import Registry, digest

HERE = pathlib.Path(__file__).parent
STORED = sorted((HERE / "stored").glob("*.tar.gz"))


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


def test_one_of_a_newer_build(start, tmp_path):
    """Refused however it is started, by tools too, and nothing of it changes: the newer build opens it again."""
    program = tmp_path / "later_format"
    subprocess.run(["cc", "-O1", "-o", str(program), str(HERE / "later_format.c"), "-lleveldb"], check=True)
    daemon = start()
    kept = Registry(daemon.url).push_image("kept")
    daemon.stop()

    def becomes(number):
        subprocess.run([program, daemon.data_dir / "catalog", str(number)], check=True)
    becomes(99)
    daemon.allow_error("written by another version", "refuses its configuration or data")
    for how in (["-f"], []):
        done = subprocess.run([ENTREPOTD, *how, "-c", str(daemon.conf)], capture_output=True, text=True, timeout=60)
        assert done.returncode == os.EX_CONFIG and "child=catalog" in done.stderr and f"log={daemon.dir}/log" in done.stderr, done
    assert daemon.log_text().count("written by another version of entrepotd") == 2 and "format=99" in daemon.log_text()
    for command in (["fsck"], ["fsck", "--repair"], ["rebuild", "--list"], ["rebuild", "--yes"]):
        done = subprocess.run([ENTREPOTCTL, "-c", str(daemon.conf), *command], capture_output=True, text=True, timeout=60)
        assert done.returncode == 8 and "another version of entrepotd" in done.stderr, done
    becomes(1)
    daemon.start()
    assert Registry(daemon.url).get("manifests/kept").content == kept
    daemon.stop()
    assert daemon.fsck()[0] == 0
