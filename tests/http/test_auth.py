"""Logins and rights: who gets in, what they may, what the others are told."""
import base64
import re

import pytest

from harness.registry import Registry, digest, error
from harness.users import basic, bearer, write_users

USERS = {"alice": "secret-a", "bob": "secret-b", "carol": "with:colon", "root": "all"}
ROLES = """
role developers {{
    users = {{alice}}
    images = {{"docker-local:team/**"}}
    may = {{pull, push, delete}}
}}
role readers {{
    users = {{bob, carol}}
    images = {{"docker-local:team/*"}}
    may = {{pull}}
}}
role admins {{
    users = {{root}}
    images = {{"**:**"}}
    may = {{pull, push, delete}}
}}
"""
BASIC = """
hosted docker-local {{ }}
connector "127.0.0.1:{port}" {{ repository = docker-local }}
auth {{ htpasswd = "{dir}/htpasswd" }}
""" + ROLES
BEARER = """
hosted docker-local {{ }}
hosted closed {{ force_basic_auth = true }}
connector "127.0.0.1:{port}" {{ repository = docker-local }}
auth {{
    htpasswd = "{dir}/htpasswd"
    force_basic_auth = false
}}
""" + ROLES


def daemon_of(text, **kw):
    from harness.daemon import Daemon
    d = Daemon(text=text, **kw)
    write_users(d.dir / "htpasswd", USERS)
    return d.start()


@pytest.fixture(scope="module")
def forced():
    d = daemon_of(BASIC)
    yield d
    d.close()


@pytest.fixture(scope="module")
def open_():
    """The anonymous may pull, users push: one port."""
    d = daemon_of(BEARER)
    yield d
    d.close()


def of(daemon, user=None, image="team/app"):
    r = Registry(daemon.url, image)
    if user:
        r.http.headers.update(basic(user, USERS[user]))
    return r


def challenge(response):
    """(scheme, parameters) of the one challenge."""
    assert response.status_code == 401 and error(response) == "UNAUTHORIZED"
    value = response.headers["WWW-Authenticate"]
    assert "," not in value.split('"')[0]
    return value.split()[0], dict(re.findall(r'(\w+)="([^"]*)"', value))


def token(daemon, user=None, *scopes, **more):
    params = {"service": daemon.registry, "scope": list(scopes), **more}
    r = Registry(daemon.url).request("GET", "/v2/token", params=params,
                                     headers=basic(user, USERS[user]) if user else {})
    assert r.status_code == 200, r.text
    return r.json()


def test_basic_challenge(forced):
    for path in ("/v2/", "/v2/team/app/manifests/1", "/v2/_catalog", "/v2/nothing"):
        assert challenge(of(forced).request("GET", path)) == ("Basic", {"realm": "Entrepot"})


def test_bearer_challenge(open_):
    scheme, p = challenge(of(open_).request("GET", "/v2/"))
    assert scheme == "Bearer"
    assert p == {"realm": f"http://{open_.registry}/v2/token", "service": open_.registry}
    _, p = challenge(of(open_).post("blobs/uploads/"))
    assert p["scope"] == "repository:team/app:pull,push"
    _, p = challenge(of(open_).delete("manifests/1"))
    assert p["scope"] == "repository:team/app:delete"


def test_realm_is_what_the_client_calls_us(open_):
    _, p = challenge(of(open_).request("GET", "/v2/", headers={"Host": "registry.example:5000"}))
    assert p["realm"] == "http://registry.example:5000/v2/token" and p["service"] == "registry.example:5000"


@pytest.mark.parametrize("host", ['a"b', "a b", "a,b", "a\\b", "http://x/"])
def test_a_host_that_is_none_gets_no_realm(open_, host):
    r = of(open_).request("GET", "/v2/", headers={"Host": host})
    assert r.status_code == 400 and "WWW-Authenticate" not in r.headers


