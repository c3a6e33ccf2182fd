"""Remotes at public and private addresses, by names, with the system's CAs and with an environment: in network and mount
namespaces of the test's own, where public addresses are ours and /etc can be changed (namespace/*.py)."""
import pathlib

import pytest

from harness.shared import run_tests_apart
from harness.tools import need

HOSTS = {"127.0.0.1": ["within.example", "twofold.example"], "11.22.33.44": ["twofold.example"]}


@pytest.mark.parametrize("what", ["addresses", "environment"])
def test_remotes(what, tmp_path):
    need("ip", "unshare", "openssl")
    inside = pathlib.Path(__file__).parent / "namespace" / f"{what}.py"
    run_tests_apart(inside, tmp_path, addresses=("11.22.33.44", "11.22.33.55"), hosts=HOSTS)
