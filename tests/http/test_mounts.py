"""Mounts between repositories: what policy says of the source and of the target."""
import os

import pytest

from harness.registry import Registry, digest

TWO = """
hosted source {{ online = %s }}
hosted target {{ max_blob = 100K }}
connector "127.0.0.1:{port}" {{ }}
"""


@pytest.fixture
def two(start):
    """mount(data, query) into target; put offline(): the source is."""
    daemon = start(text=TWO % "true")
    daemon.offline = lambda: (daemon.conf.write_text(daemon.conf.read_text().replace("online = true", "online = false")),
                              daemon.reload())
    return daemon


def at(daemon, name):
    return Registry(daemon.url, name)


@pytest.mark.parametrize("query", ["", "&from=source/image"], ids=["anonymous", "named"])
def test_an_offline_repository_is_no_source(two, query):
    d = at(two, "source/image").push_blob(b"of the source")
    assert at(two, "target/before").post(f"blobs/uploads/?mount={d}{query}").status_code == 201
    assert at(two, "target/before").delete(f"blobs/{d}").status_code == 202  # nobody else has it now
    two.offline()
    r = at(two, "target/image").post(f"blobs/uploads/?mount={d}{query}")
    assert r.status_code in (202, 404)  # upload it yourself, or: no such source
    assert at(two, "target/image").head(f"blobs/{d}").status_code == 404


@pytest.mark.parametrize("query", ["", "&from=source/image"], ids=["anonymous", "named"])
def test_what_is_too_large_is_not_mounted(two, query):
    large, small = os.urandom(200 << 10), os.urandom(50 << 10)
    for data, status in ((large, 202), (small, 201)):
        d = at(two, "source/image").push_blob(data)
        assert at(two, "target/image").post(f"blobs/uploads/?mount={d}{query}").status_code == status
    assert at(two, "target/image").head(f"blobs/{digest(large)}").status_code == 404


def test_larger_than_the_whole_quota(start):
    daemon = start(top='blobstore main {{ path = "{dir}/store"\n quota = 100K }}\n')
    registry = Registry(daemon.url)
    data = os.urandom(200 << 10)
    for body in (data, iter([data[:1000], data[1000:]])):
        assert registry.finish(registry.begin(), digest(data), body).status_code in (403, 413)
    assert registry.head(f"blobs/{digest(data)}").status_code == 404