@pytest.mark.parametrize("which", ["forced", "open_"])
def test_good_and_wrong_passwords(which, request):
    daemon = request.getfixturevalue(which)
    for user in USERS:
        assert of(daemon, user).request("GET", "/v2/").status_code == 200
    wrong = [basic("alice", "secret-b"), basic("alice", ""), basic("nobody", "secret-a"), basic("", "x"),
             basic("alice", "x" * 513), basic("a" * 65, "x"), basic("al\nice", "x"),
             {"Authorization": "Basic"}, {"Authorization": "Basic !!!"}, {"Authorization": "Basic YWxpY2U="},
             {"Authorization": "Basic " + base64.b64encode(b"alice:secret-a\0").decode()},
             {"Authorization": "Basic " + base64.b64encode(b"alice:secret-a").decode() + "="},
             {"Authorization": "Digest x"}, bearer("x.y.z"), bearer(""), bearer("x" * 12500)]
    for headers in wrong:
        # Also where the anonymous would get an answer.
        for path in ("/v2/", "/v2/team/app/tags/list"):
            assert challenge(of(daemon).request("GET", path, headers=headers)), headers


def test_no_user_and_no_password_is_the_anonymous(open_, forced):
    assert of(open_).get("tags/list", headers=basic("", "")).status_code == 404
    assert of(forced).get("tags/list", headers=basic("", "")).status_code == 401


def test_scheme_names_have_no_case(forced):
    value = basic("alice", USERS["alice"])["Authorization"].replace("Basic", "bAsIc")
    assert of(forced).request("GET", "/v2/", headers={"Authorization": value}).status_code == 200


def test_anonymous_pull_and_authenticated_push_on_one_port(open_):
    body = of(open_, "alice").push_image("1")
    assert of(open_).get("manifests/1").content == body
    assert of(open_).head(f"blobs/{digest(b'layer')}").status_code == 200
    assert of(open_).put_manifest(body, "2").status_code == 401
    assert of(open_).delete("manifests/1").status_code == 401


def test_rights_of_roles(forced):
    body = of(forced, "alice").push_image("1")
    assert of(forced, "bob").get("manifests/1").content == body
    for r in (of(forced, "bob").post("blobs/uploads/"), of(forced, "bob").put_manifest(body, "x"),
              of(forced, "bob").delete("manifests/1"), of(forced, "alice", "other/app").get("tags/list"),
              of(forced, "bob", "team/deep/app").get("tags/list")):
        assert r.status_code == 403 and error(r) == "DENIED" and "WWW-Authenticate" not in r.headers
    assert of(forced, "alice", "team/deep/app").get("tags/list").status_code == 404
    assert of(forced, "alice").delete("manifests/1").status_code == 202


def test_a_tag_looked_at_without_a_word_is_challenged(open_):
    """containerd asks for the tag first and cannot repeat the PUT that follows."""
    of(open_, "alice").push_image("looked-at")
    for tag in ("looked-at", "absent"):
        answer = of(open_).head(f"manifests/{tag}")
        assert answer.status_code == 401 and answer.headers["WWW-Authenticate"].startswith("Bearer ")
    r = of(open_)
    r.http.headers.update(bearer(token(open_, None, "repository:team/app:pull")["token"]))
    assert r.head("manifests/looked-at").status_code == 200 and r.head("manifests/absent").status_code == 404
    assert of(open_).head("manifests/looked-at", headers=basic("", "")).status_code == 200
    d = r.head("manifests/looked-at").headers["Docker-Content-Digest"]
    assert of(open_).head(f"manifests/{d}").status_code == 200


def test_head_without_rights_has_no_body(forced):
    r = of(forced).head("manifests/1")
    assert r.status_code == 401 and r.content == b"" and "WWW-Authenticate" in r.headers


def test_a_large_body_still_gets_its_401(forced):
    r = of(forced).post("blobs/uploads/?digest=" + digest(b"x"), data=b"x" * 600000)
    assert r.status_code == 401


def test_token_reply(open_):
    reply = token(open_, "alice", "repository:team/app:pull,push")
    assert reply["token"] == reply["access_token"] and reply["expires_in"] == 300
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", reply["issued_at"])
    assert "refresh_token" not in reply
    assert Registry(open_.url).request("GET", "/v2/", headers=bearer(reply["token"])).status_code == 200


