"""A plugin of pytest: `--outcomes FILE` takes a line of JSON for whatever came of a test, and one at the end of all.

{"test": ID, "when": "setup"|"call"|"teardown"|"collect", "outcome": "passed"|"failed"|"skipped", "text": why},
{"finished": exit status}. A file without the last line is of a pytest that died."""
import json

import pytest


def pytest_addoption(parser):
    parser.addoption("--outcomes", metavar="FILE")


def pytest_configure(config):
    if config.getoption("--outcomes"):
        config.pluginmanager.register(Writer(config.getoption("--outcomes")), "outcomes-writer")


class Writer:
    def __init__(self, path):
        self.file = open(path, "w", buffering=1)

    def line(self, **what):
        self.file.write(json.dumps(what) + "\n")

    def pytest_runtest_logreport(self, report):
        if report.outcome != "passed" or report.when == "call":
            self.line(test=report.nodeid, when=report.when, outcome=report.outcome, text=why(report))

    def pytest_collectreport(self, report):
        if report.outcome != "passed":
            self.line(test=report.nodeid, when="collect", outcome=report.outcome, text=why(report))

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, exitstatus):
        self.line(finished=int(exitstatus))


def why(report):
    """The message without the lines of source around it."""
    if report.outcome == "skipped" and isinstance(report.longrepr, tuple):
        return report.longrepr[2].removeprefix("Skipped: ")
    crash = getattr(report.longrepr, "reprcrash", None)
    return crash.message if crash else str(report.longrepr or "")
