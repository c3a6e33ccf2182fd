"""Programs in front of a daemon: Debian's nginx with the sample of contrib/, and HAProxy."""
import os
import pathlib
import shutil
import socket
import subprocess

from harness.daemon import ENTREPOTCTL, TOP, wait_for
from harness.shared import free_port
from harness.tools import need, own_directory


class Front:
    """A program of the test's own with a certificate for localhost, listening on .port."""

    def __init__(self, prefix):
        self.dir = own_directory(prefix)
        self.port = free_port()
        subprocess.run([ENTREPOTCTL, "cert", "--dir", str(self.dir), "localhost", "127.0.0.1"], check=True,
                       stdout=subprocess.DEVNULL)

    def launch(self, *command):
        self.log = open(self.dir / "log", "ab")
        self.process = subprocess.Popen(list(map(str, command)), stdout=self.log, stderr=self.log)
        wait_for(self.up, f"{command[0]} is up")

    def up(self):
        assert self.process.poll() is None, (self.dir / "log").read_text()[-3000:]
        try:
            socket.create_connection(("127.0.0.1", self.port), 5).close()
            return True
        except OSError:
            return False

    def close(self):
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(10)
        self.log.close()
        shutil.rmtree(self.dir, ignore_errors=True)


class Nginx(Front):
    """contrib/nginx.conf as it is but for ports and files."""

    def __init__(self, upstream_port):
        need("nginx")
        super().__init__("entrepot-nginx-")
        sample = (TOP / "contrib" / "nginx.conf").read_text()
        for old, new in (("listen 443 ", f"listen 127.0.0.1:{self.port} "), ("127.0.0.1:8082;", f"127.0.0.1:{upstream_port};"),
                         ("server_name registry.example;", "server_name localhost;"),
                         ("/etc/letsencrypt/live/registry.example/fullchain.pem", f"{self.dir}/localhost.crt"),
                         ("/etc/letsencrypt/live/registry.example/privkey.pem", f"{self.dir}/localhost.key")):
            assert sample.count(old) == 1, f"contrib/nginx.conf has no single {old!r}"
            sample = sample.replace(old, new)
        (self.dir / "sample.conf").write_text(sample)
        self.temporary = self.dir / "temporary"
        self.temporary.mkdir()
        (self.dir / "nginx.conf").write_text(
            f"daemon off; worker_processes 1; user root; pid {self.dir}/pid; error_log {self.dir}/error.log;\n"
            f"events {{ }}\nhttp {{ log_format protocol '$server_protocol $request_method $uri $status';\n"
            f"access_log {self.dir}/access.log protocol; client_body_temp_path {self.temporary}/body;\n"
            f"proxy_temp_path {self.temporary}/proxy; include {self.dir}/sample.conf; }}\n")
        self.launch("nginx", "-c", self.dir / "nginx.conf")

    def asked(self):
        """Lines of protocol, method, path, status."""
        return [line.split() for line in (self.dir / "access.log").read_text().splitlines()]

    def files_put_aside(self):
        """nginx unlinks its temporary files at once: they show as open descriptors alone."""
        held = []
        for link in pathlib.Path("/proc").glob("[0-9]*/fd/*"):
            try:
                target = os.readlink(link)
            except OSError:
                continue
            if target.startswith(str(self.temporary)):
                held.append(target)
        return held


class Haproxy(Front):
    """TCP, with the PROXY protocol of `send` ("send-proxy" or "send-proxy-v2")."""

    def __init__(self, upstream_port, send):
        need("haproxy")
        super().__init__("entrepot-haproxy-")
        (self.dir / "haproxy.cfg").write_text(
            "global\n    log stderr local0\ndefaults\n    mode tcp\n    timeout connect 5s\n    timeout client 60s\n"
            f"    timeout server 60s\nlisten registry\n    bind 127.0.0.1:{self.port}\n"
            f"    server entrepot 127.0.0.1:{upstream_port} {send}\n")
        self.launch("haproxy", "-db", "-f", self.dir / "haproxy.cfg")
