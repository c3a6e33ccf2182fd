"""Proxy repositories against an upstream that does what it is told: what clients get."""
import concurrent.futures
import os
import time

import pytest
import requests

from harness.daemon import wait_for
from harness.proxy import kept, proxy, upstream  # noqa: F401
from harness.registry import Registry, digest, error
from harness.upstream import Upstream, tls_pair


def random_bytes(n):
    return os.urandom(n)


def test_manifest_and_blobs_come_through_and_stay(proxy, upstream):
    layer = random_bytes(300000)
    manifest = upstream.image("team/app", layers=[layer])
    client = proxy(upstream, ttl="1h")
    r = client.get("manifests/latest")
    assert r.status_code == 200, r.text
    assert r.content == manifest
    assert r.headers["Docker-Content-Digest"] == digest(manifest)
    assert client.get("blobs/" + digest(layer)).content == layer
    kept(client.daemon, "up", 1)
    upstream.close()
    assert client.get("manifests/latest").content == manifest
    assert client.get("blobs/" + digest(layer)).content == layer


def pull_blob(client, d, **kw):
    """(status, body) or ("cut", bytes that came)."""
    body = b""
    try:
        r = client.get("blobs/" + d, stream=True, **kw)
        for piece in r.iter_content(65536):
            body += piece
    except requests.RequestException:
        return "cut", body
    return r.status_code, body


def test_clients_at_once_cost_one_download(proxy, upstream):
    layer = random_bytes(2000000)
    upstream.image("team/app", layers=[layer])
    client = proxy(upstream)
    client.get("manifests/latest")
    rule = upstream.rule("GET", "/blobs/" + digest(layer), stall=500000)
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        pulls = [pool.submit(pull_blob, Registry(client.url, client.image), digest(layer)) for _ in range(16)]
        assert rule.reached.wait(10)
        rule.go.set()
        assert all(p.result() == (200, layer) for p in pulls)
    assert len(upstream.asked("GET", "/blobs/" + digest(layer))) == 1


def test_bytes_leave_before_the_upstream_is_done(proxy, upstream):
    layer = random_bytes(400000)
    upstream.image("team/app", layers=[layer])
    client = proxy(upstream, stall="30s")
    rule = upstream.rule("GET", "/blobs/" + digest(layer), stall=200000)
    r = client.get("blobs/" + digest(layer), stream=True)
    assert r.raw.read(100000) == layer[:100000]
    assert not rule.go.is_set()
    rule.go.set()
    assert layer[100000:] == r.raw.read()


@pytest.mark.parametrize("at", [0, 200000, 399999])
def test_a_cut_download_is_resumed(proxy, upstream, at):
    layer = random_bytes(400000)
    upstream.image("team/app", layers=[layer])
    client = proxy(upstream)
    upstream.rule("GET", "/blobs/" + digest(layer), times=1, cut=at)
    assert pull_blob(client, digest(layer)) == (200, layer)
    ranges = [h.get("Range") for h in upstream.asked("GET", "/blobs/" + digest(layer))]
    assert len(ranges) == 2
    if at:
        first = int(ranges[1].removeprefix("bytes=").rstrip("-"))
        assert 0 < first <= at
        assert upstream.asked("GET", "/blobs/")[1]["If-Range"] == f'"{digest(layer)}"'


def test_a_stalled_download_is_resumed(proxy, upstream):
    layer = random_bytes(400000)
    upstream.image("team/app", layers=[layer])
    client = proxy(upstream, stall="1s")
    upstream.rule("GET", "/blobs/" + digest(layer), times=1, stall=200000)
    assert pull_blob(client, digest(layer)) == (200, layer)
    assert len(upstream.asked("GET", "/blobs/")) == 2


def test_a_download_goes_on_from_the_next_remote(proxy, upstream):
    layer = random_bytes(400000)
    other = Upstream()
    for up in (upstream, other):
        up.image("team/app", layers=[layer])
    client = proxy(upstream, other)
    upstream.rule("GET", "/blobs/" + digest(layer), cut=200000)
    try:
        assert pull_blob(client, digest(layer)) == (200, layer)
        assert len(upstream.asked("GET", "/blobs/")) == 1
        assert other.asked("GET", "/blobs/")[0]["Range"].startswith("bytes=")
    finally:
        other.close()


