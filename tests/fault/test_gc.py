"""Online garbage collection: what goes, what stays, and the races with those who push."""
import concurrent.futures
import json
import os
import threading
import time

import pytest

from harness.daemon import wait_for
from harness.registry import OCI_INDEX, Registry, digest, error

TWO = 'hosted first {{ }}\nhosted second {{ }}\nconnector "127.0.0.1:{port}" {{ }}\n'
STORES = ('blobstore a {{ path = "{dir}/a" }}\nblobstore b {{ path = "{dir}/b" }}\n'
          'hosted first {{ blobstore = a }}\nhosted second {{ blobstore = b }}\nconnector "127.0.0.1:{port}" {{ }}\n')
GRACE = 'gc_grace = "0s"\ngc_interval = "1d"\n'


@pytest.fixture
def collector(fail, start):
    """collector(GRACE): a daemon that sweeps when told to, with fail points."""
    def make(top=GRACE, **kw):
        daemon = start(top=top, **kw)
        daemon.fail = fail
        return daemon
    return make


def gc_status(daemon):
    return json.loads(daemon.ctl("--json", "gc", "--status").stdout)


def sweep(daemon):
    """A whole sweep, directories included, that begins now."""
    before = gc_status(daemon)["sweeps"]
    daemon.ctl("gc")
    return wait_for(lambda: (s := gc_status(daemon))["sweeps"] > before and not s["running"] and s, "the sweep ends", 30)


def trash(daemon):
    return {p.name.replace("-", ":", 1) for p in (daemon.data_dir / "blobs" / "trash").iterdir()}


def repo_row(daemon):
    return json.loads(daemon.ctl("--json", "repos").stdout)["repositories"][0]


def test_what_nobody_refers_to_goes(collector):
    daemon = collector()
    registry = Registry(daemon.url, "gc/image")
    config, layer, lonely = b'{"a":1}', os.urandom(5000), os.urandom(4000)
    body = registry.image_manifest(config, (layer,))
    assert registry.put_manifest(body, "one").status_code == 201
    registry.push_blob(lonely)
    status = sweep(daemon)
    assert status["links"] == 1 and status["blobs"] == 1 and status["bytes"] == 4000
    assert registry.head(f"blobs/{digest(lonely)}").status_code == 404
    assert not daemon.blob_path(digest(lonely)).exists() and digest(lonely) in trash(daemon)
    for kept in (config, layer):
        assert registry.get(f"blobs/{digest(kept)}").content == kept
    assert registry.get("manifests/one").content == body
    assert registry.delete(f"manifests/{digest(body)}").status_code == 202
    status = sweep(daemon)
    assert status["blobs"] == 4
    for gone in (config, layer, body):
        assert not daemon.blob_path(digest(gone)).exists()
    row = repo_row(daemon)
    assert (row["images"], row["tags"], row["manifests"], row["blobs"], row["bytes"]) == (0, 0, 0, 0, 0)
    assert sweep(daemon)["looked_at"] == status["looked_at"]  # the queue is empty: nothing is looked at again


def test_what_another_image_or_manifest_holds_stays(collector):
    daemon = collector()
    a, b = Registry(daemon.url, "gc/a"), Registry(daemon.url, "gc/b")
    shared = os.urandom(3000)
    first, second = a.image_manifest(b"{}", (shared,), annotations={"n": "1"}), a.image_manifest(b"{}", (shared,), annotations={"n": "2"})
    other = b.image_manifest(b"{}", (shared,))
    for registry, body in ((a, first), (a, second), (b, other)):
        assert registry.put_manifest(body).status_code == 201
    assert a.delete(f"manifests/{digest(first)}").status_code == 202
    sweep(daemon)
    assert a.get(f"blobs/{digest(shared)}").content == shared  # the second names it
    assert a.delete(f"manifests/{digest(second)}").status_code == 202
    sweep(daemon)
    assert a.head(f"blobs/{digest(shared)}").status_code == 404
    assert b.get(f"blobs/{digest(shared)}").content == shared  # the bytes are another image's too
    assert daemon.blob_path(digest(shared)).exists()  # and not in a worker's memory alone
    assert b.delete(f"manifests/{digest(other)}").status_code == 202
    sweep(daemon)
    assert not daemon.blob_path(digest(shared)).exists()


