"""What all tests share: threads, Hypothesis settings, and the order in which tests run."""

from __future__ import annotations

import os

# Small networks and small batches: more threads cost more than they give, and tests should not depend on the machine.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MPLBACKEND", "Agg")

import pytest
from hypothesis import settings

# The first example of a property may compile the simulation, which no deadline should count.
settings.register_profile("fabmesh", deadline=None)
settings.load_profile("fabmesh")


@pytest.fixture
def only_error(capsys):
    """Gives the one line with which a command refused what it was given, once nothing else was printed."""

    def read():
        said = capsys.readouterr()
        assert said.out == ""
        assert said.err.startswith("error: ")
        assert said.err.count("\n") == 1
        return said.err

    return read


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Shows what the textbook checks found: each formula beside the simulated value and its interval."""
    reports = [
        report
        for outcome in ("passed", "failed")
        for report in terminalreporter.stats.get(outcome, [])
        if report.when == "call" and "textbook" in report.keywords and report.capstdout
    ]
    if reports:
        terminalreporter.section("textbook checks")
        for report in reports:
            terminalreporter.write_line(f"{report.nodeid}: {report.outcome}")
            terminalreporter.write_line(report.capstdout.strip("\n"))
            terminalreporter.write_line("")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Quick tests first, so that what is broken shows early; otherwise in the order of the files."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is not None)