@pytest.mark.parametrize("how", ["no_range", "changed_etag"])
def test_resuming_where_the_upstream_sends_all_again(proxy, upstream, how):
    layer = random_bytes(400000)
    upstream.image("team/app", layers=[layer])
    client = proxy(upstream)
    more = {"no_range": True} if how == "no_range" else {"headers": {"ETag": '"other"'}}
    upstream.rule("GET", "/blobs/" + digest(layer), **more)
    upstream.rule("GET", "/blobs/" + digest(layer), times=1, cut=200000)
    assert pull_blob(client, digest(layer)) == (200, layer)


def test_wrong_bytes_never_reach_a_client_whole(proxy, upstream):
    layer = random_bytes(400000)
    upstream.image("team/app", layers=[layer])
    client = proxy(upstream)
    upstream.rule("GET", "/blobs/" + digest(layer), times=1, wrong=True)
    status, body = pull_blob(client, digest(layer))
    assert status == "cut" and len(body) < len(layer)
    wait_for(lambda: pull_blob(client, digest(layer)) == (200, layer), "the next answer heals it")


def test_too_short_a_length_is_a_cut_body(proxy, upstream):
    layer = random_bytes(4000)
    upstream.image("team/app", layers=[layer])
    client = proxy(upstream)
    upstream.rule("GET", "/blobs/" + digest(layer), times=1, length=3000)
    status, body = pull_blob(client, digest(layer))
    assert status == "cut" and len(body) < 3000
    upstream.forget()
    wait_for(lambda: pull_blob(client, digest(layer)) == (200, layer), "the next answer heals it")


@pytest.mark.slow
def test_too_large_a_length_is_a_cut_body(proxy, upstream):
    layer = random_bytes(4000)
    upstream.image("team/app", layers=[layer])
    client = proxy(upstream)
    rule = upstream.rule("GET", "/blobs/" + digest(layer), length=5000, cut=4000, no_range=True)
    status, body = pull_blob(client, digest(layer), timeout=90)
    assert status == "cut" and len(body) <= 4000
    assert rule.used >= 2
    upstream.forget()
    wait_for(lambda: pull_blob(client, digest(layer)) == (200, layer), "the next answer heals it")


@pytest.mark.parametrize("how", ["chunked", "gzip"])
def test_a_length_that_only_the_end_tells(proxy, upstream, how):
    import gzip
    layer = random_bytes(300000)
    upstream.image("team/app", layers=[layer])
    client = proxy(upstream)
    if how == "chunked":
        upstream.rule("GET", "/blobs/" + digest(layer), chunked=True)
    else:
        upstream.rule("GET", "/blobs/" + digest(layer), status=200, body=gzip.compress(layer),
                      headers={"Content-Encoding": "gzip"})
    assert pull_blob(client, digest(layer)) == (200, layer)


@pytest.mark.parametrize("upstream_says, client_gets", [
    (400, 502), (401, 403), (403, 403), (404, 404), (429, 429), (500, 503), (503, 503)])
@pytest.mark.parametrize("what", ["manifest", "blob"])
def test_what_the_client_gets_when_the_upstream_says(proxy, upstream, what, upstream_says, client_gets):
    layer = random_bytes(4000)
    manifest = upstream.image("team/app", layers=[layer])
    client = proxy(upstream)
    headers = {"Retry-After": "1"} if upstream_says == 429 else {}
    upstream.rule("*", "/v2/team/", status=upstream_says, headers=headers)
    path = "manifests/latest" if what == "manifest" else "blobs/" + digest(layer)
    r = client.get(path)
    assert r.status_code == client_gets, r.text
    if client_gets != 404:
        error(r)
    if client_gets == 429:
        assert int(r.headers["Retry-After"]) >= 1
    upstream.forget()
    wait_for(lambda: client.get(path).status_code == 200, "the next good answer heals it")
    assert client.get(path).content == (manifest if what == "manifest" else layer)


def test_refused_and_unresolvable(proxy, upstream):
    url = upstream.url
    upstream.close()
    client = proxy(url)
    assert client.get("manifests/latest").status_code in (502, 503)
    assert client.get("blobs/" + digest(b"x")).status_code in (502, 503)
    nowhere = proxy("http://registry.invalid")
    assert nowhere.get("manifests/latest").status_code in (502, 503)


def test_slow_to_answer_is_a_timeout(proxy, upstream):
    upstream.image("team/app")
    client = proxy(upstream, stall="1s")
    rule = upstream.rule("*", "/v2/team/", hold=True)
    r = client.get("manifests/latest")
    rule.go.set()
    assert r.status_code == 504, r.text