def test_more_than_a_slice_at_once(collector):
    """SWEEP_SLICE (src/catalog/gc.h) is what one turn looks at."""
    daemon = collector()
    registry = Registry(daemon.url, "gc/many")
    blobs = [registry.push_blob(b"%d" % n) for n in range(300)]
    assert sweep(daemon)["blobs"] == len(blobs)
    assert not any(daemon.blob_path(d).exists() for d in blobs)


def test_a_deleted_layer_of_a_live_manifest_goes(collector):
    """Where that is permitted. The sweep before has taken it out of the queue: the delete puts it there again."""
    daemon = collector(hosted="delete_referenced = true")
    registry = Registry(daemon.url, "gc/deleted")
    registry.push_image("x", layers=(b"deleted",))
    sweep(daemon)
    assert registry.delete(f"blobs/{digest(b'deleted')}").status_code == 202
    sweep(daemon)
    assert not daemon.blob_path(digest(b"deleted")).exists()


def test_a_repository_that_is_not_configured_for_a_while(collector):
    """It keeps what it has, and its garbage is known when it is back."""
    daemon = collector(text=TWO)
    registry = Registry(f"{daemon.url}/repository/second", "gc/away")
    d, kept = registry.push_blob(b"garbage"), registry.push_image("x")
    conf = daemon.conf.read_text()
    daemon.stop()
    daemon.conf.write_text(conf.replace("hosted second { }", ""))
    daemon.start()
    daemon.ctl("gc")
    wait_for(lambda: gc_status(daemon)["sweeps"] > 0 and not gc_status(daemon)["running"], "a sweep")
    assert daemon.blob_path(d).exists()
    daemon.stop()
    daemon.conf.write_text(conf)
    daemon.start()
    wait_for(lambda: (sweep(daemon), not daemon.blob_path(d).exists())[1], "it goes")
    assert registry.get("manifests/x").content == kept


def test_children_of_an_index_stay(collector):
    daemon = collector()
    registry = Registry(daemon.url, "gc/index")
    child = registry.image_manifest()
    assert registry.put_manifest(child).status_code == 201
    index = json.dumps({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": [
        {"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": digest(child), "size": len(child)}]}).encode()
    assert registry.put_manifest(index, "multi", "application/vnd.oci.image.index.v1+json").status_code == 201
    sweep(daemon)
    assert registry.get(f"manifests/{digest(child)}").content == child
    assert registry.get("blobs/" + digest(b"layer")).content == b"layer"


def test_the_grace_period_holds(collector):
    daemon = collector(top='gc_grace = "1h"\n')
    registry = Registry(daemon.url, "gc/grace")
    registry.push_blob(b"fresh")
    status = sweep(daemon)
    assert status["looked_at"] == 0 and registry.get(f"blobs/{digest(b'fresh')}").content == b"fresh"


def test_a_question_extends_the_grace(collector):
    """HEAD is what a client trusts when it skips an upload."""
    daemon = collector(top='gc_grace = "3s"\n')
    registry = Registry(daemon.url, "gc/asked")
    asked, forgotten = os.urandom(100), os.urandom(100)
    registry.push_blob(asked)
    registry.push_blob(forgotten)
    stop, answers = threading.Event(), set()

    def ask():
        at = Registry(daemon.url, "gc/asked")
        while not stop.wait(0.05):
            answers.add(at.head(f"blobs/{digest(asked)}").status_code)

    asker = threading.Thread(target=ask)
    asker.start()
    try:
        wait_for(lambda: sweep(daemon) and not daemon.blob_path(digest(forgotten)).exists(), "what nobody asks for goes", 60)
    finally:
        stop.set()
        asker.join()
    assert answers == {200}
    assert registry.get(f"blobs/{digest(asked)}").content == asked


def test_a_second_push_extends_the_grace(collector):
    """Of what has waited for a manifest for longer than that: whoever pushed it again was told that it is here."""
    daemon = collector(top='gc_grace = "3s"\n')
    registry = Registry(daemon.url, "gc/again")
    data = os.urandom(100)

    def swept_within_the_grace():
        registry.push_blob(data)
        pushed = int(time.time())
        wait_for(lambda: time.time() >= pushed + 5, "the grace period of the first push is over")
        registry.push_blob(data)
        again = int(time.time())
        status = sweep(daemon)
        return status if status["started"] < again + 3 else None  # else the machine was too slow: once more

    status = wait_for(swept_within_the_grace, "a sweep soon after the second push", 60)
    assert (status["looked_at"], status["kept"]) == (1, 1) and daemon.blob_path(digest(data)).exists()
    assert registry.get(f"blobs/{digest(data)}").content == data


