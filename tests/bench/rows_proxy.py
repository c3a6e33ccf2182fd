"""Proxies: cold blobs for one client and for many at once, next to docker-registry in proxy mode.

The upstream is a docker-registry behind an nginx that logs bytes. The reference is one client that pulls the
blob straight from there. Every measurement pulls blobs that nobody has pulled before. docker-registry fetches
once a client: with 256 of them and more it is left out, it would take minutes.
"""
import os
import subprocess

from rows import REFERENCE, Row, at_least, at_most
from servers import Ours, answers
from tools import load, wrk
from harness.daemon import free_port, wait_for

PROXY_CONF = """
proxy hub {{ remotes = {{"http://127.0.0.1:@UPSTREAM@"}} }}
hosted local {{ }}
@EMPTY@
group all {{ members = {{local, @NAMES@ hub}} push_to = local }}
connector "127.0.0.1:{port}" {{ repository = hub }}
connector "127.0.0.1:@TLS@" {{ repository = all }}
"""
NGINX_CONF = """
worker_processes 2; daemon off; pid {dir}/upstream.pid; error_log {dir}/upstream.err; user root;
events {{ worker_connections 4096; }}
http {{ log_format bytes '$request_method $body_bytes_sent'; access_log {dir}/upstream.log bytes;
  client_body_temp_path {dir}/u1; proxy_temp_path {dir}/u2; fastcgi_temp_path {dir}/u3;
  uwsgi_temp_path {dir}/u4; scgi_temp_path {dir}/u5; client_max_body_size 0; proxy_http_version 1.1;
  proxy_request_buffering off; proxy_buffering off;
  server {{ listen 127.0.0.1:{port}; location / {{ proxy_pass http://127.0.0.1:{registry}; proxy_set_header Host $http_host; }} }} }}
"""
MIRROR_CONF = """
version: 0.1
log: {{level: error, accesslog: {{disabled: true}}}}
storage: {{filesystem: {{rootdirectory: {dir}/mirror}}}}
http: {{addr: '127.0.0.1:{port}'}}
proxy: {{remoteurl: 'http://127.0.0.1:{upstream}'}}
"""
BLOB = 64 << 20


class Process:
    def __init__(self, port, *command, **env):
        self.port = port
        self.process = subprocess.Popen(command, env=dict(os.environ, **env), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_for(lambda: answers(port), command[0])

    def close(self):
        self.process.terminate()
        self.process.wait(10)


class Proxies:
    """Made when the first of the rows is measured."""

    def __init__(self, bench):
        self.bench, self.made = bench, False

    def start(self):
        if self.made:
            return self
        self.made = True
        bench, port, mirror = self.bench, free_port(), free_port()
        conf = bench.directory / "upstream.conf"
        conf.write_text(NGINX_CONF.format(dir=bench.directory, port=port, registry=bench.registry.port))
        self.upstream = bench.opened(Process(port, "nginx", "-c", str(conf)))
        conf = bench.directory / "mirror.yml"
        conf.write_text(MIRROR_CONF.format(dir=bench.directory, port=mirror, upstream=port))
        self.mirror = bench.opened(Process(mirror, "docker-registry", "serve", str(conf), GOMAXPROCS="2"))
        text = PROXY_CONF.replace("@UPSTREAM@", str(port))
        text = text.replace("@EMPTY@", "".join(f"hosted empty{i} {{{{ }}}}\n" for i in range(8)))
        text = text.replace("@NAMES@", "".join(f"empty{i}, " for i in range(8)))
        self.ours = bench.opened(Ours(bench.directory, "proxy", text))
        return self

    def blobs(self, count, size=BLOB):
        return [self.bench.push_blob(self.bench.registry.port, self.bench.random(size), "bench/cold") for _ in range(count)]

    def cold(self, who, clients, count=1):
        """Seconds until the last client has all."""
        def measure():
            self.start()
            paths = self.blobs(count, BLOB // count)
            port = {"entrepot": self.ours, "docker-registry": self.mirror, REFERENCE: self.upstream}[who].port
            return load("cold", port, clients, *paths)["last_s"]
        return measure

    def first(self, who):
        def measure():
            self.start()
            port = {"entrepot": self.ours, REFERENCE: self.upstream}[who].port
            return load("cold", port, 1, *self.blobs(1))["first_byte_median_ms"]
        return measure

    def upstream_bytes(self, who, clients):
        """What the upstream sent, in blobs."""
        def measure():
            self.start()
            log = self.bench.directory / "upstream.log"
            paths = self.blobs(1)
            log.write_text("")
            port = {"entrepot": self.ours, "docker-registry": self.mirror}[who].port
            load("cold", port, clients, *paths)
            return sum(int(line.split()[1]) for line in log.read_text().splitlines() if line.startswith("GET")) / BLOB
        return measure

    def memory(self):
        """1,000 clients wait on 50 cold blobs."""
        self.start()
        paths = self.blobs(50, 4 << 20)
        process = subprocess.Popen([str(c) for c in (load.__globals__["LOAD"], "cold", self.ours.port, 1000, *paths)],
                                   stdout=subprocess.DEVNULL)
        most = 0
        while process.poll() is None:
            most = max(most, self.ours.memory_mib())
        return most

    def hot(self, through_group):
        def measure():
            self.start()
            path = self.bench.pulls[2][1]
            port = self.ours.tls_port if through_group else self.ours.port
            wrk(f"http://127.0.0.1:{port}{path}", 1, 2)
            return wrk(f"http://127.0.0.1:{port}{path}", self.bench.seconds)[0]
        return measure


def rows(bench):
    p = Proxies(bench)
    for clients in (1, 16, 256, 1000):
        who = ["entrepot", REFERENCE] + (["docker-registry"] if clients <= 16 else [])
        yield Row(f"cold blob of 64 MiB, {clients} clients (reference: one, directly)", "s",
                  {w: p.cold(w, 1 if w == REFERENCE else clients) for w in who},
                  [at_least(1 / 1.15, REFERENCE)] if clients <= 16 else [], less_is_better=True,
                  rounds=None if clients <= 16 else 1)
    yield Row("8 cold layers at once (reference: directly)", "s", {w: p.cold(w, 8, 8) for w in ("entrepot", REFERENCE, "docker-registry")},
              [at_least(1, REFERENCE)], less_is_better=True)
    yield Row("first byte of a cold blob (reference: directly)", "ms", {w: p.first(w) for w in ("entrepot", REFERENCE)},
              less_is_better=True)
    for clients in (16, 1000):
        who = ["entrepot"] + (["docker-registry"] if clients <= 16 else [])
        yield Row(f"sent by the upstream for {clients} clients", "blobs", {w: p.upstream_bytes(w, clients) for w in who},
                  [at_most(1.001)], less_is_better=True, rounds=1)
    yield Row("memory while 1,000 clients wait on 50 cold blobs", "MiB", {"entrepot": p.memory}, [at_most(64)],
              less_is_better=True, rounds=1)
    hosted = f"http://127.0.0.1:{bench.ours.port}{bench.pulls[2][1]}"
    reference = lambda: wrk(hosted, bench.seconds)[0]  # noqa: E731
    yield Row("hot blob of 4 KiB through a proxy (reference: hosted)", "requests/s", {"entrepot": p.hot(False), REFERENCE: reference},
              [at_least(0.95, REFERENCE)])
    yield Row("cached blob of 4 KiB through a group of ten (reference: hosted)", "requests/s",
              {"entrepot": p.hot(True), REFERENCE: reference}, [at_least(0.95, REFERENCE)])
