"""entrepotctl fsck: finds what is wrong, mends what is safe, touches nothing else."""
import json
import os
import subprocess

import pytest

from harness.daemon import ENTREPOTCTL
from harness.database import records
from harness.registry import Registry, digest


@pytest.fixture
def filled(start):
    """A stopped daemon with an image, an index of two, a referrer and a lonely blob."""
    daemon = start()
    registry = Registry(daemon.url, "fsck/image")
    daemon.layer = os.urandom(3 << 20)
    daemon.body = registry.push_image("one", layers=(daemon.layer,))
    index = json.dumps({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": [
        {"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": digest(daemon.body), "size": len(daemon.body)}]}).encode()
    assert registry.put_manifest(index, "multi", "application/vnd.oci.image.index.v1+json").status_code == 201
    registry.push_image("sig", subject={"mediaType": "application/vnd.oci.image.manifest.v1+json",
                                        "digest": digest(daemon.body), "size": len(daemon.body)})
    registry.push_blob(b"lonely")
    assert registry.delete("manifests/multi").status_code == 202
    daemon.registry_image = registry
    daemon.stop()
    return daemon


def test_good(filled):
    status, report = filled.fsck()
    assert (status, report["found"], report["complete"], report["skipped"]) == (0, [], True, 0)
    assert report["blobs"] == 7
    # Each record is looked at once, but for those of the whole database: the journals' numbers, stores, the scrub, the version.
    assert report["records"] == sum(chr(key[0]) not in "JNSV" for key in records(filled)) > 20, "a new kind: does fsck check it?"
    assert filled.fsck("--repair")[0] == 0
    text = subprocess.run([ENTREPOTCTL, "-c", str(filled.conf), "fsck"], text=True, capture_output=True, timeout=60)
    assert text.returncode == 0 and "0 problems" in text.stdout and not text.stderr
    filled.start()
    assert filled.registry_image.get("manifests/one").content == filled.body


def test_refuses(filled):
    assert filled.fsck("--everything")[0] == 16
    filled.start()
    status, why = filled.fsck("--repair")
    assert status == 8 and "a daemon uses" in why and "stop it" in why
    filled.stop()
    blobs = filled.data_dir / "blobs"
    blobs.rename(filled.data_dir / "away")
    blobs.mkdir()
    status, report = filled.fsck("--repair")
    assert status == 8 and not report["complete"]  # an unmounted disk is no loss of all blobs
    blobs.rmdir()
    (filled.data_dir / "away").rename(blobs)
    assert filled.fsck()[0] == 0


@pytest.mark.parametrize("damage", ["changed", "shorter", "missing"])
def test_damaged_blob(filled, damage):
    d = digest(filled.layer)
    path = filled.blob_path(d)
    if damage == "missing":
        path.unlink()
    elif damage == "shorter":
        os.truncate(path, 100)
    else:
        path.write_bytes(filled.layer[:-1] + bytes([filled.layer[-1] ^ 1]))
    status, report = filled.fsck()
    assert status == 4 and [x["kind"] for x in report["found"]] == ["blob"] and d in report["found"][0]["text"]
    assert path.exists() == (damage != "missing")  # looking changes nothing
    assert filled.fsck("--repair")[0] == 4
    assert not path.exists() and (path.parents[3] / "quarantine" / d.replace(":", "-")).exists() == (damage != "missing")
    status, report = filled.fsck("--repair")
    assert status == 4 and "which is known" in report["found"][0]["text"]
    filled.start()
    registry = filled.registry_image
    assert registry.get(f"blobs/{d}").status_code == 404
    registry.push_blob(filled.layer)
    assert registry.get(f"blobs/{d}").content == filled.layer
    filled.stop()
    assert filled.fsck()[0] == 0


def test_orphans(filled):
    data = os.urandom(100)
    filled.blob_path(digest(data)).write_bytes(data)
    (filled.blob_path(digest(data)).parent / "README").write_text("not ours")
    status, report = filled.fsck()
    assert status == 0 and report["orphans"] == 1 and digest(data) in report["found"][0]["text"]
    assert filled.blob_path(digest(data)).exists()
    assert filled.fsck("--repair")[0] == 0 and not filled.blob_path(digest(data)).exists()
    assert (filled.blob_path(digest(data)).parent / "README").exists()
    assert filled.fsck()[1]["orphans"] == 0


def test_a_repository_that_is_not_configured(filled):
    """Its records are left alone."""
    text = filled.conf.read_text()
    filled.conf.write_text(text.replace("docker-local", "other"))
    status, report = filled.fsck("--repair")
    assert status == 0 and report["skipped"] > 0 and report["problems"] == 0
    filled.conf.write_text(text)
    filled.start()
    assert filled.registry_image.get("manifests/one").content == filled.body
