"""Count what the witnesses compared, and print it as a table when the tests are done."""

from __future__ import annotations

import os
from collections import defaultdict
from typing import TYPE_CHECKING, Protocol

import pytest
from peers import processor

if TYPE_CHECKING:
    from collections.abc import Callable

COMPARED, FURTHEST = "compared", "furthest"
WITNESSES = ("formula", "onnx cases", "onnxruntime")


class Witness(Protocol):
    """Notes how many values of an operator were equal to a witness's.

    ``within`` counts those that a stated bound covers and ``furthest`` says how many of its units
    the worst was away; ``differing`` counts those that a registered difference covers.
    """

    def __call__(
        self,
        operator: str,
        version: int,
        witness: str,
        count: int,
        *,
        within: int = 0,
        furthest: float = 0,
        differing: int = 0,
    ) -> None: ...


EMULATED = {
    "Haswell": "qemu-x86_64-static -cpu Haswell",
    # OpenBLAS looks for the processor by itself, and takes one that is not emulated.
    "Nehalem": "env OPENBLAS_CORETYPE=Nehalem qemu-x86_64-static -cpu Nehalem",
}
"""Commands under which onnxruntime's process runs as another processor."""


def pytest_addoption(parser: pytest.Parser) -> None:
    chosen = [*EMULATED]
    parser.addoption("--processor", choices=chosen, help="run onnxruntime as this one, emulated")


def pytest_configure(config: pytest.Config) -> None:
    name = config.getoption("--processor")
    if name:
        os.environ["QDQDOC_EMULATOR"] = EMULATED[name]


@pytest.fixture
def as_the_targets_say() -> None:
    """Run where onnxruntime computes as the targets of fusion state."""
    here = processor()
    if not here.known or {"saturating", "without FMA"} & {*here.names}:
        pytest.skip(f"the targets state another processor than this: {here.names}")


@pytest.fixture
def witness(record_property: Callable[[str, object], None]) -> Witness:
    """Note what was compared; the test has asserted that no other value is different."""

    def note(
        operator: str,
        version: int,
        witness: str,
        count: int,
        *,
        within: int = 0,
        furthest: float = 0,
        differing: int = 0,
    ) -> None:
        assert witness in WITNESSES
        record_property(COMPARED, [operator, version, witness, count, within, differing])
        if within:
            record_property(FURTHEST, [operator, version, furthest])

    return note


def _contracts(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what the contracts were compared in, node by node with onnxruntime's own tensors."""
    rows = [
        (name, value)
        for report in terminalreporter.getreports("passed")
        for name, value in report.user_properties
        if "node by node: " in name
    ]
    if not rows:
        return
    terminalreporter.section("contracts beside onnxruntime, each node on its own inputs")
    form = "{:<52}{:>12}{:>12}{:>12}{:>16}"
    heads = (
        "contract, model, operator",
        "values",
        "other bits of floats",
        "codes",
        "off by a step",
    )
    terminalreporter.write_line(form.format(*heads))
    for name, counted in sorted(rows):
        what = name.replace(" node by node:", "")
        terminalreporter.write_line(form.format(what, *(f"{count:,}" for count in counted)))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    counts: dict[tuple[str, int], dict[str, int]] = defaultdict(lambda: defaultdict(int))
    furthest: dict[tuple[str, int], float] = defaultdict(float)
    for report in terminalreporter.getreports("passed"):
        for name, value in report.user_properties:
            if name == FURTHEST:
                operator, version, distance = value
                key = (operator, version)
                furthest[key] = max(furthest[key], distance)
            elif name == COMPARED:
                operator, version, witness, count, within, differing = value
                row = counts[operator, version]
                row[witness] += count
                row["within"] += within
                row["differing"] += differing
    _contracts(terminalreporter)
    if not counts:
        return
    terminalreporter.section("values compared with each witness; mismatches: 0 in every row")
    heads = ("operator", "version", *WITNESSES, "within bound", "furthest", "registered")
    form = "{:<40}{:>8}{:>12}{:>12}{:>14}{:>14}{:>10}{:>12}"
    terminalreporter.write_line(form.format(*heads))
    for (operator, version), row in sorted(counts.items()):
        numbers = [f"{row[witness]:,}" for witness in WITNESSES]
        bound = [f"{row['within']:,}", f"{furthest[operator, version]:.3g} ulp"]
        shown = bound if row["within"] else ["", ""]
        terminalreporter.write_line(
            form.format(operator, version, *numbers, *shown, f"{row['differing']:,}")
        )
    totals = [f"{sum(row[w] for row in counts.values()):,}" for w in WITNESSES]
    terminalreporter.write_line(form.format("together", "", *totals, "", "", ""))