def test_token_by_form(open_):
    r = Registry(open_.url)
    form = {"grant_type": "password", "service": "x", "client_id": "test", "username": "alice", "password": "secret-a",
            "scope": "repository:team/app:pull,push repository:other/x:push"}
    reply = r.request("POST", "/v2/token", data=form)
    assert reply.status_code == 200 and reply.json()["scope"] == "repository:team/app:pull,push"
    assert r.request("POST", "/v2/team/app/blobs/uploads/", headers=bearer(reply.json()["access_token"])).status_code == 202
    for change, status in (({"password": "x"}, 401), ({"username": "nobody"}, 401), ({"grant_type": "refresh_token"}, 401),
                           ({"grant_type": "x"}, 400), ({"username": ""}, 401), ({"scope": "nonsense"}, 400)):
        assert r.request("POST", "/v2/token", data={**form, **change}).status_code == status, change
    assert r.request("POST", "/v2/token", data={}).status_code == 400
    assert r.request("POST", "/v2/token", json=form).status_code == 400
    assert r.request("POST", "/v2/token", data={**form, "junk": "x" * 20000}).status_code == 413
    assert r.request("PUT", "/v2/token").status_code == 405


def test_token_wrong_password(open_):
    r = Registry(open_.url)
    for path in ("/v2/token", "/v2/token?account=alice&client_id=docker&offline_token=true"):
        assert r.request("GET", path, headers=basic("alice", "x")).status_code == 401
    t = token(open_, "alice")["token"]
    assert r.request("GET", "/v2/token", headers=bearer(t)).status_code == 401


def test_token_scopes_bound_it(open_):
    of(open_, "alice").push_image("scoped")
    r = Registry(open_.url, "team/app")
    r.http.headers.update(bearer(token(open_, "alice", "repository:team/app:pull")["token"]))
    assert r.get("manifests/scoped").status_code == 200
    _, p = challenge(r.post("blobs/uploads/"))
    assert p["error"] == "insufficient_scope" and p["scope"] == "repository:team/app:pull,push"
    assert challenge(r.at("team/other").post("blobs/uploads/"))[1]["error"] == "insufficient_scope"
    assert challenge(r.at("team/other").get("tags/list"))[1]["error"] == "insufficient_scope"
    denied = r.at("elsewhere/x").post("blobs/uploads/")
    assert denied.status_code == 403 and error(denied) == "DENIED"
    assert challenge(r.request("GET", "/v2/_catalog"))[1]["scope"] == "registry:catalog:*"


def test_a_token_is_for_one_repository(start):
    """Two names of one length, the same image in both."""
    d = start(run=False, text="""
hosted aa {{ }}
hosted bb {{ }}
connector "127.0.0.1:{port}" {{ }}
auth {{ htpasswd = "{dir}/htpasswd"
        force_basic_auth = false
        anonymous_may = {{}} }}
""")
    write_users(d.dir / "htpasswd", USERS)
    d.start()
    t = token(d, "alice", "repository:aa/x:pull,push")["token"]
    for image, status in (("aa/x", 202), ("bb/x", 401)):
        r = Registry(d.url, image)
        r.http.headers.update(bearer(t))
        assert r.post("blobs/uploads/").status_code == status, image


def test_what_is_not_allowed_is_left_out_of_a_token(open_):
    t = token(open_, "bob", "repository:team/app:pull,push", "repository:closed-thing:push")["token"]
    claims = base64.urlsafe_b64decode(t.split(".")[1] + "==")
    assert b'"name":"docker-local:team/app","actions":["pull"]' in claims and b"closed" not in claims


def test_anonymous_token(open_):
    of(open_, "alice").push_image("anon")
    t = token(open_, None, "repository:team/app:pull,push", "registry:catalog:*")["token"]
    r = Registry(open_.url, "team/app")
    r.http.headers.update(bearer(t))
    assert r.get("manifests/anon").status_code == 200
    assert challenge(r.post("blobs/uploads/"))[1]["error"] == "insufficient_scope"
    assert "team/app" in r.request("GET", "/v2/_catalog").json()["repositories"]


def test_forged_tokens(open_):
    t = token(open_, "bob", "repository:team/app:pull")["token"]
    head, body, signature = t.split(".")
    root = base64.urlsafe_b64encode(base64.urlsafe_b64decode(body + "==").replace(b'"bob"', b'"root"')).rstrip(b"=").decode()
    none = base64.urlsafe_b64encode(b'{"alg":"none","typ":"JWT"}').rstrip(b"=").decode()
    for bad in (f"{head}.{root}.{signature}", f"{none}.{root}.", f"{none}.{root}.{signature}", f"{head}.{body}.",
                f"{head}.{body}", body, t[:-1], t + "A", f"{head}.{body}.{signature}.{signature}", t[5:]):
        assert challenge(of(open_).get("tags/list", headers=bearer(bad)))[1]["error"] == "invalid_token", bad