def test_orphan_files_go(collector):
    """What a crash between rename and commit leaves; what is not ours stays."""
    daemon = collector()
    body = Registry(daemon.url, "gc/known").push_image("kept")
    data = os.urandom(1000)
    orphan = daemon.blob_path(digest(data))
    orphan.write_bytes(data)
    (orphan.parent / "README").write_text("not ours")
    status = sweep(daemon)
    assert status["orphans"] == 1 and not orphan.exists() and (orphan.parent / "README").exists()
    assert all(daemon.blob_path(digest(x)).exists() for x in (body, b"{}", b"layer"))  # who has a record is none
    registry = Registry(daemon.url, "gc/orphan")
    registry.push_blob(data)
    assert registry.get(f"blobs/{digest(data)}").content == data


def test_an_asker_in_the_last_moment_wins(collector):
    """Between the judgement and the tombstone somebody is told that it is here: it stays."""
    daemon = collector(top='gc_grace = "1s"\n')
    registry = Registry(daemon.url, "gc/moment")
    data = os.urandom(100)
    registry.push_blob(data)
    time.sleep(2.1)  # the grace period counts whole seconds
    daemon.fail.arm("catalog_gc_judged", "wait")
    daemon.ctl("gc")
    daemon.fail.held("catalog_gc_judged")
    assert registry.head(f"blobs/{digest(data)}").status_code == 200
    daemon.fail.release("catalog_gc_judged")
    wait_for(lambda: gc_status(daemon)["kept"] == 1, "the sweep keeps it")
    assert registry.get(f"blobs/{digest(data)}").content == data
    assert registry.put_manifest(registry.image_manifest(data, (data,), push=False)).status_code == 201


@pytest.mark.parametrize("method", ["HEAD", "GET"])
def test_the_mark_comes_before_the_look(collector, method):
    """Whoever is about to look for a blob has marked it already: a whole sweep between the two leaves it."""
    grace = 5  # which a mark and a sweep are within, however busy the machine is
    daemon = collector(top=f'gc_grace = "{grace}s"\ngc_interval = "1d"\n', workers=1)
    registry = Registry(daemon.url, "gc/mark")
    data = os.urandom(100)
    registry.push_blob(data)
    pushed = int(time.time())
    wait_for(lambda: time.time() >= pushed + grace + 2, "the grace period of the push is over")
    daemon.fail.arm("worker_blob_marked", "wait")
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        asked = pool.submit(Registry(daemon.url, "gc/mark").request, method, f"/v2/gc/mark/blobs/{digest(data)}")
        daemon.fail.held("worker_blob_marked")
        status = sweep(daemon)
        daemon.fail.release("worker_blob_marked")
        r = asked.result(20)
    assert (status["looked_at"], status["kept"], status["blobs"]) == (1, 1, 0)
    assert r.status_code == 200 and daemon.blob_path(digest(data)).exists()


def test_hidden_is_not_told(collector):
    """After the tombstone nobody is told that it is here: the client uploads it again."""
    daemon = collector()
    registry = Registry(daemon.url, "gc/hidden")
    data = os.urandom(100)
    registry.push_blob(data)
    daemon.fail.arm("catalog_gc_killed", "wait")
    daemon.ctl("gc")
    daemon.fail.held("catalog_gc_killed")
    assert registry.head(f"blobs/{digest(data)}").status_code == 404
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        push = pool.submit(Registry(daemon.url, "gc/hidden").push_blob, data)  # the catalog answers after the sweep
        daemon.fail.release("catalog_gc_killed")
        push.result(20)
    assert registry.get(f"blobs/{digest(data)}").content == data
    sweep(daemon)


