"""Run by test_walk.py in namespaces of its own, in this order. The steps are those of doc/walkthrough.md."""
import os
import pathlib
import shutil
import subprocess
import tarfile

import pytest
import requests

from harness.daemon import ENTREPOTCTL, Daemon, wait_for
from harness.engine import Engine
from harness.origin import Origin
from harness.registry import Registry
from harness.token_server import TokenServer
from harness.shared import own_name
from harness.tools import own_directory, run, unmount_below
from harness.users import write_users
from test_containerd import Containerd

DIR = pathlib.Path(os.environ["WALK_DIR"])
HOST, PLAIN, MIRROR = "idocker.io", "10.99.0.1:8082", "10.99.0.1:5001"
PASSWORD = "a-good-password"
CONF = """
docker_v1_api = true
blobstore main {{ path = "{dir}/data/blobs" }}
hosted docker-local {{ blobstore = main redeploy = "allow" }}
proxy docker-hub {{
    blobstore = main
    remotes = {{"@URL@"}}
    docker_hub = true
    index = "none"
    tag_ttl = 1s
    force_basic_auth = false
}}
group docker-group {{ members = {{docker-local, docker-hub}} push_to = docker-local }}
connector "10.99.0.1:443" {{
    repository = docker-group
    tls_certificate = "@DIR@/tls/idocker.io.crt"
    tls_key = "@DIR@/tls/idocker.io.key"
}}
connector "10.99.0.1:8082" {{ repository = docker-group }}
connector "10.99.0.1:5001" {{ repository = docker-hub }}
connector "127.0.0.1:{port}" {{ repository = docker-hub }}
auth {{ htpasswd = "{dir}/htpasswd" force_basic_auth = true }}
role admins {{ users = {{admin}} images = {{"**:**"}} may = {{pull, push, delete}} }}
"""


@pytest.fixture(scope="module")
def hub(layout):
    """Plays Docker Hub: a registry with a token server. Public to pull from, a login to push."""
    tokens = TokenServer(DIR, users={"filler": "fill"})
    origin = Origin(auth=tokens.auth_conf()).start()
    origin.tokens = tokens
    for image in ("library/nginx", "library/redis", "gitlab/gitlab-ce"):
        run("skopeo", "--insecure-policy", "copy", "--dest-tls-verify=false", "--dest-creds", "filler:fill", f"oci:{layout.dir}:one",
            f"docker://127.0.0.1:{origin.port}/{image}:latest")
    yield origin
    origin.close()
    tokens.close()


@pytest.fixture(scope="module")
def daemon(hub):
    made = subprocess.run([ENTREPOTCTL, "cert", "--dir", str(DIR / "tls"), HOST], check=True, stdout=subprocess.PIPE, text=True).stdout
    assert f"certs.d/{HOST}/ca.crt" in made
    trusted = pathlib.Path("/etc/docker/certs.d") / HOST
    trusted.mkdir(parents=True)
    shutil.copy(DIR / "tls" / "ca.crt", trusted / "ca.crt")
    d = Daemon(text=CONF.replace("@URL@", hub.url).replace("@DIR@", str(DIR)))
    write_users(d.dir / "htpasswd", {"admin": PASSWORD})
    d.start()
    wait_for(lambda: 'msg="users read"' in d.log_text(), "auth has read its users")
    yield d
    print(d.log_text()[-6000:])  # shown when a step fails
    d.close()


@pytest.fixture(scope="module")
def client(daemon):
    e = Engine({"insecure-registries": [PLAIN], "registry-mirrors": [f"http://{MIRROR}"]})
    yield e
    e.close()


def up(hub):
    if not hub.process:
        hub.start()


def refused(engine, *command):
    done = engine.docker(*command, check=False)
    assert done.returncode != 0, done.stdout
    return done.stdout


def login(engine, host):
    out = refused(engine, "login", "-u", "admin", "-p", "wrong", host)
    assert "Login Succeeded" not in out and "unauthorized" in out.lower()
    assert "Login Succeeded" in engine.docker("login", "-u", "admin", "-p", PASSWORD, host).stdout


def empty(engine):
    images = engine.docker("images", "-aq").stdout.split()
    if images:
        engine.docker("rmi", "-f", *set(images))


def empty_image():
    path = DIR / "empty.tar"
    tarfile.open(path, "w").close()
    return path


def pushed(text):
    """Uploaded, or linked because another image here has the layer; and the manifest is there."""
    return ("Pushed" in text or "Mounted from" in text) and "digest: sha256:" in text


def test_3_logins(client):
    client.docker("import", str(empty_image()), f"{HOST}/team/nothing")
    for command in (("pull", f"{HOST}/nginx"), ("push", f"{HOST}/team/nothing")):
        assert "no basic auth credentials" in refused(client, *command)
    login(client, HOST)


def test_4_pull_through_the_group_tag_and_push(client):
    client.docker("pull", f"{HOST}/nginx")
    client.docker("tag", f"{HOST}/nginx", f"{HOST}/team/nginx")
    assert pushed(client.docker("push", f"{HOST}/team/nginx").stdout)
    again = client.docker("push", f"{HOST}/team/nginx").stdout
    assert "Layer already exists" in again and "digest: sha256:" in again


def test_5_pull_what_was_pushed_and_run_it(client):
    empty(client)
    client.docker("pull", f"{HOST}/team/nginx")
    assert client.run(f"{HOST}/team/nginx") == "layered hello from a container\n"


