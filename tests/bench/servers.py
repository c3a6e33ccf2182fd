"""The servers that are compared: ours, Debian's nginx with the same bytes as files, Debian's docker-registry.

Two workers each (docker-registry: GOMAXPROCS=2), plain HTTP on `port` and TLS 1.3 on `tls_port`, on loopback.
"""
import http.client
import os
import pathlib
import re
import subprocess
import sys

TOP = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(TOP / "tests"))

from harness.daemon import Daemon, free_port, wait_for  # noqa: E402

OURS_CONF = """
hosted docker-local {{
}}
connector "127.0.0.1:{port}" {{
    repository = docker-local
}}
connector "127.0.0.1:@TLS@" {{
    repository = docker-local
    tls_certificate = "{dir}/../server.crt"
    tls_key = "{dir}/../server.key"
}}
"""
NGINX_CONF = """
worker_processes 2; daemon off; pid {dir}/nginx.pid; error_log {dir}/nginx.log; user root; worker_rlimit_nofile 16384;
events {{ worker_connections 4096; }}
http {{ access_log off; sendfile on; tcp_nopush on; keepalive_requests 1000000000; open_file_cache max=1000;
  client_body_temp_path {dir}/t1; proxy_temp_path {dir}/t2; fastcgi_temp_path {dir}/t3;
  uwsgi_temp_path {dir}/t4; scgi_temp_path {dir}/t5;
  ssl_certificate {dir}/server.crt; ssl_certificate_key {dir}/server.key; ssl_protocols TLSv1.3;
  server {{ listen 127.0.0.1:{port}; listen 127.0.0.1:{tls_port} ssl; root {dir}/www; }} }}
"""
REGISTRY_CONF = """
version: 0.1
log: {{level: error, accesslog: {{disabled: true}}}}
storage: {{filesystem: {{rootdirectory: {dir}/registry}}, delete: {{enabled: true}}}}
http: {{addr: '127.0.0.1:{port}'{tls}}}
"""


def certificate(directory):
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                    "-keyout", f"{directory}/server.key", "-out", f"{directory}/server.crt", "-days", "2",
                    "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"],
                   check=True, stderr=subprocess.DEVNULL)


def answers(port):
    try:
        c = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
        c.request("GET", "/v2/")
        return c.getresponse().status > 0
    except (OSError, http.client.HTTPException):
        return False


class Nginx:
    name = "nginx"

    def __init__(self, directory, files):
        self.port, self.tls_port = free_port(), free_port()
        for path, data in files.items():
            target = directory / "www" / path.lstrip("/")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(data)
        conf = directory / "nginx.conf"
        conf.write_text(NGINX_CONF.format(dir=directory, port=self.port, tls_port=self.tls_port))
        self.process = subprocess.Popen(["nginx", "-c", str(conf)], stderr=subprocess.DEVNULL)
        wait_for(lambda: answers(self.port), "nginx is up")

    def close(self):
        self.process.terminate()
        self.process.wait(10)


class DockerRegistry:
    name = "docker-registry"

    def __init__(self, directory):
        self.port, self.tls_port = free_port(), free_port()
        tls = f", tls: {{certificate: {directory}/server.crt, key: {directory}/server.key}}"
        self.processes = [self.start(directory, "plain", self.port, ""), self.start(directory, "tls", self.tls_port, tls)]
        wait_for(lambda: answers(self.port), "docker-registry is up")

    def start(self, directory, name, port, tls):
        conf = directory / f"registry-{name}.yml"
        conf.write_text(REGISTRY_CONF.format(dir=directory, port=port, tls=tls))
        return subprocess.Popen(["docker-registry", "serve", str(conf)], env=dict(os.environ, GOMAXPROCS="2"),
                                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def close(self):
        for process in self.processes:
            process.terminate()
            process.wait(10)


class Ours:
    name = "entrepot"

    def __init__(self, directory, name="entrepot", text=OURS_CONF, made=False):
        own = directory / name
        own.mkdir(exist_ok=made)
        self.tls_port = free_port()
        self.daemon = Daemon(directory=own, text=text.replace("@TLS@", str(self.tls_port)))
        self.daemon.conf.write_text(re.sub(r"access_log .*", 'access_log = "off"', self.daemon.conf.read_text()))
        self.daemon.start()
        self.port = self.daemon.port

    def memory_mib(self):
        """Proportional set size of all processes, in MiB."""
        total = 0
        for pid in self.daemon.all_pids():
            text = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text()
            total += int(re.search(r"^Pss:\s+(\d+)", text, re.M).group(1))
        return total / 1024

    def close(self):
        self.daemon.stop()