@pytest.mark.parametrize("point", ["catalog_gc_written", "catalog_gc_aside"])
def test_an_upload_while_its_file_goes(collector, point):
    """The worker's rename comes before the file is moved aside, its question after: it comes back from the trash."""
    daemon = collector()
    registry = Registry(daemon.url, "gc/upload")
    data = os.urandom(100)
    registry.push_blob(data)
    daemon.fail.arm(point, "wait")
    daemon.ctl("gc")
    daemon.fail.held(point)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        daemon.fail.arm("store_place_done", "wait")
        push = pool.submit(Registry(daemon.url, "gc/other").push_blob, data)
        daemon.fail.held("store_place_done")  # renamed and synced; the question is not asked yet
        assert daemon.blob_path(digest(data)).exists()
        daemon.fail.release(point)
        if point == "catalog_gc_written":
            wait_for(lambda: not daemon.blob_path(digest(data)).exists(), "the sweep takes the new file")
        else:
            wait_for(lambda: not gc_status(daemon)["running"], "the sweep ends")
        daemon.fail.release("store_place_done")
        push.result(20)
    other = Registry(daemon.url, "gc/other")
    assert other.get(f"blobs/{digest(data)}").content == data and daemon.blob_path(digest(data)).exists()
    assert other.put_manifest(other.image_manifest(data, (data,), push=False)).status_code == 201


def test_what_waits_is_told(collector):
    """What a sweep would take, and when; not what is named, nor what is held elsewhere."""
    daemon = collector(top='gc_grace = "1d"\ngc_interval = "1d"\n')
    registry, other = Registry(daemon.url, "gc/waits"), Registry(daemon.url, "gc/other")
    assert "nothing waits" in daemon.ctl("gc", "--status").stdout
    began = int(time.time())
    body = registry.push_image("kept", layers=(b"named",))
    other.put_manifest(body, "kept-too", query="")
    status = gc_status(daemon)
    assert (status["waiting"], status["waiting_bytes"]) == (0, 0)
    lonely = [b"%03d of many" % n for n in range(70)]  # more than one answer looks at
    for data in lonely:
        registry.push_blob(data)
    status = gc_status(daemon)
    assert (status["waiting"], status["waiting_bytes"]) == (70, sum(map(len, lonely)))
    assert began <= status["waiting_first"] <= status["waiting_last"] <= time.time()
    index = json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": []}).encode()
    assert registry.put_manifest(index, media_type=OCI_INDEX).status_code == 201
    assert registry.delete(f"manifests/{digest(index)}").status_code == 202
    after = gc_status(daemon)
    assert (after["waiting"], after["waiting_bytes"]) == (71, status["waiting_bytes"] + len(index))
    text = daemon.ctl("gc", "--status").stdout
    assert "what nothing names waits: up to 71 blobs and manifests, up to 863 B" in text, text
    sweep(daemon)
    assert gc_status(daemon)["waiting"] == 71 and registry.get(f"blobs/{digest(lonely[0])}").status_code == 200


def test_now_takes_what_no_push_can_need(collector):
    """A deleted image's layers do not wait for gc_grace; what somebody asked for lately does."""
    daemon = collector(top='gc_grace = "5s"\ngc_interval = "1d"\n')
    registry = Registry(daemon.url, "gc/now")
    old, asked, fresh = os.urandom(1000), os.urandom(1000), os.urandom(1000)
    body = registry.push_image("gone", layers=(old, asked))
    time.sleep(6)  # nobody asks for any of it for that long
    assert registry.delete(f"manifests/{digest(body)}").status_code == 202
    registry.push_blob(fresh)
    stop, begun = threading.Event(), threading.Event()

    def ask():
        """Like clients whose push goes on."""
        while not stop.wait(0.05):
            for data in (asked, fresh):
                assert Registry(daemon.url, "gc/now").head(f"blobs/{digest(data)}").status_code == 200
            begun.set()

    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        asking = pool.submit(ask)
        assert begun.wait(20)
        before = gc_status(daemon)["sweeps"]
        daemon.ctl("gc", "--now")
        status = wait_for(lambda: (s := gc_status(daemon))["sweeps"] > before and not s["running"] and s, "the sweep ends")
        stop.set()
        asking.result(20)
    assert status["kept"] >= 2 and status["waiting"] >= 2  # one has come to wait twice
    assert not daemon.blob_path(digest(old)).exists() and not daemon.blob_path(digest(body)).exists()
    assert registry.get(f"blobs/{digest(asked)}").content == asked and registry.get(f"blobs/{digest(fresh)}").content == fresh
    assert registry.put_manifest(registry.image_manifest(fresh, (asked,), push=False)).status_code == 201
    daemon.stop()
    assert daemon.fsck()[0] == 0


def held_look(daemon):
    """The next change's file is looked for by a thread, as where the kernel knows nothing of it, and that takes."""
    daemon.fail.arm("catalog_file_here", "EAGAIN")
    daemon.fail.arm("catalog_file_looked", "wait")


