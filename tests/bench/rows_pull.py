"""Pulls: manifests and blobs of three sizes, plain and over TLS 1.3 with keep-alive."""
from rows import Row, at_least
from tools import wrk


def wanted(name, tls):
    if not name.startswith("blob of") or name.endswith("4 KiB"):
        return [at_least(0.8, "nginx"), at_least(20, "docker-registry")]
    return [at_least(0.95 if tls else 1.0, "nginx")]


def rows(bench):
    for tls in (False, True):
        for name, path in bench.pulls:
            large = name.endswith("MiB")

            def measure(server, path=path, tls=tls, large=large):
                url = f"https://127.0.0.1:{server.tls_port}" if tls else f"http://127.0.0.1:{server.port}"
                return lambda: wrk(url + path, bench.seconds, 8 if large else 32)[large]
            yield Row(name + (" over TLS 1.3" if tls else ""), "MiB/s" if large else "requests/s",
                      {s.name: measure(s) for s in (bench.ours, bench.nginx, bench.registry)}, wanted(name, tls))
