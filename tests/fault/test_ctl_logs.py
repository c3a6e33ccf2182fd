"""entrepotctl and the logs, as an operator sees them."""
import json
import subprocess

import pytest

from harness.daemon import ENTREPOTCTL, Daemon, log_fields, wait_for
from harness.registry import Registry


@pytest.fixture(scope="module")
def filled():
    daemon = Daemon().start()
    at = Registry(daemon.url)
    for image in ("team/app", "team/tool"):
        for tag in ("1", "2"):
            at.at(image).push_image(tag)
    daemon.everybody()
    yield daemon
    daemon.close()


def test_status(filled):
    status = filled.status()
    assert status["pid"] == filled.process.pid and status["version"] and status["generation"] == 1
    assert [r["role"] for r in status["roles"]] == ["catalog", "auth", "worker", "worker"]
    assert all(r["state"] == "ready" and r["pid"] > 1 and r["restarts"] == 0 for r in status["roles"])
    assert sum(r["requests"] for r in status["roles"]) > 10
    text = filled.ctl("status").stdout
    assert "catalog" in text and "ready" in text and str(filled.pids("catalog")[0]) in text


def test_repos(filled):
    listed = json.loads(filled.ctl("--json", "repos").stdout)
    repo = listed["repositories"][0]
    assert repo["name"] == "docker-local" and repo["type"] == "hosted" and repo["online"] is True
    assert (repo["images"], repo["tags"], repo["manifests"], repo["blobs"]) == (2, 4, 2, 4)
    assert listed["blobstores"][0]["name"] == "main" and listed["blobstores"][0]["bytes"] > 0
    assert "docker-local" in filled.ctl("repos").stdout


def kept(daemon):
    """What repositories and blob stores hold. Open uploads are looked through now and then, and a thread keeps the
    journals."""
    listed = json.loads(daemon.ctl("--json", "repos").stdout)
    for store in listed["blobstores"]:
        del store["uploads"], store["upload_bytes"], store["journal"]
    return listed


def test_counts_are_the_same_after_a_restart_of_the_catalog(filled):
    before = kept(filled)
    old = filled.kill_role("catalog")
    filled.respawned("catalog", old)
    assert kept(filled) == before


def test_images_and_tags(filled):
    assert filled.ctl("images").stdout == "docker-local/team/app\ndocker-local/team/tool\n"
    assert filled.ctl("images", "docker-local").stdout == "team/app\nteam/tool\n"
    assert json.loads(filled.ctl("--json", "images", "docker-local").stdout) == {"images": ["team/app", "team/tool"]}
    assert filled.ctl("tags", "docker-local:team/app").stdout == "1\n2\n"
    assert json.loads(filled.ctl("tags", "docker-local:team/app", "--json").stdout) == {"tags": ["1", "2"]}
    done = filled.ctl("tags", "docker-local:no/such", check=False)
    assert done.returncode == 1 and "no/such" in done.stderr


@pytest.mark.parametrize("args, why", [
    (("images", "nobody"), "there is no repository nobody; entrepotctl repos lists them\n"),
    (("tags", "nobody:app"), "there is no repository nobody; entrepotctl repos lists them\n"),
    (("tags", "docker-local:team/app:1"), "its name without a tag"),
])
def test_what_is_not_there_is_told_as_that(filled, args, why):
    done = filled.ctl(*args, check=False)
    assert (done.returncode, done.stdout) == (1, "") and why in done.stderr


def test_options_may_stand_behind_the_command(filled):
    for args in (("images", "-c", str(filled.conf)), ("images", "docker-local", "-s", str(filled.run_dir))):
        done = subprocess.run([ENTREPOTCTL, *args], capture_output=True, text=True, timeout=30)
        assert done.returncode == 0 and "team/app" in done.stdout, done.stderr


@pytest.mark.parametrize("args", [("images",), ("tags", "docker-local:a"), ("gc", "--orphans"), ("repos",), ("token", "list")])
def test_a_daemon_that_is_not_there_is_told_once(tmp_path, args):
    done = subprocess.run([ENTREPOTCTL, "-s", str(tmp_path), *args], capture_output=True, text=True, timeout=30)
    assert done.returncode == 1 and done.stderr.count("\n") == 1 and "is it running" in done.stderr, done.stderr


@pytest.mark.parametrize("args", [("repos",), ("images",), ("gc",), ("gc", "--status"), ("gc", "--orphans"), ("scrub",)])
def test_a_catalog_without_its_database_says_so(start, args):
    daemon = start(run=False)
    daemon.start()
    daemon.stop()
    daemon.allow_error("database", "database's")
    for name in (daemon.data_dir / "catalog").glob("MANIFEST-*"):
        name.unlink()
    daemon.start()
    done = daemon.ctl(*args, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "entrepotctl: the daemon answers: the database is damaged or lacks changes: see entrepotctl rebuild\n"


def test_found_by_its_configuration(filled):
    done = subprocess.run([ENTREPOTCTL, "-c", str(filled.conf), "images"], stdout=subprocess.PIPE, text=True, timeout=30)
    assert done.returncode == 0 and "team/app" in done.stdout


def test_no_daemon(tmp_path):
    done = subprocess.run([ENTREPOTCTL, "-s", str(tmp_path), "status"], stderr=subprocess.PIPE, text=True, timeout=30)
    assert done.returncode == 1 and "is it running" in done.stderr
    done = subprocess.run([ENTREPOTCTL, "nonsense"], stderr=subprocess.PIPE, text=True, timeout=30)
    assert done.returncode == 1 and "nonsense" in done.stderr


def test_config_check(filled, tmp_path):
    assert "is good" in filled.ctl("config", "check", str(filled.conf)).stdout
    bad = tmp_path / "bad.conf"
    bad.write_text("bogus = 1\n")
    done = filled.ctl("config", "check", str(bad), check=False)
    assert done.returncode == 1 and "bad.conf:1: unknown key bogus" in done.stderr
    assert json.loads(filled.ctl("--json", "config", "check", str(filled.conf)).stdout) == {"good": True}


def test_logs_are_logfmt(filled):
    Registry(filled.url).request("GET", "/v2/x/manifests/%22quoted%20name%22", headers={"User-Agent": 'a "b" \\c'})
    wait_for(lambda: "quoted" in filled.access_log_text(), "the line")
    for line in filled.access_log_text().splitlines():
        fields = log_fields(line)
        assert {"time", "req", "client", "method", "target", "status", "sent", "took_us", "agent"} <= set(fields), line
        assert len(fields["req"]) == 32 and fields["status"].isdigit()
    assert any('agent="a \\"b\\" \\\\c"' in line for line in filled.access_log_text().splitlines())
    for line in filled.log_text().splitlines():
        fields = log_fields(line)
        assert {"time", "level", "role", "slot", "pid", "msg"} <= set(fields), line
        assert fields["level"] in ("error", "warn", "notice", "info")
