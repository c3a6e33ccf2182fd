"""Real clients while processes die."""
import os
import signal
import threading

from harness.daemon import wait_for


def test_image_survives_the_death_of_every_process(engine, debian, start):
    daemon = start()
    name = f"{daemon.registry}/base/debian:12"
    engine.docker("tag", debian, name)
    engine.docker("push", name, timeout=300)
    digest = engine.repo_digest(name)
    daemon.kill_all()
    daemon.start()
    engine.docker("rmi", "-f", name, debian)
    engine.docker("pull", name, timeout=300)
    assert engine.repo_digest(name) == digest
    assert engine.run(name, "cat", "/etc/debian_version").startswith("12.")
    engine.docker("tag", name, debian)


def uploading(daemon):
    uploads = daemon.data_dir / "blobs" / "uploads"
    return sum(f.stat().st_size for f in uploads.iterdir()) > 5 << 20


def test_push_while_processes_are_killed(engine, debian, start):
    """A worker dies with a layer half uploaded, then the catalog: the engine's own retries are enough."""
    daemon = start()
    name = f"{daemon.registry}/killed/debian:12"
    engine.docker("tag", debian, name)
    result = []
    push = threading.Thread(target=lambda: result.append(engine.docker("push", name, check=False, timeout=300)))
    push.start()
    try:
        wait_for(lambda: uploading(daemon), "a layer is half uploaded", 60)
        rows = daemon.roles("worker")
        os.kill(max(rows, key=lambda r: r["bytes_in"])["pid"], signal.SIGKILL)
        daemon.kill_role("catalog")
    finally:
        push.join()
    assert result[0].returncode == 0, result[0].stdout
    engine.docker("rmi", "-f", name, debian)
    engine.docker("pull", name, timeout=300)
    assert engine.run(name, "cat", "/etc/debian_version").startswith("12.")
    engine.docker("tag", name, debian)


def test_pulls_while_a_worker_is_killed(engine, second_engine, debian, start):
    daemon = start()
    name = f"{daemon.registry}/pulled/debian:12"
    engine.docker("tag", debian, name)
    engine.docker("push", name, timeout=300)
    engine.docker("rmi", "-f", name, debian)
    results = []

    def pull(e):
        results.append(e.docker("pull", name, check=False, timeout=300))

    threads = [threading.Thread(target=pull, args=(e,)) for e in (engine, second_engine)]
    for t in threads:
        t.start()
    sent = wait_for(lambda: sum(r["bytes_out"] for r in daemon.roles("worker")) > 10 << 20 or not any(
        t.is_alive() for t in threads), "the layer is on its way", 60)
    assert sent
    rows = daemon.roles("worker")
    os.kill(max(rows, key=lambda r: r["bytes_out"])["pid"], signal.SIGKILL)
    for t in threads:
        t.join()
    assert [r.returncode for r in results] == [0, 0], results
    for e in (engine, second_engine):
        assert e.run(name, "cat", "/etc/debian_version").startswith("12.")
    engine.docker("tag", name, debian)
