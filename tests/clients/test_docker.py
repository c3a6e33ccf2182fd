"""The Docker engine pushes, pulls and runs."""
import threading

import pytest

from harness.registry import Registry


@pytest.fixture
def hello_image(engine, workshop, hello):
    """docker build from scratch: two layers."""
    context = workshop / "context"
    context.mkdir(exist_ok=True)
    (context / "hello").write_bytes(hello)
    (context / "hello").chmod(0o755)
    (context / "greeting").write_text("built here: ")
    (context / "Dockerfile").write_text('FROM scratch\nCOPY hello /hello\nCOPY greeting /greeting\nCMD ["/hello"]\n')
    engine.docker("build", "--network", "none", "-t", "hello:1", context)
    return "hello:1"


def test_push_pull_run(engine, entrepot, hello_image):
    name = f"{entrepot.registry}/team/hello:1"
    engine.docker("tag", hello_image, name)
    out = engine.docker("push", name).stdout
    assert "digest: sha256:" in out
    pushed = engine.repo_digest(name)
    again = engine.docker("push", name).stdout
    assert again.count("Layer already exists") == 2 and pushed in again
    engine.forget(name, hello_image)
    pulled = engine.docker("pull", name).stdout
    assert f"Digest: {pushed}" in pulled and engine.repo_digest(name) == pushed
    assert engine.run(name) == "built here: hello from a container\n"
    engine.forget(name)
    engine.docker("pull", f"{entrepot.registry}/team/hello@{pushed}")
    assert Registry(entrepot.url, "team/hello").get("manifests/1").headers["Docker-Content-Digest"] == pushed


def test_layers_are_mounted_into_another_image(engine, entrepot, hello_image):
    first, second = f"{entrepot.registry}/a/source:1", f"{entrepot.registry}/b/target:1"
    for name in (first, second):
        engine.docker("tag", hello_image, name)
    engine.docker("push", first)
    assert "Mounted from a/source" in engine.docker("push", second).stdout


def test_debian(engine, entrepot, debian):
    """A real root file system of over 100 MB."""
    name = f"{entrepot.registry}/base/debian:12"
    engine.docker("tag", debian, name)
    engine.docker("push", name, timeout=300)
    digest = engine.repo_digest(name)
    engine.forget(name, debian)
    engine.docker("pull", name, timeout=300)
    assert engine.repo_digest(name) == digest
    assert engine.run(name, "cat", "/etc/debian_version").startswith("12.")
    assert engine.run(name, "perl", "-e", "print 6*7") == "42"
    engine.docker("tag", name, debian)


def test_all_tags(engine, entrepot, hello_image):
    for tag in range(5):
        engine.docker("tag", hello_image, f"{entrepot.registry}/many/tags:{tag}")
    engine.docker("push", "--all-tags", f"{entrepot.registry}/many/tags")
    engine.forget(hello_image, *(f"{entrepot.registry}/many/tags:{tag}" for tag in range(5)))
    engine.docker("pull", "-a", f"{entrepot.registry}/many/tags")
    listed = engine.docker("images", "--format", "{{.Tag}}", f"{entrepot.registry}/many/tags").stdout.split()
    assert sorted(listed) == ["0", "1", "2", "3", "4"]


def test_manifest_list(engine, entrepot, hello_image):
    name = f"{entrepot.registry}/multi/hello"
    engine.docker("tag", hello_image, f"{name}:amd64")
    engine.docker("push", f"{name}:amd64")
    engine.docker("manifest", "create", "--insecure", f"{name}:all", f"{name}:amd64")
    engine.docker("manifest", "annotate", f"{name}:all", f"{name}:amd64", "--os", "linux", "--arch", "amd64")
    engine.docker("manifest", "push", "--insecure", f"{name}:all")
    r = Registry(entrepot.url, "multi/hello").get("manifests/all")
    assert r.headers["Content-Type"] == "application/vnd.docker.distribution.manifest.list.v2+json"
    engine.forget(f"{name}:amd64", hello_image)
    engine.docker("pull", f"{name}:all")
    assert "hello from a container" in engine.run(f"{name}:all")


def test_two_pulls_at_once(engine, second_engine, entrepot, hello_image):
    name = f"{entrepot.registry}/twice/hello:1"
    engine.docker("tag", hello_image, name)
    engine.docker("push", name)
    engine.forget(name, hello_image)
    results = []

    def pull(e):
        results.append(e.docker("pull", name, check=False).returncode)

    threads = [threading.Thread(target=pull, args=(e,)) for e in (engine, second_engine)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert results == [0, 0]
    assert engine.run(name) == second_engine.run(name) == "built here: hello from a container\n"


def test_errors_are_told_in_words(engine, entrepot, hello_image, start):
    out = engine.docker("pull", f"{entrepot.registry}/no/such:1", check=False).stdout
    assert "manifest unknown" in out or "not found" in out
    frozen = start(hosted='redeploy = "deny"')
    name = f"{frozen.registry}/app:1"
    engine.docker("tag", hello_image, name)
    engine.docker("push", name)
    container = engine.docker("create", hello_image).stdout.strip()
    engine.docker("commit", "-m", "changed", container, name)
    out = engine.docker("push", name, check=False)
    assert out.returncode != 0 and "does not allow it to be pushed again" in out.stdout
