"""Run PyTorch beside the kernels: ``python -m qdqdoc.pytorch [--write]``.

Compares every case on every engine with what is recorded, or records it with ``--write``. It exits
with 1 if the record is stale or a value follows no rule, and with 2 if torch is missing.

For example: ``tox -e torch -- --write``
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from qdqdoc.errors import QdqdocError
from qdqdoc.pytorch import engines
from qdqdoc.pytorch.cases import CASES, OLDER, Case
from qdqdoc.pytorch.record import RECORD, Line, complaints, line, write

if TYPE_CHECKING:
    from collections.abc import Iterator


def needs_newer(case: Case, engine: str) -> bool:
    """Tell whether a line is what onednn computes with AVX512 alone."""
    return OLDER in case.rules and case.rules[engine] is case.rules["onednn"]


def lines() -> Iterator[Line]:
    """Yield one line for each case and engine, and print it."""
    for case in CASES:
        for engine, rule in case.rules.items():
            if needs_newer(case, engine) and not engines.newer():
                sys.stdout.write(f"{case.name:<50}{engine:<14}needs AVX512\n")
                continue
            one = line(case, engine, rule, engines.theirs(case.key, engine))
            counts = f"{one.values:>8}{one.differing:>8}{one.unexplained:>8}"
            sys.stdout.write(f"{case.name:<50}{engine:<14}{counts}\n")
            sys.stdout.flush()
            yield one


def main(arguments: list[str]) -> int:
    """Compare or record, and return the exit code."""
    if {"-h", "--help"} & {*arguments}:
        sys.stdout.write(__doc__ or "")
        return 0
    if {*arguments} - {"--write"}:
        sys.stderr.write(f"Error: found {' '.join(arguments)}, allowed: --write\n")
        return 2
    try:
        about = engines.about()
        sys.stdout.write(f"{' '.join(f'{k} {v}' for k, v in about.items())}\n")
        sys.stdout.write(f"{'':<64}{'values':>8}{'differ':>8}{'no rule':>8}\n")
        found = [*lines()]
    except QdqdocError as error:
        sys.stderr.write(f"Error: {error}\n")
        return 2
    if "--write" in arguments:
        write({"recorded": f"{datetime.now(UTC):%Y-%m-%d}", **about}, found)
    wrong = [*complaints(found, complete=engines.newer())]
    for complaint in wrong:
        sys.stderr.write(f"{RECORD.name}: {complaint}\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
