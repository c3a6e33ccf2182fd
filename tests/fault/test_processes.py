"""Processes die, are replaced and reloaded; what is promised goes on."""
import os
import pathlib
import signal
import subprocess
import threading
import time

import pytest
import requests

from harness import raw
from harness.daemon import BODY, ENTREPOTD, HEAD, alive, free_port, wait_for
from harness.registry import Registry, digest
from harness.tools import need


def config(daemon, more="", hosted="", connector=None):
    """Rewrites the default configuration with changes."""
    from harness.daemon import BODY, HEAD
    daemon.write_conf(HEAD + more + BODY, hosted)


def test_each_role_is_respawned(start):
    daemon = start()
    registry = Registry(daemon.url)
    data = registry.push_image("x")
    daemon.everybody()
    for role in ("worker", "auth", "catalog"):
        old = daemon.kill_role(role)
        assert old
        daemon.respawned(role, old)
        assert Registry(daemon.url).get("manifests/x").content == data
        Registry(daemon.url).push_blob(role.encode())
    assert all(r["restarts"] == 1 for r in daemon.roles())


def test_pulls_need_nobody_else(start):
    """With the catalog stopped, tags, digests, blobs and ranges are served, and no question is asked."""
    daemon = start()
    registry = Registry(daemon.url)
    data = registry.push_image("x", layers=(b"layer" * 1000,))
    daemon.everybody()
    asks = sum(r["asks"] for r in daemon.roles("worker"))
    catalog = daemon.kill_role("catalog", signal.SIGSTOP)
    try:
        for _ in range(10):
            at = Registry(daemon.url)
            assert at.get("manifests/x").content == data
            assert at.get("manifests/" + digest(data)).content == data
            assert at.get("blobs/" + digest(b"layer" * 1000), headers={"Range": "bytes=0-9"}).content == b"layerlayer"
            assert at.head("blobs/" + digest(b"{}")).status_code == 200
            assert at.get("manifests/absent").status_code == 404
    finally:
        for pid in catalog:
            os.kill(pid, signal.SIGCONT)
    assert sum(r["asks"] for r in daemon.roles("worker")) == asks


def test_pulls_go_on_and_pushes_wait_while_the_catalog_is_dead(start):
    daemon = start()
    registry = Registry(daemon.url)
    data = registry.push_image("x")
    old = daemon.kill_role("catalog", signal.SIGSTOP)
    results = []

    def push():
        results.append(Registry(daemon.url).put_manifest(data, "y").status_code)

    pushes = [threading.Thread(target=push) for _ in range(5)]
    for t in pushes:
        t.start()
    assert Registry(daemon.url).get("manifests/x").content == data
    assert results == []
    for pid in old:
        os.kill(pid, signal.SIGKILL)  # the questions are repeated to its successor
    for t in pushes:
        t.join(20)
    assert results == [201] * 5
    assert Registry(daemon.url).get("manifests/y").content == data


def test_deletes_repeated_to_a_new_catalog_succeed(start):
    daemon = start()
    registry = Registry(daemon.url)
    for round_number in range(5):
        data = registry.push_image("x", config=b'{"r":%d}' % round_number)
        result = []
        t = threading.Thread(target=lambda: result.append(
            Registry(daemon.url).delete("manifests/" + digest(data)).status_code))
        old = daemon.pids("catalog")
        t.start()
        for pid in old:
            os.kill(pid, signal.SIGKILL)
        t.join(20)
        assert result == [202]
        assert Registry(daemon.url).get("manifests/x").status_code == 404


