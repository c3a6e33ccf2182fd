"""entrepotctl repo move: a repository's bytes in another blob store; whoever dies on the way has lost nothing."""
import json
import shutil
import signal
import subprocess

import pytest

from harness.daemon import ENTREPOTCTL, HEAD, wait_for
from harness.registry import OCI_IMAGE, OCI_INDEX, Registry, digest

TWO = """
blobstore main {{{{ path = "{{dir}}/main" }}}}
blobstore two {{{{ path = "{{dir}}/two" }}}}
hosted moved {{{{ blobstore = {store} }}}}
hosted other {{{{ blobstore = main }}}}
connector "127.0.0.1:{{port}}" {{{{ }}}}
"""
TOP = 'gc_grace = "0s"\ngc_interval = "200ms"\n'
STEPS = ("repo_move_put", "repo_move_copied", "repo_move_switched", "repo_move_journal")


def of(daemon, repo, image="app"):
    return Registry(daemon.url, f"{repo}/{image}")


def configure(daemon, store):
    daemon.write_conf(HEAD + TOP + TWO.format(store=store))


def move(daemon, *args, good=True):
    done = subprocess.run([ENTREPOTCTL, "-c", str(daemon.conf), "repo", "move", *(args or ("moved", "--store", "two"))],
                          text=True, timeout=60, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert (done.returncode == 0) == good, (done.returncode, done.stdout)
    return done.stdout


def files(daemon, store):
    return {p.name for p in (daemon.dir / store / "blobs").glob("*/*/*")}


class Images:
    """Some of one repository alone, some bytes shared with another."""

    def __init__(self, daemon):
        self.daemon, self.expected = daemon, {}
        self.push("moved", "app", "1", (b"shared", b"own" * 50_000))
        self.push("moved", "app", "2", (b"shared", b"second"))
        self.push("moved", "deep/er", "1", (b"third",))
        self.push("other", "app", "1", (b"shared", b"others"))
        child = self.expected["moved", "app", "1"][0]
        index = json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [
            {"mediaType": OCI_IMAGE, "digest": digest(child), "size": len(child)}]}).encode()
        assert of(daemon, "moved").put_manifest(index, "all", OCI_INDEX).status_code == 201
        self.expected["moved", "app", "all"] = (index, ())

    def push(self, repo, image, tag, layers):
        registry = of(self.daemon, repo, image)
        bodies = []

        def pushed():  # without grace a sweep may come between blob and manifest
            bodies.append(registry.image_manifest(layers=layers))
            return registry.put_manifest(bodies[-1], tag).status_code == 201
        wait_for(pushed, "it is pushed")
        self.expected[repo, image, tag] = (bodies[-1], layers)

    def check(self):
        for (repo, image, tag), (body, layers) in self.expected.items():
            registry = of(self.daemon, repo, image)
            assert registry.get(f"manifests/{tag}").content == body, (repo, image, tag)
            for layer in layers:
                assert registry.get(f"blobs/{digest(layer)}").content == layer

    def own(self):
        """Names of files that `moved` alone holds."""
        return {digest(x)[7:] for x in (b"own" * 50_000, b"second", b"third",
                                        *(body for (repo, *_), (body, _) in self.expected.items() if repo == "moved"))}


@pytest.fixture
def daemon(fail, start):
    daemon = start(top=TOP, text=TWO.format(store="main"))
    daemon.fail = fail
    return daemon


def serves_from_two(daemon, images):
    configure(daemon, "two")
    daemon.start()
    images.check()
    assert images.own() <= files(daemon, "two")
    assert not images.own() & files(daemon, "main")
    assert digest(b"shared")[7:] in files(daemon, "main") & files(daemon, "two")
    images.push("moved", "app", "3", (b"shared", b"after"))
    daemon.ctl("gc")
    images.check()
    daemon.stop()
    status, report = daemon.fsck()
    assert status == 0 and not report["found"], report


def test_all_of_it_moves(daemon):
    daemon.allow_error("images would be lost from sight")
    images = Images(daemon)
    assert "stop it before repo move" in move(daemon, good=False)
    daemon.stop()
    said = move(daemon)
    assert "moved is in blobstore two now" in said and "set blobstore = two" in said
    refused = subprocess.run([str(ENTREPOTCTL).replace("entrepotctl", "entrepotd"), "-f", "-c", str(daemon.conf)],
                             capture_output=True, text=True, timeout=60)
    assert refused.returncode == 78 and "repo move moved --store main" in refused.stderr
    serves_from_two(daemon, images)


def test_there_and_back(daemon):
    images = Images(daemon)
    daemon.stop()
    move(daemon)
    move(daemon, "moved", "--store", "main")
    daemon.start()
    images.check()
    daemon.stop()
    assert daemon.fsck()[0] == 0
    assert not files(daemon, "two")