def test_6_pull_with_the_hub_switched_off(client, hub, daemon):
    client.docker("pull", f"{HOST}/gitlab/gitlab-ce")
    hub.stop()
    second = Engine()
    try:
        login(second, HOST)
        second.docker("pull", f"{HOST}/gitlab/gitlab-ce")
        assert second.run(f"{HOST}/gitlab/gitlab-ce") == "layered hello from a container\n"
    finally:
        second.close()
        up(hub)


def test_7_the_same_over_plain_http(client):
    refused(client, "pull", f"{PLAIN}/nginx")
    login(client, PLAIN)
    client.docker("pull", f"{PLAIN}/nginx")
    client.docker("tag", f"{PLAIN}/nginx", f"{PLAIN}/team/plain")
    assert pushed(client.docker("push", f"{PLAIN}/team/plain").stdout)
    empty(client)
    client.docker("pull", f"{PLAIN}/team/plain")
    assert client.run(f"{PLAIN}/team/plain") == "layered hello from a container\n"


def test_8_as_a_mirror(client):
    client.docker("pull", "redis")
    assert client.run("redis") == "layered hello from a container\n"


def test_9_search(client):
    found = client.docker("search", "--format", "{{.Name}}", f"{HOST}/nginx").stdout.split()
    assert {f"{HOST}/nginx", f"{HOST}/team/nginx"} <= {n if n.startswith(HOST) else f"{HOST}/{n}" for n in found}, found


def test_podman(daemon, hub):
    d = own_directory("entrepot-p-")

    def podman(*args, **kw):
        return run("podman", "--root", d / "root", "--runroot", d / "run", "--storage-driver", "vfs", "--runtime", "runc",
                   "--cgroup-manager", "cgroupfs", "--events-backend", "none", *args, **kw)
    auth = ("--authfile", d / "auth.json", "--cert-dir", f"/etc/docker/certs.d/{HOST}")
    try:
        assert podman("pull", *auth, f"{HOST}/nginx", check=False).returncode != 0
        assert podman("login", *auth, "-u", "admin", "-p", "wrong", HOST, check=False).returncode != 0
        podman("login", *auth, "-u", "admin", "-p", PASSWORD, HOST)
        podman("pull", *auth, f"{HOST}/nginx")
        podman("tag", f"{HOST}/nginx", f"{HOST}/team/podman")
        podman("push", *auth, f"{HOST}/team/podman")
        podman("rmi", "-af")
        podman("pull", *auth, f"{HOST}/team/podman")
        limits = ("--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024")
        assert "hello from a container" in podman("run", "--rm", "--network", "none", *limits, f"{HOST}/team/podman").stdout
    finally:
        unmount_below(d)
        shutil.rmtree(d, ignore_errors=True)


def test_skopeo(daemon, hub):
    d = own_directory("entrepot-skopeo-")
    certs = f"/etc/docker/certs.d/{HOST}"
    auth = ("--authfile", d / "auth.json")
    try:
        assert run("skopeo", "login", "--cert-dir", certs, *auth, "-u", "admin", "-p", "x", HOST, check=False).returncode != 0
        run("skopeo", "login", "--cert-dir", certs, *auth, "-u", "admin", "-p", PASSWORD, HOST)
        run("skopeo", "copy", *auth, "--src-cert-dir", certs, "--dest-cert-dir", certs, f"docker://{HOST}/redis", f"docker://{HOST}/team/skopeo:1")
        assert '"1"' in run("skopeo", "list-tags", *auth, "--cert-dir", certs, f"docker://{HOST}/team/skopeo").stdout
        assert "amd64" in run("skopeo", "inspect", *auth, "--cert-dir", certs, f"docker://{HOST}/team/skopeo:1").stdout
    finally:
        shutil.rmtree(d, ignore_errors=True)


def test_containerd(daemon, hub):
    hosts = DIR / "certs.d"
    (hosts / HOST).mkdir(parents=True)
    (hosts / HOST / "hosts.toml").write_text(f'server = "https://{HOST}"\n[host."https://{HOST}"]\n  ca = "{DIR}/tls/ca.crt"\n')
    (hosts / "docker.io").mkdir()
    (hosts / "docker.io" / "hosts.toml").write_text(
        f'server = "http://127.0.0.1:9"\n[host."http://{MIRROR}"]\n  capabilities = ["pull", "resolve"]\n')
    c = Containerd()
    try:
        with_hosts = ("--hosts-dir", hosts)
        user = ("--user", f"admin:{PASSWORD}")
        assert c.ctr("images", "pull", *with_hosts, f"{HOST}/team/nginx:latest", check=False).returncode != 0
        c.ctr("images", "pull", *with_hosts, *user, f"{HOST}/team/nginx:latest")
        c.ctr("images", "tag", f"{HOST}/team/nginx:latest", f"{HOST}/team/ctr:1")
        c.ctr("images", "push", *with_hosts, *user, f"{HOST}/team/ctr:1")
        c.ctr("images", "pull", *with_hosts, "docker.io/library/redis:latest")  # by the mirror, with ns=docker.io
        assert "hello from a container" in c.ctr("run", "--rm", "docker.io/library/redis:latest", own_name("walk")).stdout
    finally:
        c.close()
    wait_for(lambda: "ns=docker.io" in daemon.access_log_text(), "the mirror was asked")


def test_the_hub_saw_each_blob_once(daemon, hub):
    """Whatever was pulled, and by whom: the mirror's readers need no login, and get what is here."""
    hub.stop()
    reply = requests.get(f"http://{MIRROR}/v2/library/redis/manifests/latest?ns=docker.io", timeout=10)
    assert reply.status_code in (200, 401)
    assert Registry(f"http://{MIRROR}").request("GET", "/v2/").status_code == 401