def test_killing_a_worker_costs_only_its_connections(start):
    daemon = start()
    registry = Registry(daemon.url)
    data = os.urandom(8 << 20)
    d = registry.push_blob(data)
    registry.http.close()
    sockets = []
    for _ in range(20):  # held open in the middle of a download
        s = raw.connect(daemon)
        s.sendall(f"GET /v2/{registry.image}/blobs/{d} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        assert s.recv(1000)
        sockets.append(s)
    wait_for(lambda: sum(r["connections"] for r in daemon.roles("worker")) == 20, "only the downloads are open")
    rows = {r["pid"]: r["connections"] for r in daemon.roles("worker")}
    victim = max(rows, key=rows.get)
    os.kill(victim, signal.SIGKILL)
    whole = 0
    for s in sockets:
        got = 0
        try:
            while piece := s.recv(1 << 20):
                got += len(piece)
        except ConnectionResetError:
            pass
        whole += got > len(data) - 1000
        s.close()
    assert whole == sum(rows.values()) - rows[victim]
    daemon.respawned("worker", [victim])


def test_session_goes_on_in_another_worker(start):
    daemon = start()
    registry = Registry(daemon.url)
    data = os.urandom(300_000)
    url = registry.begin()
    assert registry.request("PATCH", url, data=data[:200_000]).status_code == 202
    old = daemon.kill_role("worker")
    daemon.respawned("worker", old)
    registry = Registry(daemon.url)
    r = registry.request("GET", url)
    assert r.headers["Range"] == "0-199999"
    assert registry.finish(registry.absolute(r), digest(data), data[200_000:]).status_code == 201


def test_back_off_of_a_role_that_keeps_dying(start):
    daemon = start()
    daemon.allow_error("keeps dying")
    for _ in range(3):
        old = wait_for(lambda: daemon.pids("auth"), "auth is there", 30)
        for pid in old:
            os.kill(pid, signal.SIGABRT)
        wait_for(lambda: daemon.pids("auth") != old, "its death is seen")
    assert "keeps dying" in daemon.log_text()
    assert Registry(daemon.url).request("GET", "/v2/").status_code == 200


def test_reload_takes_up_changes(start):
    daemon = start()
    registry = Registry(daemon.url)
    data = registry.push_image("x")
    port = free_port()
    more = (f'hosted second {{{{ }}}}\nconnector "127.0.0.1:{port}" {{{{ repository = second }}}}\n')
    config(daemon, more, hosted='redeploy = "deny"')
    daemon.reload()
    assert Registry(daemon.url).put_manifest(registry.image_manifest(config=b'{"n":1}'), "x").status_code == 403
    second = Registry(f"http://127.0.0.1:{port}")
    assert second.get("manifests/x").status_code == 404
    second.push_image("new")
    assert Registry(daemon.url).get("manifests/x").content == data
    wait_for(lambda: all(r["generation"] == 2 for r in daemon.roles()), "the old workers have left")
    daemon.ctl("repo", "drop", "second", "--yes")  # its section would not go while it holds something
    config(daemon)
    daemon.reload()
    wait_for(lambda: len(daemon.roles("worker")) == 2, "the old workers are gone")
    with pytest.raises(Exception):
        second.get("manifests/new")


def test_reload_with_mistakes_changes_nothing(start):
    daemon = start()
    daemon.allow_error("mistake in the configuration", "reload refused", "needs a restart", "in use")
    pids = daemon.everybody()
    with raw.connect(daemon) as s:
        s.sendall(b"GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n")
        assert raw.read_response(s)[0] == 200
        taken = raw.connect(daemon)  # an address in use: our own listener's peer port is not free
        for n, more in enumerate(['bogus = 1\n', 'workers = many\n', 'user = "nobody-there-at-all"\n',
                                  'connector "127.0.0.1:1" {{ repository = nothing }}\n',
                                  f'connector "127.0.0.1:{taken.getsockname()[1]}" {{{{ }}}}\n']):
            config(daemon, more)
            daemon.process.send_signal(signal.SIGHUP)
            wait_for(lambda: daemon.log_text().count("reload refused") == n + 1, f"refusal of {more}")
        text = daemon.conf.read_text().replace(str(daemon.data_dir), str(daemon.dir / "elsewhere"))
        config(daemon)
        daemon.conf.write_text(daemon.conf.read_text().replace(str(daemon.data_dir), str(daemon.dir / "elsewhere")))
        daemon.process.send_signal(signal.SIGHUP)
        wait_for(lambda: daemon.log_text().count("reload refused") == 6, "refusal of another data_dir")
        s.sendall(b"GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n")
        assert raw.read_response(s)[0] == 200, "the old connection lives"
    assert daemon.all_pids() == pids and text


def test_download_outlives_a_reload(start):
    daemon = start()
    registry = Registry(daemon.url)
    data = os.urandom(16 << 20)
    d = registry.push_blob(data)
    with raw.connect(daemon) as s:
        s.sendall(f"GET /v2/{registry.image}/blobs/{d} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        got = s.recv(1000)
        daemon.reload()
        assert Registry(daemon.url).request("GET", "/v2/").status_code == 200
        assert any(r["state"] == "draining" for r in daemon.roles("worker"))
        while len(got) < len(data):
            piece = s.recv(1 << 20)
            assert piece
            got += piece
        while got[-len(data):] != data:
            piece = s.recv(1 << 20)
            assert piece
            got += piece
    wait_for(lambda: not any(r["state"] == "draining" for r in daemon.roles("worker")), "the old worker leaves")


def test_a_reload_ends_when_old_workers_finish(start):
    """So that one knows from when on no request meets the old configuration, or a connection that is being closed."""
    daemon = start()
    daemon.everybody()
    old = daemon.pids("worker")
    with raw.connect(daemon) as s:
        s.sendall(b"GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n")
        assert raw.read_response(s)[0] == 200
        for pid in old:
            os.kill(pid, signal.SIGSTOP)
        reload = threading.Thread(target=daemon.reload)
        reload.start()
        wait_for(lambda: 'msg="reloaded"' in daemon.log_text(), "the new workers serve")
        reload.join(1)
        assert reload.is_alive(), "the old ones hold the connection"
        for pid in old:
            os.kill(pid, signal.SIGCONT)
        reload.join(20)
        assert not reload.is_alive() and raw.closed(s)


PROXY = 'proxy hub {{ remotes = {{"http://127.0.0.1:9"}} }}\n'


def test_a_reload_waits_for_no_old_role_and_doubles_none(start):
    """Who is slow to end has its successor when it has ended, and that alone."""
    daemon = start(text=BODY + PROXY)
    old = {role: daemon.kill_role(role, signal.SIGSTOP) for role in ("auth", "fetcher")}
    daemon.reload()
    assert {role: daemon.pids(role) for role in old} == old
    for role, pids in old.items():
        os.kill(pids[0], signal.SIGCONT)
        daemon.respawned(role, pids)
    assert [len(daemon.pids(role)) for role in ("catalog", "auth", "fetcher")] == [1, 1, 1]


def test_quit_finishes_what_runs(start):
    daemon = start()
    registry = Registry(daemon.url)
    data = os.urandom(16 << 20)
    d = registry.push_blob(data)
    with raw.connect(daemon) as s:
        s.sendall(f"GET /v2/{registry.image}/blobs/{d} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        got = s.recv(1000)
        daemon.process.send_signal(signal.SIGQUIT)
        wait_for(lambda: "no new connections" in daemon.log_text(), "QUIT is heard")
        head_length = got.index(b"\r\n\r\n") + 4
        while len(got) < head_length + len(data):
            piece = s.recv(1 << 20)
            assert piece
            got += piece
    assert got[head_length:] == data
    assert daemon.process.wait(20) == 0
    daemon.process = None


@pytest.mark.parametrize("sig", [signal.SIGTERM, signal.SIGINT])
def test_stop(start, sig):
    daemon = start()
    pids = daemon.all_pids()
    with raw.connect(daemon):
        daemon.stop(sig)
    assert not any(alive(pid) for pid in pids)
    assert not (daemon.run_dir / "entrepotd.pid").exists()
    daemon.start()


def test_logs_are_reopened(start):
    daemon = start()
    (daemon.dir / "log").rename(daemon.dir / "log.1")
    (daemon.dir / "access.log").rename(daemon.dir / "access.log.1")
    daemon.process.send_signal(signal.SIGUSR1)
    wait_for(lambda: (daemon.dir / "access.log").exists(), "the new access log")

    def logged():
        Registry(daemon.url).request("GET", "/v2/")
        return "target=/v2/" in daemon.access_log_text()

    wait_for(logged, "new lines in the new file")
    for pid in daemon.pids("auth"):
        os.kill(pid, signal.SIGKILL)
    wait_for(lambda: "process ended" in (daemon.dir / "log").read_text(), "the master writes to the new log")


def test_how_much_is_logged(start):
    """By signal, for all processes and those born later, and by a reload."""
    daemon = start()

    def asks_told():
        before = len(daemon.log_text())
        daemon.ctl("repos")
        return 'role=catalog' in daemon.log_text()[before:] and 'msg="asked" type=REPO_STATS' in daemon.log_text()[before:]

    assert not asks_told()
    daemon.process.send_signal(signal.SIGRTMIN + 22)
    wait_for(asks_told, "the catalog logs everything")
    old = daemon.kill_role("catalog")
    daemon.respawned("catalog", old)
    assert asks_told(), "its successor, too"
    daemon.process.send_signal(signal.SIGRTMIN + 23)
    wait_for(lambda: not asks_told(), "the catalog logs what log_level says")
    for level, generation in (("debug", 2), ("warn", 3)):
        daemon.write_conf(HEAD + f"log_level = {level}\n" + BODY)
        daemon.process.send_signal(signal.SIGHUP)
        wait_for(lambda: any(r["role"] == "catalog" and r["generation"] == generation for r in daemon.roles()), "a reload")
        assert asks_told() == (level == "debug")
    daemon.everybody()
    before = len(daemon.log_text())
    daemon.stop()
    assert "level=notice" not in daemon.log_text()[before:], "the master's, too"


def test_second_daemon_on_the_same_data_is_refused(start):
    daemon = start()
    second = daemon.dir / "second.conf"
    second.write_text(daemon.conf.read_text().replace(f":{daemon.port}", f":{free_port()}").replace(
        f'log        = "{daemon.dir}/log"', 'log = "stderr"'))
    done = subprocess.run([ENTREPOTD, "-f", "-c", str(second)], stderr=subprocess.PIPE, text=True, timeout=30)
    assert done.returncode == 1 and "another entrepotd uses this data directory" in done.stderr


def test_second_daemon_in_the_same_run_dir_is_refused(start):
    daemon = start()
    second = daemon.dir / "second.conf"
    second.write_text(daemon.conf.read_text().replace(f":{daemon.port}", f":{free_port()}").replace(
        f'log        = "{daemon.dir}/log"', 'log = "stderr"').replace(f"{daemon.dir}/data", f"{daemon.dir}/data2"))
    done = subprocess.run([ENTREPOTD, "-f", "-c", str(second)], stderr=subprocess.PIPE, text=True, timeout=30)
    assert done.returncode == 1 and "another entrepotd uses this run directory" in done.stderr
    assert daemon.status()["pid"] == daemon.process.pid, "the first is still reached"


def test_address_in_use_is_named(start):
    daemon = start()
    other = start(run=False)
    other.conf.write_text(other.conf.read_text().replace(f":{other.port}", f":{daemon.port}"))
    other.start(wait=False)
    assert other.process.wait(30) == 1
    other.process = None
    other.allow_error("in use")
    assert f"127.0.0.1:{daemon.port}" in other.log_text() and "in use" in other.log_text()


def test_children_leave_when_the_master_is_killed(start):
    daemon = start()
    pids = daemon.all_pids()
    daemon.process.send_signal(signal.SIGKILL)
    daemon.process.wait(10)
    wait_for(lambda: not any(alive(pid) for pid in pids), "the children leave", 20)
    daemon.process = None
    daemon.start()


def test_a_new_daemon_starts_while_orphans_finish_downloads(start):
    daemon = start()
    registry = Registry(daemon.url)
    data = os.urandom(16 << 20)
    d = registry.push_blob(data)
    with raw.connect(daemon) as s:
        s.sendall(f"GET /v2/{registry.image}/blobs/{d} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        got = s.recv(1000)
        daemon.process.send_signal(signal.SIGKILL)
        daemon.process.wait(10)
        daemon.start()  # which one of those that leave may have answered
        wait_for(lambda: daemon.log_text().count('msg="serving"') == 2, "the new one serves")
        assert Registry(daemon.url).head(f"blobs/{d}").status_code == 200
        while piece := s.recv(1 << 20):
            got += piece
    assert got.endswith(data[-1000:]) and len(got) > len(data)


def test_detached_start_and_pid_file(start):
    daemon = start(run=False)
    daemon.conf.write_text(daemon.conf.read_text().replace(f'"{daemon.dir}/data"', '"data"'))
    done = subprocess.run([ENTREPOTD, "-c", str(daemon.conf)], timeout=30, cwd=daemon.dir)
    assert done.returncode == 0
    assert Registry(daemon.url).request("GET", "/v2/").status_code == 200, "it serves when the start returns"
    pid = int((daemon.run_dir / "entrepotd.pid").read_text())
    os.kill(pid, signal.SIGHUP)
    wait_for(lambda: "msg=\"reloaded\"" in daemon.log_text(), "relative paths lead to the same place at a reload")
    os.kill(pid, signal.SIGTERM)
    wait_for(lambda: not alive(pid), "it stops", 20)
    second = start(run=False)
    second.conf.write_text(second.conf.read_text().replace("workers    = 2", "workers = 2\nbogus = 1"))
    done = subprocess.run([ENTREPOTD, "-c", str(second.conf)], timeout=30, stderr=subprocess.PIPE, text=True)
    assert done.returncode == os.EX_CONFIG and "bogus" in done.stderr


def test_configuration_test_lists_all_mistakes(tmp_path):
    conf = tmp_path / "bad.conf"
    conf.write_text('''# a comment
workers = lots      # first
data_dir = "/tmp/x"
bogus = 12
blobstore main { path = "/tmp/x/blobs"
  quota = 12Q }
hosted UPPER { }
hosted fine { blobstore = none redeploy = "maybe"
  online = perhaps
  wrong_key = 1 }
hosted twin { } hosted twin { }
connector "nowhere" { repository = missing }
proxy docker-hub { remotes = {"ftp://registry-1.docker.io"} }
auth { htpasswd = "" }
''')
    done = subprocess.run([ENTREPOTD, "-t", "-c", str(conf)], stderr=subprocess.PIPE, text=True, timeout=30)
    assert done.returncode == os.EX_CONFIG
    for number, text in ((2, "workers"), (4, "bogus"), (6, "12Q"), (7, "UPPER"), (8, "none"), (8, "maybe"),
                         (9, "perhaps"), (10, "wrong_key"), (11, "twice"), (12, "nowhere"), (12, "missing"),
                         (13, "remotes"), (14, "auth")):
        assert [x for x in done.stderr.splitlines() if f"bad.conf:{number}:" in x and text in x], (
            number, text, done.stderr)
    for text in ("workers = {\n", "hosted x {", "}", "a b c d", "\x01\x02", "hosted x { = }"):
        conf.write_text(text)
        done = subprocess.run([ENTREPOTD, "-t", "-c", str(conf)], stderr=subprocess.PIPE, text=True, timeout=30)
        assert done.returncode == os.EX_CONFIG and "bad.conf" in done.stderr
    done = subprocess.run([ENTREPOTD, "-t", "-c", str(tmp_path / "absent")], stderr=subprocess.PIPE, text=True)
    assert done.returncode == os.EX_CONFIG and "absent" in done.stderr


def test_shipped_configurations_are_good():
    top = pathlib.Path(__file__).resolve().parents[2]
    text = (top / "conf" / "entrepot.conf").read_text().replace('user       = "entrepot"', 'user = ""') \
        .replace('auth_user  = "entrepot-auth"', 'auth_user = ""')
    done = subprocess.run([ENTREPOTD, "-t", "-c", str(top / "conf" / "quickstart.conf")], timeout=30)
    assert done.returncode == 0
    copy = pathlib.Path(os.environ.get("TMPDIR", "/tmp")) / f"entrepot-shipped-{os.getpid()}.conf"
    copy.write_text(text)
    try:
        assert subprocess.run([ENTREPOTD, "-t", "-c", str(copy)], timeout=30).returncode == 0
    finally:
        copy.unlink()


def test_version():
    done = subprocess.run([ENTREPOTD, "-V"], stdout=subprocess.PIPE, text=True, timeout=30)
    assert done.returncode == 0 and done.stdout.startswith("entrepotd ")


def test_workers_give_up_root(start):
    """As root with `user`, no process but the master keeps any privilege."""
    if os.getuid() != 0:
        pytest.skip("needs root")
    daemon = start(run=False)
    os.chmod(daemon.dir, 0o711)  # to be passed through, not read
    daemon.run_dir.mkdir(mode=0o755)  # as a service manager leaves it, root's
    daemon.conf.write_text('user = "nobody"\n' + daemon.conf.read_text())
    daemon.start()
    data = Registry(daemon.url).push_image("x")
    daemon.everybody()
    for row in daemon.roles():
        status = pathlib.Path(f"/proc/{row['pid']}/status").read_text()
        fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
        assert set(fields["Uid"].split()) != {"0"} and len(set(fields["Uid"].split())) == 1
        assert int(fields["CapEff"], 16) == 0 and int(fields["CapPrm"], 16) == 0 and fields["NoNewPrivs"] == "1"
    old = daemon.kill_role("catalog") + daemon.kill_role("worker")
    daemon.respawned("catalog", old)
    daemon.respawned("worker", old)
    assert Registry(daemon.url).get("manifests/x").content == data
    daemon.process.send_signal(signal.SIGUSR1)
    time.sleep(0)
    Registry(daemon.url).push_blob(b"after the logs were reopened")


def test_status_tells_that_the_master_is_stopped(start):
    daemon = start()
    daemon.process.send_signal(signal.SIGSTOP)
    try:
        done = daemon.ctl("status", check=False)
        assert done.returncode == 1 and "is stopped" in done.stderr and str(daemon.process.pid) in done.stderr
        assert daemon.ctl("repos").stdout  # who can answer does
        assert requests.get(daemon.url + "/v2/", timeout=20).status_code == 200
    finally:
        daemon.process.send_signal(signal.SIGCONT)
    assert daemon.ctl("status").stdout


def test_roles_leave_without_handlers(start, tmp_path, monkeypatch):
    """exit() would take OpenSSL away under a thread that hashes: a fetcher stopped amid downloads aborted so."""
    need("cc")
    library, told = tmp_path / "exit_told.so", tmp_path / "told"
    source = pathlib.Path(__file__).with_name("exit_told.c")
    subprocess.run(["cc", "-O1", "-shared", "-fPIC", "-o", str(library), str(source)], check=True)
    told.mkdir()
    told.chmod(0o777)
    # A sanitizer's runtime comes second then, and works all the same.
    asan = ":".join(filter(None, [os.environ.get("ASAN_OPTIONS"), "verify_asan_link_order=0"]))
    for name, value in (("LD_PRELOAD", str(library)), ("EXIT_TOLD", str(told / "exit")), ("ASAN_OPTIONS", asan)):
        monkeypatch.setenv(name, value)
    daemon = start()
    monkeypatch.delenv("LD_PRELOAD")
    master, roles = daemon.process.pid, {r["pid"] for r in daemon.roles()}
    daemon.stop()
    ended = {int(p.suffix[1:]) for p in told.iterdir()}
    assert master in ended and roles
    assert not ended & roles
