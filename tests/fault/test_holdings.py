"""What a repository holds does not disappear because its section changes: refused, told, moved or dropped."""
import json
import os
import signal
import subprocess

import pytest

from harness.daemon import ENTREPOTCTL, ENTREPOTD, HEAD, wait_for
from harness.registry import Registry, digest

TWO = """
blobstore main {{{{ path = "{{dir}}/main" }}}}
blobstore two {{{{ path = "{{dir}}/two" }}}}
hosted kept {{{{ {kept} }}}}
hosted other {{{{ blobstore = main }}}}
{more}
connector "127.0.0.1:{{port}}" {{{{ }}}}
"""
KEPT = "blobstore = main"
PROXY = 'proxy kept {{ remotes = {{"https://registry.invalid"}}\n blobstore = main\n quota = 1M }}'
GROUP = "group kept {{ members = {{other}} }}"


def text(kept=KEPT, more="", section=True):
    whole = TWO.format(kept=kept, more=more)
    return whole if section else whole.replace("hosted kept {{ " + kept + " }}\n", "")


def of(daemon, repo, image="app"):
    return Registry(daemon.url, f"{repo}/{image}")


def is_back(daemon, kept):
    """With its section."""
    configure(daemon, text())
    daemon.start()
    assert of(daemon, "kept").get("manifests/1").content == kept


CHANGES = {
    "store": (text("blobstore = two"), "blob store main"),
    "proxy": (text(section=False, more=PROXY), "cannot become proxy"),
    "group": (text(section=False, more=GROUP), "cannot become group"),
}


@pytest.fixture
def daemon(start):
    return start(text=text())


def configure(daemon, body):
    daemon.write_conf(HEAD + body)


def refused_reload(daemon):
    before = daemon.log_text().count("reload refused")
    daemon.process.send_signal(signal.SIGHUP)
    wait_for(lambda: daemon.log_text().count("reload refused") > before, "the reload is refused")


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_under_content_is_refused(daemon, change):
    """At a reload, at a start and by -t, with the way; empty, it is taken."""
    body, why = CHANGES[change]
    daemon.allow_error("images would be lost from sight", "reload refused")
    kept = of(daemon, "kept").push_image("1")
    configure(daemon, body)
    refused_reload(daemon)
    assert why in daemon.log_text() and "entrepotctl repo" in daemon.log_text()
    assert of(daemon, "kept").get("manifests/1").content == kept
    test = subprocess.run([ENTREPOTD, "-t", "-c", str(daemon.conf)], capture_output=True, text=True)
    assert test.returncode == os.EX_CONFIG and why in test.stderr
    daemon.stop()
    again = subprocess.run([ENTREPOTD, "-f", "-c", str(daemon.conf)], capture_output=True, text=True, timeout=60)
    assert again.returncode == 78 and why in again.stderr
    is_back(daemon, kept)
    daemon.ctl("repo", "drop", "kept", "--yes")
    assert of(daemon, "kept").get("manifests/1").status_code == 404
    configure(daemon, body)
    daemon.reload()


def test_an_empty_repository_may_change(daemon):
    of(daemon, "other").push_image("1")
    configure(daemon, CHANGES["store"][0])
    daemon.reload()
    of(daemon, "kept").push_image("1")
    assert list((daemon.dir / "two" / "blobs" / "sha256").glob("*/*"))


def test_deleting_the_last_image_frees_the_name(daemon):
    body = of(daemon, "kept").push_image("1")
    listed = daemon.data_dir / "catalog" / "REPOSITORIES"
    assert "kept hosted main" in listed.read_text()
    of(daemon, "kept").delete(f"manifests/{digest(body)}")
    for d in (digest(b"{}"), digest(b"layer")):
        of(daemon, "kept").delete(f"blobs/{d}")
    wait_for(lambda: "kept" not in listed.read_text(), "it is not named any more")
    configure(daemon, CHANGES["store"][0])
    daemon.reload()


def test_a_removed_section(daemon):
    """A reload refuses it; a start tells it and keeps everything; the section back brings it back."""
    daemon.allow_error("a section is missing", "reload refused")
    kept = of(daemon, "kept").push_image("1")
    configure(daemon, text(section=False))
    refused_reload(daemon)
    assert "entrepotctl repo drop kept" in daemon.log_text()
    daemon.stop()
    daemon.start()
    assert "repository kept holds images and has no section" in daemon.log_text()
    assert "NO SECTION" in daemon.ctl("repos").stdout
    assert of(daemon, "kept").get("manifests/1").status_code == 404
    daemon.ctl("gc")
    daemon.stop()
    is_back(daemon, kept)
    assert of(daemon, "kept").get(f"blobs/{digest(b'layer')}").content == b"layer"
    daemon.stop()
    assert daemon.fsck()[0] == 0


