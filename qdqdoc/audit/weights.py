"""Findings in stored weights and in the sums that they bound."""

from __future__ import annotations

from math import isfinite
from typing import TYPE_CHECKING

import numpy as np

from qdqdoc.audit.answer import Finding, Sums
from qdqdoc.document import DocumentError, array
from qdqdoc.facts.accumulators import EXACT_IN_FLOAT32, INT32_BITS
from qdqdoc.facts.layers import KINDS
from qdqdoc.facts.reading import zeros
from qdqdoc.numerics.formats import DTYPES, Array, integer_range, is_integer

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from qdqdoc.audit.opening import Scope
    from qdqdoc.document import Document, Quantization
    from qdqdoc.facts.accumulators import Accumulator
    from qdqdoc.facts.layers import Layer
    from qdqdoc.groups import Group, Operand

RAILS = (-(2**31), 2**31 - 1)


def weight_findings(scope: Scope, found: Sequence[Group]) -> Iterator[Finding]:
    """Yield weights that are not symmetric, use few of their codes, or have a strange axis."""
    seen: set[str] = set()
    for group in found:
        for operand in group.operands:
            one = operand.quantization
            if operand.role != "weight" or one is None or operand.origin in seen:
                continue
            seen.add(operand.origin)
            where = {"node": scope.path + group.name, "tensor": operand.origin}
            yield from _symmetry(one, where)
            yield from _axis(scope, group, operand, where)
            codes = stored(scope.document, operand)
            if codes is not None and codes.size and is_integer(codes.dtype):
                yield from _width(codes, one, where)


def stored(document: Document, operand: Operand) -> Array | None:
    """Return the stored codes of an operand, ``None`` where the document does not hold them."""
    for name in (operand.origin, operand.codes):
        tensor = document.tensors.get(name or "")
        if tensor is not None and tensor.dtype in DTYPES:
            try:
                return array(document, tensor)
            except DocumentError:
                continue
    return None


def middle(dtype: str) -> int | None:
    """Return the code in the middle of an integer type, ``None`` for another type.

    >>> middle("int8"), middle("uint8"), middle("uint4"), middle("float8e5m2")
    (0, 128, 8, None)
    """
    if dtype not in DTYPES or not is_integer(DTYPES[dtype]):
        return None
    low, high = integer_range(DTYPES[dtype])
    return (low + high + 1) // 2


def _symmetry(one: Quantization, where: dict[str, str]) -> Iterator[Finding]:
    centre, points = middle(one.dtype), zeros(one)
    if centre is None or points is None or not all(map(isfinite, points)):
        return
    off = [int(point) for point in points if point != centre]
    if not off:
        return
    count = f"{len(off)} of {len(points)} zero points" if len(points) > 1 else "the zero point"
    spelled = f"{min(off)} … {max(off)}" if len(set(off)) > 1 else str(off[0])
    yield Finding(
        code="asymmetric-weights",
        words=f"{count} of {one.dtype} weights {spelled}, not {centre}: each sum of the data's "
        "codes has to be multiplied by it, too",
        numbers={"count": len(off), "of": len(points), "lowest": min(off), "highest": max(off)},
        **where,
    )


def _axis(scope: Scope, group: Group, operand: Operand, where: dict[str, str]) -> Iterator[Finding]:
    one, kind = operand.quantization, KINDS.get(group.operation.op_type)
    tensor = scope.document.tensors.get(operand.codes or operand.tensor)
    if one is None or kind is None or one.granularity != "per_axis" or one.axis is None:
        return
    if tensor is None or tensor.shape is None or not 0 <= one.axis < len(tensor.shape):
        return  # another finding says that the axis is out of range
    turned = group.operation.attributes.get("transB", 0)
    output = 0 if kind == "Conv" or turned else len(tensor.shape) - 1
    if one.axis != output:
        yield Finding(
            code="axis-not-output",
            words=f"scales along axis {one.axis} of {len(tensor.shape)}, the output channels are "
            f"axis {output}: the products of one sum have different scales, so no integer sum",
            numbers={"axis": one.axis, "output_axis": output, "rank": len(tensor.shape)},
            **where,
        )


def _width(codes: Array, one: Quantization, where: dict[str, str]) -> Iterator[Finding]:
    """Compare the bits that the codes need around their middle with those of their type."""
    dtype = DTYPES[one.dtype] if middle(one.dtype) is not None else codes.dtype
    low, high = integer_range(dtype)
    bits = (high - low).bit_length()
    centre = (low + high + 1) // 2
    least, most = int(codes.min()) - centre, int(codes.max()) - centre
    needed = signed_bits(least, most)
    if needed >= bits:
        return
    used = len(np.unique(codes))
    yield Finding(
        code="unused-weight-codes",
        words=f"codes {least + centre} … {most + centre} of {low} … {high} need {needed} of "
        f"{bits} bits; {used} of {high - low + 1} codes occur",
        numbers={
            "lowest": least + centre,
            "highest": most + centre,
            "bits": needed,
            "type_bits": bits,
            "codes": used,
        },
        **where,
    )


