"""The catalog judges again what a worker has let through: what the worker saw may be over by then."""
import concurrent.futures
import json

import pytest

from harness.daemon import wait_for
from harness.registry import DOCKER_IMAGE, OCI_IMAGE, OCI_INDEX, Registry, digest, error
from test_ctl_logs import kept
from test_turns import OneTurn


@pytest.fixture
def made(start):
    def make(**kw):
        daemon = start(workers=1, **kw)
        return daemon, Registry(daemon.url, "judged/again")
    return make


def index_of(child):
    return json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [
        {"mediaType": OCI_IMAGE, "digest": digest(child), "size": len(child)}]}).encode()


def test_a_manifest_whose_layer_has_just_gone(made):
    daemon, registry = made()
    body = registry.image_manifest(layers=(b"layer",))
    with OneTurn(daemon) as turn:
        gone = turn.ask(registry.at(registry.image).delete, f"blobs/{digest(b'layer')}")
        put = turn.ask(Registry(daemon.url, registry.image).put_manifest, body, "x")
    assert gone.result(20).status_code == 202
    r = put.result(20)
    assert (r.status_code, error(r)) == (400, "MANIFEST_BLOB_UNKNOWN") and digest(b"layer") in r.text
    assert registry.get("manifests/x").status_code == 404


def test_an_index_whose_child_has_just_gone(made):
    daemon, registry = made(hosted='index_children = "strict"')
    child = registry.image_manifest()
    assert registry.put_manifest(child).status_code == 201
    with OneTurn(daemon) as turn:
        gone = turn.ask(registry.at(registry.image).delete, f"manifests/{digest(child)}")
        put = turn.ask(Registry(daemon.url, registry.image).put_manifest, index_of(child), "x", OCI_INDEX)
    assert gone.result(20).status_code == 202
    assert put.result(20).status_code == 400


def test_a_layer_is_no_manifest(made):
    """The bytes of a manifest, pushed as a blob too and named as a layer: the blob has just gone."""
    daemon, registry = made()
    other = registry.push_image("other")
    body = registry.image_manifest(layers=(other,))
    with OneTurn(daemon) as turn:
        gone = turn.ask(registry.at(registry.image).delete, f"blobs/{digest(other)}")
        put = turn.ask(Registry(daemon.url, registry.image).put_manifest, body, "x")
    assert (gone.result(20).status_code, put.result(20).status_code) == (202, 400)


def test_a_tag_that_has_just_come_may_not_move(made):
    daemon, registry = made(hosted='redeploy = "deny"')
    first, second = registry.image_manifest(), registry.image_manifest(config=b'{"n":2}')
    with OneTurn(daemon) as turn:
        put = turn.ask(Registry(daemon.url, registry.image).put_manifest, first, "x")
        late = turn.ask(Registry(daemon.url, registry.image).put_manifest, second, "x")
    assert (put.result(20).status_code, late.result(20).status_code) == (201, 403)
    assert registry.get("manifests/x").content == first


def test_two_pushes_that_fit_alone(made):
    daemon, registry = made(top='blobstore main {{ path = "{dir}/store"\n quota = 1M }}\n')
    one, other = b"1" * 600_000, b"2" * 600_000
    urls = [registry.begin(), registry.begin()]
    with OneTurn(daemon) as turn:
        both = [turn.ask(Registry(daemon.url, registry.image).finish, url, digest(data), data)
                for url, data in zip(urls, (one, other))]
    assert [b.result(20).status_code for b in both] == [201, 403]


@pytest.mark.parametrize("harm", ["gone", "short"])
def test_a_manifest_whose_file_is_not_what_it_was(made, harm):
    """Between the worker's rename and the catalog's turn."""
    daemon, registry = made()
    body = registry.image_manifest()
    d = digest(body)
    path = daemon.blob_path(d)
    with OneTurn(daemon) as turn:
        put = turn.ask(Registry(daemon.url, registry.image).put_manifest, body, "x")
        if harm == "gone":
            path.unlink()
        else:
            path.write_bytes(body[:-1])
    assert put.result(20).status_code >= 500
    daemon.allow_error("missing or damaged", "cannot")
    assert registry.get("manifests/x").status_code == 404