def test_an_old_tag_is_served_when_the_upstream_fails(proxy, upstream):
    manifest = upstream.image("team/app")
    client = proxy(upstream)
    assert client.get("manifests/latest").content == manifest
    upstream.rule("*", "/v2/", status=503)
    r = client.get("manifests/latest")
    assert r.status_code == 200 and r.content == manifest
    assert r.headers["Warning"].startswith("11") or r.headers["Warning"].startswith("299")


def test_a_tag_that_moved_is_fetched_by_digest_and_one_that_did_not_is_confirmed_by_head(proxy, upstream):
    upstream.image("team/app")
    client = proxy(upstream)
    client.get("manifests/latest")
    upstream.forget()
    assert client.get("manifests/latest").status_code == 200
    assert [m for m, p, h in upstream.log] == ["HEAD"]
    second = upstream.image("team/app", layers=[b"other"])
    upstream.forget()
    assert client.get("manifests/latest").content == second
    assert [(m, p) for m, p, h in upstream.log] == [
        ("HEAD", "/v2/team/app/manifests/latest"), ("GET", f"/v2/team/app/manifests/{digest(second)}")]


def test_a_tag_that_is_gone_is_gone_here(proxy, upstream):
    upstream.image("team/app")
    client = proxy(upstream)
    assert client.get("manifests/latest").status_code == 200
    upstream.tags.clear()
    assert client.get("manifests/latest").status_code == 404
    assert client.get("manifests/latest").status_code == 404


def test_html_instead_of_a_manifest(proxy, upstream):
    upstream.image("team/app")
    client = proxy(upstream)
    upstream.rule("*", "/manifests/", status=200, body=b"<html>log in</html>", headers={"Content-Type": "text/html"})
    r = client.get("manifests/latest")
    assert r.status_code == 502 and "manifest" in r.text


def test_a_manifest_of_20_megabytes(proxy, upstream):
    upstream.image("team/app")
    client = proxy(upstream)
    upstream.rule("GET", "/manifests/", status=200, body=b" " * 20000000)
    assert client.get("manifests/latest").status_code == 502
    assert upstream.sent < 20000000


@pytest.mark.parametrize("told", ["before it", "with it"])
def test_a_manifest_with_a_wrong_digest_header(proxy, upstream, told):
    """By the answer to HEAD, whose digest is asked for then; where there is no HEAD, by that which has the manifest."""
    upstream.image("team/app")
    client = proxy(upstream)
    upstream.rule("*", "/manifests/latest", headers={"Docker-Content-Digest": digest(b"other")})
    if told == "with it":
        upstream.rule("HEAD", "/manifests/latest", status=405)
    assert client.get("manifests/latest").status_code == 502
    upstream.forget()
    wait_for(lambda: client.get("manifests/latest").status_code == 200, "the next good answer heals it")


@pytest.mark.parametrize("kind", ["basic", "token"])
def test_credentials(proxy, upstream, tmp_path, kind):
    secret = tmp_path / "password"
    secret.write_text(upstream.password + "\n")
    upstream.auth = kind
    layer = random_bytes(4000)
    manifest = upstream.image("team/app", layers=[layer])
    client = proxy(upstream, more=f'username = "robot"\n password_file = "{secret}"')
    assert client.get("manifests/latest").content == manifest
    assert client.get("blobs/" + digest(layer)).content == layer
    assert upstream.token_requests == (1 if kind == "token" else 0)
    assert upstream.password not in client.daemon.log_text()


def test_a_token_that_is_not_good_any_more_is_renewed(proxy, upstream, tmp_path):
    secret = tmp_path / "password"
    secret.write_text(upstream.password)
    upstream.auth = "token"
    upstream.image("team/app")
    client = proxy(upstream, more=f'username = "robot"\n password_file = "{secret}"')
    assert client.get("manifests/latest").status_code == 200
    upstream.tokens.clear()
    assert client.get("manifests/latest").status_code == 200
    assert "Warning" not in client.get("manifests/latest").headers
    assert upstream.token_requests == 2


def test_the_token_server_is_down(proxy, upstream, tmp_path):
    upstream.auth = "token"
    upstream.image("team/app")
    client = proxy(upstream)
    rule = upstream.rule("GET", "^/token", status=503)
    assert client.get("manifests/latest").status_code in (502, 503)
    assert rule.used >= 1


