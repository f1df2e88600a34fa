"""Count what the witnesses compared, and print it when the tests are done."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest

Witness = Callable[[str, int], None]
PREFIX = "compared: "


@pytest.fixture
def witness(record_property: Callable[[str, object], None]) -> Witness:
    """Note how many values were compared with which witness."""

    def note(what: str, count: int) -> None:
        record_property(PREFIX + what, count)

    return note


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    counts: Counter[str] = Counter()
    for report in terminalreporter.getreports("passed"):
        for name, value in report.user_properties:
            if name.startswith(PREFIX):
                counts[name.removeprefix(PREFIX)] += int(value)
    if counts:
        terminalreporter.section("values compared with witnesses, 0 of them different")
    for what, count in sorted((+counts).items()):
        terminalreporter.write_line(f"{count:>12,}  {what}")
