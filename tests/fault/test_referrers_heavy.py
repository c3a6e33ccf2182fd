"""Notes of manifests (keys K and R). Referrers with annotations of megabytes: lists show a bounded part of them and cost little,
and a filter that matches nothing keeps nobody waiting; also in a database of before the notes of referrers had a value."""
import concurrent.futures
import json
import pathlib
import re
import shutil
import subprocess
import threading

import pytest
import requests

from harness.daemon import BODY, ENTREPOTCTL, TOP, free_port, wait_for
from harness.registry import OCI_IMAGE, OCI_INDEX, Registry, digest

HERE = pathlib.Path(__file__).parent
SHOWN = int(re.search(r"#define MANIFEST_ANNOTATIONS_SHOWN (\d+)", (TOP / "src/oci/manifest.h").read_text())[1])
BYTES = int(re.search(r"#define SLICE_BYTES\s+\((\d+)u << 10\)", (TOP / "src/catalog/slice.h").read_text())[1]) << 10
HUGE = 3_900_000
OLD = 24
SUBJECT = digest(b"the subject")
KIND = "application/vnd.example.sbom"


def referrer(annotations, artifact_type=KIND):
    return json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [], "artifactType": artifact_type,
                       "subject": {"mediaType": OCI_IMAGE, "digest": SUBJECT, "size": 2}, "annotations": annotations}).encode()


def push(registry, annotations, artifact_type=KIND):
    body = referrer(annotations, artifact_type)
    r = registry.put_manifest(body, media_type=OCI_INDEX)
    assert r.status_code == 201, r.text
    return digest(body)


def shown(registry):
    return {m["digest"]: m for m in registry.get("referrers/" + SUBJECT).json()["manifests"]}


class Watched:
    """A daemon that tells what its lists cost."""

    def __init__(self, start):
        self.admin = free_port()
        self.daemon = start(text=BODY + 'admin "127.0.0.1:%d" {{ }}\n' % self.admin)
        self.registry = Registry(self.daemon.url, "heavy/image")

    def lists(self, name):
        text = requests.get(f"http://127.0.0.1:{self.admin}/metrics", timeout=20).text
        return int(float(re.search(rf"^entrepot_list_{name} (\S+)$", text, re.M)[1]))

    def read_and_push(self, pushes):
        """Eight clients ask for what nobody has, over and over, while another pushes."""
        stop = threading.Event()

        def read():
            own, count = Registry(self.registry.url, self.registry.image), 0
            while not stop.is_set() or count == 0:
                r = own.get(f"referrers/{SUBJECT}?artifactType=application/none")
                assert (r.status_code, r.json()["manifests"]) == (200, []), r.text
                count += 1
            return count

        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            readers = [pool.submit(read) for _ in range(8)]
            try:
                for n in range(pushes):
                    Registry(self.registry.url, f"other/image{n}").push_image("x")
            finally:
                stop.set()
            return sum(r.result(60) for r in readers)


def test_what_is_shown(start):
    """In their order, each whole or not at all; the manifest has them all."""
    registry = Registry(start().url, "heavy/image")
    room = SHOWN - len('"a":"",') - len('"z":"",')
    fits = push(registry, {"a": "x" * (room - 5), "z": "12345"})
    skipped = push(registry, {"a": "x" * (room - 5), "big": "y" * SHOWN, "z": "12345", "none": ""})
    quoted = push(registry, {"q": '"' * (SHOWN - 100) + "\n\u20ac"})
    huge = push(registry, {"huge": "z" * HUGE})
    found = shown(registry)
    assert found[fits]["annotations"] == {"a": "x" * (room - 5), "z": "12345"}
    assert found[skipped]["annotations"] == {"a": "x" * (room - 5), "z": "12345"}
    assert found[quoted]["annotations"] == {"q": '"' * (SHOWN - 100) + "\n\u20ac"}
    assert "annotations" not in found[huge]
    whole = registry.get("manifests/" + huge)
    assert found[huge]["size"] == len(whole.content) and len(whole.json()["annotations"]["huge"]) == HUGE
    assert found[huge]["artifactType"] == KIND and found[huge]["mediaType"] == OCI_INDEX