def held_push(daemon, pool, image, data):
    """Its file is in its place and was looked at; the operation is to run yet."""
    held_look(daemon)
    push = pool.submit(Registry(daemon.url, image).push_blob, data)
    daemon.fail.held("catalog_file_looked")
    assert daemon.blob_path(digest(data)).exists()
    return push


def here(daemon, image, data):
    registry = Registry(daemon.url, image)
    assert daemon.blob_path(digest(data)).exists() and registry.get(f"blobs/{digest(data)}").content == data
    assert registry.put_manifest(registry.image_manifest(data, (data,), push=False)).status_code == 201


def test_a_sweep_between_look_and_link(collector):
    """What was found does not hold: the file is looked at again, and comes back."""
    daemon = collector()
    data = os.urandom(100)
    Registry(daemon.url, "gc/upload").push_blob(data)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        push = held_push(daemon, pool, "gc/other", data)
        daemon.ctl("gc")
        wait_for(lambda: gc_status(daemon)["blobs"] == 1, "its record is gone, and the file is to go")
        assert daemon.blob_path(digest(data)).exists()  # behind the look
        daemon.fail.arm("catalog_gc_aside", "wait")
        daemon.fail.release("catalog_file_looked")
        daemon.fail.held("catalog_gc_aside")
        assert not daemon.blob_path(digest(data)).exists() and digest(data) in trash(daemon) and not push.done()
        daemon.fail.release("catalog_gc_aside")
        push.result(20)
    here(daemon, "gc/other", data)


def test_an_orphan_walk_between_look_and_link(collector):
    """The walk takes the file, behind the look; or it comes too late for that."""
    daemon = collector()
    for n in range(8):
        Registry(daemon.url, "gc/known").push_image(f"kept{n}", layers=(b"%d" % n,))
    data = os.urandom(100)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        push = held_push(daemon, pool, "gc/other", data)
        counts = gc_status(daemon)["orphan_counts"]
        daemon.ctl("gc")
        wait_for(lambda: gc_status(daemon)["orphan_counts"] > counts, "the walk has counted it, and begins to take")
        daemon.fail.release("catalog_file_looked")
        push.result(20)
    here(daemon, "gc/other", data)


def test_a_database_that_closes_between_look_and_link(collector):
    daemon = collector()
    daemon.allow_error("cannot write the database", "cannot open the database", "database's disk")
    Registry(daemon.url, "gc/upload").push_blob(b"garbage")
    data = os.urandom(100)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        push = held_push(daemon, pool, "gc/other", data)
        daemon.fail.arm("catalog_turn_write", "EIO")
        daemon.ctl("gc")
        daemon.fail.taken("catalog_turn_write")
        wait_for(lambda: daemon.ctl("--json", "gc", "--status", check=False).returncode == 0, "it is open again")
        daemon.fail.release("catalog_file_looked")
        push.result(20)
    here(daemon, "gc/other", data)


def test_nobody_brings_back_what_is_not_his(collector):
    """A mount that its checks refuse leaves the trash alone."""
    daemon = collector()
    data = os.urandom(100)
    Registry(daemon.url, "gc/gone").push_blob(data)
    sweep(daemon)
    assert digest(data) in trash(daemon)
    r = Registry(daemon.url, "gc/target").post(f"blobs/uploads/?mount={digest(data)}&from=gc/gone")
    assert r.status_code == 202 and digest(data) in trash(daemon) and not daemon.blob_path(digest(data)).exists()


def test_what_waits_for_a_look_is_not_overtaken(collector):
    """Of one store, although a deletion needs no file. Another store's pushes do not wait."""
    daemon = collector(text=STORES)
    registry = Registry(f"{daemon.url}/repository/first", "gc/order")
    one, two = (registry.image_manifest(annotations={"n": n}) for n in "12")
    assert registry.put_manifest(one, "x").status_code == 201
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        held_look(daemon)
        put = pool.submit(Registry(f"{daemon.url}/repository/first", "gc/order").put_manifest, two, "x")
        daemon.fail.held("catalog_file_looked")
        delete = pool.submit(Registry(f"{daemon.url}/repository/first", "gc/order").delete, "manifests/x")
        for n in range(20):  # time in which it would
            Registry(f"{daemon.url}/repository/second", "gc/order").push_blob(b"%d" % n)
        assert not put.done() and not delete.done()
        daemon.fail.release("catalog_file_looked")
        assert (put.result(20).status_code, delete.result(20).status_code) == (201, 202)
    assert registry.get("manifests/x").status_code == 404
    assert registry.get(f"manifests/{digest(two)}").content == two


