"""docker, podman, skopeo and containerd log in; anonymous pull and authenticated push share one port."""
import shutil

import pytest

from harness.daemon import Daemon, wait_for
from harness.tools import need, own_directory, run, unmount_below
from harness.users import write_users
from test_containerd import Containerd

USERS = {"alice": "a-secret", "robin": "r-secret"}
ROLES = """
role developers {{
    users = {{alice}}
    images = {{"docker-local:team/**"}}
    may = {{pull, push, delete}}
}}
"""
HEAD = """
hosted docker-local {{ }}
connector "127.0.0.1:{port}" {{ repository = docker-local }}
auth {{ htpasswd = "{dir}/htpasswd"
    force_basic_auth = %s
}}
""" + ROLES


def daemon_of(force):
    d = Daemon(text=HEAD % force)
    write_users(d.dir / "htpasswd", USERS)
    d.start()
    wait_for(lambda: 'msg="users read"' in d.log_text(), "auth has read its users")
    return d


@pytest.fixture(scope="module", params=["false", "true"], ids=["bearer", "basic"])
def daemon(request):
    d = daemon_of(request.param)
    d.open = request.param == "false"
    yield d
    d.close()


@pytest.fixture(scope="module")
def containerd():
    c = Containerd()
    yield c
    c.close()


def test_docker(engine, daemon, hello, workshop):
    host = daemon.registry
    context = workshop / "login-context"
    context.mkdir(exist_ok=True)
    (context / "hello").write_bytes(hello)
    (context / "hello").chmod(0o755)
    (context / "Dockerfile").write_text('FROM scratch\nCOPY hello /hello\nCMD ["/hello"]\n')
    engine.docker("build", "--network", "none", "-t", "login:1", context)
    name, forbidden = f"{host}/team/hello:1", f"{host}/other/hello:1"
    for image in (name, forbidden):
        engine.docker("tag", "login:1", image)
    assert engine.docker("push", name, check=False).returncode != 0
    wrong = engine.docker("login", "-u", "alice", "-p", "wrong", host, check=False)
    assert wrong.returncode != 0 and "unauthorized" in wrong.stdout.lower() and "Login Succeeded" not in wrong.stdout
    assert engine.docker("push", name, check=False).returncode != 0
    assert "Login Succeeded" in engine.docker("login", "-u", "alice", "-p", USERS["alice"], host).stdout
    try:
        assert "digest: sha256:" in engine.docker("push", name).stdout
        assert "Layer already exists" in engine.docker("push", name).stdout
        denied = engine.docker("push", forbidden, check=False)
        assert denied.returncode != 0 and "denied" in denied.stdout
        engine.forget(name)
        engine.docker("pull", name)
    finally:
        engine.docker("logout", host)
    engine.forget(name)
    anonymous = engine.docker("pull", name, check=False)
    assert (anonymous.returncode == 0) == daemon.open, anonymous.stdout
    engine.forget(name, forbidden, "login:1")


def test_podman(daemon, layout):
    need("podman")
    d = own_directory("entrepot-p-")

    def podman(*args, **kw):
        return run("podman", "--root", d / "root", "--runroot", d / "run", "--storage-driver", "vfs", "--runtime", "runc",
                   "--cgroup-manager", "cgroupfs", "--events-backend", "none", *args, **kw)
    auth = ("--authfile", d / "auth.json")
    tls = "--tls-verify=false"
    try:
        name = f"{daemon.registry}/team/podman:1"
        podman("pull", f"oci:{layout.dir}:one")
        image = podman("images", "-q").stdout.split()[0]
        assert podman("login", tls, *auth, "-u", "alice", "-p", "wrong", daemon.registry, check=False).returncode != 0
        assert podman("push", tls, *auth, image, name, check=False).returncode != 0
        podman("login", tls, *auth, "-u", "alice", "-p", USERS["alice"], daemon.registry)
        podman("push", tls, *auth, image, name)
        assert podman("push", tls, *auth, image, f"{daemon.registry}/other/x:1", check=False).returncode != 0
        podman("rmi", "-af")
        podman("pull", tls, *auth, name)
        podman("rmi", "-af")
        podman("logout", *auth, daemon.registry)
        assert (podman("pull", tls, *auth, name, check=False).returncode == 0) == daemon.open
    finally:
        unmount_below(d)
        shutil.rmtree(d, ignore_errors=True)


def test_skopeo(daemon, layout):
    need("skopeo")
    d = own_directory("entrepot-skopeo-")
    auth = ("--authfile", d / "auth.json")
    name = f"docker://{daemon.registry}/team/skopeo"
    try:
        copy = ("skopeo", "copy", "--all", *auth, "--dest-tls-verify=false", f"oci:{layout.dir}:multi", f"{name}:1")
        assert run(*copy, check=False).returncode != 0
        assert run("skopeo", "login", "--tls-verify=false", *auth, "-u", "alice", "-p", "x", daemon.registry,
                   check=False).returncode != 0
        run("skopeo", "login", "--tls-verify=false", *auth, "-u", "alice", "-p", USERS["alice"], daemon.registry)
        run(*copy)
        for user, code in (("alice", True), ("robin", daemon.open), (None, daemon.open)):
            creds = ("--creds", f"{user}:{USERS[user]}") if user else ("--no-creds",)
            for command in ("inspect", "list-tags"):
                if command == "inspect":
                    done = run("skopeo", "inspect", "--raw", "--tls-verify=false", *creds, f"{name}:1", check=False)
                else:
                    done = run("skopeo", "list-tags", "--tls-verify=false", *creds, name, check=False)
                assert (done.returncode == 0) == code, (user, command, done.stdout)
    finally:
        shutil.rmtree(d, ignore_errors=True)


def test_containerd(containerd, daemon, layout):
    need("skopeo")
    source, target = (f"{daemon.registry}/team/ctr:{n}" for n in (1, 2))
    right, wrong = ("--user", f"alice:{USERS['alice']}"), ("--user", "alice:wrong")
    run("skopeo", "--insecure-policy", "copy", "--dest-tls-verify=false", "--dest-creds", right[1], f"oci:{layout.dir}:one",
        f"docker://{source}")

    def works(verb, image, *user):
        return containerd.ctr("images", verb, "--plain-http", *user, image, check=False).returncode == 0
    assert not works("pull", source, *wrong)
    assert works("pull", source) == daemon.open
    assert works("pull", source, *right)
    containerd.ctr("images", "tag", source, target)
    assert not works("push", target, *wrong)
    assert works("push", target, *right) and works("push", target, *right)
    containerd.ctr("images", "rm", source, target)
