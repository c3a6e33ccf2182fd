"""What went is named by no record: of no kind that src/meta/key.h has, nor of one that it will have."""
import json

from harness.daemon import wait_for
from harness.database import kinds, records
from harness.registry import OCI_INDEX
from test_rebuild import TEXT, TOP, Kept, flip

# Kinds whose records name no content: a new one without an image or a digest joins them.
NAMELESS = "JNSV"
IMAGE = "one/team/app"


def told(daemon, *command):
    return json.loads(daemon.ctl("--json", *command, "--status").stdout)


def collect(daemon):
    """What is queued while one sweep runs is for the next one."""
    for _ in range(4):
        before = told(daemon, "gc")["sweeps"]
        daemon.ctl("gc")
        wait_for(lambda: not (s := told(daemon, "gc"))["running"] and s["sweeps"] > before, "garbage is collected")


def spoil(kept, image):
    """A blob of the image becomes a damaged one."""
    daemon = kept.daemon
    before = told(daemon, "scrub")["damaged"]
    d = next(d for i, d in kept.blobs if i == image and len(kept.blobs[i, d]) > 1000)
    store = {"one": "main", "other": "two"}[image.split("/")[0]]
    alg, value = d.split(":")
    flip(daemon.dir / store / "blobs" / alg / value[:2] / value, 0.5)
    daemon.allow_error("blob")
    daemon.ctl("scrub")
    wait_for(lambda: told(daemon, "scrub")["damaged"] > before, "the damage is found")


def digests(kept, of):
    """Of what images that `of` chooses have, and no other."""
    there = {(i, d) for i, d in (*kept.manifests, *kept.blobs)}
    return {d for i, d in there if of(i)} - {d for i, d in there if not of(i)}


def naming(found, names, digests_gone):
    """Records that name one of these, in key or value; the scrub's place is a name that may be gone."""
    needles = [*names, *(bytes.fromhex(d.split(":")[1]) for d in digests_gone)]
    return [(k, v) for k, v in found.items() if k[:1] != b"S" for n in needles if n in k or n in v]


def all_there(daemon):
    """Else the test would look for records that were never there."""
    found = records(daemon)
    assert {chr(k[0]) for k in found} >= kinds() - set(NAMELESS), "a new kind: its records come to be here, or are nameless"
    return found


def filled(start):
    kept = Kept(start(text=TOP + TEXT)).fill()
    kept.at(IMAGE).push_blob(b"named by no manifest")
    kept.at("other/team/app").push_blob(b"named by no manifest")
    return kept


def test_of_a_dropped_repository(start):
    kept = filled(start)
    daemon = kept.daemon
    gone = digests(kept, lambda image: image.startswith("other/"))
    spoil(kept, "other/team/app")
    daemon.stop()
    assert naming(all_there(daemon), [b"other\0"], gone)
    daemon.start()
    daemon.ctl("repo", "drop", "other", "--yes")
    collect(daemon)
    daemon.stop()
    assert naming(records(daemon), [b"other\0"], gone) == []
    assert naming(records(daemon), [b"one\0base\0"], ())


def test_of_an_image_whose_manifests_were_deleted(start):
    kept = filled(start)
    daemon, image = kept.daemon, kept.at(IMAGE)
    gone = digests(kept, lambda i: i == IMAGE)
    spoil(kept, IMAGE)
    daemon.stop()
    assert naming(all_there(daemon), [b"one\0team/app\0"], gone)
    daemon.start()
    manifests = {d: media_type for (i, d), (_, media_type) in kept.manifests.items() if i == IMAGE}
    for d in sorted(manifests, key=lambda d: manifests[d] != OCI_INDEX):  # an index before what it names
        assert image.delete("manifests/" + d).status_code == 202
    collect(daemon)
    daemon.stop()
    assert naming(records(daemon), [b"one\0team/app\0"], gone) == []
    assert naming(records(daemon), [b"one\0base\0", b"other\0team/app\0"], ())
