"""Starts that cannot work: whoever starts the daemon is told why, with what the system says."""
import os
import pathlib
import re
import shutil
import socket
import subprocess

import pytest

from harness.daemon import Daemon, ENTREPOTD, free_port, wait_for
from harness.tools import own_directory

root_only = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


@pytest.fixture
def where():
    path = own_directory("entrepot-start-")
    yield path
    subprocess.run(["umount", f"{path}/ro"], check=False, stderr=subprocess.DEVNULL)
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(params=["foreground", "daemon"])
def how(request):
    return ["-f"] if request.param == "foreground" else []


def conf(where, port=None, **keys):
    values = {"data_dir": f"{where}/data", "run_dir": f"{where}/run", "log": f"{where}/log", "workers": "1"}
    values |= keys
    extra = values.pop("extra", "")
    connector = values.pop("connector", "")
    lines = [f'{key} = "{value}"' if key != "workers" else f"{key} = {value}" for key, value in values.items()]
    path = f"{where}/entrepot.conf"
    with open(path, "w") as f:
        f.write("\n".join(lines) + f"""
            hosted docker-local {{ }}
            connector "127.0.0.1:{port or free_port()}" {{ repository = docker-local
                {connector} }}
            {extra}
        """)
    return path


def refused(where, how, *expected, status=1, **keys):
    """The start fails with `status`, and standard error holds all of `expected`."""
    done = subprocess.run([ENTREPOTD, *how, "-c", conf(where, **keys)], text=True, timeout=60,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=where)
    assert done.returncode == status, (done.returncode, done.stderr)
    for text in expected:
        assert text in done.stderr, (text, done.stderr)
    return done.stderr


def read_only(where):
    os.mkdir(f"{where}/ro")
    subprocess.run(["mount", "-t", "tmpfs", "-o", "ro", "none", f"{where}/ro"], check=True)
    return f"{where}/ro"


def test_log_is_a_directory(where, how):
    os.mkdir(f"{where}/log")
    refused(where, how, "key=log", f"path={where}/log", "Is a directory")


@root_only
@pytest.mark.parametrize("key", ["log", "access_log"])
def test_log_on_a_read_only_disk(where, how, key):
    read_only(where)
    refused(where, how, f"key={key}", "Read-only file system", **{key: f"{where}/ro/file"})


def test_access_log_is_a_directory(where, how):
    os.mkdir(f"{where}/access")
    refused(where, how, "key=access_log", "Is a directory", access_log=f"{where}/access")
    assert "Is a directory" in open(f"{where}/log").read()


def test_busy_port(where, how):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        refused(where, how, f"127.0.0.1:{port}", "Address already in use", port=port)
    assert "Address already in use" in open(f"{where}/log").read()


@pytest.mark.parametrize("key", ["data_dir", "log", "run_dir"])
def test_nothing_is_made_below_a_missing_directory(where, how, key):
    refused(where, how, key, "missing", "No such file or directory", **{key: f"{where}/not/mounted/here"})
    assert not os.path.exists(f"{where}/not")


def test_no_store_is_made_below_a_missing_directory(where, how):
    refused(where, how, "store=two", "missing", "No such file or directory",
            extra=f'blobstore two {{ path = "{where}/not/mounted/here" }} hosted other {{ blobstore = two }}')
    assert not os.path.exists(f"{where}/not")


def test_a_reload_makes_no_store_below_a_missing_directory(where):
    with Daemon_at(where) as d:
        d.conf.write_text(d.conf.read_text() + f'blobstore two {{ path = "{where}/not/mounted/here" }}\n'
                          "hosted other { blobstore = two }\n")
        d.process.send_signal(1)
        wait_for(lambda: "reload refused" in d.log_text(), "the reload is refused")
        assert "No such file or directory" in d.log_text() and not os.path.exists(f"{where}/not")
        d.allow_error("blob store", "reload refused")


