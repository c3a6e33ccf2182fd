"""Running the clients' programs, with a time limit and a readable failure."""
import os
import pathlib
import shutil
import subprocess
import tempfile

import pytest


def need(*programs):
    for program in programs:
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed")


def own_directory(prefix):
    """A new directory whose name any client takes as part of an image's name: mkdtemp's may begin with '_'."""
    path = pathlib.Path(tempfile.gettempdir()) / f"{prefix}{os.urandom(6).hex()}"
    path.mkdir(mode=0o700)
    return path


def run(*command, timeout=180, check=True, **kw):
    done = subprocess.run([str(c) for c in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          errors="replace", timeout=timeout, stdin=subprocess.DEVNULL, **kw)
    if check:
        assert done.returncode == 0, f"{' '.join(map(str, command))}\nended with {done.returncode}:\n{done.stdout[-4000:]}"
    return done


def unmount_below(directory):
    """Everything still mounted below a directory, deepest first."""
    with open("/proc/self/mounts") as f:
        points = [line.split()[1].encode().decode("unicode_escape") for line in f]
    for point in sorted((p for p in points if p.startswith(str(directory) + "/")), reverse=True):
        subprocess.run(["umount", "-l", point], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
