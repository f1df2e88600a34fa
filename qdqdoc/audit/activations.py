"""Which activations are never negative, and the codes below their zero points that nobody uses."""

from __future__ import annotations

from math import isfinite
from typing import TYPE_CHECKING

from qdqdoc.audit.answer import Finding
from qdqdoc.facts.reading import zeros
from qdqdoc.numerics.formats import DTYPES, integer_range, is_integer

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from qdqdoc.audit.opening import Scope
    from qdqdoc.document import Document
    from qdqdoc.groups import Group

NOT_NEGATIVE = frozenset({"Relu", "Sigmoid", "HardSigmoid", "Softmax", "Abs", "Exp", "Softplus"})
KEEPS = frozenset(
    {
        *("MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool", "Add", "Mul", "Concat"),
        *("Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose", "Slice", "Gather", "Split"),
        *("Expand", "Tile", "DepthToSpace", "SpaceToDepth", "Dropout", "ReduceMax", "ReduceMean"),
    }
)
"""What makes no negative value of values that are not negative."""


def never_negative(document: Document, found: Sequence[Group]) -> set[int]:
    """Return the indices of the groups whose values are never negative."""
    known: set[int] = set()
    for group in found:
        operation = group.operation
        if operation.domain not in {"", "ai.onnx"}:
            continue
        kept = operation.op_type in KEEPS and _of_such(group, known)
        made = operation.op_type in NOT_NEGATIVE or _clips(document, group)
        if kept or made or (group.kind == "quantize" and _of_such(group, known)):
            known.add(group.index)
    return known


def _of_such(group: Group, known: set[int]) -> bool:
    """Tell whether all values that an operator computes with come from such groups."""
    shapes = group.operation.op_type not in {"Add", "Mul", "Concat"}
    data = group.operands[:1] if shapes else group.operands
    return bool(data) and all(operand.source in known for operand in data)


def _clips(document: Document, group: Group) -> bool:
    operation = group.operation
    if operation.op_type != "Clip":
        return False
    least = operation.attributes.get("min")
    name = operation.inputs[1] if len(operation.inputs) > 1 else ""
    tensor = document.tensors.get(name)
    if tensor is not None and tensor.values and tensor.initializer:
        least = tensor.values[0]
    return isinstance(least, int | float) and least >= 0


def lowest_codes(found: Sequence[Group], known: set[int]) -> dict[str, int]:
    """Return, by the name of the codes, the least code that values from zero up can have."""
    lowest = {}
    for group in found:
        one = group.result
        if one is None or group.index not in known or one.dtype not in DTYPES:
            continue
        points, scales = zeros(one), one.scale_values
        integer = is_integer(DTYPES[one.dtype])
        if not (integer and points and scales and len(points) == 1 and isfinite(points[0])):
            continue
        if min(scales) > 0:
            lowest[group.output] = int(points[0])
    return lowest


def activation_findings(
    scope: Scope, found: Sequence[Group], lowest: dict[str, int]
) -> Iterator[Finding]:
    """Yield codes that are never used, because they stand for negative values."""
    for group in found:
        point = lowest.get(group.output)
        if point is None or group.result is None:
            continue
        low, high = integer_range(DTYPES[group.result.dtype])
        if point > low:
            yield Finding(
                code="unused-activation-codes",
                node=scope.path + group.name,
                tensor=group.output,
                words=f"{group.operation.op_type} makes no negative value, so {point - low} of "
                f"{high - low + 1} codes are never used: zero point {point}, could be {low}",
                numbers={"zero_point": point, "unused": point - low, "codes": high - low + 1},
            )
