"""Fixtures shared by all tests; what they are made of is in harness/."""
import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))

from harness.daemon import Daemon  # noqa: E402
from harness.fail import FailPoints  # noqa: E402
from harness.registry import Registry  # noqa: E402


def pytest_addoption(parser):
    parser.addoption("--all", action="store_true", help="also what is marked slow")


def pytest_collection_modifyitems(config, items):
    if config.getoption("--all"):
        return
    for item in items:
        if item.get_closest_marker("slow"):
            item.add_marker(pytest.mark.skip(reason="slow: runs with --all"))


@pytest.fixture(scope="module")
def entrepot():
    """A daemon with the default configuration, shared by a file's tests."""
    daemon = Daemon().start()
    yield daemon
    daemon.close()


@pytest.fixture
def start():
    """Starts daemons of a test's own: start(top=..., hosted=..., text=...)."""
    daemons = []

    def make(run=True, **kw):
        daemon = Daemon(**kw)
        daemons.append(daemon)
        return daemon.start() if run else daemon

    yield make
    for daemon in daemons:
        daemon.close()


@pytest.fixture
def fail(tmp_path, monkeypatch):
    """Fail points of the daemons that are started from now on: name it before what starts them."""
    monkeypatch.setenv("ENTREPOT_FAIL_DIR", str(tmp_path / "fail"))
    return FailPoints(tmp_path / "fail")


@pytest.fixture
def registry(entrepot, request):
    """A client whose image no other test uses."""
    name = "t/" + "".join(c if c.isalnum() else "-" for c in request.node.name.lower()).strip("-")
    while "--" in name:
        name = name.replace("--", "-")
    return Registry(entrepot.url, name[:200].rstrip("-"))