@pytest.mark.parametrize("harm", ["gone", "short", "long"])
def test_a_blob_whose_file_is_not_what_it_was(made, harm):
    """Between the worker's rename and the catalog's turn: no record of bytes that are not there."""
    daemon, registry = made()
    data = b"layer" * 100
    d = digest(data)
    path = daemon.blob_path(d)
    url = registry.begin()
    with OneTurn(daemon) as turn:
        put = turn.ask(Registry(daemon.url, registry.image).finish, url, d, data)
        if harm == "gone":
            path.unlink()
        else:
            path.write_bytes(data[:-1] if harm == "short" else data + b"x")
    assert put.result(20).status_code >= 500
    daemon.allow_error("missing or damaged", "cannot")
    assert registry.head(f"blobs/{d}").status_code == 404
    assert registry.push_blob(data) == d  # the next push heals it
    assert registry.get(f"blobs/{d}").content == data


def test_a_tag_that_moved_is_not_its_old_manifests(made):
    _, registry = made()
    first, second = registry.push_image("x"), registry.push_image("x", config=b'{"n":2}')
    assert registry.delete(f"manifests/{digest(first)}").status_code == 202
    assert registry.get("manifests/x").content == second


def test_nothing_is_left_of_what_is_deleted(made):
    """fsck knows every key there should be, and what garbage collection should know of."""
    daemon, registry = made(top='gc_grace = "0s"\ngc_interval = "1d"\n')
    body = registry.push_image("x")
    referrer = registry.push_image("sig", config=b'{"n":2}', subject={"mediaType": OCI_IMAGE, "digest": digest(body), "size": len(body)})
    lonely = registry.push_blob(b"lonely")
    assert registry.delete(f"blobs/{lonely}").status_code == 202
    assert registry.delete(f"manifests/{digest(referrer)}").status_code == 202
    before = json.loads(daemon.ctl("--json", "gc", "--status").stdout)["sweeps"]
    daemon.ctl("gc")
    wait_for(lambda: json.loads(daemon.ctl("--json", "gc", "--status").stdout)["sweeps"] > before, "a sweep")
    # The queue is empty now; where a manifest's own layer may be deleted, it is garbage again.
    assert registry.delete(f"blobs/{digest(b'layer')}").status_code in (202, 409)
    daemon.stop()
    status, report = daemon.fsck()
    assert (status, report["found"]) == (0, []), report


def test_a_condition_on_a_digest(made):
    _, registry = made()
    body = registry.image_manifest()
    assert registry.put_manifest(body, If_Match=f'"{digest(b"x")}"').status_code == 412
    assert registry.put_manifest(body).status_code == 201
    assert registry.put_manifest(body, If_Match=f'"{digest(body)}"').status_code == 201
    assert registry.put_manifest(body, If_Match=f'"{digest(b"x")}"').status_code in (400, 412)


@pytest.mark.parametrize("point", ["catalog_turn_begun", "catalog_turn_written", "catalog_turn_shown"])
@pytest.mark.parametrize("condition", ["absent", "match"])
def test_a_condition_whose_answer_is_lost(fail, made, condition, point):
    """The catalog dies before or behind the push, and is asked again: the client hears what became of its push."""
    _, registry = made()
    header = {"If_None_Match": "*"}
    if condition == "match":
        header = {"If_Match": f'"{digest(registry.push_image("x"))}"'}
    body = registry.image_manifest(layers=[b"another"])
    fail.arm(point, "kill")
    assert registry.put_manifest(body, "x", **header).status_code == 201
    assert digest(registry.get("manifests/x").content) == digest(body)
    assert registry.put_manifest(body, "x", **header).status_code == 412  # it is another push


def test_another_type_of_the_same_bytes(made):
    """What is held keeps its type, also after a new start; it is counted once."""
    daemon, registry = made()
    body = json.dumps({"schemaVersion": 2, "config": registry.descriptor(b"{}", "application/json"), "layers": []}).encode()
    for kind, status in ((OCI_IMAGE, 201), (DOCKER_IMAGE, 400), (OCI_IMAGE, 201)):
        assert registry.put_manifest(body, "x", kind).status_code == status
        for ref in ("x", digest(body)):
            assert registry.get(f"manifests/{ref}").headers["Content-Type"] == OCI_IMAGE
    assert json.loads(daemon.ctl("--json", "repos").stdout)["repositories"][0]["manifests"] == 1
    daemon.stop()
    daemon.start()  # what was written counts now
    for ref in ("x", digest(body)):
        assert registry.get(f"manifests/{ref}").headers["Content-Type"] == OCI_IMAGE


