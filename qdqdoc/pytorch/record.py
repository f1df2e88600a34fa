"""What PyTorch gave, kept in a file: counts, and digests that tell when it is stale."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from qdqdoc.numerics.formats import Array
    from qdqdoc.pytorch.cases import Case, Rule

RECORD = Path(__file__).with_name("recorded.json")


@dataclass(frozen=True)
class Line:
    """One case on one engine.

    ``differing`` counts values that are not the kernel's, ``unexplained`` those that are not the
    rule's; ``ours`` and ``theirs`` are digests of the kernel's values and of PyTorch's.
    """

    case: str
    engine: str
    values: int
    differing: int
    unexplained: int
    ours: str
    theirs: str


def digest(arrays: Iterable[Array]) -> str:
    """Return the sha256 of types, shapes and bytes.

    >>> digest([np.int8([1])]) == digest([np.uint8([1])])
    False
    """
    total = hashlib.sha256()
    for array in arrays:
        little = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
        total.update(f"{array.dtype.name} {array.shape}\n".encode())
        total.update(little.tobytes())
    return total.hexdigest()


def differing(left: Iterable[Array], right: Iterable[Array]) -> int:
    """Count the values that differ in two answers of the same shapes."""
    pairs = [*zip(left, right, strict=True)]
    if any(a.shape != b.shape for a, b in pairs):
        raise ValueError("two answers have different shapes")
    return sum(int((a != b).sum()) for a, b in pairs)


def line(case: Case, engine: str, rule: Rule, theirs: list[Array]) -> Line:
    """Compare one answer of PyTorch with kernel and rule."""
    ours = case.ours()
    return Line(
        case=case.key,
        engine=engine,
        values=sum(one.size for one in ours),
        differing=differing(ours, theirs),
        unexplained=differing(rule.answer(), theirs),
        ours=digest(ours),
        theirs=digest(theirs),
    )


def write(about: dict[str, str], lines: Iterable[Line]) -> None:
    """Replace the recorded file at once."""
    held = {**about, "lines": [asdict(one) for one in lines]}
    aside = RECORD.with_suffix(".new")
    aside.write_text(json.dumps(held, indent=1) + "\n", encoding="utf-8")
    aside.replace(RECORD)


def recorded() -> tuple[dict[str, str], tuple[Line, ...]]:
    """Return versions and date, and every line."""
    held: dict[str, Any] = json.loads(RECORD.read_text(encoding="utf-8"))
    lines = tuple(Line(**one) for one in held.pop("lines"))
    return held, lines


def complaints(now: Iterable[Line], *, complete: bool = True) -> Iterator[str]:
    """Say what is not as it was recorded; a value that no rule explains is never fine."""
    before = {(one.case, one.engine): one for one in recorded()[1]}
    for one in now:
        where = f"{one.case} on {one.engine}"
        held = before.pop((one.case, one.engine), None)
        if one.unexplained:
            yield f"{where}: {one.unexplained} of {one.values} values follow no rule"
        if held is None:
            yield f"{where}: not recorded"
        elif held != one:
            changed = (name for name, value in asdict(one).items() if value != asdict(held)[name])
            yield f"{where}: {', '.join(changed)} changed since it was recorded"
    if complete:
        yield from (f"{case} on {engine}: recorded, and gone" for case, engine in before)
