"""Figures that tests measured are printed at the end, whichever process ran them."""

from __future__ import annotations

import pytest


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What tests gave to `record_property` as `measured`, a line each."""
    reports = [r for kind in ("passed", "failed") for r in terminalreporter.stats.get(kind, [])]
    lines = [value for r in reports for name, value in r.user_properties if name == "measured"]
    if lines:
        terminalreporter.section("measured")
        for line in sorted({str(line) for line in lines}):
            terminalreporter.line(line)
