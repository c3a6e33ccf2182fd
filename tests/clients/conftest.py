"""Clients share one engine a session, one daemon a file, one Debian image."""
import json
import os
import shutil

import pytest

from harness.engine import Engine
from harness.images import Layout, debian_rootfs, hello_program, tar_layer
from harness.tools import own_directory


@pytest.fixture(scope="session")
def engine():
    e = Engine()
    yield e
    e.close()


@pytest.fixture
def second_engine():
    e = Engine()
    yield e
    e.close()


@pytest.fixture(scope="session")
def workshop():
    d = own_directory("entrepot-workshop-")
    yield d
    shutil.rmtree(d, ignore_errors=True)


@pytest.fixture(scope="session")
def hello(workshop):
    return hello_program(workshop).read_bytes()


@pytest.fixture(scope="session")
def debian(engine):
    """The name of a Debian image in the engine: over 100 MB, nothing downloaded from a registry."""
    engine.docker("import", debian_rootfs(), "debian-test:1", timeout=300)
    return "debian-test:1"


@pytest.fixture(scope="session")
def layout(workshop, hello):
    """OCI layout: a multi-arch index `multi`, an image `one`, an uncompressed image `plain`, an artifact with subject."""
    made = Layout(workshop / "layout")
    salt = {"salt": os.urandom(16)}  # skopeo remembers for the whole machine in which compressions it met a layer
    layers = [tar_layer({"hello": hello, **salt}), tar_layer({"greeting": b"layered ", **salt})]
    amd, arm = made.image(layers), made.image(layers, arch="arm64")
    made.tag(made.multi({"amd64": amd, "arm64": arm}), "multi")
    made.one = made.tag(amd, "one")
    made.tag(made.image(layers, compress=bytes, layer_type="application/vnd.oci.image.layer.v1.tar"), "plain")
    empty = made.blob(b"{}", "application/vnd.oci.empty.v1+json")
    artifact = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
                "artifactType": "application/vnd.example.sbom.v1", "config": empty,
                "layers": [made.blob(b"a bill of materials", "text/plain")], "subject": amd,
                "annotations": {"org.example.made": "on the spot"}}
    made.artifact = made.tag(made.blob(json.dumps(artifact).encode(), artifact["mediaType"]), "artifact")
    return made
