"""A wall clock of the daemon's own: a preloaded library adds what a file holds to time(2) and CLOCK_REALTIME."""
import os
import pathlib
import struct
import subprocess

from harness.tools import need

SOURCE = pathlib.Path(__file__).resolve().parents[1] / "fault" / "fake_clock.c"


class FakeClock:
    """Everybody started with `environment` has a clock that is `set` seconds off, from that moment on."""

    def __init__(self, directory):
        need("cc")
        self.file = pathlib.Path(directory) / "clock-offset"
        self.file.write_bytes(struct.pack("=q", 0))
        self.file.chmod(0o644)
        self.library = pathlib.Path(directory) / "fake_clock.so"
        subprocess.run(["cc", "-O1", "-shared", "-fPIC", "-o", str(self.library), str(SOURCE)], check=True)
        # A sanitizer's runtime comes second then, and works all the same.
        asan = ":".join(filter(None, [os.environ.get("ASAN_OPTIONS"), "verify_asan_link_order=0"]))
        self.environment = {"LD_PRELOAD": str(self.library), "FAKE_CLOCK": str(self.file), "ASAN_OPTIONS": asan}

    def set(self, seconds):
        """In place and in one write: the file is mapped by whoever reads it."""
        with open(self.file, "r+b", buffering=0) as file:
            file.write(struct.pack("=q", seconds))
