"""What entrepotctl cert made is trusted by the clients' own TLS (Go's) through their certs.d."""
import shutil
import subprocess

import pytest

from harness.daemon import ENTREPOTCTL, Daemon
from harness.tools import need, own_directory, run
from test_containerd import containerd  # noqa: F401 (fixture)

CONF = """
hosted docker-local {{
}}
connector "127.0.0.1:{port}" {{
    repository = docker-local
    tls_certificate = "{dir}/localhost.crt"
    tls_key = "{dir}/localhost.key"
}}
"""


@pytest.fixture(scope="module")
def secure():
    directory = own_directory("entrepot-test-")
    subprocess.run([ENTREPOTCTL, "cert", "--dir", str(directory), "localhost", "127.0.0.1"], check=True,
                   stdout=subprocess.DEVNULL)
    d = Daemon(text=CONF, directory=directory)
    d.own_dir = True
    d.start()
    yield d
    d.close()


@pytest.fixture
def trust(secure, tmp_path):
    """certs.d of a client: HOST:PORT/ca.crt."""
    directory = tmp_path / "certs.d" / f"localhost:{secure.port}"
    directory.mkdir(parents=True)
    shutil.copy(secure.dir / "ca.crt", directory / "ca.crt")
    return directory


def test_skopeo(secure, layout, trust, tmp_path):
    need("skopeo")
    name = f"docker://localhost:{secure.port}/secure/image:1"
    copy = ["skopeo", "--insecure-policy", "copy"]
    refused = run(*copy, f"oci:{layout.dir}:one", name, check=False)
    assert refused.returncode != 0 and "certificate" in refused.stdout
    run(*copy, "--dest-cert-dir", trust, f"oci:{layout.dir}:one", name)
    run(*copy, "--src-cert-dir", trust, name, f"dir:{tmp_path}/back")


def test_containerd(secure, layout, trust, containerd):
    """With the hosts.toml that entrepotctl cert prints."""
    need("skopeo")
    at = f"localhost:{secure.port}"
    run("skopeo", "--insecure-policy", "copy", "--dest-cert-dir", trust, f"oci:{layout.dir}:one", f"docker://{at}/secure/ctr:1")
    refused = containerd.ctr("images", "pull", f"{at}/secure/ctr:1", check=False)
    assert refused.returncode != 0
    (trust / "hosts.toml").write_text(f'server = "https://{at}"\n\n[host."https://{at}"]\n  ca = "{trust}/ca.crt"\n')
    containerd.ctr("images", "pull", "--hosts-dir", trust.parent, f"{at}/secure/ctr:1")
