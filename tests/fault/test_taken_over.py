"""What a process with a worker's account and descriptors can reach of AUTH. Needs root."""
import ctypes
import os
import pathlib
import pwd
import re
import shutil
import signal
import struct
import subprocess
import sys

import pytest

from harness.daemon import ENTREPOTCTL, ENTREPOTD, HEAD, TOP, wait_for
from harness.registry import Registry, error
from harness.users import basic, write_users

WORKERS, AUTH = "nobody", "daemon"  # accounts that every Debian has
TEXT = """
hosted docker-local {{ }}
connector "127.0.0.1:{port}" {{ repository = docker-local }}
auth {{ htpasswd = "{dir}/htpasswd" }}
"""
PIDFD_OPEN, PIDFD_GETFD = 434, 438

pytestmark = pytest.mark.skipif(os.getuid() != 0, reason="needs root")

# Runs with the worker's account: argv are DATA_DIR RUN_DIR HTPASSWD AUTH'S PID, the rest descriptors of a worker.
INTRUDER = r"""
import ctypes, os, stat, sys
data, run, users, pid, fds = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]), [int(a) for a in sys.argv[5:]]
def reached(what, action):
    try:
        action()
    except OSError:
        return
    print(what)
paths = [data + "/auth", data + "/auth/token.key", data + "/auth/robots", users, f"/proc/{pid}/mem", f"/proc/{pid}/environ"]
for path in paths:
    reached(path, lambda: os.close(os.open(path, os.O_RDONLY)))
reached("writing users", lambda: os.close(os.open(users, os.O_WRONLY)))
for fd in fds:
    for way in ("auth/token.key", "../data/auth/token.key", "token.key"):
        if stat.S_ISDIR(os.fstat(fd).st_mode):
            reached(f"descriptor {fd} to {way}", lambda: os.close(os.open(way, os.O_RDONLY, dir_fd=fd)))
libc = ctypes.CDLL(None, use_errno=True)
if libc.ptrace(16, pid, 0, 0) == 0:  # PTRACE_ATTACH
    print("ptrace")
    os.waitpid(pid, 0x40000000)
    libc.ptrace(17, pid, 0, 0)
reached("kill", lambda: os.kill(pid, 0))
"""

# Asks RUN_DIR/SOCKET a question of bytes in hex and prints the reply's first number.
ASKER = r"""
import socket, struct, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
s.settimeout(20)
s.connect(sys.argv[1])
s.send(bytes.fromhex(sys.argv[2]))
while True:
    answer = s.recv(65536)
    if len(answer) < 20 or struct.unpack_from("=H", answer)[0] == int(sys.argv[3]):
        break
print(struct.unpack_from("=i", answer, 16)[0] if len(answer) >= 20 else "closed")
"""


def ordinals(header, table):
    """Names of an X table of the sources, in their order."""
    text = (TOP / "src" / header).read_text()
    text = text[text.index(f"#define {table}"):]
    return re.findall(r"^ +X\((\w+),", text[:re.search(r"[^\\]\n\n", text).start() + 1], re.M)


TYPES = ["NONE", *ordinals("ipc/msg.h", "MSG_TABLE")]
DENIED = -1 - ordinals("base/err.h", "ERR_TABLE").index("DENIED")


def field(text):
    return struct.pack("=I", len(text) + 1) + text.encode() + b"\0"


QUESTIONS = {
    "ROBOT_CREATE": ("auth", field("evil") + field("") + struct.pack("=QQ", 0, 0)),
    "ROBOT_REVOKE": ("auth", field("evil")),
    "ROBOT_LIST": ("auth", b""),
    "GC_RUN": ("catalog", b"\0"),
    "GC_ORPHANS": ("catalog", b"\1"),
    "REPO_DROP": ("catalog", field("docker-local") + b"\1"),
    "SCRUB_RUN": ("catalog", b""),
}


