"""Fail points (src/base/fail.h): kill, hold or fail whoever comes by."""
import pathlib
import re

from harness.daemon import TOP, wait_for

NAMES = re.findall(r"X\((\w+)\)", (TOP / "src/base/fail_points.h").read_text().split("#define FAIL_POINTS(X)")[1].split("\nenum ")[0])


class FailPoints:
    def __init__(self, directory):
        self.dir = pathlib.Path(directory)
        self.dir.mkdir(exist_ok=True)
        self.dir.chmod(0o777)

    def arm(self, name, order):
        assert name in NAMES, f"no such fail point: {name}"
        new = self.dir / f".{name}"
        new.write_text(order)
        new.rename(self.dir / name)

    def disarm(self, name):
        (self.dir / name).unlink(missing_ok=True)

    def pending(self, name):
        return (self.dir / name).exists()

    def taken(self, name, timeout=15):
        """Waits until somebody obeyed."""
        wait_for(lambda: not self.pending(name), f"somebody comes by {name}", timeout)

    def held(self, name):
        """Waits until somebody waits there."""
        wait_for((self.dir / f"{name}.reached").exists, f"somebody waits at {name}")

    def release(self, name):
        (self.dir / f"{name}.reached").unlink()