def signed_bits(low: int, high: int) -> int:
    """Return the width of the narrowest two's complement that holds both ends.

    >>> signed_bits(-8, 7), signed_bits(-9, 7), signed_bits(0, 0)
    (4, 5, 1)
    """
    return 1 + max(max(high, 0).bit_length(), (~min(low, -1)).bit_length())


def sums(one: Accumulator) -> Sums:
    """Return what the sums of a layer need."""
    return Sums(
        products=one.products,
        low=one.low,
        high=one.high,
        bits=one.bits,
        bits_by_type=one.bits_by_type,
        exact_in_float32=one.exact_in_float32,
    )


def sum_findings(
    scope: Scope, found: Sequence[Layer], bounds: Sequence[Accumulator]
) -> Iterator[Finding]:
    """Yield layers whose sums are too wide, and biases that are."""
    for layer, one in zip(found, bounds, strict=True):
        where = {"node": scope.path + layer.group.name, "tensor": layer.operand.tensor}
        yield from _too_wide(one, where)
        yield from _bias(layer, where)


def _too_wide(one: Accumulator, where: dict[str, str]) -> Iterator[Finding]:
    numbers = {"bits": one.bits, "low": one.low, "high": one.high, "partial": one.partial}
    told = f"{one.products} products reach {one.low} … {one.high}, {one.bits} bits"
    if one.bits > INT32_BITS:
        words = f"{told}: int32 wraps"
        yield Finding(code="accumulator-beyond-int32", words=words, numbers=numbers, **where)
    if not one.exact_in_float32:
        words = f"{told}: a float32 holds every whole number up to {EXACT_IN_FLOAT32} alone"
        yield Finding(code="accumulator-beyond-float32", words=words, numbers=numbers, **where)


def _bias(layer: Layer, where: dict[str, str]) -> Iterator[Finding]:
    """Compare a bias, counted in steps of the product, with int32."""
    if not layer.bias:
        return
    outside = [
        at
        for at, code in enumerate(layer.bias)
        if not RAILS[0] < code < RAILS[1]  # at a rail it was clipped, most likely
    ]
    furthest = max(layer.bias, key=abs)
    tensor = next((o.tensor for o in layer.group.operands if o.role == "bias"), "")
    where = {**where, "tensor": tensor or where["tensor"]}
    numbers = {"channels": len(outside), "of": len(layer.bias), "furthest": furthest}
    if outside:
        words = (
            f"{len(outside)} of {len(layer.bias)} values reach an end of int32, "
            f"{furthest} in steps of the product of both scales"
        )
        yield Finding(code="bias-beyond-int32", words=words, numbers=numbers, **where)
    elif abs(furthest) > RAILS[1] // 2:
        room = RAILS[1] - abs(furthest)
        words = f"{furthest} steps leave {room} of int32 for the products"
        numbers = {"furthest": furthest, "room": room}
        yield Finding(code="bias-headroom", words=words, numbers=numbers, **where)


def unknown_findings(
    scope: Scope, found: Sequence[Group], known: Sequence[Layer]
) -> Iterator[Finding]:
    """Name the layers with quantized weights whose integer sums nobody can bound here."""
    done = {layer.group.index for layer in known}
    for group in found:
        if KINDS.get(group.operation.op_type) is None or group.index in done:
            continue
        weights = [o for o in group.operands if o.role == "weight" and o.quantization is not None]
        if not weights:
            continue
        yield Finding(
            code="sums-unknown",
            node=scope.path + group.name,
            tensor=weights[0].origin,
            words=f"the sums were not bounded: {_why(scope.document, group, weights[0])}",
        )


def _why(document: Document, group: Group, weight: Operand) -> str:
    """Say why there is no integer sum, or none that the file alone bounds."""
    data = group.activations
    if len(data) != 1:
        return f"{len(data)} of its inputs differ from run to run, and one should"
    x, w = data[0].quantization, weight.quantization
    if x is None or w is None:
        return f"{data[0].tensor} is not quantized"
    odd = _odd(x) or _odd(w)
    if odd:
        return odd
    if x.granularity != "per_tensor":
        return f"{x.tensor} has several scales"
    if stored(document, weight) is None:
        return f"the codes of {weight.origin} are not stored in the file"
    return "its form is not data times weights plus bias, with scales that do not change in a sum"


def _odd(side: Quantization) -> str:
    """Say what keeps codes from being plain integers on one known grid, if anything does."""
    if side.scale_values is None or zeros(side) is None:
        return f"the grid of {side.tensor} is known at run time only"
    if side.dtype not in DTYPES or not is_integer(DTYPES[side.dtype]):
        return f"{side.tensor} is of type {side.dtype or 'unknown'}"
    return f"{side.tensor} has scales by block" if side.granularity == "blocked" else ""
