"""Public and private addresses as remotes see them: in a network namespace of the test's own, where a public
address is ours (namespace/addresses.py)."""
import pathlib

from harness.shared import run_tests_apart
from harness.tools import need


def test_addresses_of_remotes(tmp_path):
    need("ip", "unshare", "openssl")
    inside = pathlib.Path(__file__).parent / "namespace" / "addresses.py"
    run_tests_apart(inside, tmp_path, addresses=("11.22.33.44", "11.22.33.55"))
