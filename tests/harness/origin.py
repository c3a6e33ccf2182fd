"""A real upstream: Debian's docker-registry, with an image or two, to be pulled through a proxy."""
import shutil
import subprocess

import pytest
import requests

from harness.daemon import wait_for
from harness.registry import Registry
from harness.shared import free_port
from harness.tools import need, own_directory

CONF = """
version: 0.1
log: {{level: error, accesslog: {{disabled: true}}}}
storage: {{filesystem: {{rootdirectory: {dir}/data}}, delete: {{enabled: true}}}}
http: {{addr: "127.0.0.1:{port}"}}
{auth}
"""


class Foreign(Registry):
    """A registry that need not keep our rules, such as Locations relative to the origin."""

    def absolute(self, response):
        return response.headers["Location"]


class Origin:
    """start(), stop() and start() again keep port and content."""

    def __init__(self, auth=""):
        self.dir = own_directory("entrepot-origin-")
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.process = None
        with open(f"{self.dir}/config.yml", "w") as f:
            f.write(CONF.format(dir=self.dir, port=self.port, auth=auth))

    def start(self):
        need("docker-registry")
        self.process = subprocess.Popen(["docker-registry", "serve", f"{self.dir}/config.yml"],
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_for(self.answers, "docker-registry serves")
        return self

    def answers(self):
        try:
            return requests.get(self.url + "/v2/", timeout=5).status_code in (200, 401)
        except requests.RequestException:
            return False

    def registry(self, image):
        return Foreign(self.url, image)

    def stop(self):
        if self.process:
            self.process.kill()
            self.process.wait(10)
            self.process = None

    def close(self):
        self.stop()
        shutil.rmtree(self.dir, ignore_errors=True)


@pytest.fixture(scope="module")
def origin():
    o = Origin().start()
    yield o
    o.close()
