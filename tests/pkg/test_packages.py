"""The packages: what is in them, and the Debian one from installation to purge in a root of its own."""
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess

import pytest
import requests

from harness.daemon import free_port, wait_for
from harness.images import debian_rootfs
from harness.registry import Registry
from harness.tools import need, own_directory, run

TOP = pathlib.Path(__file__).resolve().parents[2]
VERSION = re.search(r"AC_INIT\(\[entrepot\], \[([^]]+)\]", (TOP / "configure.ac").read_text()).group(1)
INIT = "/etc/init.d/entrepot"
CONF = "/etc/entrepot/entrepot.conf"
# The first process of the root's own pid namespace: it only reaps.
REAPER = """
import os, time
while True:
    try:
        os.wait()
    except ChildProcessError:
        time.sleep(0.05)
"""

pytestmark = pytest.mark.skipif(os.getuid() != 0, reason="needs root for a root file system of its own")


class Root:
    """A Debian root in mount and pid namespaces: what runs and is mounted there ends with them."""

    def __init__(self, directory):
        self.path = pathlib.Path(directory)
        run("tar", "-C", self.path, "-xf", debian_rootfs(), timeout=300)
        for name, minor in (("null", 3), ("zero", 5), ("full", 7), ("random", 8), ("urandom", 9)):
            run("mknod", "-m", "666", self.path / "dev" / name, "c", "1", minor, check=False)
        shutil.copy("/etc/resolv.conf", self.path / "etc/resolv.conf")
        for setting in pathlib.Path("/etc/apt/apt.conf.d").iterdir():  # proxies and the like
            shutil.copy(setting, self.path / "etc/apt/apt.conf.d")
        self.unshare = subprocess.Popen(["unshare", "--mount", "--pid", "--fork", "--kill-child",
                                         f"--mount-proc={self.path}/proc",
                                         "/usr/bin/python3", "-c", REAPER], stdin=subprocess.DEVNULL)
        children = pathlib.Path(f"/proc/{self.unshare.pid}/task/{self.unshare.pid}/children")
        try:
            self.first = wait_for(lambda: children.read_text().split(), "the root has a first process")[0]
            wait_for(lambda: self.do("test -e /proc/self", check=False).returncode == 0, "the root has /proc")
        except AssertionError:
            self.unshare.kill()
            raise

    def do(self, command, check=True, timeout=300):
        """Runs a shell command inside."""
        done = subprocess.run(["nsenter", "-t", self.first, "--mount", "--pid", "--root", "chroot", self.path,
                               "/bin/sh", "-c", command], stdin=subprocess.DEVNULL, text=True, timeout=timeout,
                              env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8",
                                   "DEBIAN_FRONTEND": "noninteractive"},
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        if check:
            assert done.returncode == 0, f"{command}: {done.returncode}\n{done.stdout[-4000:]}"
        return done

    def status(self, command):
        return self.do(command, check=False).returncode

    def edit(self, path, old, new):
        file = self.path / path.lstrip("/")
        text = file.read_text()
        assert old in text
        file.write_text(text.replace(old, new))

    def has(self, path):
        return os.path.lexists(self.path / path.lstrip("/"))

    def close(self):
        self.unshare.send_signal(signal.SIGKILL)  # --kill-child takes the first process along, it all others
        self.unshare.wait(10)
        wait_for(lambda: not os.path.exists(f"/proc/{self.first}"), "the root's processes are gone")


