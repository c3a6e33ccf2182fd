"""Behind nginx (the sample of contrib/) and behind HAProxy with the PROXY protocol."""
import http.client
import os
import shutil
import ssl
import time

import pytest

from harness.daemon import ENTREPOTCTL, Daemon, free_port, log_fields, wait_for
from harness.front import Haproxy, Nginx
from harness.registry import Registry, digest
from harness.tools import need, own_directory, run

TRUSTING = """
hosted docker-local {{ }}
connector "127.0.0.1:{port}" {{
    repository = docker-local
    trusted_proxies = {{"127.0.0.1"}}
}}
"""
PROXIED = """
hosted docker-local {{ }}
connector "127.0.0.1:{port}" {{
    repository = docker-local
}}
connector "127.0.0.1:%d" {{
    repository = docker-local
    trusted_proxies = {{"127.0.0.1"}}
    proxy_protocol = true
}}
connector "127.0.0.1:%d" {{
    repository = docker-local
    trusted_proxies = {{"127.0.0.1"}}
    proxy_protocol = true
    tls_certificate = "{dir}/localhost.crt"
    tls_key = "{dir}/localhost.key"
}}
"""


@pytest.fixture(scope="module")
def nginx():
    d = Daemon(text=TRUSTING).start()
    front = Nginx(d.port)
    front.daemon = d
    yield front
    front.close()
    d.close()


def open_to(front, source="127.0.0.1"):
    context = ssl.create_default_context(cafile=str(front.dir / "ca.crt"))
    return http.client.HTTPSConnection("localhost", front.port, timeout=60, context=context, source_address=(source, 0))


def answer(connection, method, path, **kw):
    connection.request(method, path, **kw)
    r = connection.getresponse()
    r.body = r.read()
    return r


def client_of(daemon, response):
    request = response.headers["X-Request-Id"]
    line = wait_for(lambda: [x for x in daemon.access_log_text().splitlines() if request in x], "the line")[0]
    return log_fields(line)["client"]


def test_nginx_docker(nginx, engine, workshop, debian):
    name = f"localhost:{nginx.port}/team/debian:1"
    engine.docker("tag", debian, name)
    engine.docker("push", name, timeout=300)
    wanted = engine.repo_digest(name)
    engine.forget(name)
    assert f"Digest: {wanted}" in engine.docker("pull", name, timeout=300).stdout
    engine.docker("rmi", name)


def test_nginx_skopeo(nginx, layout, tmp_path):
    need("skopeo")
    certs = tmp_path / "certs"
    certs.mkdir()
    shutil.copy(nginx.dir / "ca.crt", certs / "ca.crt")
    name = f"docker://localhost:{nginx.port}/skopeo/multi:1"
    copy = ["skopeo", "--insecure-policy", "copy", "--all"]
    run(*copy, "--dest-cert-dir", certs, f"oci:{layout.dir}:multi", name)
    run(*copy, "--src-cert-dir", certs, name, f"dir:{tmp_path}/back")


def test_nginx_http2(nginx):
    need("curl")
    out = run("curl", "-sS", "--http2", "--cacert", nginx.dir / "ca.crt", "-D", "-", f"https://localhost:{nginx.port}/v2/").stdout
    assert out.startswith("HTTP/2 200") and out.endswith("{}")


def test_nginx_tells_who_asks(nginx):
    r = answer(open_to(nginx, "127.0.0.7"), "GET", "/v2/", headers={"X-Forwarded-For": "203.0.113.9"})
    assert r.status == 200 and client_of(nginx.daemon, r) == "127.0.0.7"


def uploaded(daemon):
    return sum(p.stat().st_size for p in daemon.data_dir.rglob("uploads/*") if p.is_file())


def test_nginx_streams_an_upload(nginx):
    """What was sent so far is here while the client has not finished."""
    data = os.urandom(4 << 20)
    c = open_to(nginx)
    location = answer(c, "POST", "/v2/stream/up/blobs/uploads/").headers["Location"]
    before = uploaded(nginx.daemon)
    c.putrequest("PATCH", location)
    c.putheader("Content-Length", str(2 * len(data)))
    c.endheaders()
    c.send(data)
    wait_for(lambda: uploaded(nginx.daemon) - before >= len(data) - (1 << 20), "the first half is here")
    c.send(data)
    r = c.getresponse()
    r.read()
    assert r.status == 202
    location = r.headers["Location"]
    r = answer(c, "PUT", location + ("&" if "?" in location else "?") + "digest=" + digest(data + data))
    assert r.status == 201
    assert answer(c, "GET", "/v2/stream/up/blobs/" + digest(data + data)).body == data + data


def test_nginx_puts_nothing_aside(nginx):
    """A download nobody takes up does not go to nginx' disk meanwhile."""
    data = os.urandom(32 << 20)
    Registry(nginx.daemon.url, "stream/down").push_blob(data)
    c = open_to(nginx)
    c.request("GET", "/v2/stream/down/blobs/" + digest(data))
    r = c.getresponse()
    first = r.read(1 << 20)
    seen = [-1]

    def stands_still():
        seen.append(sum(x["bytes_out"] for x in nginx.daemon.roles("worker")))
        time.sleep(0.1)
        return seen[-1] == seen[-2] and seen[-1] > 1 << 20

    wait_for(stands_still, "everybody waits for the client")
    assert nginx.files_put_aside() == []
    assert first + r.read() == data
    c.close()


def test_nginx_errors_are_ours(nginx):
    r = answer(open_to(nginx), "GET", "/v2/none/manifests/x")
    assert r.status == 404 and b"MANIFEST_UNKNOWN" in r.body and r.headers["Content-Type"] == "application/json"


@pytest.fixture(scope="module")
def proxied():
    directory = own_directory("entrepot-test-")
    plain, secure = free_port(), free_port()
    run(ENTREPOTCTL, "cert", "--dir", directory, "localhost", "127.0.0.1")
    d = Daemon(text=PROXIED % (plain, secure), directory=directory)
    d.own_dir = True
    d.plain, d.secure = plain, secure
    d.start()
    yield d
    d.close()


@pytest.mark.parametrize("send", ["send-proxy", "send-proxy-v2"])
@pytest.mark.parametrize("scheme", ["plain", "secure"])
def test_haproxy(proxied, send, scheme):
    front = Haproxy(getattr(proxied, scheme), send)
    try:
        if scheme == "plain":
            c = http.client.HTTPConnection("localhost", front.port, timeout=60, source_address=("127.0.0.7", 0))
        else:
            front.dir.joinpath("ca.crt").write_bytes((proxied.dir / "ca.crt").read_bytes())  # TLS passes through
            c = open_to(front, "127.0.0.7")
        for _ in range(2):
            r = answer(c, "GET", "/v2/")
            assert r.status == 200 and client_of(proxied, r).startswith("127.0.0.7:")
        c.close()
    finally:
        front.close()