def test_tokens_are_for_repositories_not_for_names(open_):
    """The same image name below another repository is another thing."""
    t = token(open_, "root", "repository:team/app:pull,push")["token"]
    r = Registry(open_.url)
    assert r.request("POST", "/v2/team/app/blobs/uploads/", headers=bearer(t)).status_code == 202
    other = r.request("POST", "/repository/closed/v2/team/app/blobs/uploads/", headers=bearer(t))
    _, p = challenge(other)
    assert p["error"] == "insufficient_scope" and p["realm"] == f"{open_.url}/repository/closed/v2/token"
    good = r.request("GET", "/repository/closed/v2/token", params={"scope": p["scope"]}, headers=basic("root", "all"))
    r.http.headers.update(bearer(good.json()["token"]))
    assert r.request("POST", "/repository/closed/v2/team/app/blobs/uploads/").status_code == 202


def test_a_repository_that_forces_logins_beside_one_that_does_not(open_):
    path = "/repository/closed/v2/x/y/tags/list"
    assert of(open_).request("GET", path).status_code == 401
    assert of(open_, "bob").request("GET", path).status_code == 403
    assert of(open_, "root").request("GET", path).status_code == 404


def test_which_repositories_there_are_is_not_told(open_):
    there, nowhere = (of(open_).request("GET", f"/repository/{n}/v2/x/y/tags/list") for n in ("closed", "nothing"))
    assert there.status_code == nowhere.status_code == 401
    assert there.json() == nowhere.json()


def test_catalog_shows_what_may_be_read(forced):
    for image in ("team/one", "team/deep/two", "secret/a", "secret/b", "secret/c", "zz/last"):
        of(forced, "root", image).push_image("1")

    def listed(user, query=""):
        r = of(forced, user).request("GET", "/v2/_catalog" + query)
        return [n for n in r.json()["repositories"] if n != "team/app"], r.headers.get("Link", "")
    assert listed("root")[0] == ["secret/a", "secret/b", "secret/c", "team/deep/two", "team/one", "zz/last"]
    assert listed("bob") == (["team/one"], "")
    page, link = listed("alice", "?n=1")
    assert page in ([], ["team/deep/two"]) and "secret" not in link
    names, query = [], "?n=1"
    while query:
        page, link = listed("alice", query)
        names += page
        assert "secret" not in link and "zz" not in link
        query = link.split("_catalog", 1)[1].split(">")[0] if link else ""
    assert names == ["team/deep/two", "team/one"]


def test_mount_needs_pull_at_the_source(forced):
    d = of(forced, "root", "secret/source").push_blob(b"mounted")
    target = of(forced, "alice", "team/target")
    absent = target.post(f"blobs/uploads/?mount={digest(b'nowhere')}&from=secret/source")
    for query in (f"?mount={d}&from=secret/source", f"?mount={d}"):
        r = target.post("blobs/uploads/" + query)
        assert r.status_code == absent.status_code == 202 and r.headers.keys() == absent.headers.keys()
    assert target.head(f"blobs/{d}").status_code == 404
    assert of(forced, "root", "team/target").post(f"blobs/uploads/?mount={d}&from=secret/source").status_code == 201


def test_mount_needs_the_source_in_the_token(open_):
    """Alice may pull the source; what she has given away in a token does not say so."""
    d = of(open_, "alice", "team/source").push_blob(b"mounted by token")
    target = Registry(open_.url, "team/by-token")
    scopes = ["repository:team/by-token:pull,push", "repository:team/source:pull"]
    for given, status in ((scopes[:1], 202), (scopes, 201)):
        target.http.headers.update(bearer(token(open_, "alice", *given)["token"]))
        assert target.post(f"blobs/uploads/?mount={d}&from=team/source").status_code == status


def test_upload_sessions_are_their_users(forced):
    alice, root = of(forced, "alice", "team/mine"), of(forced, "root", "team/mine")
    url = alice.begin()
    for r in (root.request("GET", url), root.request("PATCH", url, data=b"x"), root.request("DELETE", url),
              root.finish(url, digest(b"x"), b"x")):
        assert r.status_code == 404 and error(r) == "BLOB_UPLOAD_UNKNOWN"
    refused = of(forced, "bob", "team/mine").request("GET", url)  # who may pull alone is told nothing
    assert refused.status_code == 403 and error(refused) == "DENIED"
    assert alice.request("PATCH", url, data=b"mine").status_code == 202
    assert alice.finish(url, digest(b"mine")).status_code == 201


