"""Logins: pulls with Basic and with a Bearer token, beside anonymous ones of the same daemon."""
import subprocess

import requests

from rows import REFERENCE, Row, at_least
from servers import Ours
from tools import ACCEPT
from harness.daemon import wait_for
from harness.users import basic, write_users

CONF = """
hosted docker-local {{ force_basic_auth = false }}
connector "127.0.0.1:{port}" {{ repository = docker-local }}
connector "127.0.0.1:@TLS@" {{ repository = docker-local }}
auth {{ htpasswd = "{dir}/htpasswd" }}
role all {{ users = {{admin}} images = {{"**:**"}} may = {{pull, push}} }}
"""


class Logins:
    def __init__(self, bench):
        self.bench, self.ours = bench, None

    def start(self):
        if self.ours:
            return
        (self.bench.directory / "auth").mkdir()
        write_users(self.bench.directory / "auth" / "htpasswd", {"admin": "pw"}, cost=10)
        self.ours = self.bench.opened(Ours(self.bench.directory, "auth", CONF, made=True))
        self.url = f"http://127.0.0.1:{self.ours.port}"
        wait_for(lambda: requests.get(self.url + "/v2/", headers=basic("admin", "pw")).status_code == 200, "logins work")
        session = requests.Session()
        session.headers.update(basic("admin", "pw"))
        data = self.bench.blobs["4 KiB"]
        self.path = self.bench.push_blob(self.ours.port, data, session=session)
        query = {"service": f"127.0.0.1:{self.ours.port}", "scope": "repository:bench/pull:pull"}
        token = requests.get(self.url + "/v2/token", params=query, headers=basic("admin", "pw")).json()["token"]
        self.headers = {"anonymous": {}, "Basic": basic("admin", "pw"), "Bearer": {"Authorization": f"Bearer {token}"}}

    def pull(self, kind):
        def measure():
            self.start()
            extra = [x for name, value in self.headers[kind].items() for x in ("-H", f"{name}: {value}")]
            out = subprocess.run(["wrk", "-t2", "-c32", f"-d{self.bench.seconds}s", "-H", f"Accept: {ACCEPT}", *extra, self.url + self.path],
                                 stdout=subprocess.PIPE, text=True, check=True).stdout
            assert "Non-2xx" not in out, out
            return float(out.split("Requests/sec:")[1].split()[0])
        return measure


def rows(bench):
    logins = Logins(bench)
    for kind in ("Basic", "Bearer"):
        yield Row(f"blob of 4 KiB with {kind} (reference: anonymous)", "requests/s",
                  {"entrepot": logins.pull(kind), REFERENCE: logins.pull("anonymous")}, [at_least(0.9, REFERENCE)])