@pytest.fixture(scope="module")
def workplace():
    directory = own_directory("entrepot-pkg-")
    yield directory
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="module")
def sources(workplace):
    """A clean copy of the tree: what git knows or would add, nothing built."""
    need("git")
    directory = workplace / f"entrepot-{VERSION}"
    names = subprocess.run(["git", "-c", f"safe.directory={TOP}", "ls-files", "-z", "-co", "--exclude-standard"],
                           cwd=TOP, check=True, stdout=subprocess.PIPE).stdout.decode().split("\0")
    for name in filter(None, names):
        if (TOP / name).is_file():
            (directory / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(TOP / name, directory / name)
    return directory


@pytest.fixture(scope="module")
def deb(workplace, sources):
    need("dpkg-buildpackage")
    need("dh")
    copy = workplace / "deb" / "entrepot"
    shutil.copytree(sources, copy)
    run("dpkg-buildpackage", "-b", "-us", "-uc", cwd=copy, timeout=600,
        env={**os.environ, "DEB_BUILD_OPTIONS": f"nocheck parallel={os.cpu_count()}"})
    return next(copy.parent.glob(f"entrepot_{VERSION}_*.deb"))


@pytest.fixture(scope="module")
def rpm(workplace, sources):
    need("rpmbuild")
    top = workplace / "rpm"
    (top / "SOURCES").mkdir(parents=True)
    run("tar", "-C", sources.parent, "-cJf", top / "SOURCES" / f"{sources.name}.tar.xz", sources.name)
    run("rpmbuild", "-bb", "--nodeps", "--define", f"_topdir {top}", "--define", f"_dbpath {top}/db",
        sources / "contrib/entrepot.spec", timeout=600)
    return next((top / "RPMS").glob(f"*/entrepot-{VERSION}-*.rpm"))


@pytest.fixture(scope="module")
def root(workplace, deb):
    need("unshare")
    need("nsenter")
    directory = workplace / "root"
    directory.mkdir()
    made = Root(directory)
    yield made
    made.close()


@pytest.fixture(scope="module")
def installed(root, deb):
    """The package installed, as yet not started, listening on a free port when it is."""
    shutil.copy(deb, root.path / "tmp/entrepot.deb")
    policy = root.path / "usr/sbin/policy-rc.d"
    policy.write_text("#!/bin/sh\nexit 101\n")
    policy.chmod(0o755)
    root.do("apt-get update -q", timeout=600)
    root.do("apt-get install -q -y --no-install-recommends /tmp/entrepot.deb", timeout=600)
    policy.write_text("#!/bin/sh\nexit 0\n")  # as on a machine with an init: upgrades and removals may act
    root.port = free_port()
    root.edit(CONF, "127.0.0.1:8082", f"127.0.0.1:{root.port}")
    return root


def serves(port):
    try:
        return requests.get(f"http://127.0.0.1:{port}/v2/", timeout=5).status_code == 200
    except requests.RequestException:
        return False


@pytest.fixture
def started(installed):
    installed.do(f"{INIT} start")
    yield installed
    if installed.has("/usr/sbin/entrepotd"):
        installed.do(f"{INIT} stop")


COMMON = {"/etc/entrepot/entrepot.conf", "/etc/init.d/entrepot", "/etc/logrotate.d/entrepot", "/usr/bin/entrepotctl",
          "/usr/sbin/entrepotd", "/var/lib/entrepot", "/var/log/entrepot", "/usr/share/doc/entrepot/README.md"}


def test_deb_contents(deb):
    listed = {line.split()[5].lstrip(".").rstrip("/") for line in run("dpkg-deb", "-c", deb).stdout.splitlines()}
    plain = {x.removesuffix(".gz") for x in listed}  # debhelper compresses long documents
    assert COMMON <= plain, COMMON - plain
    assert "/lib/systemd/system/entrepot.service" in listed
    for page in ("man1/entrepotctl.1.gz", "man5/entrepot.conf.5.gz", "man8/entrepotd.8.gz"):
        assert f"/usr/share/man/{page}" in listed
    assert not [x for x in listed if x.startswith(("/build", "/tmp", "/usr/local"))]


def test_rpm_contents(rpm):
    listed = set(run("rpm", "-qlp", rpm).stdout.splitlines())
    assert COMMON <= listed, COMMON - listed
    assert "/usr/lib/systemd/system/entrepot.service" in listed
    assert set(run("rpm", "-qcp", rpm).stdout.splitlines()) == {CONF, "/etc/logrotate.d/entrepot"}
    owners = run("rpm", "-qlvp", rpm).stdout
    for directory in ("/var/lib/entrepot", "/var/log/entrepot"):
        assert re.search(rf"^drwxr-x---.* entrepot +entrepot .* {directory}$", owners, re.M)


def test_installed_account_and_directories(installed):
    assert re.search(r"^entrepot:x:\d+:\d+:.*:/var/lib/entrepot:/usr/sbin/nologin$",
                     installed.do("getent passwd entrepot").stdout, re.M)
    for directory in ("/var/lib/entrepot", "/var/log/entrepot"):
        assert installed.do(f"stat -c '%U %G %a' {directory}").stdout == "entrepot entrepot 750\n"
    assert installed.do("entrepotd -V").stdout == f"entrepotd {VERSION}\n"
    assert installed.status("entrepotd -t") == 0
    assert installed.status("entrepotctl config check") == 0
    assert installed.status(f"{INIT} status") == 3


def test_start_serve_stop(installed):
    installed.do(f"{INIT} start")
    assert serves(installed.port)
    assert installed.status(f"{INIT} status") == 0
    assert installed.status(f"{INIT} start") == 0  # a second start is no error
    installed.do(f"{INIT} stop")
    assert not serves(installed.port)
    assert installed.status(f"{INIT} status") == 3
    assert installed.status(f"{INIT} stop") == 0


def test_roles_run_as_the_account(started):
    rows = json.loads(started.do("entrepotctl --json status").stdout)["roles"]
    assert {"catalog", "auth", "worker"} <= {row["role"] for row in rows}
    for row in rows:
        owner = started.do(f"stat -c %U /proc/{row['pid']}").stdout.strip()
        assert owner == {"master": "root", "auth": "entrepot-auth"}.get(row["role"], "entrepot"), row


def test_reload(started):
    second = free_port()
    good = (started.path / CONF.lstrip("/")).read_text()
    started.edit(CONF, "redeploy  =", "redploy  =")
    refused = started.do(f"{INIT} reload", check=False)
    assert refused.returncode == 6 and "redploy" in refused.stdout
    assert started.status(f"{INIT} restart") == 6
    assert serves(started.port), "mistakes in the configuration stopped the daemon"
    more = f'\nconnector "127.0.0.1:{second}" {{ repository = docker-local }}\n'
    (started.path / CONF.lstrip("/")).write_text(good + more)
    started.do(f"{INIT} reload")
    wait_for(lambda: serves(second), "the new connector serves")
    assert serves(started.port)
    (started.path / CONF.lstrip("/")).write_text(good)
    started.do(f"{INIT} force-reload")
    wait_for(lambda: not serves(second), "the connector is gone")


def test_restart_keeps_images(started):
    registry = Registry(f"http://127.0.0.1:{started.port}", "team/app")
    data = registry.push_image("1")
    before = started.do("cat /run/entrepot/entrepotd.pid").stdout
    started.do(f"{INIT} restart")
    assert started.do("cat /run/entrepot/entrepotd.pid").stdout != before
    assert serves(started.port)
    assert registry.get("manifests/1").content == data
    assert "docker-local" in started.do("entrepotctl repos").stdout


def test_logs_rotate(started):
    script = re.search(r"postrotate\n(.*?)endscript", (started.path / "etc/logrotate.d/entrepot").read_text(), re.S).group(1)
    assert started.has("/var/log/entrepot/entrepot.log") and started.has("/var/log/entrepot/access.log")
    started.do("mv /var/log/entrepot/access.log /var/log/entrepot/access.log.1")
    started.do(script)

    def written():
        return serves(started.port) and started.has("/var/log/entrepot/access.log")
    wait_for(written, "the access log is there again")


def test_stale_pid_file(installed):
    """A power cut leaves the pid file; its number may be somebody else's now."""
    installed.do("mkdir -p /run/entrepot && echo 1 > /run/entrepot/entrepotd.pid")
    assert installed.status(f"{INIT} status") == 1
    assert installed.status(f"{INIT} reload") == 7
    installed.do(f"{INIT} start")
    assert serves(installed.port)
    installed.do(f"{INIT} stop")


def test_upgrade_remove_install(started):
    before = (started.path / CONF.lstrip("/")).read_text()
    started.do("dpkg -i /tmp/entrepot.deb")
    assert (started.path / CONF.lstrip("/")).read_text() == before
    wait_for(lambda: serves(started.port), "the daemon serves after the upgrade")
    started.do("apt-get remove -q -y entrepot")
    assert not serves(started.port)
    assert started.has(CONF) and started.has("/var/lib/entrepot")
    started.do("apt-get install -q -y --no-install-recommends /tmp/entrepot.deb")
    wait_for(lambda: serves(started.port), "the daemon serves again")


def as_(who, command):
    return command if who == "root" else f"setpriv --reuid={who} --regid=$(id -g {who}) --clear-groups {command}"


def allowed(root, who, command, status=0, stdin=""):
    done = root.do(f"printf '%s' '{stdin}' | {as_(who, command)}", check=False)
    assert done.returncode == status, f"{who}: {command}: {done.returncode}\n{done.stdout}"
    return done.stdout


def refused(root, who, command, status=1):
    """Refused with a sentence that says what to do, and nothing else."""
    done = root.do(as_(who, command), check=False)
    assert done.returncode == status, f"{who}: {command}: {done.returncode}\n{done.stdout}"
    assert "ermission denied" in done.stdout, done.stdout
    return done.stdout


@pytest.mark.parametrize("who", ["root", "entrepot"])
def test_fsck_of_an_installation(started, who):
    """Beside the daemon and without it; what it leaves is the account's, so the daemon starts after it."""
    registry = Registry(f"http://127.0.0.1:{started.port}", "team/checked")
    data = registry.push_image(who)
    assert "0 problems" in allowed(started, who, "entrepotctl fsck")
    refusal = allowed(started, who, "entrepotctl fsck --repair", status=8)
    assert "stop it before --repair" in refusal
    started.do(f"{INIT} stop")
    for arguments in ("", "--repair"):
        assert "0 problems" in allowed(started, who, f"entrepotctl fsck {arguments}")
    foreign = started.do("find /var/lib/entrepot -not -user entrepot -not -user entrepot-auth").stdout
    assert foreign == "", foreign
    started.do(f"{INIT} start")
    assert registry.get(f"manifests/{who}").content == data


def test_fsck_of_an_older_installation(installed):
    """Whose lock is root's, as earlier versions made it."""
    installed.do(f"{INIT} start && {INIT} stop")
    installed.do("chown root:root /var/lib/entrepot/lock && chmod 640 /var/lib/entrepot/lock")
    assert "0 problems" in allowed(installed, "root", "entrepotctl fsck")
    assert "as root" in refused(installed, "entrepot", "entrepotctl fsck", status=8)
    installed.do(f"{INIT} start && {INIT} stop")
    assert "0 problems" in allowed(installed, "entrepot", "entrepotctl fsck")


QUESTIONS = ["status", "repos", "images", "tags docker-local:team/any", "gc --status", "scrub --status",
             "check-access anonymous docker-local:team/any", "config check"]
OF_ALL = {"check-access", "config"}


@pytest.mark.parametrize("who", ["root", "entrepot", "nobody"])
def test_who_may_ask_the_daemon(started, who):
    Registry(f"http://127.0.0.1:{started.port}", "team/any").push_image("1")
    for question in QUESTIONS:
        command = f"entrepotctl {question}"
        if who != "nobody" or question.split()[0] in OF_ALL:
            allowed(started, who, command)
        else:
            assert "as root or as the daemon's account" in refused(started, who, command)
    for order in ("gc", "scrub"):  # who changes something is the operator, not whoever shares the account
        done = started.do(as_(who, f"entrepotctl {order}"), check=False)
        assert (done.returncode == 0) == (who == "root"), done.stdout
    for command in ("fetches", "proxy status"):
        done = started.do(as_(who, f"entrepotctl {command}"), check=False)
        assert done.returncode == 1 and ("prox" in done.stdout) == (who != "nobody"), done.stdout


@pytest.fixture
def with_logins(started):
    """The first user is made before the daemon knows of logins, as an operator begins."""
    before = (started.path / CONF.lstrip("/")).read_text()
    (started.path / CONF.lstrip("/")).write_text(
        before + '\nauth { htpasswd = "/etc/entrepot/htpasswd" }\nrole all { users = {alice}  images = {"**:**"}  '
        'may = {pull, push} }\n')
    yield started
    (started.path / CONF.lstrip("/")).write_text(before)
    started.do(f"{INIT} reload")


def logs_in(root, user, password):
    url = f"http://127.0.0.1:{root.port}/v2/token?service=x"
    return requests.get(url, auth=(user, password), timeout=10).status_code == 200


def test_users_tokens_and_certificates_of_an_installation(with_logins):
    root = with_logins
    allowed(root, "root", "entrepotctl user add alice --password-stdin", stdin="secret")
    assert root.do("stat -c '%U %G %a' /etc/entrepot/htpasswd").stdout == "root entrepot-auth 640\n"
    root.do(f"{INIT} reload")
    wait_for(lambda: logs_in(root, "alice", "secret"), "the user logs in")
    assert "alice" in allowed(root, "entrepot-auth", "entrepotctl user list")
    for who in ("entrepot", "nobody"):
        refused(root, who, "entrepotctl user list")
    for who in ("entrepot", "nobody"):
        refused(root, who, "entrepotctl user del alice")
        refused(root, who, "entrepotctl cert registry.example")
    allowed(root, "root", "entrepotctl user passwd alice --password-stdin", stdin="other")
    assert root.do("stat -c '%U %G %a' /etc/entrepot/htpasswd").stdout == "root entrepot-auth 640\n"
    wait_for(lambda: logs_in(root, "alice", "other"), "the new password counts")
    assert "robot" in allowed(root, "root", "entrepotctl token create robot")
    assert "robot" in allowed(root, "root", "entrepotctl token list")
    allowed(root, "root", "entrepotctl token revoke robot")
    refused(root, "nobody", "entrepotctl token create robot")
    assert root.status(as_("entrepot", "entrepotctl token create robot")) == 1, "a worker is no operator"
    allowed(root, "root", "entrepotctl token create stays")
    allowed(root, "root", "entrepotctl cert registry.example")
    tls = free_port()
    (root.path / CONF.lstrip("/")).write_text((root.path / CONF.lstrip("/")).read_text() + f"""
connector "127.0.0.1:{tls}" {{ repository = docker-local
    tls_certificate = "/etc/entrepot/tls/registry.example.crt"
    tls_key = "/etc/entrepot/tls/registry.example.key" }}
""")
    root.do(f"{INIT} reload")
    wait_for(lambda: tls_answers(root, tls), "HTTPS is served")


def tls_answers(root, port):
    try:
        return requests.get(f"https://127.0.0.1:{port}/v2/", verify=False, timeout=5).status_code in (200, 401)
    except requests.RequestException:
        return False


SECRETS = ("/var/lib/entrepot/auth/token.key", "/var/lib/entrepot/auth/robots", "/etc/entrepot/tls/ca.key",
           "/etc/entrepot/tls/ca.crt", "/etc/entrepot/tls/registry.example.key",
           "/etc/entrepot/tls/registry.example.crt")
FOREIGN = "/etc/entrepot/tls/letsencrypt.key"


@pytest.fixture
def filled(installed):
    """Installed again, whatever went before, with an image, all secrets, an operator's key and a store elsewhere."""
    root = installed
    root.do("apt-get install -q -y --no-install-recommends /tmp/entrepot.deb")
    root.do(f"{INIT} stop")
    conf = root.path / CONF.lstrip("/")
    if f"127.0.0.1:{root.port}" not in conf.read_text():
        root.edit(CONF, "127.0.0.1:8082", f"127.0.0.1:{root.port}")
    if "htpasswd = \"" not in conf.read_text():
        conf.write_text(conf.read_text() + '\nauth { htpasswd = "/etc/entrepot/htpasswd" }\n'
                        'blobstore other { path = "/srv/blobs" }\nhosted elsewhere { blobstore = other }\n')
    # A store of the database that the test before has deleted would not be taken.
    root.do("rm -rf /srv/blobs; mkdir -p /srv/blobs /etc/entrepot/tls && chown entrepot: /srv/blobs && touch /srv/blobs/precious "
            f"{FOREIGN}")
    root.do("rm -f /etc/entrepot/htpasswd && echo secret | entrepotctl user add alice --password-stdin")
    root.do(f"{INIT} start")
    if not root.has("/etc/entrepot/tls/ca.key"):
        root.do("entrepotctl cert --force registry.example")
    if not root.has("/var/lib/entrepot/auth/robots"):
        root.do("entrepotctl token create stays")
    registry = Registry(f"http://127.0.0.1:{root.port}", "team/kept")
    registry.http.auth = ("alice", "secret")
    root.registry, root.data = registry, registry.push_image("1")
    assert all(root.has(x) for x in SECRETS), [x for x in SECRETS if not root.has(x)]
    return root


def purged(root):
    assert not serves(root.port)
    assert not [x for x in SECRETS if root.has(x)]
    assert root.has("/srv/blobs/precious") and root.has(FOREIGN)
    assert not root.has(CONF) and not root.has("/var/log/entrepot") and not root.has("/run/entrepot")
    assert "purge_data" not in root.do("cat /var/cache/debconf/config.dat").stdout


def test_purge_keeps_images_unless_told(filled):
    """Nobody answers, so they stay, with their account; a later installation serves them."""
    account = filled.do("getent passwd entrepot").stdout
    said = filled.do("apt-get purge -q -y entrepot").stdout
    assert "/var/lib/entrepot with all images stays" in said
    purged(filled)
    assert filled.do("find /var/lib/entrepot -type f -path '*/sha256/*' | wc -l").stdout.strip() != "0"
    assert filled.do("stat -c %U /var/lib/entrepot/catalog").stdout == "entrepot\n"
    assert filled.do("getent passwd entrepot").stdout == account
    filled.do("apt-get install -q -y --no-install-recommends /tmp/entrepot.deb")
    filled.do(f"{INIT} stop")
    filled.edit(CONF, "127.0.0.1:8082", f"127.0.0.1:{filled.port}")
    filled.do(f"{INIT} start")
    assert Registry(filled.registry.url, "team/kept").get("manifests/1").content == filled.data
    assert filled.do("entrepotctl fsck --json").stdout.find('"problems":0') > 0
    filled.do(f"{INIT} stop")


@pytest.mark.parametrize("remove_first", [True, False])
def test_purge_deletes_when_told(filled, remove_first):
    if remove_first:
        filled.do("apt-get remove -q -y entrepot")
    filled.do("echo entrepot entrepot/purge_data boolean true | debconf-set-selections")
    filled.do("dpkg --purge entrepot")
    purged(filled)
    left = filled.do("find / -xdev -name '*entrepot*' -not -path '/proc/*' -not -path '/tmp/*' "
                     "-not -path '/var/cache/*' -not -path '/var/log/*'", check=False).stdout.split()
    assert left == ["/etc/entrepot"], left  # the operator's files
    assert filled.status("getent passwd entrepot") == 2


def test_what_is_mounted_below_stays(filled):
    """A disk of its own below the data directory is another file system: it stays in either case."""
    filled.do("mkdir -p /var/lib/entrepot/mounted && mount -t tmpfs none /var/lib/entrepot/mounted && "
              "touch /var/lib/entrepot/mounted/precious")
    filled.do("echo entrepot entrepot/purge_data boolean true | debconf-set-selections")
    filled.do("dpkg --purge entrepot")
    assert filled.has("/var/lib/entrepot")
    filled.do("test -e /var/lib/entrepot/mounted/precious")
    assert filled.status("getent passwd entrepot") == 0, "somebody owns what is left"
    filled.do("umount /var/lib/entrepot/mounted && rm -rf /var/lib/entrepot")


def test_rpm_removal_deletes_nothing(rpm, workplace):
    """rpm has no purge: what is not its own stays."""
    assert not re.search(r"\brm\b|userdel|unlink", run("rpm", "-qp", "--scripts", rpm).stdout)
    root = workplace / "rpm-root"
    root.mkdir()
    rpm_in = ("rpm", "--root", root, "--nodeps", "--noscripts")
    run(*rpm_in, "--ignoreos", "--ignorearch", "-i", rpm)
    kept = [root / x for x in ("var/lib/entrepot/blobs/precious", "var/lib/entrepot/auth/token.key",
                               "etc/entrepot/tls/ca.key")]
    for file in kept:
        file.parent.mkdir(parents=True)
        file.write_text("kept")
    (root / CONF.lstrip("/")).write_text("# changed\n")
    run(*rpm_in, "-e", "entrepot")
    assert all(file.exists() for file in kept)
    assert (root / (CONF.lstrip("/") + ".rpmsave")).exists()
    assert not (root / "usr/sbin/entrepotd").exists()
