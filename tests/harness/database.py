"""The database of a stopped daemon, read beside Entrepot: its records as bytes, and the kinds that src/meta/key.h has."""
import functools
import pathlib
import re
import subprocess
import tempfile

TOP = pathlib.Path(__file__).resolve().parents[2]


def kinds():
    """Letters of the records that a database has for good: rebuild's own are small."""
    letters = re.findall(r"^    META_\w+ = '(.)',", (TOP / "src/meta/key.h").read_text(), re.M)
    return {letter for letter in letters if letter.isupper()}


@functools.cache
def program():
    directory = tempfile.TemporaryDirectory(prefix="entrepot-dump-")  # until the tests end
    path = pathlib.Path(directory.name) / "dump_database"
    subprocess.run(["cc", "-O1", "-o", str(path), str(TOP / "tests/fault/dump_database.c"), "-lleveldb"], check=True)
    return directory, path


def records(daemon):
    """All records: {key: value}."""
    done = subprocess.run([program()[1], daemon.data_dir / "catalog"], check=True, capture_output=True, text=True)
    pairs = (line.split(" ") for line in done.stdout.splitlines())
    return {bytes.fromhex(key): bytes.fromhex(value) for key, value in pairs}