def test_a_mount_while_the_sweep_judges(collector):
    daemon = collector()
    source, target = Registry(daemon.url, "gc/source"), Registry(daemon.url, "gc/target")
    data = os.urandom(100)
    source.push_blob(data)
    daemon.fail.arm("catalog_gc_judged", "wait")
    daemon.ctl("gc")
    daemon.fail.held("catalog_gc_judged")
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        mount = pool.submit(target.post, f"blobs/uploads/?mount={digest(data)}&from=gc/source")
        daemon.fail.release("catalog_gc_judged")
        r = mount.result(20)
    assert r.status_code in (201, 202)  # mounted before, or: upload it yourself
    if r.status_code == 202:
        assert target.finish(target.absolute(r), digest(data), data).status_code == 201
    assert target.get(f"blobs/{digest(data)}").content == data and daemon.blob_path(digest(data)).exists()


def test_a_manifest_while_the_sweep_judges(collector):
    """Either the manifest comes first and keeps its blobs, or it is refused by name."""
    daemon = collector()
    registry = Registry(daemon.url, "gc/manifest")
    data = os.urandom(100)
    registry.push_blob(data)
    daemon.fail.arm("catalog_gc_judged", "wait")
    daemon.ctl("gc")
    daemon.fail.held("catalog_gc_judged")
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        put = pool.submit(Registry(daemon.url, "gc/manifest").put_manifest,
                          registry.image_manifest(data, (data,), push=False), "x")
        daemon.fail.release("catalog_gc_judged")
        r = put.result(20)
    if r.status_code == 201:
        assert registry.get(f"blobs/{digest(data)}").content == data
    else:
        assert r.status_code == 400 and error(r) == "MANIFEST_BLOB_UNKNOWN" and digest(data) in r.text


def test_a_failed_write_takes_everything_back(collector):
    daemon = collector()
    daemon.allow_error("cannot write the database", "cannot open the database", "database's disk")
    registry = Registry(daemon.url, "gc/failed")
    data = os.urandom(100)
    registry.push_blob(data)
    daemon.fail.arm("catalog_turn_write", "EIO")
    daemon.ctl("gc")
    daemon.fail.taken("catalog_turn_write")

    def gave_up():
        done = daemon.ctl("--json", "gc", "--status", check=False)  # refused while the database is closed
        return done.returncode == 0 and not json.loads(done.stdout)["running"]

    wait_for(gave_up, "the sweep gave up")
    assert registry.get(f"blobs/{digest(data)}").content == data
    assert sweep(daemon)["blobs"] == 1


def test_pushes_and_pulls_go_on_while_everything_is_swept(collector):
    # Without grace a sweep comes between each blob and its manifest on a busy machine, and nobody gets on.
    daemon = collector(top='gc_grace = "1s"\ngc_interval = "100ms"\n')
    stop = threading.Event()
    lost, done = [], [0] * 6

    def client(n):
        registry = Registry(daemon.url, f"gc/busy{n}")
        while not stop.is_set():
            layer = os.urandom(500)
            body = registry.image_manifest(b"{}", (layer,), annotations={"n": str(done[n])})
            r = registry.put_manifest(body, "latest")
            if r.status_code == 400 and error(r) == "MANIFEST_BLOB_UNKNOWN":
                continue  # a sweep came between blob and manifest
            assert r.status_code == 201, r.text
            for d in (digest(layer), digest(b"{}")):
                if registry.get(f"blobs/{d}").status_code != 200:
                    lost.append(d)
            assert registry.delete(f"manifests/{digest(body)}").status_code == 202
            done[n] += 1

    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        clients = [pool.submit(client, n) for n in range(6)]
        begun = gc_status(daemon)["sweeps"]
        try:
            wait_for(lambda: any(c.done() for c in clients) or all(n > 3 for n in done) and gc_status(daemon)["sweeps"] > begun + 20,
                     "images come and go beside many sweeps", 120)
        finally:
            stop.set()
        for c in clients:
            c.result(60)
    assert not lost
    sweep(daemon)
    wait_for(lambda: sweep(daemon) and repo_row(daemon)["bytes"] == 0, "all is swept")