def test_a_size_that_the_worker_could_not_judge(made):
    """It saw no child yet, which this repository allows; the catalog has it by then."""
    daemon, registry = made(hosted='index_children = "lax"')
    child = registry.image_manifest()
    index = json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [
        {"mediaType": OCI_IMAGE, "digest": digest(child), "size": len(child) + 1}]}).encode()
    with OneTurn(daemon) as turn:
        first = turn.ask(registry.at(registry.image).put_manifest, child)
        second = turn.ask(Registry(daemon.url, registry.image).put_manifest, index, "x", OCI_INDEX)
    assert first.result(20).status_code == 201
    r = second.result(20)
    assert (r.status_code, error(r)) == (400, "SIZE_INVALID") and digest(child) in r.text


def test_counts_follow_what_changes(made):
    """What is added up turn by turn is what a new catalog counts: pushes, the same again, moves, deletes, a sweep."""
    daemon, registry = made(top='gc_grace = "0s"\ngc_interval = "1d"\n')

    def steps():
        first, second = (registry.image_manifest(layers=[layer]) for layer in (b"one", b"two and more"))
        typed = json.dumps({"schemaVersion": 2, "config": registry.descriptor(b"{}", "application/json"), "layers": []}).encode()
        for body in (first, first, second):
            assert registry.put_manifest(body, "moves").status_code == 201
            assert registry.put_manifest(body, "stays" if body is first else "new").status_code == 201
            yield
        for _ in range(2):
            assert registry.put_manifest(typed, "typed").status_code == 201
            yield
        assert registry.delete("manifests/stays").status_code == 202
        yield
        assert registry.delete(f"manifests/{digest(second)}").status_code == 202
        yield
        assert registry.delete(f"blobs/{digest(b'two and more')}").status_code == 202
        yield
        before = json.loads(daemon.ctl("--json", "gc", "--status").stdout)["sweeps"]
        daemon.ctl("gc")
        wait_for(lambda: json.loads(daemon.ctl("--json", "gc", "--status").stdout)["sweeps"] > before, "a sweep")
        yield

    for _ in steps():
        added = kept(daemon)
        daemon.respawned("catalog", daemon.kill_role("catalog"))
        assert kept(daemon) == added


def test_a_push_in_the_turn_of_its_sweep(fail, made):
    """The sweep takes record and link; the push that comes after it in the same turn has its file all the same."""
    daemon, registry = made(top='gc_grace = "0s"\ngc_interval = "1d"\n')
    data = b"swept and pushed"
    d = registry.push_blob(data)
    other = registry.at("judged/other")
    url = other.begin()
    fail.arm("catalog_turn_write", "wait")  # of some change: meanwhile the next turn's gather
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        some = pool.submit(Registry(daemon.url, "judged/some").push_blob, b"some change")
        fail.held("catalog_turn_write")
        daemon.ctl("gc")
        asked = sum(r["asks"] for r in daemon.roles("worker"))
        pushed = pool.submit(Registry(daemon.url, "judged/other").finish, url, d, data)
        wait_for(lambda: sum(r["asks"] for r in daemon.roles("worker")) > asked, "the catalog is asked")
        daemon.ctl("gc", "--status")  # and has read the question
        fail.release("catalog_turn_write")
        some.result(20)
        assert pushed.result(20).status_code == 201
    wait_for(lambda: (s := json.loads(daemon.ctl("--json", "gc", "--status").stdout))["sweeps"] == 1 and not s["running"], "the sweep ends")
    assert registry.head(f"blobs/{d}").status_code == 404  # it was swept
    assert daemon.blob_path(d).exists()
    assert other.get(f"blobs/{d}").content == data
    daemon.stop()
    assert daemon.fsck()[0] == 0