def test_redirects_and_no_credentials_along_them(proxy, upstream, tmp_path):
    secret = tmp_path / "password"
    secret.write_text(upstream.password)
    store = Upstream()
    layer = random_bytes(4000)
    upstream.image("team/app", layers=[layer])
    upstream.auth = "basic"
    store.rule("GET", "/signed", status=200, body=layer)
    client = proxy(upstream, more=f'username = "robot"\n password_file = "{secret}"')
    upstream.rule("GET", "/blobs/", status=307, headers={"Location": store.url + "/signed?x=1"})
    client.get("manifests/latest")
    try:
        assert client.get("blobs/" + digest(layer)).content == layer
        assert "Authorization" not in store.asked("GET", "/signed")[0]
    finally:
        store.close()


@pytest.mark.parametrize("back", [False, True])
def test_a_token_does_not_follow_a_redirect_to_another_host(proxy, upstream, tmp_path, back):
    """Nor is it sent when that host leads back."""
    secret = tmp_path / "password"
    secret.write_text(upstream.password)
    store, layer = Upstream(), random_bytes(4000)
    upstream.image("team/app", layers=[layer])
    upstream.auth = "token"
    upstream.rule("GET", "/signed", status=200, body=layer)
    client = proxy(upstream, more=f'username = "robot"\n password_file = "{secret}"')
    path = "/blobs/" + digest(layer)
    signed = f"{(upstream if back else store).url}/signed?x=1"
    store.rule("GET", "/", status=307, headers={"Location": signed}) if back else store.rule("GET", "/signed", status=200, body=layer)
    client.get("manifests/latest")
    upstream.rule("GET", "/blobs/", status=307, headers={"Location": f"{store.url}/elsewhere" if back else signed})
    try:
        assert client.get(path[1:]).content == layer
        assert [h for h in upstream.asked("GET", path) if "Authorization" in h]  # the remote itself gets it
        assert store.log and not [h for _, _, h in store.log if "Authorization" in h]
        assert not [h for h in upstream.asked("GET", "/signed") if "Authorization" in h]
    finally:
        store.close()


def test_an_endless_redirect(proxy, upstream):
    upstream.image("team/app")
    client = proxy(upstream)
    upstream.rule("*", "/v2/team", status=302, headers={"Location": "/v2/team/app/manifests/latest"})
    assert client.get("manifests/latest").status_code == 502
    assert len(upstream.log) <= 7


def test_a_cold_range(proxy, upstream):
    layer = random_bytes(3000000)
    upstream.image("team/app", layers=[layer])
    client = proxy(upstream)
    r = client.get("blobs/" + digest(layer), headers={"Range": "bytes=2000000-2000999"})
    assert r.status_code == 206, r.text
    assert r.content == layer[2000000:2001000]
    assert r.headers["Content-Range"] == f"bytes 2000000-2000999/{len(layer)}"


def test_head_of_a_cold_blob(proxy, upstream):
    layer = random_bytes(4000)
    upstream.image("team/app", layers=[layer])
    client = proxy(upstream)
    r = client.head("blobs/" + digest(layer))
    assert r.status_code == 200 and r.headers["Content-Length"] == "4000"
    assert not upstream.asked("GET", "/blobs/")
    assert client.head("blobs/" + digest(b"none")).status_code == 404


def test_another_image_gets_a_download_only_if_the_upstream_has_it_there(proxy, upstream):
    layer = random_bytes(400000)
    upstream.image("team/app", layers=[layer])
    client = proxy(upstream, stall="30s")
    rule = upstream.rule("GET", "/team/app/blobs/", stall=200000)
    r = client.get("blobs/" + digest(layer), stream=True)
    assert rule.reached.wait(10)
    assert client.at("team/stranger").get("blobs/" + digest(layer)).status_code == 404
    upstream.blob("team/sister", layer)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        sister = pool.submit(pull_blob, Registry(client.url, "team/sister"), digest(layer))
        wait_for(lambda: upstream.asked("HEAD", "/team/sister/blobs/"), "the sister is asked for")
        rule.go.set()
        assert sister.result() == (200, layer)
    assert r.raw.read() == layer
    assert not upstream.asked("GET", "/team/sister/blobs/")
    wait_for(lambda: client.at("team/sister").head("blobs/" + digest(layer)).status_code == 200, "linked")


def test_a_killed_fetcher_goes_on_where_it_was(proxy, upstream):
    layer = random_bytes(2000000)
    upstream.image("team/app", layers=[layer])
    client = proxy(upstream, stall="30s")
    rule = upstream.rule("GET", "/blobs/", times=1, stall=1000000)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        pull = pool.submit(pull_blob, client, digest(layer))
        assert rule.reached.wait(10)
        wait_for(lambda: any(p.stat().st_size >= 500000 for p in client.daemon.data_dir.rglob("partial/sha*")), "half")
        old = client.daemon.kill_role("fetcher")
        client.daemon.respawned("fetcher", old)
        assert pull.result() == (200, layer)
    assert upstream.asked("GET", "/blobs/")[-1]["Range"].startswith("bytes=")
    rule.go.set()


