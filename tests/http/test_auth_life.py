"""Users, robots and roles that come and go while clients are served; guessing; the tools."""
import json
import os
import signal
import subprocess
import threading
import time

import pytest

from harness.daemon import ENTREPOTCTL, ENTREPOTD, HEAD, wait_for
from harness.registry import Registry, error
from harness.users import basic, bearer, bcrypt, write_users

TEXT = """
hosted docker-local {{ }}
connector "127.0.0.1:{port}" {{ repository = docker-local }}
auth {{
    htpasswd = "{dir}/htpasswd"
    force_basic_auth = false
    anonymous_may = {{}}
}}
"""
USERS = {"alice": "a", "bob": "b"}


def with_users(start, **kw):
    d = start(run=False, text=TEXT, **kw)
    write_users(d.dir / "htpasswd", USERS)
    d.start()
    wait_for(lambda: 'msg="users read"' in d.log_text(), "auth has read its users")
    return d


@pytest.fixture
def daemon(start):
    return with_users(start)


def status(d, headers, path="/v2/"):
    return Registry(d.url).request("GET", path, headers=headers).status_code


def token(d, user, password, *scopes):
    r = Registry(d.url).request("GET", "/v2/token", params={"scope": list(scopes)}, headers=basic(user, password))
    assert r.status_code == 200, r.text
    return r.json()["token"]


def read_again(d, users, **kw):
    before = d.log_text().count('msg="users read"')
    write_users(d.dir / "htpasswd", users, **kw)
    wait_for(lambda: d.log_text().count('msg="users read"') > before, "the new users are read")