@pytest.mark.parametrize("key", ["data_dir", "run_dir"])
def test_a_file_where_a_directory_belongs(where, how, key):
    open(f"{where}/file", "w").close()
    refused(where, how, key, "Not a directory", **{key: f"{where}/file"})


@root_only
@pytest.mark.parametrize("key", ["data_dir", "run_dir"])
def test_a_directory_on_a_read_only_disk(where, how, key):
    read_only(where)
    refused(where, how, key, "Read-only file system", **{key: f"{where}/ro/entrepot"})


def test_pid_file_is_a_directory(where, how):
    os.makedirs(f"{where}/run/entrepotd.pid")
    refused(where, how, "entrepotd.pid", "Is a directory")


@root_only
def test_unknown_account(where, how):
    refused(where, how, "no account nobody-here", status=os.EX_CONFIG, user="nobody-here")


def test_certificate_missing(where, how):
    refused(where, how, f"{where}/none.pem", "No such file or directory", status=os.EX_CONFIG,
            connector=f'tls_certificate = "{where}/none.pem"\n tls_key = "{where}/none.key"')


def test_a_second_daemon(where, how):
    with Daemon_at(where) as d:
        d.allow_error("another entrepotd")
        text = refused(where, how, "another entrepotd uses this data directory", run_dir=f"{where}/run2")
        assert f"data_dir={where}/data" in text


def test_a_good_daemonised_start_is_silent_and_lets_the_terminal_go(where):
    port = free_port()
    # Returns only when nobody holds the pipe of standard error any more.
    done = subprocess.run([ENTREPOTD, "-c", conf(where, port=port)], text=True, timeout=60,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=where)
    pid = int(open(f"{where}/run/entrepotd.pid").read())
    try:
        assert (done.returncode, done.stderr) == (0, "")
        socket.create_connection(("127.0.0.1", port)).close()
    finally:
        os.kill(pid, 15)
        wait_for(lambda: not os.path.exists(f"{where}/run/entrepotd.pid"), "it has ended")


def unwanted():
    """The exit statuses after which systemd does not start the daemon again."""
    unit = (pathlib.Path(__file__).resolve().parents[2] / "contrib" / "entrepot.service").read_text()
    return [int(x) for line in unit.splitlines() if line.startswith("RestartPreventExitStatus=") for x in line.split("=")[1].split()]


MISTAKES = {
    "no file": lambda path: os.unlink(path),
    "an unknown key": lambda path: append(path, "bogus = 1\n"),
    "a wrong value": lambda path: append(path, "drain_timeout = soon\n"),
    "a certificate that is not there": lambda path: append(
        path, f'connector "127.0.0.1:{free_port()}" {{ tls_certificate = "/not/here" tls_key = "/not/here" }}\n'),
    "a blob store of another database": lambda path: foreign(os.path.dirname(path)),
}


def append(path, text):
    with open(path, "a") as f:
        f.write(text)


def foreign(where):
    with Daemon_at(where):
        pass
    of_store = next(x for x in pathlib.Path(where).glob("data/**/IDENTITY") if x.parent.name != "catalog")
    of_store.write_text(re.sub("(?m)^database = .*", "database = " + "f" * 32, of_store.read_text()))


@pytest.mark.parametrize("mistake", MISTAKES)
def test_what_no_restart_mends_is_not_started_again(where, mistake):
    """-t, a start in the foreground and one as a daemon end alike, as the unit file knows it."""
    path = conf(where)
    MISTAKES[mistake](path)
    for how in (["-t"], ["-f"], []):
        done = subprocess.run([ENTREPOTD, *how, "-c", path], text=True, timeout=60, capture_output=True, cwd=where)
        assert unwanted() == [os.EX_CONFIG] == [done.returncode], (how, done)
        assert done.stderr


class Daemon_at:
    """A daemon whose data_dir is WHERE/data."""

    def __init__(self, where):
        self.where = where

    def __enter__(self):
        self.daemon = Daemon(directory=self.where, workers=1).start()
        return self.daemon

    def __exit__(self, kind, value, trace):
        self.daemon.close(check=kind is None)
