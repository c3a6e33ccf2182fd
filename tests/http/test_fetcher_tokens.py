"""What a token server says, and who gets the password."""
import json

import pytest

from harness.proxy import proxy, upstream  # noqa: F401
from harness.upstream import Upstream


@pytest.fixture
def login(tmp_path, upstream):
    """Keys of a proxy that has a password; the upstream wants tokens."""
    secret = tmp_path / "password"
    secret.write_text(upstream.password)
    upstream.auth = "token"
    upstream.image("team/app")
    return f'username = "robot"\n password_file = "{secret}"'


def issued(upstream):
    upstream.tokens["good"] = float("inf")
    return "good"


@pytest.mark.parametrize("what", ["strange", "control", "number", "long"])
def test_a_token_that_is_none(proxy, upstream, login, what):
    """It becomes a header's value; what could end that, or is no text at all, is refused and not sent."""
    token = {"strange": "good\r\nX-Injected: yes", "control": "good\x7f", "number": 7, "long": "x" * 65537}[what]
    upstream.rule("GET", "^/token", status=200, body=json.dumps({"token": token}).encode())
    answer = proxy(upstream, more=login).get("manifests/latest")
    # Sent to the upstream it would be refused there: the client would be told that.
    assert answer.status_code == 502 and "holds no token" in answer.text
    assert upstream.asked("GET", "^/token") and not [h for _, _, h in upstream.log if "X-Injected" in h]
    assert not [h for _, path, h in upstream.log if path.startswith("/v2/") and "Authorization" in h]


@pytest.mark.parametrize("padding, code", [(1000, 200), (1 << 20, 503)])
def test_an_answer_without_end(proxy, upstream, login, padding, code):
    body = json.dumps({"access_token": issued(upstream), "expires_in": "soon", "more": "x" * padding}).encode()
    upstream.rule("GET", "^/token", status=200, body=body)
    assert proxy(upstream, more=login).get("manifests/latest").status_code == code


def test_the_password_is_for_hosts_of_the_remote(proxy, upstream, login):
    """A realm elsewhere is asked without it."""
    other = Upstream(host="127.0.0.2")
    other.rule("GET", "^/token", status=200, body=json.dumps({"token": issued(upstream)}).encode())
    upstream.rule("*", "^/v2/", times=1, status=401, headers={"WWW-Authenticate": f'Bearer realm="{other.url}/token",service="s"'})
    try:
        client = proxy(upstream, more=login)
        assert client.get("manifests/latest").status_code == 200
        asked = other.asked("GET", "^/token")
        assert asked and not [h for h in asked if "Authorization" in h]
    finally:
        other.close()