def test_few_pulls_are_kept_for_what_is_not_here(proxy, upstream):
    manifest = upstream.image("team/app")
    client = proxy(upstream, more="rate_reserve = 10")
    upstream.rule("*", "/manifests/", headers={"RateLimit-Limit": "100;w=21600", "RateLimit-Remaining": "5;w=21600"})
    assert client.get("manifests/latest").content == manifest
    upstream.log.clear()
    answer = client.get("manifests/latest")  # HEADs cost no pull, so they go on
    assert answer.content == manifest and "Warning" not in answer.headers
    assert [m for m, _, _ in upstream.log] == ["HEAD"]
    moved = upstream.image("team/app", layers=[b"moved"])
    answer = client.get("manifests/latest")
    assert answer.content == manifest and "few pulls" in answer.headers["Warning"]
    upstream.rule("HEAD", "/manifests/", status=405)
    assert "few pulls" in client.get("manifests/latest").headers["Warning"]
    assert len(upstream.asked("GET", "/manifests/")) == 0
    assert client.get("manifests/" + digest(moved)).content == moved  # what is not here is what they are spared for


def test_bandwidth_is_for_all_downloads_together(proxy, upstream):
    layers = [random_bytes(600000), random_bytes(600000)]
    upstream.image("team/app", layers=layers)
    client = proxy(upstream, more="bandwidth = 500K")
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        begin = time.monotonic()
        pulls = [pool.submit(pull_blob, Registry(client.url, client.image), digest(x)) for x in layers]
        assert [p.result() for p in pulls] == [(200, x) for x in layers]
        # The least that a limit can cost; how much more is the machine's business.
        assert time.monotonic() - begin > (1200000 - 500000 / 4 - 65536) / 512000 * 0.7


def test_a_full_disk_is_507_and_heals(proxy, upstream):
    layer = random_bytes(4000)
    upstream.image("team/app", layers=[layer])
    client = proxy(upstream, top='blobstore main {{\n path = "{dir}/data/main"\n keep_free = 1000T\n}}\n')
    r = client.get("blobs/" + digest(layer))
    assert r.status_code == 507, r.text
    conf = client.daemon.conf
    conf.write_text(conf.read_text().replace("1000T", "1M"))
    client.daemon.reload()

    def healed():
        try:
            return client.get("blobs/" + digest(layer)).content == layer
        except requests.ConnectionError:
            return False  # the old worker closed this idle connection just now

    wait_for(healed, "space heals it")


def test_http_proxy(proxy, upstream):
    layer = random_bytes(4000)
    upstream.image("team/app", layers=[layer])
    between = Upstream()
    between.rule("*", "^http://registry.invalid/v2/team/app/blobs/", status=200, body=layer)
    client = proxy("http://registry.invalid", more=f'http_proxy = "{between.url}"')
    try:
        assert client.get("blobs/" + digest(layer)).content == layer
    finally:
        between.close()


def test_a_private_ca_is_believed_and_a_strange_one_is_not(proxy, tmp_path):
    pair = tls_pair(tmp_path)
    up = Upstream(tls=pair)
    manifest = up.image("team/app")
    try:
        strange = proxy(up)
        r = strange.get("manifests/latest")
        assert r.status_code in (502, 503) and "certificate" in r.text
        assert proxy(up, more=f'ca_file = "{pair[0]}"').get("manifests/latest").content == manifest
        assert proxy(up, more="tls_verify = false").get("manifests/latest").content == manifest
    finally:
        up.close()


def test_a_token_that_ends_in_the_middle_of_a_download(proxy, upstream, tmp_path):
    secret = tmp_path / "password"
    secret.write_text(upstream.password)
    upstream.auth = "token"
    layer = random_bytes(400000)
    upstream.image("team/app", layers=[layer])
    client = proxy(upstream, stall="30s", more=f'username = "robot"\n password_file = "{secret}"')
    rule = upstream.rule("GET", "/blobs/", times=1, stall=200000, cut_after=True)
    # The rule answers whatever the token: the first request has none yet.
    client.get("manifests/latest")
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        pull = pool.submit(pull_blob, client, digest(layer))
        assert rule.reached.wait(10)
        upstream.tokens.clear()
        rule.go.set()
        assert pull.result() == (200, layer)
    assert upstream.token_requests == 2
