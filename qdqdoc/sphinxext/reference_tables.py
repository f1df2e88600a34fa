"""What an operator's registration says, as tables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from qdqdoc.numerics.formats import type_name
from qdqdoc.registry import PROCESSORS, REQUIRED, UNWRITTEN
from qdqdoc.sphinxext.scope import PageError
from qdqdoc.tables import Code, Table

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from qdqdoc.registry import Call, Differs, Operator
    from qdqdoc.tables import Cell

FEW = 8
"""Tensors of no more values are written out."""


def overview(operators: Iterable[Operator]) -> Table:
    """Return one row for each operator: what is known of it, counted."""
    rows = tuple(
        (
            Code(entry.full_name),
            ", ".join(str(version.since) for version in entry.versions),
            len(_kinds(entry)),
            len(entry.formulas),
            sum(1 for _ in entry.vectors()),
            len(entry.differs),
        )
        for entry in operators
    )
    columns = ("operator", "opsets", "types", "formulas", "vectors", "differences of others")
    return Table(columns=columns, rows=rows)


def _kinds(operator: Operator) -> set[str]:
    newest = operator.versions[-1]
    return {kind for name in (*newest.inputs, *newest.outputs) for kind in newest.allowed(name)}


def symbols(operator: Operator) -> dict[str, str]:
    """Return every symbol, index set and type of the formulas, with its meaning."""
    meanings: dict[str, str] = {}
    for formula in operator.formulas:
        for declared in (formula.symbols, formula.sets, formula.types):
            meanings.update(declared)
    return meanings


def versions(operator: Operator) -> Table:
    """Return inputs, outputs and attributes, and since when each allows what."""
    newest = operator.versions[-1]
    rows: list[tuple[Cell, ...]] = []
    for kind, names in (("input", newest.inputs), ("output", newest.outputs)):
        for name in names:
            optional = ", optional" if name in newest.optional else ""
            rows.append((Code(name), kind + optional, _types(operator, name)))
    attributes = operator.attribute_names()
    rows += [(Code(name), "attribute", _attribute(operator, name)) for name in attributes]
    return Table(columns=("name", "is", "since: what it allows"), rows=tuple(rows))


def _types(operator: Operator, name: str) -> str:
    seen: set[str] = set()
    parts = []
    for version in operator.versions:
        known = name in version.inputs or name in version.outputs
        allowed = version.allowed(name) if known else ()
        fresh = [kind for kind in allowed if kind not in seen]
        seen.update(fresh)
        if fresh:
            parts.append(f"{version.since}: {', '.join(fresh)}")
    return "; ".join(parts)


def _attribute(operator: Operator, name: str) -> str:
    since = next(v for v in operator.versions if name in v.attributes)
    default = operator.versions[-1].attributes[name]
    if default is REQUIRED:
        return f"{since.since}: required"
    return f"{since.since}: default {'none' if default is None else default}"


def differences(operator: Operator) -> Table:
    """Return where peers compute something else; our values are computed here and now."""
    columns = ("peer", "call", "theirs", "ours", "why", "what the text says")
    rows = tuple(difference_row(operator, entry) for entry in operator.differs)
    return Table(columns=columns, rows=rows)


def difference_row(operator: Operator, entry: Differs) -> tuple[Cell, ...]:
    """Return one difference: the call, both values, why, and what the specification says."""
    ours = operator.run(entry.call)[operator.place(entry)]
    if isinstance(entry.theirs, tuple) and list(ours.reshape(-1)) == list(entry.theirs):
        raise PageError(f"{operator.name}: {entry.call.name}: there is no difference any more")
    on = f", {PROCESSORS[entry.processor]}" if entry.processor else ""
    return (
        f"{entry.peer} {entry.version}{on}",
        Code(_call(entry.call, versioned=not operator.domain)),
        _theirs(entry),
        Code(_values(ours.reshape(-1))),
        entry.why,
        entry.specification,
    )


def _theirs(entry: Differs) -> Cell:
    if entry.theirs is None:
        return Code("refuses")
    return (
        "memory that it never wrote" if entry.theirs == UNWRITTEN else Code(_values(entry.theirs))
    )


def vectors(operator: Operator) -> Table:
    """Return the names of the vectors with what goes into each."""
    rows = []
    for call in operator.vectors():
        tensors = [*call.inputs.items(), *((operator.versions[-1].variadic, t) for t in call.more)]
        inputs = ", ".join(f"{name} {_kind(value)}" for name, value in tensors)
        opset = () if operator.domain else (call.opset,)
        rows.append((call.name, *opset, Code(inputs)))
    heads = ("vector", "inputs") if operator.domain else ("vector", "opset", "inputs")
    return Table(columns=heads, rows=tuple(rows))


def bounds(operator: Operator) -> Table:
    """Return how far a peer may be from each output whose floats it sums in its own order."""
    rows = tuple((Code(bound.output), bound.ulp, bound.why) for bound in operator.bounds)
    return Table(columns=("output", "units allowed", "why"), rows=rows)


def _call(call: Call, *, versioned: bool) -> str:
    more = enumerate(call.more)
    given = [
        *_arguments(call.inputs.items()),
        *_arguments((f"[{k}]", value) for k, value in more),
        *_arguments(call.attributes.items()),
    ]
    fed = [f"{name} at run time" for name in call.fed]
    opset = [f"opset={call.opset}"] if versioned else []
    return ", ".join([*given, *fed, *opset])


def _arguments(pairs: Iterable[tuple[str, Any]]) -> Iterator[str]:
    for name, value in pairs:
        if not isinstance(value, np.ndarray | np.generic):
            yield f"{name}={value}"
            continue
        array = np.asarray(value)
        shown = _values(array.reshape(-1)) if array.size <= FEW else ""
        yield f"{name}={_kind(array)}{shown}"


def _kind(value: Any) -> str:  # noqa: ANN401 - whatever can be an array
    array = np.asarray(value)
    shape = "×".join(map(str, array.shape))
    return f"{type_name(array.dtype)}[{shape}]" if array.ndim else type_name(array.dtype)


def _values(values: Iterable[Any]) -> str:
    return f"({', '.join(map(str, values))})"
