"""A table of the database on a bad sector, or cut: LevelDB has it mapped, so that whoever reads it is ended by a signal."""
import os
import pathlib
import subprocess

import pytest

from harness.daemon import ENTREPOTCTL, ENTREPOTD, wait_for
from harness.registry import Registry, digest

HERE = pathlib.Path(__file__).parent
pytestmark = pytest.mark.skipif(any(x in str(ENTREPOTD) for x in ("asan", "valgrind")),
                                reason="slow: a preloaded library, and a mmap and signals of their own, do not go together")


@pytest.fixture
def sectors(tmp_path, monkeypatch):
    """A file that names the bad tables."""
    library, names = tmp_path / "bad_sector.so", tmp_path / "bad"
    subprocess.run(["cc", "-O1", "-shared", "-fPIC", "-o", str(library), str(HERE / "bad_sector.c"), "-ldl"], check=True)
    monkeypatch.setenv("LD_PRELOAD", str(library))
    monkeypatch.setenv("BAD_SECTORS", str(names))
    return names


def filled(daemon):
    """Images in two tables at least; {tag: manifest}."""
    kept = {}
    for n in range(2):
        registry = Registry(daemon.url)
        for m in range(60):
            kept[f"t{n}-{m:02}"] = registry.push_image(f"t{n}-{m:02}", layers=(os.urandom(100),))
        for _ in range(2):  # a start writes the log's content into a table
            wait_for(daemon.journals_kept, "the journal is kept")
            daemon.stop()
            daemon.start()
    return kept


def tables(daemon):
    return sorted((daemon.data_dir / "catalog").glob("*.ldb"))


def answers(daemon, kept):
    """Statuses of all that is there; nothing is another than it was."""
    registry, statuses = Registry(daemon.url), set()
    for tag, body in kept.items():
        r = registry.get("manifests/" + tag)
        assert r.status_code != 200 or r.content == body
        statuses.add(r.status_code)
    return statuses


def told(daemon, table):
    wait_for(lambda: "a table of the database cannot be read" in daemon.log_text(), "it is told")
    line = next(x for x in daemon.log_text().splitlines() if "a table of the database cannot be read" in x)
    assert f"file={table.name}" in line and "entrepotctl rebuild" in line


def test_a_start_over_a_bad_sector(start, sectors):
    daemon = start()
    kept = filled(daemon)
    daemon.stop()
    bad = max(tables(daemon), key=lambda p: p.stat().st_size)
    assert bad.stat().st_size > 8192
    sectors.write_text(bad.name)
    daemon.allow_error("cannot be read", "cannot read the database", "a process keeps dying")
    daemon.start()
    told(daemon, bad)
    wait_for(lambda: "pulls of what can be read of it are served" in daemon.log_text(), "what is left is served")
    pid = daemon.pids("catalog")
    assert 200 in answers(daemon, kept) <= {200, 503}
    assert "entrepotctl rebuild" in Registry(daemon.url).post("blobs/uploads/?digest=" + digest(b"y"), data=b"y").text
    assert daemon.pids("catalog") == pid
    daemon.stop()
    done = subprocess.run([ENTREPOTCTL, "-c", str(daemon.conf), "fsck"], capture_output=True, text=True)
    assert done.returncode == 8 and bad.name in done.stderr and "entrepotctl rebuild" in done.stderr, done
    subprocess.run([ENTREPOTCTL, "-c", str(daemon.conf), "rebuild", "--yes"], check=True)
    daemon.start()
    assert answers(daemon, kept) == {200}


def test_a_table_goes_under_a_daemon(start):
    """Whoever cut it: the catalog dies once, and all that it knew is served."""
    daemon = start()
    kept = filled(daemon)
    pid = daemon.pids("catalog")[0]
    daemon.allow_error("cannot read the database", "cannot open the database", "cannot be read")
    for table in tables(daemon):
        os.truncate(table, 0)
    registry = Registry(daemon.url)
    registry.get("tags/list")
    wait_for(lambda: daemon.pids("catalog") not in ([], [pid]), "the catalog is another")
    wait_for(lambda: "what an earlier process read of it" in daemon.log_text(), "it is told")
    pid = daemon.pids("catalog")
    assert answers(daemon, kept) == {200}
    assert registry.get("manifests/never").status_code == 404
    r = registry.put_manifest(kept["t0-00"], "more")
    assert r.status_code == 503 and "entrepotctl rebuild" in r.text
    assert daemon.pids("catalog") == pid
    daemon.stop()
    subprocess.run([ENTREPOTCTL, "-c", str(daemon.conf), "rebuild", "--yes"], check=True)
    daemon.start()
    assert answers(daemon, kept) == {200}