@pytest.mark.parametrize("step", STEPS)
def test_it_dies(daemon, step):
    images = Images(daemon)
    daemon.stop()
    daemon.fail.arm(step, "kill")
    done = subprocess.run([ENTREPOTCTL, "-c", str(daemon.conf), "repo", "move", "moved", "--store", "two"], timeout=60)
    assert done.returncode == -signal.SIGKILL and not daemon.fail.pending(step)
    configure(daemon, "two" if STEPS.index(step) >= STEPS.index("repo_move_switched") else "main")
    daemon.start()  # what counts is whole
    images.check()
    daemon.ctl("gc")
    images.check()
    daemon.stop()
    move(daemon)
    serves_from_two(daemon, images)


def test_what_is_damaged_stays_so(daemon):
    images = Images(daemon)
    daemon.stop()
    name = digest(b"second")[7:]
    (daemon.dir / "main/blobs/sha256" / name[:2] / name).write_bytes(b"secon!")
    said = move(daemon)
    assert f"{digest(b'second')} of moved/app is damaged or missing" in said and "1 are damaged" in said
    configure(daemon, "two")
    daemon.start()
    assert of(daemon, "moved").get(f"blobs/{digest(b'second')}").status_code == 404
    assert of(daemon, "moved").get("manifests/1").status_code == 200
    images.push("moved", "app", "2", (b"shared", b"second"))
    images.check()


@pytest.mark.parametrize("known", [False, True])
def test_a_damaged_copy_in_the_new_store_is_not_what_is_left(daemon, known):
    """Of what another repository holds there; `known`: its damage was found, and the mark goes."""
    images = Images(daemon)
    daemon.stop()
    daemon.conf.write_text(daemon.conf.read_text() + "hosted there {\n blobstore = two\n}\n")
    daemon.start()
    images.push("there", "app", "1", (b"second",))
    daemon.stop()
    name = digest(b"second")[7:]
    file = daemon.dir / "two/blobs/sha256" / name[:2] / name
    file.write_bytes(b"secon!")
    if known:
        daemon.allow_error("a blob's bytes have changed")
        daemon.start()
        daemon.ctl("scrub")
        wait_for(lambda: not file.exists(), "the scrub finds it")
        daemon.stop()
    assert "damaged or missing" not in move(daemon)
    daemon.conf.write_text(daemon.conf.read_text().replace("hosted moved { blobstore = main }", "hosted moved { blobstore = two }"))
    daemon.start()
    images.check()
    daemon.stop()
    status, report = daemon.fsck()
    assert status == 0 and not report["found"], report


def test_a_full_store(daemon, monkeypatch):
    """Nothing is moved in part."""
    images = Images(daemon)
    daemon.stop()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=100k", "none", str(daemon.dir / "two" / "partial")], check=True)
    try:
        said = move(daemon, good=False)
    finally:
        subprocess.run(["umount", str(daemon.dir / "two" / "partial")], check=True)
    assert "cannot copy sha256:" in said and "nothing is lost, repeat it" in said
    daemon.start()
    images.check()
    daemon.stop()
    move(daemon)
    serves_from_two(daemon, images)


@pytest.mark.parametrize("args, why", [
    (("moved", "--store", "three"), "has no blobstore three"),
    (("nobody", "--store", "two"), "holds nothing"),
    (("moved", "two"), "usage:"),
])
def test_what_it_refuses(daemon, args, why):
    Images(daemon)
    daemon.stop()
    assert why in move(daemon, *args, good=False)


def test_a_new_store(daemon):
    images = Images(daemon)
    daemon.stop()
    text = daemon.conf.read_text().replace("blobstore two", 'blobstore three { path = "%s/three" }\nblobstore two' % daemon.dir)
    daemon.conf.write_text(text)
    assert "blobstore three is new" in move(daemon, "moved", "--store", "three", good=False)
    daemon.start()
    daemon.stop()
    move(daemon, "moved", "--store", "three")
    daemon.conf.write_text(text.replace("hosted moved { blobstore = main }", "hosted moved { blobstore = three }"))
    daemon.start()
    images.check()


@pytest.mark.parametrize("changes", [1, 3])
def test_a_database_that_lacks_changes_is_not_changed(daemon, changes):
    """A move has a number of its own: it would stand where the lost change had one."""
    Images(daemon)
    daemon.stop()
    shutil.copytree(daemon.data_dir / "catalog", daemon.dir / "older")
    daemon.start()
    body = of(daemon, "moved").get("manifests/1").content
    for n in range(changes):
        assert of(daemon, "moved").put_manifest(body, f"since{n}").status_code == 201
    wait_for(lambda: b" since%d " % (changes - 1) in (daemon.dir / "main/journal").read_bytes(), "the journal has it")
    daemon.stop()
    shutil.rmtree(daemon.data_dir / "catalog")
    (daemon.dir / "older").rename(daemon.data_dir / "catalog")
    said = move(daemon, good=False)
    assert "lacks changes" in said and "entrepotctl rebuild" in said, said
    assert not files(daemon, "two")
    subprocess.run([ENTREPOTCTL, "-c", str(daemon.conf), "rebuild", "--yes"], check=True)
    move(daemon)
    configure(daemon, "two")
    daemon.start()
    for n in range(changes):
        assert of(daemon, "moved").get(f"manifests/since{n}").content == body