def run_as(account, script, *args, fds=()):
    who = pwd.getpwnam(account)
    done = subprocess.run([sys.executable, "-c", script, *map(str, args)], user=who.pw_uid, group=who.pw_gid, extra_groups=[],
                          pass_fds=fds, text=True, timeout=60, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE)
    assert done.returncode == 0, done.stderr
    return done.stdout.split("\n")[:-1]


def ask(d, account, name):
    role, fields = QUESTIONS[name]
    question = struct.pack("=HHIQ", TYPES.index(name), 0, 0, 7) + fields
    answer, = run_as(account, ASKER, d.run_dir / f"{role}.sock", question.hex(), TYPES.index("REPLY"))
    return answer


def descriptors(pid):
    """Copies of all descriptors of a process."""
    libc = ctypes.CDLL(None, use_errno=True)
    process = libc.syscall(PIDFD_OPEN, pid, 0)
    copies = [libc.syscall(PIDFD_GETFD, process, int(name), 0) for name in os.listdir(f"/proc/{pid}/fd")]
    os.close(process)
    return [fd for fd in copies if fd >= 0]


def reached(d):
    fds = descriptors(d.pids("worker")[0])
    try:
        return run_as(WORKERS, INTRUDER, d.data_dir, d.run_dir, d.dir / "htpasswd", *d.pids("auth"), *fds, fds=fds)
    finally:
        for fd in fds:
            os.close(fd)


def begin(start, auth_user=AUTH, group=AUTH, **kw):
    top = f'user = "{WORKERS}"\n' + (f'auth_user = "{auth_user}"\n' if auth_user else "")
    d = start(run=False, top=top, text=TEXT, **kw)
    d.dir.chmod(0o711)
    users = d.dir / "htpasswd"
    write_users(users, {"alice": "a"})
    users.chmod(0o640)
    shutil.chown(users, "root", group)
    return d


def status(d, name="alice", password="a"):
    return Registry(d.url).request("GET", "/v2/", headers=basic(name, password)).status_code


@pytest.fixture
def daemon(start):
    d = begin(start).start()
    wait_for(lambda: status(d) == 200, "alice can log in")
    return d


def test_a_worker_reaches_nothing_of_auth(daemon):
    d = daemon
    owner = pwd.getpwnam(AUTH).pw_uid
    assert (d.data_dir / "auth" / "token.key").stat().st_uid == (d.data_dir / "auth").stat().st_uid == owner
    assert pathlib.Path(f"/proc/{d.pids('worker')[0]}").stat().st_uid in (0, pwd.getpwnam(WORKERS).pw_uid)
    assert reached(d) == []
    for name in QUESTIONS:
        assert ask(d, WORKERS, name) == str(DENIED), name
    assert d.log_text().count("a privileged question of another account") == len(QUESTIONS)
    # The operator is answered.
    assert [ask(d, "root", name) for name in ("ROBOT_CREATE", "ROBOT_LIST", "ROBOT_REVOKE", "GC_RUN", "SCRUB_RUN")] == ["0"] * 5


@pytest.mark.parametrize("how", ["respawn", "reload"])
def test_logins_and_robots_go_on(daemon, how):
    d = daemon
    made = d.ctl("token", "create", "ci").stdout.strip()
    assert status(d, "ci", made) == 200
    old = d.pids("auth")
    if how == "respawn":
        os.kill(old[0], signal.SIGKILL)
    else:
        d.process.send_signal(signal.SIGHUP)
    d.respawned("auth", old)
    wait_for(lambda: status(d, "ci", made) == 200, "the robot is known")
    assert status(d) == 200 and status(d, "alice", "b") == 401
    assert reached(d) == []


