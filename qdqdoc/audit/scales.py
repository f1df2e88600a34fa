"""Findings in scales, zero points and axes: what each QuantizeLinear and its like says."""

from __future__ import annotations

from math import isfinite
from typing import TYPE_CHECKING

from qdqdoc.audit.answer import Finding
from qdqdoc.document.model import QDQ

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from qdqdoc.audit.opening import Scope
    from qdqdoc.document import Operation, Quantization

SMALLEST = {
    "float16": 2.0**-14,
    "float32": 2.0**-126,
    "bfloat16": 2.0**-126,
    "float64": 2.0**-1022,
}
"""The smallest normal number of each type that scales have."""


def scale_findings(scope: Scope) -> Iterator[Finding]:
    """Yield what is wrong with scales, each of them once, at the first node that reads it."""
    seen: set[str] = set()
    for operation in scope.document.operations:
        for one in operation.quantization.values():
            if one.scale in seen:
                continue
            seen.add(one.scale)
            yield from _values(scope, operation, one)


def _values(scope: Scope, operation: Operation, one: Quantization) -> Iterator[Finding]:
    node = scope.path + operation.name
    if one.scale_values is None or (one.zero_point and one.zero_point_values is None):
        unknown = one.scale if one.scale_values is None else one.zero_point or ""
        words = f"{unknown} is known at run time only; its values were not looked at"
        yield Finding(code="scales-at-run-time", node=node, tensor=unknown, words=words)
    tensor = scope.document.tensors.get(one.scale)
    smallest = SMALLEST.get(tensor.dtype if tensor else "", 0.0)
    for code, holds, what in _tests(smallest):
        places = [at for at, value in enumerate(one.scale_values or ()) if holds(value)]
        if places:
            values = one.scale_values or ()
            first = values[places[0]]
            count = f"{len(places)} of {len(values)} scales" if len(values) > 1 else "the scale"
            yield Finding(
                code=code,
                node=node,
                tensor=one.scale,
                words=f"{count} of {one.tensor} {what}: {first:.9g}",
                numbers={
                    "count": len(places),
                    "of": len(values),
                    "first_index": places[0],
                    "first": first,
                },
            )


def _tests(smallest: float) -> tuple[tuple[str, Callable[[float], bool], str], ...]:
    return (
        ("scale-not-finite", lambda s: not isfinite(s), "not finite"),
        ("scale-zero", lambda s: s == 0, "zero"),
        ("scale-negative", lambda s: isfinite(s) and s < 0, "negative"),
        ("scale-subnormal", lambda s: 0 < abs(s) < smallest, f"below {smallest:.3g}"),
    )


def axis_findings(scope: Scope) -> Iterator[Finding]:
    """Yield axes that their tensors do not have."""
    for operation in scope.document.operations:
        one = next(iter(operation.quantization.values()), None)
        if operation.op_type not in QDQ or one is None:
            continue
        known = scope.document.tensors.get(one.tensor)
        rank = len(known.shape) if known is not None and known.shape is not None else None
        if rank is None and operation.op_type == QDQ[0]:
            data = scope.document.tensors.get(operation.inputs[0])
            rank = len(data.shape) if data is not None and data.shape is not None else None
        finding = _axis(scope, operation, one, rank)
        if finding is not None:
            yield finding


def _axis(
    scope: Scope, operation: Operation, one: Quantization, rank: int | None
) -> Finding | None:
    """Judge an axis that counts, or that is written though a single scale needs none."""
    written = operation.attributes.get("axis")
    counts = one.granularity != "per_tensor"
    axis = written if isinstance(written, int) else 1
    if rank is None or -rank <= axis < rank or (not counts and written is None):
        return None
    if not counts and axis == 1:
        return None  # the default, written out
    by_default = " (the default)" if written is None else ""
    several = len(one.scale_values) if one.scale_values else 1
    what = f"with {several} scales" if counts else "with a single scale, which needs none"
    return Finding(
        code="axis-on-rank-1" if rank == 1 else "axis-out-of-range",
        node=scope.path + operation.name,
        tensor=one.tensor,
        words=f"{one.tensor} of rank {rank} has axis {axis}{by_default}, {what}",
        numbers={"axis": axis, "rank": rank, "scales": several},
    )
