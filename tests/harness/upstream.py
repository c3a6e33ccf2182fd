"""A registry that does exactly what a test tells it, good or bad, and counts what it is asked."""
import base64
import hashlib
import http.server
import json
import re
import socket
import ssl
import subprocess
import struct
import threading
import time

from harness.registry import OCI_CONFIG, OCI_IMAGE, OCI_LAYER, digest
from harness.shared import free_port


class Rule:
    """What becomes of requests whose method and path match; `times` of them, then it is over.

    `status`, `headers`, `body` answer instead of the content. `cut`: bytes of the body, then the
    connection is reset. `stall`: bytes of the body, then silence until `go` is set. `wrong`: the
    body's last byte is another. `length`: what Content-Length says. `no_range`: Range is not
    heard. `hold`: silence before the head until `go` is set. `raw`: a function of the handler
    that answers itself."""

    def __init__(self, method, path, times=None, **kw):
        self.method, self.path, self.times = method, re.compile(path), times
        self.kw = kw
        self.go = threading.Event()
        self.reached = threading.Event()
        self.used = 0

    def __getattr__(self, name):
        return self.__dict__["kw"].get(name)


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def do_HEAD(self):
        self.answer()

    def do_GET(self):
        self.answer()

    def answer(self):
        up = self.server.upstream
        rule = up.take(self)
        if rule and rule.hold:
            rule.reached.set()
            rule.go.wait(60)
        if rule and rule.raw:
            rule.raw(self)
            return
        status, headers, body = self.content(rule)
        self.send(rule, status, headers, body)

    def content(self, rule):
        up = self.server.upstream
        path = self.path.split("?")[0]
        if rule and rule.status:
            return rule.status, dict(rule.headers or {}), rule.body or b""
        if path == "/token":
            return up.token(self)
        denied = up.denied(self)
        if denied:
            return denied
        return up.find(self)

    def send(self, rule, status, headers, body):
        rule = rule or Rule("", "")
        if rule.headers:
            headers.update(rule.headers)
        if rule.no_etag:
            headers.pop("ETag", None)
        wanted = self.headers.get("Range")
        stale = self.headers.get("If-Range") not in (None, headers.get("ETag"))
        if status == 200 and wanted and not rule.no_range and not stale and headers.pop("X-Ranges", 1):
            m = re.fullmatch(r"bytes=(\d+)-(\d*)", wanted)
            first, last = int(m.group(1)), min(int(m.group(2) or len(body) - 1), len(body) - 1)
            if first >= len(body):
                status, body = 416, b""
            else:
                headers["Content-Range"] = f"bytes {first}-{last}/{len(body)}"
                status, body = 206, body[first:last + 1]
        headers.pop("X-Ranges", None)
        if rule.wrong and body:
            body = body[:-1] + bytes([body[-1] ^ 1])
        self.send_response_only(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if status != 304 and not rule.chunked:
            self.send_header("Content-Length", str(rule.length if rule.length is not None else len(body)))
        if rule.chunked:
            self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        if self.command == "HEAD" or status == 304:
            return
        self.send_body(rule, body)

    def send_body(self, rule, body):
        if rule.chunked:
            body = b"%x\r\n" % len(body) + body + b"\r\n0\r\n\r\n"
        end = rule.cut if rule.cut is not None else rule.stall
        try:
            self.wfile.write(body if end is None else body[:end])
            self.wfile.flush()
        except OSError:
            self.close_connection = True
            return
        self.server.upstream.sent += len(body) if end is None else min(end, len(body))
        if rule.stall is not None:
            rule.reached.set()
            rule.go.wait(60)
            if not rule.cut_after:
                try:
                    self.wfile.write(body[end:])
                    self.server.upstream.sent += len(body) - end
                    return
                except OSError:
                    pass
        if end is not None:
            self.close_connection = True
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            try:
                self.connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256

    def process_request(self, request, client_address):
        self.upstream.connections.append(request)
        super().process_request(request, client_address)

    def handle_error(self, request, client_address):
        pass


class Upstream:
    """Content: images with tags; behaviour: rules, the newest that matches first."""

    def __init__(self, tls=None, auth=None, host="127.0.0.1"):
        self.host = host
        self.blobs, self.manifests, self.tags = {}, {}, {}
        self.rules, self.log = [], []
        self.auth = auth  # None, "basic" or "token"; user and password below
        self.user, self.password = "robot", "s3cret-pass"
        self.tokens, self.token_life, self.token_requests = {}, 300, 0
        self.referrers_api = True
        self.sent = 0
        self.lock = threading.Lock()
        self.tls = tls
        self.server = None
        self.connections = []
        self.listen(free_port(host=host))

    def listen(self, port):
        self.server = Server((self.host, port), Handler)
        self.server.upstream = self
        if self.tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*self.tls)
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def url(self):
        return f"{'https' if self.tls else 'http'}://{self.host}:{self.port}"

    def close(self):
        for rule in self.rules:
            rule.go.set()
        if self.server:
            self.server.shutdown()
            self.server.server_close()
            for connection in self.connections:
                try:
                    connection.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass  # closed already
        self.server = None

    def rule(self, method, path, times=None, **kw):
        rule = Rule(method, path, times, **kw)
        with self.lock:
            self.rules.insert(0, rule)
        return rule

    def take(self, handler):
        with self.lock:
            self.log.append((handler.command, handler.path, dict(handler.headers)))
            for rule in self.rules:
                if rule.method in ("*", handler.command) and rule.path.search(handler.path) \
                        and (rule.times is None or rule.used < rule.times):
                    rule.used += 1
                    return rule
        return None

    def asked(self, method, path):
        """The headers of requests that match."""
        with self.lock:
            return [h for m, p, h in self.log if m == method and re.search(path, p)]

    def forget(self):
        with self.lock:
            self.rules.clear()
            self.log.clear()
            self.sent = 0

    # content

    def blob(self, image, data, alg="sha256"):
        d = digest(data, alg)
        self.blobs[image, d] = data
        return d

    def manifest(self, image, data, tag=None, media_type=OCI_IMAGE):
        d = digest(data)
        self.manifests[image, d] = (data, media_type)
        if tag:
            self.tags[image, tag] = d
        return d

    def image(self, image, tag="latest", layers=(b"layer",), config=b"{}", **more):
        def descriptor(data, media_type):
            return {"mediaType": media_type, "digest": self.blob(image, data), "size": len(data)}
        body = {"schemaVersion": 2, "mediaType": OCI_IMAGE, "config": descriptor(config, OCI_CONFIG),
                "layers": [descriptor(x, OCI_LAYER) for x in layers], **more}
        data = json.dumps(body).encode()
        self.manifest(image, data, tag)
        return data

    def find(self, handler):
        path, _, query = handler.path.partition("?")
        if path == "/v2/_catalog":
            names = sorted({i for i, _ in [*self.manifests, *self.tags]})
            return 200, {"Content-Type": "application/json"}, json.dumps({"repositories": names}).encode()
        m = re.fullmatch(r"/v2/(.+)/(blobs|manifests|tags|referrers)/([^/]+)", path)
        if not m:
            return 404, {}, b"{}"
        image, kind, ref = m.groups()
        if kind == "blobs" and (image, ref) in self.blobs:
            return 200, {"Content-Type": "application/octet-stream", "ETag": f'"{ref}"',
                         "Docker-Content-Digest": ref}, self.blobs[image, ref]
        if kind == "manifests":
            d = self.tags.get((image, ref), ref)
            if (image, d) in self.manifests:
                data, media_type = self.manifests[image, d]
                etag = f'"{d}"'
                headers = {"Content-Type": media_type, "Docker-Content-Digest": d, "ETag": etag, "X-Ranges": ""}
                if handler.headers.get("If-None-Match") == etag:
                    return 304, headers, b""
                return 200, headers, data
        if kind == "tags":
            tags = sorted(t for i, t in self.tags if i == image)
            return self.tag_page(image, tags, query) if tags else (404, {}, b"{}")
        if kind == "referrers" and self.referrers_api:
            found = []
            for (i, d), (data, media_type) in self.manifests.items():
                body = json.loads(data)
                if i == image and body.get("subject", {}).get("digest") == ref:
                    found.append({"mediaType": media_type, "digest": d, "size": len(data),
                                  "artifactType": body.get("artifactType", body["config"]["mediaType"])})
            return 200, {"Content-Type": "application/vnd.oci.image.index.v1+json"}, json.dumps(
                {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json",
                 "manifests": found}).encode()
        return 404, {}, b'{"errors":[{"code":"NAME_UNKNOWN","message":"no"}]}'

    def tag_page(self, image, tags, query):
        fields = dict(x.split("=", 1) for x in query.split("&") if "=" in x)
        last = fields.get("last", "")
        rest = [t for t in tags if t > last]
        page = rest[:3]
        headers = {"Content-Type": "application/json"}
        if len(rest) > len(page):
            headers["Link"] = f'</v2/{image}/tags/list?n=3&last={page[-1]}>; rel="next"'
        return 200, headers, json.dumps({"name": image, "tags": page}).encode()

    # credentials

    def basic_ok(self, handler):
        want = base64.b64encode(f"{self.user}:{self.password}".encode()).decode()
        return handler.headers.get("Authorization") == f"Basic {want}"

    def denied(self, handler):
        given = handler.headers.get("Authorization", "")
        if self.auth == "basic" and not self.basic_ok(handler):
            return 401, {"WWW-Authenticate": 'Basic realm="upstream"'}, b"{}"
        if self.auth == "token":
            token = given.removeprefix("Bearer ")
            if not given.startswith("Bearer ") or self.tokens.get(token, 0) < time.monotonic():
                m = re.match(r"/v2/(.+)/(?:blobs|manifests|tags|referrers)/", handler.path)
                scope = f',scope="repository:{m.group(1)}:pull"' if m else ""
                return 401, {"WWW-Authenticate": f'Bearer realm="{self.url}/token",service="up"{scope}'}, b"{}"
        return None

    def token(self, handler):
        self.token_requests += 1
        if not self.basic_ok(handler):
            return 401, {}, b"{}"
        token = hashlib.sha256(str(self.token_requests).encode()).hexdigest()
        self.tokens[token] = time.monotonic() + self.token_life
        body = {"token": token, "expires_in": self.token_life}
        return 200, {"Content-Type": "application/json"}, json.dumps(body).encode()


def tls_pair(tmp_path, name="up"):
    done = subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                           "-keyout", tmp_path / "key", "-out", tmp_path / "crt", "-days", "2", "-subj", f"/CN={name}",
                           "-addext", "subjectAltName=IP:127.0.0.1"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return str(tmp_path / "crt"), str(tmp_path / "key")