def test_user_add_makes_a_file_for_auth_alone(start):
    d = begin(start)
    (d.dir / "htpasswd").unlink()
    done = subprocess.run([ENTREPOTCTL, "-c", str(d.conf), "user", "add", "alice", "--password-stdin"], input="a", text=True,
                          timeout=60, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert done.returncode == 0, done.stderr
    d.start()
    wait_for(lambda: status(d) == 200, "alice can log in")
    assert reached(d) == []


def test_reopened_logs_hold_what_auth_says(daemon):
    d = daemon
    old = d.pids("auth")
    (d.dir / "log").rename(d.dir / "log.1")
    d.process.send_signal(signal.SIGUSR1)
    d.respawned("auth", old)
    d.ctl("token", "create", "after")
    wait_for(lambda: "event=robot-created robot=after" in (d.dir / "log").read_text(), "it is in the new log")


def test_a_directory_that_workers_put_there_is_not_believed(start):
    d = begin(start)
    d.data_dir.mkdir()
    (d.data_dir / "auth").mkdir(mode=0o777)
    (d.data_dir / "auth" / "token.key").write_bytes(b"k" * 32)
    (d.data_dir / "auth" / "token.key").chmod(0o644)
    (d.data_dir / "auth").chmod(0o777)
    subprocess.run(["chown", "-R", WORKERS, str(d.data_dir)], check=True)
    d.allow_error("cannot use the key that signs tokens")
    d.start()
    r = Registry(d.url).request("GET", "/v2/", headers=basic("alice", "a"))
    assert (r.status_code, error(r)) == (503, "UNAVAILABLE")
    text = d.log_text()
    assert "must belong to the account of AUTH" in text and f"{d.data_dir}/auth/token.key" in text
    (d.data_dir / "auth").chmod(0o700)
    subprocess.run(["chown", "-R", AUTH, str(d.data_dir / "auth")], check=True)
    wait_for(lambda: status(d) == 200, "the operator gave it to AUTH")


def test_a_users_file_that_workers_can_read_is_told(start):
    d = begin(start, group=pwd.getpwnam(WORKERS).pw_gid)
    (d.dir / "htpasswd").chmod(0o644)
    d.start()
    text = d.log_text()
    assert "the account of the workers can read the file of users" in text and f"htpasswd={d.dir}/htpasswd" in text


def test_one_account_for_all(start):
    """Files are then open to workers, and it is told; AUTH's memory and what is the operator's are not."""
    d = begin(start, auth_user=None, group=pwd.getpwnam(WORKERS).pw_gid).start()
    wait_for(lambda: status(d) == 200, "alice can log in")
    assert "no account of AUTH's own" in d.log_text()
    assert not {"ptrace", f"/proc/{d.pids('auth')[0]}/mem"} & set(reached(d))
    assert ask(d, WORKERS, "ROBOT_CREATE") == str(DENIED)


def test_as_nobody_from_the_start(start):
    """Started without root there is one account, and it is the operator's: only AUTH's memory is closed."""
    who = pwd.getpwnam(WORKERS)

    def become():
        os.setgroups([])
        os.setgid(who.pw_gid)
        os.setuid(who.pw_uid)
    d = start(run=False, text=TEXT, preexec=become)
    d.program = str(shutil.copy(ENTREPOTD, d.dir))  # the tree may be in root's home, which this account does not enter
    write_users(d.dir / "htpasswd", {"alice": "a"})
    for name in ("stderr", "log", "access.log"):
        (d.dir / name).touch()
    subprocess.run(["chown", "-R", WORKERS, str(d.dir)], check=True)
    d.start()
    wait_for(lambda: status(d) == 200, "alice can log in")
    assert not {"ptrace", f"/proc/{d.pids('auth')[0]}/mem"} & set(reached(d))
    assert ask(d, WORKERS, "ROBOT_LIST") == "0"


@pytest.mark.parametrize("text,told", [
    (f'user = "{WORKERS}"\nauth_user = "{WORKERS}"\n', "auth_user: is the account of user as well"),
    (f'auth_user = "{AUTH}"\n', "auth_user: without user"),
    (f'user = "{WORKERS}"\nauth_user = "no-such-account"\n', "auth_user: there is no account no-such-account"),
])
def test_accounts_that_do_not_fit(start, text, told):
    d = start(run=False, text=TEXT)
    d.write_conf(HEAD + text + TEXT)
    done = subprocess.run([ENTREPOTD, "-t", "-c", str(d.conf)],
                          stderr=subprocess.PIPE, text=True, timeout=60)
    assert done.returncode != 0 and told in done.stderr