def test_cancel_needs_no_delete(start):
    d = start(run=False, text=BASIC + 'role pushers {{\nusers = {{bob}}\nimages = {{"docker-local:p/**"}}\nmay = {{pull, push}}\n}}\n')
    write_users(d.dir / "htpasswd", USERS)
    d.start()
    r = of(d, "bob", "p/x")
    assert r.request("DELETE", r.begin()).status_code == 204
    r.push_image("1")
    assert r.delete("manifests/1").status_code == 403


def test_two_authorization_headers(forced):
    import http.client
    c = http.client.HTTPConnection("127.0.0.1", forced.port, timeout=20)
    c.putrequest("GET", "/v2/")
    for user in ("alice", "bob"):
        c.putheader("Authorization", basic(user, USERS[user])["Authorization"])
    c.endheaders()
    assert c.getresponse().status == 401


def test_without_logins_nothing_is_asked(entrepot):
    r = Registry(entrepot.url)
    assert r.request("GET", "/v2/", headers=basic("who", "ever")).status_code == 200
    assert r.request("GET", "/v2/token").status_code == 404


def test_nobody_reads_secrets_in_the_logs(forced, open_):
    for daemon in (forced, open_):
        text = daemon.log_text() + daemon.access_log_text()
        for secret in (*(p for p in USERS.values() if len(p) > 4), base64.b64encode(b"alice:secret-a").decode(), "eyJ"):
            assert secret not in text


def test_over_https_the_realm_is_https(start):
    import subprocess
    from harness.tools import need
    need("openssl")
    tls = BEARER.replace("repository = docker-local }}", 'repository = docker-local\n    tls_certificate = "{dir}/c.crt"\n'
                         '    tls_key = "{dir}/c.key"\n}}', 1)
    d = start(run=False, text=tls)
    write_users(d.dir / "htpasswd", USERS)
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout",
                    str(d.dir / "c.key"), "-out", str(d.dir / "c.crt"), "-days", "2", "-subj", "/CN=localhost", "-addext",
                    "subjectAltName=IP:127.0.0.1"], check=True, stderr=subprocess.DEVNULL)
    d.start()
    r = Registry(d.url.replace("http://", "https://"))
    _, p = challenge(r.request("GET", "/v2/", verify=str(d.dir / "c.crt")))
    assert p["realm"] == f"https://{d.registry}/v2/token"
    reply = r.request("GET", p["realm"], headers=basic("alice", USERS["alice"]), verify=str(d.dir / "c.crt"))
    assert r.request("GET", "/v2/", headers=bearer(reply.json()["token"]), verify=str(d.dir / "c.crt")).status_code == 200


def test_a_repository_called_basic_does_not_name_a_scheme(start):
    d = start(run=False, text=BEARER.replace("hosted closed", "hosted basic-things"))
    write_users(d.dir / "htpasswd", USERS)
    d.start()
    r = Registry(d.url).request("GET", "/repository/basic-things/v2/x/y/tags/list")
    assert r.status_code == 401 and "basic" not in r.headers["WWW-Authenticate"].lower()
    _, p = challenge(r)
    assert Registry(d.url).request("GET", p["realm"], headers=basic("root", "all")).status_code == 200


def test_names_where_the_first_component_chooses(start):
    """Scopes are what the client calls an image; tokens hold what it is."""
    d = start(run=False, text=BEARER.replace("{{ repository = docker-local }}", "{{ }}"))
    write_users(d.dir / "htpasswd", USERS)
    d.start()
    r = Registry(d.url, "docker-local/team/app")
    _, p = challenge(r.post("blobs/uploads/"))
    assert p["scope"] == "repository:docker-local/team/app:pull,push"
    t = token(d, "alice", p["scope"])["token"]
    assert r.post("blobs/uploads/", headers=bearer(t)).status_code == 202
    source = of(d, "root", "closed/secret/x").push_blob(b"across")
    for user, status in (("alice", 202), ("root", 201)):
        mounted = of(d, user, "docker-local/team/app").post(f"blobs/uploads/?mount={source}&from=closed/secret/x")
        assert mounted.status_code == status
    assert of(d, "alice", "nothing/x").get("tags/list").status_code == 404
    assert of(d, None, "nothing/x").get("tags/list").status_code == 401