def ctl(d, *args, stdin=None):
    return subprocess.run([ENTREPOTCTL, "-c", str(d.conf), *args], input=stdin, text=True, timeout=60,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def test_users_come_and_go(daemon):
    t = {user: token(daemon, user, password) for user, password in USERS.items()}
    for user, password in USERS.items():
        assert status(daemon, basic(user, password)) == 200 and status(daemon, bearer(t[user])) == 200
    hashes = {line.split(":")[0]: line for line in (daemon.dir / "htpasswd").read_text().splitlines()[1:]}
    new = daemon.dir / "new"
    new.write_text(f"{hashes['bob']}\ncarol:{bcrypt('c')}\n")
    new.rename(daemon.dir / "htpasswd")
    wait_for(lambda: status(daemon, basic("carol", "c")) == 200, "carol is let in")
    for _ in range(4):  # whichever worker it is
        assert status(daemon, basic("alice", "a")) == 401 and status(daemon, bearer(t["alice"])) == 401
        assert status(daemon, basic("bob", "b")) == 200 and status(daemon, bearer(t["bob"])) == 200
    log = daemon.log_text()
    assert "event=user-removed user=alice" in log and "event=user-added user=carol" in log


def test_a_new_password_ends_tokens_of_the_old_one(daemon):
    t = token(daemon, "alice", "a")
    assert status(daemon, bearer(t)) == 200
    read_again(daemon, {**USERS, "alice": "other"})
    for _ in range(4):
        wait_for(lambda: status(daemon, bearer(t)) == 401, "the old token ends")
        assert status(daemon, basic("alice", "a")) == 401
    assert status(daemon, basic("alice", "other")) == 200


def test_a_broken_file_changes_nothing(daemon):
    daemon.allow_error("mistake in the file of users")
    (daemon.dir / "broken").write_text("alice:$apr1$x\nno colon\n")
    (daemon.dir / "broken").rename(daemon.dir / "htpasswd")
    wait_for(lambda: "htpasswd:2: no colon" in daemon.log_text(), "the mistake is told")
    assert "htpasswd:1: user alice: not a bcrypt hash" in daemon.log_text()
    for user, password in USERS.items():
        assert status(daemon, basic(user, password)) == 200
    read_again(daemon, {"carol": "c"})
    assert status(daemon, basic("alice", "a")) == 401 and status(daemon, basic("carol", "c")) == 200


def test_a_file_that_goes_changes_nothing(daemon):
    """Unlike one that is not there yet."""
    daemon.allow_error("mistake in the file of users")
    (daemon.dir / "htpasswd").unlink()
    wait_for(lambda: "the users read before stay" in daemon.log_text(), "it is told")
    for user, password in USERS.items():
        assert status(daemon, basic(user, password)) == 200
    assert "there are no users yet" not in daemon.log_text()


def test_a_user_who_goes_while_the_password_is_checked(fail, start):
    """What counts is the file as it is when the answer leaves."""
    daemon = with_users(start)
    fail.arm("auth_verified", "wait")
    answers = []
    asks = threading.Thread(target=lambda: answers.append(status(daemon, basic("alice", "a"))))
    asks.start()
    fail.held("auth_verified")
    read_again(daemon, {"bob": "b"})
    fail.release("auth_verified")
    asks.join(20)
    assert answers == [401] and status(daemon, basic("bob", "b")) == 200


def test_a_key_that_is_none(daemon):
    daemon.stop()
    daemon.allow_error("the file is no key that signs tokens")
    key = daemon.data_dir / "auth" / "token.key"
    good = key.read_bytes()
    key.write_bytes(good[:-1])
    daemon.start()
    wait_for(lambda: "the file is no key that signs tokens" in daemon.log_text(), "it is told")
    assert status(daemon, basic("alice", "a")) == 503
    key.write_bytes(good)
    wait_for(lambda: status(daemon, basic("alice", "a")) == 200, "a good one is taken without a restart")


def test_no_password_is_not_nobody(daemon):
    """Only who names no user at all gets an anonymous token."""
    for user, code in (("alice", 401), ("nobody", 401)):
        assert status(daemon, basic(user, ""), "/v2/token") == code
    assert status(daemon, {}, "/v2/token") == 200


def test_config_test_names_the_line(daemon):
    (daemon.dir / "htpasswd").write_text("alice:{SHA}x\n")
    daemon.allow_error("mistake in the file of users")
    done = subprocess.run([ENTREPOTD, "-t", "-c", str(daemon.conf)], stderr=subprocess.PIPE, text=True)
    assert done.returncode != 0 and "htpasswd:1: user alice: not a bcrypt hash" in done.stderr
    (daemon.dir / "htpasswd").unlink()
    (daemon.dir / "htpasswd").mkdir()
    done = subprocess.run([ENTREPOTD, "-t", "-c", str(daemon.conf)], stderr=subprocess.PIPE, text=True)
    assert done.returncode != 0 and "htpasswd: cannot read it" in done.stderr


def add_user(d, name, password):
    done = ctl(d, "user", "add", name, "--password-stdin", stdin=password)
    assert done.returncode == 0, done.stderr
    return done


def config_test(d):
    return subprocess.run([ENTREPOTD, "-t", "-c", str(d.conf)], stderr=subprocess.PIPE, text=True)


@pytest.mark.parametrize("reloaded", [False, True])
def test_the_section_comes_before_the_first_user(start, reloaded):
    d = start(run=False)
    if reloaded:
        d.start()
    d.write_conf(HEAD + TEXT)
    done = config_test(d)
    assert done.returncode == 0 and "htpasswd: there are no users yet; make one with entrepotctl user add" in done.stderr
    if reloaded:
        d.process.send_signal(signal.SIGHUP)
    else:
        d.start()
    wait_for(lambda: "there are no users yet" in d.log_text(), "it is told")
    wait_for(lambda: status(d, basic("alice", "a")) == 401, "nobody can log in")
    add_user(d, "alice", "a")
    wait_for(lambda: status(d, basic("alice", "a")) == 200, "alice can")
    assert status(d, basic("alice", "b")) == 401 and config_test(d).stderr == ""


def test_the_first_user_comes_before_the_section(start):
    d = start()
    told = add_user(d, "alice", "a")
    assert f'has no logins yet: add auth {{ htpasswd = "{d.dir}/htpasswd" }}' in told.stderr
    assert ctl(d, "user", "list").stdout == "alice\n"
    d.write_conf(HEAD + TEXT)
    assert config_test(d).returncode == 0
    d.process.send_signal(signal.SIGHUP)
    wait_for(lambda: status(d, basic("alice", "b")) == 401, "logins count")
    assert status(d, basic("alice", "a")) == 200


def test_no_start_where_the_file_of_users_cannot_be(start):
    d = start(run=False, text=TEXT.replace("{dir}/htpasswd", "{dir}/not/there/htpasswd"))
    d.allow_error("the file of users cannot be reached")
    done = subprocess.run([ENTREPOTD, "-f", "-c", str(d.conf)], timeout=20, stderr=subprocess.PIPE, text=True)
    assert done.returncode != 0 and "the file of users cannot be reached" in done.stderr
    done = config_test(d)
    assert done.returncode != 0 and "there/htpasswd: cannot read it" in done.stderr


def test_auth_may_die(start):
    """With one worker: it has seen alice."""
    daemon = with_users(start, workers=1)
    t = token(daemon, "alice", "a")
    assert status(daemon, bearer(t)) == status(daemon, basic("alice", "a")) == 200
    pid, = daemon.pids("auth")
    os.kill(pid, signal.SIGSTOP)
    try:
        assert status(daemon, bearer(t)) == status(daemon, basic("alice", "a")) == 200  # known: nobody is asked
        answers = []
        asks = threading.Thread(target=lambda: answers.append(status(daemon, basic("bob", "b"))))
        asks.start()
    finally:
        os.kill(pid, signal.SIGKILL)
    asks.join(20)
    assert answers == [200]  # its successor answered
    wait_for(lambda: daemon.pids("auth") not in ([], [pid]), "auth is back")
    assert status(daemon, bearer(t)) == 200 and status(daemon, basic("bob", "x")) == 401


def test_a_user_deleted_while_auth_hangs(start):
    """Neither the password nor a token counts for as long as AUTH cannot say so."""
    daemon = with_users(start, workers=1)
    t = token(daemon, "alice", "a")
    assert status(daemon, bearer(t)) == status(daemon, basic("alice", "a")) == 200
    pid, = daemon.pids("auth")
    os.kill(pid, signal.SIGSTOP)
    try:
        assert ctl(daemon, "user", "del", "alice").returncode == 0
        assert wait_for(lambda: status(daemon, basic("alice", "a")) != 200, "the password does not count", 40)
        assert status(daemon, bearer(t)) == status(daemon, basic("alice", "a")) == 503, daemon.log_text()
    finally:
        os.kill(pid, signal.SIGCONT)
    wait_for(lambda: status(daemon, basic("alice", "a")) == status(daemon, bearer(t)) == 401, "alice is gone")
    assert status(daemon, basic("bob", "b")) == 200


def test_tokens_outlive_the_daemon(daemon):
    t = token(daemon, "alice", "a")
    key = daemon.data_dir / "auth" / "token.key"
    assert key.stat().st_mode & 0o777 == 0o600 and key.parent.stat().st_mode & 0o777 == 0o700
    daemon.stop()
    daemon.start()
    assert status(daemon, bearer(t)) == 200


def test_roles_count_as_they_are_now(daemon):
    t = token(daemon, "alice", "a", "repository:x/y:pull,push")
    r = Registry(daemon.url, "x/y")
    assert r.post("blobs/uploads/", headers=bearer(t)).status_code == 202
    daemon.write_conf(daemon.conf.read_text().replace("{", "{{").replace("}", "}}")
                      + 'role r {{ users = {{bob}}\nimages = {{"docker-local:**"}}\nmay = {{pull}} }}\n')
    daemon.reload()
    refused = Registry(daemon.url, "x/y").post("blobs/uploads/", headers=bearer(t))
    assert refused.status_code == 403 and error(refused) == "DENIED"
    assert "event=role-added role_name=r users=bob images=docker-local:** may=pull" in daemon.log_text()


def test_guessing_is_slowed_and_the_neighbour_gets_in(daemon):
    """Beyond 20 failures of an address, failures come late and few at a time; a good password works."""
    codes = [status(daemon, basic(f"user{i}", "x")) for i in range(20)]
    assert codes == [401] * 20
    outcomes, kept = [], []

    def guess(i):
        begun = time.monotonic()
        r = Registry(daemon.url).request("GET", "/v2/", headers=basic("nobody", str(i)))
        outcomes.append((r.status_code, r.headers.get("Retry-After")))
        assert r.status_code != 401 or time.monotonic() - begun >= 0.9, "not before AUTH_SLOW_MS"
        kept.append(i)
    threads = [threading.Thread(target=guess, args=(i,)) for i in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert {code for code, _ in outcomes} == {401, 429} and len(kept) == 12
    assert all((retry is not None) == (code == 429) for code, retry in outcomes)
    assert status(daemon, basic("bob", "b")) == 200
    assert "reason=slowed" in daemon.log_text()


def test_guessing_outlives_auth(daemon):
    for i in range(12):
        status(daemon, basic("alice", str(i)))
    pid, = daemon.kill_role("auth")
    wait_for(lambda: daemon.pids("auth") not in ([], [pid]), "auth is back")
    outcomes = []
    threads = [threading.Thread(target=lambda i=i: outcomes.append(status(daemon, basic("alice", f"y{i}")))) for i in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert 429 in outcomes
    assert status(daemon, basic("bob", "b")) == 200


def test_a_full_queue_is_told(daemon):
    """Passwords are checked a few at a time; who finds the queue full comes again."""
    read_again(daemon, {f"u{i}": "x" for i in range(100)}, cost=8)
    outcomes = []

    def log_in(i):
        r = Registry(daemon.url).request("GET", "/v2/", headers=basic(f"u{i}", "x"))
        outcomes.append((r.status_code, "Retry-After" in r.headers))

    def came():
        return sum(r["bytes_in"] for r in daemon.roles("worker"))
    before = came()
    threads = [threading.Thread(target=log_in, args=(i,)) for i in range(100)]
    pid, = daemon.pids("auth")
    os.kill(pid, signal.SIGSTOP)  # and then it finds all of them at once
    try:
        for thread in threads:
            thread.start()
        wait_for(lambda: came() >= before + 90 * 170, "workers have read the requests, of more than 170 bytes each")
    finally:
        os.kill(pid, signal.SIGCONT)
    for thread in threads:
        thread.join(60)
    assert set(outcomes) == {(200, False), (503, True)}


def test_robots(daemon):
    d = daemon
    made = json.loads(ctl(d, "--json", "token", "create", "ci", "--user", "alice").stdout)
    assert made["token"].startswith("ept_") and len(made["token"]) == 68
    own = ctl(d, "token", "create", "deploy", "--ttl", "30").stdout.strip()
    assert status(d, basic("ci", made["token"])) == status(d, basic("deploy", own)) == 200
    assert status(d, basic("ci", own)) == status(d, basic("alice", made["token"])) == 401
    t = token(d, "ci", made["token"])
    assert status(d, bearer(t)) == 200
    listed = json.loads(ctl(d, "--json", "token", "list").stdout)["robots"]
    assert [(r["name"], r["user"], r["expires"] > 0) for r in listed] == [("ci", "alice", False), ("deploy", "", True)]
    robots = d.data_dir / "auth" / "robots"
    assert made["token"] not in robots.read_text() and robots.stat().st_mode & 0o777 == 0o600
    d.stop()
    d.start()
    assert status(d, basic("ci", made["token"])) == 200
    assert ctl(d, "token", "revoke", "ci").returncode == 0
    wait_for(lambda: status(d, basic("ci", made["token"])) == 401, "the robot is gone")
    for _ in range(4):
        wait_for(lambda: status(d, bearer(t)) == 401, "so is its token")
    assert status(d, basic("deploy", own)) == 200
    log = d.log_text()
    assert "event=robot-created robot=ci user=alice" in log and "event=robot-revoked robot=ci user=alice" in log
    assert "ept_" not in log
    for args, text in ((("create", "alice"), "exists"), (("create", "deploy"), "exists"), (("revoke", "ci"), "no such robot"),
                       (("create", "x", "--user", "nobody"), "no such user")):
        done = ctl(d, "token", *args)
        assert done.returncode != 0 and text in done.stderr
    t = token(d, "deploy", own)
    assert ctl(d, "token", "revoke", "deploy").returncode == 0
    again = ctl(d, "token", "create", "deploy").stdout.strip()
    for _ in range(4):
        wait_for(lambda: status(d, basic("deploy", own)) == 401, "another robot of that name")
        assert status(d, bearer(t)) == 401 and status(d, basic("deploy", again)) == 200


def test_a_robot_has_the_rights_of_its_user(start):
    d = start(run=False, text=TEXT + 'role r {{ users = {{alice}}\nimages = {{"docker-local:**"}}\nmay = {{pull, push}} }}\n')
    write_users(d.dir / "htpasswd", USERS)
    d.start()
    wait_for(lambda: 'msg="users read"' in d.log_text(), "auth has read its users")
    for name, more, code in (("ci", ("--user", "alice"), 202), ("bobs", ("--user", "bob"), 403), ("own", (), 403)):
        made = ctl(d, "token", "create", name, *more).stdout.strip()
        assert Registry(d.url, "x/y").post("blobs/uploads/", headers=basic(name, made)).status_code == code, name


def test_a_robot_that_cannot_be_written_is_none(daemon):
    daemon.allow_error("cannot write the file of robot tokens")
    (daemon.data_dir / "auth" / "robots").mkdir()
    done = ctl(daemon, "token", "create", "ci")
    assert done.returncode != 0 and done.stdout == ""
    assert json.loads(ctl(daemon, "--json", "token", "list").stdout)["robots"] == []
    (daemon.data_dir / "auth" / "robots").rmdir()
    made = ctl(daemon, "token", "create", "ci").stdout.strip()
    assert status(daemon, basic("ci", made)) == 200


def test_a_robot_goes_with_its_user(daemon):
    made = ctl(daemon, "token", "create", "ci", "--user", "alice").stdout.strip()
    t = token(daemon, "ci", made)
    read_again(daemon, {"bob": "b"})
    for _ in range(4):
        wait_for(lambda: status(daemon, basic("ci", made)) == 401, "the robot cannot log in")
        assert status(daemon, bearer(t)) == 401


def test_user_commands(start):
    d = start(run=False, text=TEXT)
    assert ctl(d, "user", "add", "alice", "--password-stdin", stdin="one\n").returncode == 0
    path = d.dir / "htpasswd"
    assert path.stat().st_mode & 0o777 == 0o640
    path.write_text("# ours\n" + path.read_text())
    assert ctl(d, "user", "add", "bob", "--password-stdin", stdin="two").returncode == 0
    assert ctl(d, "user", "list").stdout == "alice\nbob\n"
    d.start()
    assert status(d, basic("alice", "one")) == status(d, basic("bob", "two")) == 200
    assert ctl(d, "user", "passwd", "alice", "--password-stdin", stdin="three\n").returncode == 0
    assert json.loads(ctl(d, "--json", "user", "del", "bob").stdout) == {"user": "bob", "deleted": True}
    assert path.read_text().startswith("# ours\n") and json.loads(ctl(d, "--json", "user", "list").stdout) == {"users": ["alice"]}
    wait_for(lambda: status(d, basic("alice", "three")) == 200, "the new password")
    wait_for(lambda: status(d, basic("bob", "two")) == 401, "bob is gone")
    for args, stdin, text in ((("add", "alice"), "x", "exists"), (("del", "bob"), None, "no user"), (("passwd", "bob"), "x", "no user"),
                              (("add", "a:b"), "x", "name has"), (("add", "c"), "", "no password"), (("add", "c"), "x" * 73, "72 bytes"),
                              (("add", "c"), "\n", "empty")):
        args = args + ("--password-stdin",) if stdin is not None else args
        done = ctl(d, "user", *args, stdin=stdin)
        assert done.returncode != 0 and text in done.stderr, (args, done.stderr)
    assert "usage" in ctl(d, "user").stderr


def test_check_access(start):
    d = start(run=False, text=TEXT + 'role r {{ users = {{bob}}\nimages = {{"docker-local:team/**"}}\nmay = {{pull, push}} }}\n')
    write_users(d.dir / "htpasswd", USERS)
    assert ctl(d, "check-access", "bob", "docker-local:team/x").stdout == "bob on docker-local:team/x: pull,push\n"
    assert ctl(d, "check-access", "alice", "docker-local:team/x").stdout.endswith(": nothing\n")
    assert json.loads(ctl(d, "--json", "check-access", "anonymous", "docker-local:x").stdout) == {
        "user": "anonymous", "image": "docker-local:x", "pull": False, "push": False, "delete": False}
    for args in (("bob", "none:x"), ("bob", "docker-local:X"), ("bob", "x"), ("bob",)):
        assert ctl(d, "check-access", *args).returncode != 0


def test_pushes_and_deletes_are_in_the_audit_trail(daemon):
    r = Registry(daemon.url, "team/app")
    r.http.headers.update(basic("alice", "a"))
    r.push_image("1")
    assert r.delete("manifests/1").status_code == 202
    assert "reason=password" not in daemon.log_text()
    status(daemon, basic("alice", "wrong"))
    log = daemon.log_text()
    for event in ("event=push user=alice repo=docker-local image=team/app ref=1 client=127.0.0.1",
                  "event=delete user=alice repo=docker-local image=team/app ref=1 client=127.0.0.1",
                  "event=login-failed user=alice reason=password client=127.0.0.1"):
        assert event in log
    assert "user=alice" in daemon.access_log_text()
