"""Who supports what: read from onnx's declarations and from onnxruntime's registry of kernels."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from qdqdoc import witnesses
from qdqdoc.operators import OPERATORS
from qdqdoc.registry import PEERS
from qdqdoc.sphinxext.reference_tables import difference_row
from qdqdoc.tables import Code, Table, show

if TYPE_CHECKING:
    from qdqdoc.registry import Operator, Version
    from qdqdoc.tables import Cell

RUNTIME = "com.microsoft"
QUANTIZED = re.compile(
    r"Q[A-Z].*|.*[Qq]uant.*|.*Integer.*|MatMulNBits.*|.*Bnb4|.*FpQ4|.*BFP|"
    r".*WithOrder|GemmFloat8|NhwcMaxPool"
)
"""Names of onnxruntime's operators on quantized values; not those with quantized caches."""
NOT_MEANT = re.compile(r"(Group|Paged|SparsePaged).*|.*Packed|QuickGelu")


def operators() -> Table:
    """Return one row for each version of each operator: who has it."""
    rows = [_version_row(entry, version) for entry in _sorted() for version in entry.versions]
    columns = ("operator", "version", "types here", "onnx's evaluator", "onnxruntime's kernels")
    return Table(columns=columns, rows=tuple(rows))


def _sorted() -> list[Operator]:
    return [entry for _, entry in sorted(OPERATORS.items())]


def _version_row(entry: Operator, version: Version) -> tuple[Cell, ...]:
    kernels = witnesses.kernels(entry.domain, entry.name)
    serving = sum(kernel.serves(version.since, {}) for kernel in kernels)
    theirs = "yes" if witnesses.in_evaluator(entry.domain, entry.name, version.since) else "no"
    return (Code(entry.full_name), version.since, len(_kinds(version)), theirs, serving)


def _kinds(version: Version) -> set[str]:
    return {kind for name in (*version.inputs, *version.outputs) for kind in version.allowed(name)}


def types() -> Table:
    """Return one row for each type that an operator's inputs or outputs may have."""
    rows = [
        row
        for entry in _sorted()
        for version in entry.versions
        for row in _type_rows(entry, version)
    ]
    columns = ("operator", "version", "inputs and outputs", "here", "not in onnxruntime's kernels")
    return Table(columns=columns, rows=tuple(rows))


def _type_rows(entry: Operator, version: Version) -> list[tuple[Cell, ...]]:
    named: dict[str, list[str]] = {}
    for name, variable in (*version.inputs.items(), *version.outputs.items()):
        named.setdefault(variable, []).append(name)
    kernels = witnesses.kernels(entry.domain, entry.name)
    rows: list[tuple[Cell, ...]] = []
    for variable, names in named.items():
        allowed = version.types.get(variable, (variable,))
        missing = [
            kind
            for kind in allowed
            if not any(
                kernel.serves(version.since, {variable: each})
                for kernel in kernels
                for each in (kind, witnesses.widened(kind))
            )
        ]
        gone = "every one" if len(missing) == len(allowed) else ", ".join(missing)
        who = Code(", ".join(names))
        rows.append((Code(entry.full_name), version.since, who, ", ".join(allowed), gone or None))
    return rows


def without_kernel() -> Table:
    """Return onnxruntime's quantized operators that are declared, and run on no CPU."""
    rows = tuple(
        (Code(f"{RUNTIME}::{name}"), "declared; onnxruntime has no CPU kernel to compare with")
        for name in declared_by_runtime()
        if not witnesses.kernels(RUNTIME, name)
    )
    return Table(columns=("operator", "why it is not here"), rows=rows)


def declared_by_runtime() -> list[str]:
    """Return the names of onnxruntime's operators on quantized values."""
    names = witnesses.names(RUNTIME)
    return [name for name in names if QUANTIZED.fullmatch(name) and not NOT_MEANT.fullmatch(name)]


def differences() -> Table:
    """Return every registered difference, with our values computed here and now."""
    columns = ("operator and peer", "call", "theirs → ours", "why", "what the text says")
    rows = []
    for entry in _sorted():
        for found in entry.differs:
            peer, call, theirs, ours, *words = difference_row(entry, found)
            values = Code(f"{show(theirs)} → {show(ours)}")
            domain = f" ({entry.domain})" if entry.domain else ""
            rows.append((f"{entry.name}{domain}: {peer}", call, values, *words))
    return Table(columns=columns, rows=tuple(rows))


def difference_counts() -> Table:
    """Count differences by peer and kind."""
    every = [(entry, found) for entry in _sorted() for found in entry.differs]
    rows = []
    for peer in PEERS:
        theirs = [found for _, found in every if found.peer == peer]
        refusing = sum(found.theirs is None for found in theirs)
        rows.append((peer, len(theirs) - refusing, refusing))
    return Table(columns=("peer", "other values", "refuses or dies"), rows=tuple(rows))


def bounds() -> Table:
    """Return how far onnxruntime may be where it sums floats in an order of its own."""
    rows = tuple(
        (Code(entry.full_name), Code(bound.output), bound.ulp, bound.why)
        for entry in _sorted()
        for bound in entry.bounds
    )
    return Table(columns=("operator", "output", "units allowed", "why"), rows=rows)
