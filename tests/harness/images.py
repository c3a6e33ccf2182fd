"""Images built on the spot, without any network."""
import gzip
import hashlib
import io
import json
import os
import pathlib
import tarfile

from harness.registry import OCI_CONFIG, OCI_IMAGE, OCI_INDEX, digest
from harness.tools import need, run

CACHE = pathlib.Path(os.environ.get("ENTREPOT_TEST_CACHE", "/var/cache/entrepot-tests"))


def hello_program(directory):
    """A static program that says what it is given at build time, and reads /greeting if it is there."""
    need("gcc")
    source = pathlib.Path(directory) / "hello.c"
    program = pathlib.Path(directory) / "hello"
    source.write_text('#include <stdio.h>\nint main(void){char b[64]={0};FILE*f=fopen("/greeting","r");'
                      'if(f&&fgets(b,64,f))fputs(b,stdout);puts("hello from a container");return 0;}\n')
    run("gcc", "-static", "-O1", "-s", "-o", program, source)
    return program


def tar_layer(files):
    """A deterministic tar of {name: bytes}."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(data), 0o755
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


class Layout:
    """An OCI image layout on disk (image-spec, image-layout.md)."""

    def __init__(self, directory):
        self.dir = pathlib.Path(directory)
        (self.dir / "blobs" / "sha256").mkdir(parents=True)
        (self.dir / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
        self.index = []

    def blob(self, data, media_type, **more):
        value = hashlib.sha256(data).hexdigest()
        (self.dir / "blobs" / "sha256" / value).write_bytes(data)
        return {"mediaType": media_type, "digest": "sha256:" + value, "size": len(data), **more}

    def image(self, layers, command=("/hello",), arch="amd64", compress=gzip.compress,
              layer_type="application/vnd.oci.image.layer.v1.tar+gzip", **manifest):
        config = {"architecture": arch, "os": "linux", "config": {"Cmd": list(command)},
                  "rootfs": {"type": "layers", "diff_ids": [digest(x) for x in layers]}}
        body = {"schemaVersion": 2, "mediaType": OCI_IMAGE,
                "config": self.blob(json.dumps(config).encode(), OCI_CONFIG),
                "layers": [self.blob(compress(x), layer_type) for x in layers], **manifest}
        return self.blob(json.dumps(body).encode(), OCI_IMAGE)

    def multi(self, images):
        body = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [
            dict(d, platform={"os": "linux", "architecture": arch}) for arch, d in images.items()]}
        return self.blob(json.dumps(body).encode(), OCI_INDEX)

    def tag(self, descriptor, name):
        self.index.append(dict(descriptor, annotations={"org.opencontainers.image.ref.name": name}))
        (self.dir / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": self.index}))
        return descriptor


def debian_rootfs():
    """A Debian root file system of over 100 MB as a tar; made once a machine."""
    need("debootstrap")
    CACHE.mkdir(parents=True, exist_ok=True)
    tar = CACHE / "debian-rootfs.tar"
    if not tar.exists():
        root = CACHE / f"rootfs.{os.getpid()}"
        try:
            run("debootstrap", "--variant=minbase", "--include=perl", "bookworm", root, timeout=600)
            partial = CACHE / f"rootfs.{os.getpid()}.tar"
            run("tar", "-C", root, "-cf", partial, "--exclude=./dev/*", ".", timeout=300)
            partial.rename(tar)
        finally:
            run("rm", "-rf", root, check=False)
    assert tar.stat().st_size > 100 << 20
    return tar
