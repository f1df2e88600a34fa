"""What QuantizeLinear and DequantizeLinear of both domains share, most of it vectors."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from qdqdoc.numerics.formats import (
    DTYPES,
    ONNX_TYPE,
    Array,
    integer_range,
    is_integer,
    largest_finite,
    tensor,
    type_of_number,
)
from qdqdoc.numerics.rounding import cast, f32
from qdqdoc.registry.checks import refuse
from qdqdoc.registry.granularity import CASE_SHAPE, granularity_vectors
from qdqdoc.registry.operator import Call
from qdqdoc.registry.ties import nudge

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

HALVES = np.arange(-6, 7, dtype=np.float32) / 2
FAR = tensor("float32", [-3e9, -1e5, -129, -128.5, 127.5, 255.5, 1e5, 3e9, np.inf, -np.inf, np.nan])
"""Beyond the rails of small types, of int32, and of everything."""
DIVISIONS = ("float32", "float16", "bfloat16")
"""Types in which a quotient may be taken."""


def type_by_number(
    operator: str, parameter: str, number: int, allowed: Collection[str]
) -> str | None:
    """Return the type that an attribute names by its number, ``None`` for 0: not given.

    >>> type_by_number("QuantizeLinear", "precision", 10, DIVISIONS)
    'float16'
    """
    named = type_of_number(number) if number else None
    if number and named not in allowed:
        numbers = ", ".join(f"{ONNX_TYPE[kind]} ({kind})" for kind in allowed)
        refuse(operator, parameter, number, f"0, {numbers}")
    return named


def quotient_vectors(kinds: Iterable[str]) -> Iterator[Call]:
    """Yield ties and far values for each integer type, with a zero point on and off its rails."""
    for kind in kinds:
        low, high = integer_range(DTYPES[kind])
        for zero in dict.fromkeys((low, 0, 1, high)):
            for scale in tensor("float32", [1, 0.1, -0.75]):
                x = np.concatenate([HALVES * scale, FAR])
                inputs = {"x": x, "y_scale": scale, "y_zero_point": tensor(kind, zero)}
                yield Call(name=f"{kind} z={zero} s={scale!s}", inputs=inputs, opset=25)


def layout_vectors(*, blocks: bool = True) -> Iterator[Call]:
    """Yield each granularity, the shapes that are none, and scales that are none."""
    x = (np.arange(42, dtype=np.float32).reshape(CASE_SHAPE) - 20) / 4
    yield from granularity_vectors(x, "y", "uint8", blocks=blocks)
    quarter, three = tensor("float32", 0.25), tensor("int8", 3)
    yield quotient("a vector of one scale", x[0, 0, :3], tensor("float32", [0.5]), three, 28)
    yield quotient("a vector of one zero point", x, quarter, tensor("int8", [3]), 28)
    for odd in (0, np.inf, 1e-45):
        yield quotient(f"scale {odd}", x, tensor("float32", odd), three)
    yield Call(name="no zero point", inputs={"x": x, "y_scale": quarter})
    yield Call(name="empty", inputs={"x": x[:, :0], "y_scale": quarter})
    yield Call(name="a scalar", inputs={"x": x[1, 1, 1], "y_scale": quarter}, opset=10)


def quotient(
    name: str, x: Array, scale: Array, zero: Array, opset: int = 25, **attributes: int
) -> Call:
    """Make a call of QuantizeLinear."""
    inputs = {"x": x, "y_scale": scale, "y_zero_point": zero}
    return Call(name=name, inputs=inputs, attributes=attributes, opset=opset)


def middles(kind: str) -> Array:
    """Return what lies half way between two neighbours of a float type of eight bits or less.

    >>> middles("float4e2m1")
    array([-5.  , -3.5 , -2.5 , -1.75, -1.25, -0.75, -0.25,  0.25,  0.75,
            1.25,  1.75,  2.5 ,  3.5 ,  5.  ], dtype=float32)
    """
    values = f32(every_bit_pattern(kind))
    values = np.unique(values[np.isfinite(values)])
    return (values[1:] + values[:-1]) / 2


def beside_middles(kind: str, scale: Array, zero: int, step: int) -> Array:
    """Return values whose quotient, plus the zero point, is half way between two floats, or near.

    Only each ``step``-th pair of neighbours is looked at.
    """
    exact = f32((middles(kind)[::step] - zero) * scale)
    return np.concatenate([nudge(exact, k) for k in (-1, 0, 1)])


def rail_vectors(kind: str) -> Iterator[Call]:
    """Yield the rails of a float type, values beside them, and very small ones."""
    dtype = DTYPES[kind]
    limit = tensor("float32", largest_finite(dtype))
    near = limit * tensor("float32", [0.96, 1, 1.03, 1.0714, 1.125, 1.2, 2])
    small = np.ldexp(tensor("float32", [1, 1.5, 2, 2.5, 3, 5]), -10)
    x = np.concatenate([near, -near, small, np.arange(-4, 5) * tensor("float32", 0.3125), [0]])
    for saturate in (1, 0):
        for zero in (0, 1):
            name, shift = f"{kind} z={zero} saturate={saturate}", np.array(zero, dtype)
            yield quotient(name, f32(x), tensor("float32", 1), shift, 28, saturate=saturate)
    special = tensor("float32", [np.inf, -np.inf, np.nan])
    inputs = {"x": special, "y_scale": tensor("float32", 0.5)}
    number = ONNX_TYPE[kind]
    yield Call(name=f"{kind} special", inputs=inputs, attributes={"output_dtype": number})


def middle_vectors(kind: str) -> Iterator[Call]:
    """Yield quotients between two floats, for each type of the division."""
    for zero, saturate in ((0, 1), (1, 1), (0, 0), (1, 0)):
        shift = tensor(kind, zero)
        for precision in DIVISIONS:
            scale = tensor("float32", 1 if zero else 0.1)
            x = beside_middles(kind, scale, zero, 7)
            name = f"{kind} middles z={zero} saturate={saturate} in {precision}"
            attributes = {"saturate": saturate, "precision": ONNX_TYPE[precision]}
            yield quotient(name, x, scale, shift, 28, **attributes)


def division_vectors() -> Iterator[Call]:
    """Yield quotients that differ by the type in which they are taken."""
    rng = np.random.default_rng(1)
    x, zero = rng.uniform(-40000, 40000, 64).astype(np.float32), tensor("uint16", 9)
    for kind in DIVISIONS:
        for opset in (21, 23):
            name = f"{kind} at opset {opset}"
            yield quotient(name, cast(x, DTYPES[kind]), tensor(kind, 3.7), zero, opset)
        number = ONNX_TYPE[kind]
        yield quotient(f"precision {kind}", x, tensor("float32", 3.7), zero, precision=number)
    # Ties of bfloat16, of float16 and of the quotient, and a unit beside them that float32 drops.
    ties = np.array([2**25 + 2**17, 2**25 + 3 * 2**17, 2**25 + 2**12, 2**24])
    whole = np.concatenate([ties - 1, ties + 1, -1 - ties, 1 - ties, [-7, 5, 0, 3]])
    for kind in (*DIVISIONS, "int32", "float8e8m0"):
        for scale in (2, 2**13):
            name = f"int32 by {scale} in {kind}"
            yield quotient(name, tensor("int32", whole), tensor(kind, scale), tensor("int16", 1))


def every_bit_pattern(kind: str) -> Array:
    """Return all values of a float type of eight bits or less, infinities and NaN among them."""
    bits = int(kind.removeprefix("float")[0])
    return np.arange(2**bits, dtype=np.uint8).view(DTYPES[kind])


def some_codes(kind: str) -> Array:
    """Return every code of a small type, thinned out to a few dozen; the odd ones of a large."""
    dtype = DTYPES[kind]
    if not is_integer(dtype):
        every = every_bit_pattern(kind)
        return every[:: max(len(every) // 32, 1)]
    low, high = integer_range(dtype)
    if dtype.itemsize == 1:
        return tensor(kind, range(low, high + 1, max((high - low) // 32, 1)))
    odd = [low, low + 1, -3, 0, 5, 2051, 2**24 + 1, 2**30 + 2**22 + 1, high - 1, high]
    return tensor(kind, [c for c in odd if low <= c <= high])


def code_vectors(kinds: Iterable[str]) -> Iterator[Call]:
    """Yield codes of each type, with a zero point on and off its rails."""
    for kind in kinds:
        dtype, codes = DTYPES[kind], some_codes(kind)
        rails = integer_range(dtype) if is_integer(dtype) else ()
        for zero in dict.fromkeys((0, 1, *rails)):
            for scale in tensor("float32", [0.1, -0.75]):
                inputs = {"x": codes, "x_scale": scale, "x_zero_point": np.array(zero, dtype)}
                yield Call(name=f"{kind} z={zero} s={scale!s}", inputs=inputs)


def product_ties(kind: str, scale: str, result: str, opset: int) -> Call:
    """Return products on and beside ties of the result's type: a code and a scale for each.

    They lie along an axis that has a scale for each of its slices.
    """
    codes = some_codes(kind)
    codes = np.resize(codes[np.isfinite(f32(codes)) & (f32(codes) != 0)], 200)
    below = tensor(result, np.random.default_rng(opset).uniform(1, 2, len(codes)))
    tie = (below.astype(np.float64) + nudge(below, 1).astype(np.float64)) / 2
    scales = tensor(scale, tie / codes.astype(np.float64))
    inputs = {
        "x": np.concatenate([codes] * 3),
        "x_scale": np.concatenate([nudge(scales, k) for k in (-1, 0, 1)]),
    }
    name = f"{kind} by {scale} to {result} at opset {opset}"
    return Call(name=name, inputs=inputs, attributes={"axis": 0}, opset=opset)
