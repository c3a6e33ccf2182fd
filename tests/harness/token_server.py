"""The token server of a registry with `auth: token`: RS256 JWTs as CNCF distribution checks them."""
import base64
import http.server
import json
import subprocess
import threading
import time
import urllib.parse

from harness.shared import free_port
from harness.users import basic


def b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class TokenServer:
    """users: {name: password}; anonymous: may pull without a login. Counts what it answered."""

    def __init__(self, directory, host="127.0.0.1", users=None, anonymous=True, life=300):
        self.dir, self.users, self.anonymous, self.life = directory, users or {}, anonymous, life
        self.key, self.cert = directory / "token.key", directory / "token.crt"
        subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=tokens",
                        "-keyout", str(self.key), "-out", str(self.cert)], check=True, stderr=subprocess.DEVNULL)
        der = subprocess.run(["openssl", "x509", "-in", str(self.cert), "-outform", "DER"], check=True,
                             stdout=subprocess.PIPE).stdout
        self.chain = base64.b64encode(der).decode()
        self.issued = self.refused = 0
        self.server = http.server.ThreadingHTTPServer((host, free_port(host=host)), self.handler())
        self.url = f"http://{host}:{self.server.server_port}/token"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def auth_conf(self):
        """For the registry's configuration."""
        return (f"auth: {{token: {{realm: \"{self.url}\", service: origin, issuer: tokens, "
                f"rootcertbundle: {self.cert}}}}}")

    def sign(self, claims):
        head = b64(json.dumps({"typ": "JWT", "alg": "RS256", "x5c": [self.chain]}).encode())
        text = f"{head}.{b64(json.dumps(claims).encode())}"
        made = subprocess.run(["openssl", "dgst", "-sha256", "-sign", str(self.key)], input=text.encode(),
                              stdout=subprocess.PIPE, check=True).stdout
        return f"{text}.{b64(made)}"

    def token(self, query, user):
        access = []
        for scope in query.get("scope", []):
            for one in scope.split():
                kind, name, actions = one.split(":")
                allowed = [a for a in actions.split(",") if user or (self.anonymous and a == "pull")]
                access.append({"type": kind, "name": name, "actions": allowed})
        now = int(time.time())
        return self.sign({"iss": "tokens", "sub": user, "aud": query["service"][0], "exp": now + self.life,
                          "nbf": now - 10, "iat": now, "jti": str(now), "access": access})

    def handler(self):
        tokens = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                login, user = self.headers.get("Authorization"), ""
                for name, password in tokens.users.items():
                    if login == basic(name, password)["Authorization"]:
                        user = name
                status, body = 200, b""
                if login and not user:
                    tokens.refused += 1
                    status = 401
                else:
                    tokens.issued += 1
                    token = tokens.token(urllib.parse.parse_qs(urllib.parse.urlsplit(self.path).query), user)
                    body = json.dumps({"token": token, "expires_in": tokens.life}).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args):
                pass

        return Handler

    def login(self, scope, user=""):
        """A header for talking to the registry directly."""
        return {"Authorization": "Bearer " + self.token({"service": ["origin"], "scope": [scope]}, user)}

    def close(self):
        self.server.shutdown()
        self.server.server_close()
