"""Open uploads of a blob store are shared: nobody holds them all, whatever dies meanwhile."""
import http.client
import json
import os

import pytest
import requests

from harness.daemon import wait_for
from harness.registry import Registry, digest
from harness.users import basic, write_users

SHARE = 64
ROOMY = "max_uploads = 256\n"  # a quarter is 64


class Client:
    def __init__(self, daemon, address="127.0.0.2", headers=None):
        self.daemon, self.address, self.headers = daemon, address, headers or {}

    def request(self, method, path):
        """(status, URL of the session or what is said)."""
        c = http.client.HTTPConnection("127.0.0.1", self.daemon.port, 30, source_address=(self.address, 0))
        c.request(method, path, headers={"Content-Length": "0", **self.headers})
        r = c.getresponse()
        body = r.read()
        c.close()
        return r.status, r.headers["Location"] if r.status == 202 else json.loads(body or b"null")

    def begin(self, image="a", repository="docker-local"):
        return self.request("POST", f"/v2/{repository}/{image}/blobs/uploads/")

    def fill(self, count=SHARE):
        """URLs of so many sessions, in several images."""
        answers = [self.begin(f"a{i % 3}") for i in range(count)]
        assert {status for status, _ in answers} == {202}
        return [url for _, url in answers]

    def full(self):
        status, body = self.begin()
        return status == 429 and body["errors"][0]["message"]


def counted(daemon):
    return json.loads(daemon.ctl("--json", "repos").stdout)["blobstores"][0]["uploads"]


CONF = """
hosted docker-local {{ }}
connector "127.0.0.1:{port}" {{ }}
"""


@pytest.fixture
def shared(fail, start):
    """Files are counted only where a test wants it: a count may be off by what comes or goes at that moment."""
    fail.arm("catalog_survey", "EIO always")

    def make(top=ROOMY, **kw):
        daemon = start(text=top + CONF, **kw)
        daemon.fail = fail
        return daemon

    return make


def test_an_address_has_a_share(shared):
    daemon = shared()
    one, other = Client(daemon), Client(daemon, "127.0.0.3")
    urls = one.fill()
    assert one.full().startswith("127.0.0.2 has 64 uploads open")
    assert "cancel" in one.full() and other.begin()[0] == 202
    assert one.request("DELETE", urls[0].split("?")[0])[0] == 204  # a place is free again
    assert one.begin()[0] == 202 and one.full()
    r = Registry(daemon.url, "docker-local/a1")
    assert r.finish(daemon.url + urls[1], digest(b"x"), b"x").status_code == 201  # from another address
    assert one.begin()[0] == 202 and one.full()
    assert r.finish(daemon.url + urls[2], digest(b"y"), b"x").status_code == 400  # and it goes, too
    assert one.begin()[0] == 202 and one.full()


def test_uploads_in_one_request_hold_nothing(shared):
    daemon = shared()
    one = Client(daemon)
    one.fill(SHARE - 1)
    r = Registry(daemon.url, "docker-local/b")
    for i in range(SHARE + 5):
        data = b"%d" % i
        assert r.post(f"blobs/uploads/?digest={digest(data)}", data=data).status_code == 201
        assert r.post(f"blobs/uploads/?digest={digest(b'')}", data=data).status_code == 400
    assert Client(daemon, "127.0.0.1").begin()[0] == 202
    assert one.begin()[0] == 202 and one.full()


def test_all_together_have_a_bound(shared):
    daemon = shared("max_uploads = 80\n")
    one, other = Client(daemon), Client(daemon, "127.0.0.3")
    one.fill(SHARE)
    other.fill(16)
    assert other.full() == "too many open uploads"
    assert one.full().startswith("127.0.0.2 has")


def test_a_user_has_a_share(shared):
    """Wherever from; and others at the same address have theirs."""
    daemon = shared(ROOMY + "auth {{ htpasswd = \"{dir}/users\" anonymous_may = {{pull, push}} force_basic_auth = no }}\n",
                    run=False)
    write_users(daemon.dir / "users", {"one": "1", "other": "2"})
    daemon.start()
    one, there = (Client(daemon, f"127.0.0.{i}", basic("one", "1")) for i in (2, 3))
    other, anonymous = Client(daemon, headers=basic("other", "2")), Client(daemon)
    one.fill(SHARE // 2)
    there.fill(SHARE // 2)
    assert one.full().startswith("user one has 64") and there.full()
    assert other.begin()[0] == 202
    assert anonymous.begin()[0] == 202


def test_who_began_them_outlives_everybody(shared):
    daemon = shared()
    one, other = Client(daemon), Client(daemon, "127.0.0.3")
    one.fill()
    for role in ("worker", "catalog"):
        old = daemon.kill_role(role)
        daemon.respawned(role, old)
        assert one.full() and other.begin()[0] == 202
    daemon.kill_all()
    daemon.fail.disarm("catalog_survey")
    daemon.start()
    wait_for(lambda: counted(daemon) == SHARE + 2, "the files are counted")
    begun = 0
    while not one.full():  # a moment passes until the workers know
        begun += 1
        assert begun < SHARE // 2
    assert one.full().startswith("127.0.0.2 has 64") and other.begin()[0] == 202


def test_a_worker_that_dies_between_file_and_count(shared):
    """The files tell in the end."""
    daemon = shared(workers=1)
    one = Client(daemon)
    urls = one.fill()
    daemon.fail.arm("store_place_done", "kill")
    data = os.urandom(1000)
    with pytest.raises(requests.RequestException):
        requests.put(daemon.url + urls[0] + f"&digest={digest(data)}", data=data, timeout=30)
    wait_for(one.full, "a worker is back")  # nobody has counted it off
    daemon.fail.disarm("catalog_survey")
    old = daemon.kill_role("catalog")  # its successor counts at once
    daemon.respawned("catalog", old)
    wait_for(lambda: one.begin()[0] == 202, "there is a place again")
    assert one.full()


def test_expired_ones_are_nobodys(shared):
    daemon = shared(ROOMY + "upload_expiry = 1s\n")
    one = Client(daemon)
    one.fill()
    assert one.full()
    daemon.fail.disarm("catalog_survey")
    wait_for(lambda: one.begin()[0] == 202, "they are gone", 40)
