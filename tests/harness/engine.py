"""A Docker engine of the test's own: data root, socket, containerd and all."""
import json
import pathlib
import shutil
import subprocess

from harness.daemon import wait_for
from harness.tools import need, own_directory, run, unmount_below

DOCKER = "/usr/bin/docker" if pathlib.Path("/usr/bin/docker").exists() else "docker"


class Engine:
    def __init__(self, config=None):
        need("dockerd", "docker", "containerd", "runc")
        self.dir = own_directory("entrepot-engine-")
        self.socket = f"unix://{self.dir}/s"
        self.log = open(self.dir / "log", "ab")
        (self.dir / "config").mkdir()
        self.process = subprocess.Popen(
            ["dockerd", "--iptables=false", "--ip6tables=false", "--bridge=none", "--data-root", str(self.dir / "root"),
             "--exec-root", str(self.dir / "exec"), "-H", self.socket, "-p", str(self.dir / "pid"),
             "--config-file", str(self.dir / "daemon.json")],
            stdout=self.log, stderr=self.log, preexec_fn=lambda: (self.dir / "daemon.json").write_text(json.dumps(config or {})))
        wait_for(self.up, "the Docker engine is up", 60)

    def up(self):
        assert self.process.poll() is None, (self.dir / "log").read_text()[-3000:]
        return self.docker("version", check=False).returncode == 0

    def docker(self, *args, **kw):
        return run(DOCKER, "--config", self.dir / "config", "-H", self.socket, *args, **kw)

    def run(self, image, *command):
        return self.docker("run", "--rm", "--network", "none", image, *command).stdout

    def repo_digest(self, image):
        out = self.docker("image", "inspect", "--format", "{{index .RepoDigests 0}}", image).stdout
        return out.strip().split("@")[1]

    def forget(self, *images):
        """Removes images by name, and the layers nothing else needs: a later pull fetches them."""
        self.docker("rmi", "-f", *images)

    def close(self):
        self.process.terminate()
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(10)
        self.log.close()
        unmount_below(self.dir)
        shutil.rmtree(self.dir, ignore_errors=True)
