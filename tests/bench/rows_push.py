"""Pushes: 512 MiB as one blob and as four at once, small blobs with manifests; ours durable, docker-registry's not.

The reference of a large push is what `hash + copy` does with the same bytes in one thread: SHA-256 of the file,
then a copy that is synced as ours is.
"""
from rows import REFERENCE, Row, at_least
from tools import load

BYTES = 512 << 20
CLIENTS = 16


def rows(bench):
    source = bench.directory / "source"

    def hash_copy():
        if not source.exists():
            source.write_bytes(bench.random(1 << 20) * (BYTES >> 20))
        return load("hashcopy", source, BYTES)["mib_s"]

    for clients in (1, 4):
        def push(server, clients=clients):
            return lambda: load("push", server.port, clients, BYTES // clients)["mib_s"]
        measures = {s.name: push(s) for s in (bench.ours, bench.registry)}
        yield Row(f"push of 512 MiB as {clients} blob{'s' if clients > 1 else ''} (reference: hash + copy)", "MiB/s",
                  {**measures, REFERENCE: hash_copy},
                  [at_least(3, "docker-registry"), at_least(0.8, REFERENCE)])

    def small(server):
        return lambda: load("small", server.port, CLIENTS, bench.seconds)["pairs_s"]
    yield Row(f"blob of 4 KiB and manifest, {CLIENTS} clients", "pushes/s",
              {s.name: small(s) for s in (bench.ours, bench.registry)}, [at_least(5, "docker-registry")])