def test_drop_of_what_has_no_section(daemon):
    body = of(daemon, "kept").push_image("1")
    of(daemon, "kept", "second").push_image("1", layers=(b"shared", b"own" * 1000))
    shared = of(daemon, "other").push_image("1", layers=(b"shared",))
    daemon.stop()
    configure(daemon, text(section=False))
    daemon.start()
    asked = daemon.ctl("repo", "drop", "kept", check=False)
    assert asked.returncode == 32 and "2 images" in asked.stdout and "add --yes" in asked.stderr
    assert "NO SECTION" in daemon.ctl("repos").stdout
    assert "dropped" in daemon.ctl("repo", "drop", "kept", "--yes").stdout
    assert "kept" not in daemon.ctl("repos").stdout
    wait_for(lambda: "kept" not in (daemon.data_dir / "catalog" / "REPOSITORIES").read_text(), "it is not named")
    files = {p.name for p in (daemon.dir / "main" / "blobs" / "sha256").glob("*/*")}
    assert digest(body)[7:] not in files and digest(b"own" * 1000)[7:] not in files
    assert of(daemon, "other").get("manifests/1").content == shared
    assert of(daemon, "other").get(f"blobs/{digest(b'shared')}").content == b"shared"
    assert daemon.ctl("repo", "drop", "kept", "--yes", check=False).returncode == 1
    daemon.stop()
    assert daemon.fsck()[0] == 0


def test_drop_of_much_beside_pushes(daemon):
    """More than a slice of each kind; the other repository works meanwhile."""
    app = of(daemon, "kept")
    for i in range(70):
        body = app.image_manifest(layers=(b"layer%d" % i,))
        assert app.put_manifest(body, f"t{i}").status_code == 201
    for i in range(70):
        assert app.put_manifest(body, f"more{i}").status_code == 201
    of(daemon, "kept", "z/second").push_image("1")
    dropping = subprocess.Popen([ENTREPOTCTL, "-s", str(daemon.run_dir), "repo",
                                 "drop", "kept", "--yes"])
    for i in range(20):
        of(daemon, "other").push_image(f"n{i}")
    assert dropping.wait(60) == 0
    rows = {r["name"]: r for r in json.loads(daemon.ctl("--json", "repos").stdout)["repositories"]}
    assert all(rows["kept"][n] == 0 for n in ("images", "tags", "manifests", "blobs", "bytes"))
    assert app.get("tags/list").status_code == 404
    assert of(daemon, "other").get("manifests/n19").status_code == 200
    of(daemon, "kept").push_image("anew")
    daemon.stop()
    assert daemon.fsck()[0] == 0


def test_a_crash_while_a_repository_is_dropped(fail, start):
    daemon = start(text=text())
    app = of(daemon, "kept")
    for i in range(70):
        assert app.put_manifest(app.image_manifest(layers=(b"layer%d" % i,)), f"t{i}").status_code == 201
    old = daemon.pids("catalog")
    fail.arm("catalog_drop_written", "kill")
    # The command may meet the death itself, or the successor, and goes on there.
    done = daemon.ctl("repo", "drop", "kept", "--yes", check=False)
    daemon.respawned("catalog", old)
    assert daemon.fsck()[0] == 0
    if done.returncode != 0:
        daemon.ctl("repo", "drop", "kept", "--yes")
    assert app.get("tags/list").status_code == 404
    daemon.stop()
    assert daemon.fsck()[0] == 0


@pytest.mark.parametrize("errno", ["ENOSPC"])
def test_a_drop_that_cannot_write(fail, start, errno):
    daemon = start(text=text())
    kept = of(daemon, "kept").push_image("1")
    fail.arm("catalog_turn_write", f"{errno} always")
    assert daemon.ctl("repo", "drop", "kept", "--yes", check=False).returncode == 1
    fail.disarm("catalog_turn_write")
    wait_for(lambda: of(daemon, "other").begin().startswith("http"), "it works again")
    assert of(daemon, "kept").get("manifests/1").content == kept
    wait_for(lambda: daemon.ctl("repo", "drop", "kept", "--yes", check=False).returncode == 0, "it is dropped")


@pytest.mark.parametrize("how", ["missing", "damaged"])
def test_the_list_is_made_from_the_database(daemon, how):
    """As by the first start of a version that has it."""
    daemon.allow_error("images would be lost from sight", "reload refused")
    of(daemon, "kept").push_image("1")
    daemon.stop()
    listed = daemon.data_dir / "catalog" / "REPOSITORIES"
    if how == "missing":
        listed.unlink()
    else:
        listed.write_bytes(b"kept\0hosted")
    daemon.start()
    assert "kept hosted main" in listed.read_text()
    configure(daemon, CHANGES["store"][0])
    refused_reload(daemon)


def test_what_a_group_took_the_name_of_is_kept(daemon):
    """As what has no section, where no list was there to refuse it."""
    kept = of(daemon, "kept").push_image("1")
    daemon.stop()
    (daemon.data_dir / "catalog" / "REPOSITORIES").unlink()
    configure(daemon, CHANGES["group"][0])
    daemon.start()
    wait_for(lambda: "a repository holds images and has no section" in daemon.log_text(), "it is told")
    assert of(daemon, "kept").get("manifests/1").status_code == 404
    daemon.ctl("gc")
    daemon.stop()
    is_back(daemon, kept)
    daemon.stop()
    assert daemon.fsck()[0] == 0


def test_a_group_cannot_be_dropped(start):
    daemon = start(text=text(more="group all {{ members = {{kept, other}}\n push_to = kept }}"))
    done = daemon.ctl("repo", "drop", "all", "--yes", check=False)
    assert done.returncode == 1 and "is a group" in done.stderr
