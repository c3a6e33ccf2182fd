"""Run by test_fetcher_addresses.py: whatever the environment says, the configuration alone tells how remotes are reached."""
import os
import pathlib
import subprocess

import pytest
import requests

from harness.proxy import proxy  # noqa: F401
from harness.upstream import Upstream, tls_pair

NOWHERE = "http://127.0.0.1:1"


@pytest.fixture
def environment(monkeypatch):
    def put(**variables):
        monkeypatch.setattr(requests.utils, "getproxies", dict)  # ours must not listen to it either
        for key, value in variables.items():
            monkeypatch.setenv(key, str(value))
    return put


@pytest.fixture
def pair(tmp_path):
    """One whom the system trusts, in both of its ways, and one whom nobody knows."""
    made = {}
    for who in ("system", "strange"):
        (tmp_path / who).mkdir()
        made[who] = tls_pair(tmp_path / who, who)
    certificates = tmp_path / "certs"
    certificates.mkdir()
    crt = pathlib.Path(made["system"][0]).read_text()
    (certificates / "ca-certificates.crt").write_text(crt)
    (certificates / "system.pem").write_text(crt)
    subprocess.run(["openssl", "rehash", str(certificates)], check=True)
    subprocess.run(["mount", "--bind", str(certificates), "/etc/ssl/certs"], check=True)
    yield made
    subprocess.run(["umount", "/etc/ssl/certs"], check=True)


def test_a_ca_file_counts_instead_of_the_systems(proxy, pair):
    up = Upstream(tls=pair["system"])
    manifest = up.image("team/app")
    try:
        assert proxy(up).get("manifests/latest").content == manifest
        up.forget()
        refused = proxy(up, more=f'ca_file = "{pair["strange"][0]}"').get("manifests/latest")
        assert refused.status_code in (502, 503) and not up.log
    finally:
        up.close()


def test_nobody_is_trusted_by_the_environment(proxy, pair, environment, tmp_path):
    """SSL_CERT_FILE and SSL_CERT_DIR add nobody; the keys of connections are told to nobody (SSLKEYLOGFILE)."""
    strange = pathlib.Path(pair["strange"][0])
    subprocess.run(["openssl", "rehash", str(strange.parent)], check=True)
    environment(SSL_CERT_FILE=strange, SSL_CERT_DIR=strange.parent, CURL_CA_BUNDLE=strange, SSLKEYLOGFILE=tmp_path / "keys")
    ups = [Upstream(tls=pair["strange"]), Upstream(tls=pair["system"])]
    try:
        for up in ups:
            up.image("team/app")
        assert proxy(ups[0]).get("manifests/latest").status_code in (502, 503)
        assert proxy(ups[1]).get("manifests/latest").status_code == 200
        assert not (tmp_path / "keys").exists()
    finally:
        for up in ups:
            up.close()


def test_no_proxy_of_the_environment(proxy, environment):
    environment(**{key: NOWHERE for key in ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY")})
    up = Upstream()
    manifest = up.image("team/app")
    try:
        assert proxy(up).get("manifests/latest").content == manifest
    finally:
        up.close()


@pytest.mark.parametrize("key", ["NO_PROXY", "no_proxy"])
def test_no_host_is_spared_from_the_configured_proxy(proxy, environment, key):
    environment(**{key: "127.0.0.1,.example,*"})
    up, between = Upstream(), Upstream()
    between.rule("*", "/v2/team/app/blobs/", status=200, body=b"by the proxy")
    try:
        layer = up.blob("team/app", b"by the proxy")
        assert proxy(up, more=f'http_proxy = "{between.url}"').get("blobs/" + layer).content == b"by the proxy"
        assert between.log and not up.log
    finally:
        up.close()
        between.close()


def test_names_and_passwords_of_somebodys_home(proxy, environment, tmp_path):
    """.netrc, .curlrc and aliases of hosts are for people."""
    for name in (".netrc", "_netrc"):
        (tmp_path / name).write_text("machine 127.0.0.1 login eve password s3cret-pass\n")
    (tmp_path / ".curlrc").write_text(f'proxy = "{NOWHERE}"\ninsecure\n')
    (tmp_path / "aliases").write_text("registry.example localhost\nregistry 127.0.0.1\n")
    os.chmod(tmp_path, 0o755)
    environment(HOME=tmp_path, CURL_HOME=tmp_path, XDG_CONFIG_HOME=tmp_path, NETRC=tmp_path / ".netrc", HOSTALIASES=tmp_path / "aliases",
                LOCALDOMAIN="example")
    up = Upstream(auth="basic")
    up.image("team/app")
    try:
        assert proxy(up).get("manifests/latest").status_code == 403
        assert all("Authorization" not in headers for _, _, headers in up.log)
    finally:
        up.close()
