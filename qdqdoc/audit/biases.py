"""Findings in the scales of biases: a sum of products has one step, and a bias should have it."""

from __future__ import annotations

from math import isfinite
from typing import TYPE_CHECKING

from qdqdoc.audit.answer import Finding
from qdqdoc.document.arrays import encode
from qdqdoc.document.elements import exact

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from qdqdoc.audit.opening import Scope
    from qdqdoc.document import Quantization
    from qdqdoc.groups import Group


def ulps(left: float, right: float) -> int:
    """Count the float32 numbers from one to the other; positive where the second is larger.

    >>> ulps(0.5, exact(0.5 + 2**-24, "float32")), ulps(1.0, 1.0), ulps(2.0**-149, -(2.0**-149))
    (1, 0, -2)
    """
    return _place(right) - _place(left)


def _place(value: float) -> int:
    """Return the place of a float32 among all of them, 0 for 0."""
    bits = int.from_bytes(encode([value], "float32"), "little")
    return bits if bits < 2**31 else 2**31 - bits


def bias_findings(scope: Scope, found: Sequence[Group]) -> Iterator[Finding]:
    """Yield biases whose scale is not, in float32, the product of those of data and weights."""
    for group in found:
        parts = _parts(group)
        if parts is None:
            continue
        x, w, b = parts
        pairs = list(_pairs(scope, x, w, b))
        off = [(at, *pair) for at, pair in enumerate(pairs) if pair[0] != pair[1]]
        if not off:
            continue
        at, wanted, is_now = max(off, key=lambda one: abs(ulps(one[1], one[2])))
        distance = ulps(wanted, is_now)
        count = f"{len(off)} of {len(pairs)} channels, furthest" if len(pairs) > 1 else "it is"
        yield Finding(
            code="bias-scale-off",
            node=scope.path + group.name,
            tensor=b.tensor,
            words=f"{count} {is_now:.9g} where the product is {wanted:.9g}: {distance} ulp",
            numbers={
                "channels": len(off),
                "of": len(pairs),
                "channel": at,
                "scale": is_now,
                "product": wanted,
                "ulp": distance,
            },
        )


def _parts(group: Group) -> tuple[Quantization, Quantization, Quantization] | None:
    """Return how data, weights and bias of a layer are quantized, if all of them are."""
    data = [o.quantization for o in group.activations if o.position == 0]
    weights = [o.quantization for o in group.operands if o.role == "weight"]
    biases = [o.quantization for o in group.operands if o.role == "bias"]
    if not (len(data) == len(weights) == len(biases) == 1):
        return None
    x, w, b = data[0], weights[0], biases[0]
    if x is None or w is None or b is None:
        return None
    if x.granularity == "blocked" or len(x.scale_values or ()) != 1:
        return None
    if not w.scale_values or not b.scale_values or w.granularity == "blocked":
        return None
    scales = (*(x.scale_values or ()), *w.scale_values, *b.scale_values)
    return (x, w, b) if all(map(isfinite, scales)) else None


def _pairs(
    scope: Scope, x: Quantization, w: Quantization, b: Quantization
) -> Iterator[tuple[float, float]]:
    """Yield the product and the scale of the bias for each channel; one scale serves all."""
    tensor = scope.document.tensors.get(b.scale)
    if tensor is not None and tensor.dtype not in {"", "float32"}:
        return
    step, weights, biases = (one.scale_values or () for one in (x, w, b))
    count = max(len(weights), len(biases))
    if {len(weights), len(biases)} - {1, count}:
        return
    for channel in range(count):
        # A product of two float32 is exact in Python's floats, so it is rounded once.
        product = step[0] * weights[channel % len(weights)]
        yield exact(product, "float32"), biases[channel % len(biases)]