def test_readers_and_a_push(start):
    watched = Watched(start)
    for n in range(12):
        push(watched.registry, {"n": str(n), "huge": "z" * HUGE})
    for n in range(300):
        push(watched.registry, {"n": str(n), "page": "z" * (SHOWN - 100)})
    before = watched.lists("slices_total")
    count = watched.read_and_push(20)
    assert watched.lists("slices_total") - before >= count * (300 * SHOWN // 2 // BYTES)
    assert watched.lists("slice_bytes_max") <= BYTES + 2 * SHOWN
    assert len(shown(watched.registry)) == 312


@pytest.fixture
def old(start, tmp_path):
    """A database whose referrers have no value, and megabytes in their manifests' records."""
    program = tmp_path / "old_notes"
    subprocess.run(["cc", "-O1", "-o", str(program), str(HERE / "old_notes.c"), "-lleveldb"], check=True)
    watched = Watched(start)
    watched.digests = [push(watched.registry, {"n": str(n), "pad": "x"}, f"application/vnd.example.t{n % 2}") for n in range(OLD)]
    watched.daemon.stop()

    def age(bytes):
        subprocess.run([str(program), str(watched.daemon.data_dir / "catalog"), str(bytes)], check=True)

    watched.age = age
    return watched


def test_an_old_database(old):
    old.age(HUGE)
    assert old.daemon.fsck()[:1] == (0,)  # nothing is wrong with it
    old.daemon.start()
    before = old.lists("slices_total")
    count = old.read_and_push(10)
    assert old.lists("slices_total") - before >= OLD * count  # a slice is over with each
    assert old.lists("slice_bytes_max") <= BYTES + HUGE + SHOWN
    found = shown(old.registry)
    assert set(found) == set(old.digests) and all(set(m["annotations"]) == {"n"} for m in found.values())
    r = old.registry.get(f"referrers/{SUBJECT}?artifactType=application/vnd.example.t1")
    assert {m["digest"] for m in r.json()["manifests"]} == set(old.digests[1::2])
    # Deletes and pushes as ever; what is pushed has its value.
    assert old.registry.delete("manifests/" + old.digests[0]).status_code == 202
    new = push(old.registry, {"new": "one"})
    assert set(shown(old.registry)) == {new, *old.digests[1:]}
    # A repair fills the others.
    old.daemon.stop()
    status, report = old.daemon.fsck("--repair")
    assert (status, report["found"]) == (0, []), report
    old.daemon.start()
    before = old.lists("slices_total")
    assert set(shown(old.registry)) == {new, *old.digests[1:]}
    assert old.lists("slices_total") - before == 1


def test_what_an_old_database_holds_stays_held(old):
    """Deletes ask the manifests where the notes say nothing."""
    registry = Registry(old.daemon.start().url, "old/held")
    child = registry.push_image("child", layers=(b"layer",))
    index = json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [
        {"mediaType": OCI_IMAGE, "digest": digest(child), "size": len(child)}]}).encode()
    assert registry.put_manifest(index, media_type=OCI_INDEX).status_code == 201
    registry.push_blob(child)
    old.daemon.stop()
    old.age(20)
    old.daemon.start()
    for path in ("manifests/" + digest(child), "blobs/" + digest(b"layer")):
        assert registry.delete(path).status_code == 409
    assert registry.delete("blobs/" + digest(child)).status_code == 202  # the index needs the manifest
    for path in ("manifests/" + digest(index), "manifests/" + digest(child), "blobs/" + digest(b"layer")):
        assert registry.delete(path).status_code == 202
    old.daemon.stop()
    assert old.daemon.fsck()[0] == 0


def test_an_old_database_of_ordinary_ones(old):
    old.age(20)
    old.daemon.start()
    found = shown(old.registry)
    assert set(found) == set(old.digests)
    for n, d in enumerate(old.digests):
        assert found[d]["annotations"] == {"n": str(n), "pad": "x" * 20}
        assert found[d]["artifactType"] == f"application/vnd.example.t{n % 2}"


def test_a_rebuilt_database_has_its_notes(start):
    """A list costs no more than before (SLICE_KEYS): no manifest is read."""
    watched = Watched(start)
    digests = {push(watched.registry, {"n": str(n)}) for n in range(70)}
    watched.registry.push_image("tag")  # its journal is written
    wait_for(watched.daemon.journals_kept, "the journals are kept")
    watched.daemon.stop()
    shutil.rmtree(watched.daemon.data_dir / "catalog")
    subprocess.run([ENTREPOTCTL, "-c", str(watched.daemon.conf), "rebuild", "--yes"], check=True, timeout=120, stdout=subprocess.DEVNULL)
    watched.daemon.start()
    assert set(shown(watched.registry)) == digests
    assert watched.lists("slices_total") == 1
