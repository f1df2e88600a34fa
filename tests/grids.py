"""Inputs on which a wrong order of rounding shows: exact ties, and the neighbours of ties."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from qdqdoc.numerics.formats import DTYPES, Array, integer_range, tensor
from qdqdoc.registry import Call

if TYPE_CHECKING:
    from collections.abc import Iterator

# The combinations of signs that onnxruntime has kernels for: first operand, second, result.
SIGNS = (("uint8", "uint8", "uint8"), ("uint8", "int8", "uint8"), ("int8", "int8", "int8"))


def nudge(values: Array, steps: int) -> Array:
    """Move each value by so many units in the last place."""
    towards = np.array(np.inf if steps > 0 else -np.inf, values.dtype)
    with np.errstate(over="ignore"):
        for _ in range(abs(steps)):
            values = np.nextafter(values, towards)
    return values


def tie_multipliers(seed: int) -> Iterator[Array]:
    """Yield products of scales that put some accumulator of two 8-bit codes on or beside a tie."""
    rng = np.random.default_rng(seed)
    for steps in (0, 0, 0, -1, 1, -2, 2):
        odd, shift = 2 * rng.integers(0, 40) + 1, rng.integers(4, 12)
        yield nudge(tensor("float32", odd / 2.0**shift), steps)
        # A product of two codes, so that the grid really contains this accumulator.
        accumulator, half = rng.integers(3, 100) * rng.integers(3, 100), rng.integers(0, 127) + 0.5
        yield nudge(tensor("float32", half / accumulator), steps)


def quantize_ties(kind: str, float_type: str, opset: int) -> Iterator[Call]:
    """Yield QuantizeLinear calls whose quotients are halves, moved by up to two ulp."""
    low, high = integer_range(DTYPES[kind])
    rng = np.random.default_rng(low + high + opset)
    halves = rng.integers(low - 3, high + 4, 400) + 0.5
    for scale in (1, 0.1, 0.007843138, 3.25, 0.33333334):
        s = tensor(float_type, scale)
        for zero in (low, 0, 1, high):
            with np.errstate(over="ignore"):
                middles = tensor(float_type, halves - zero) * s
            x = np.concatenate([nudge(middles, k) for k in range(-2, 3)])
            inputs = {"x": x, "y_scale": s, "y_zero_point": tensor(kind, zero)}
            yield Call(name=f"{kind} {float_type} {scale} {zero}", inputs=inputs, opset=opset)


def products(operator: str, seed: int) -> Iterator[Call]:
    """Yield calls whose outputs are all products of two 8-bit codes, scaled near ties."""
    rng = np.random.default_rng(seed)
    for first, second, result in SIGNS:
        for multiplier in tie_multipliers(seed):
            codes = [_codes(kind) for kind in (first, second)]
            zeros = [int(rng.integers(*integer_range(DTYPES[k]))) for k in (first, second)]
            if seed % 2:
                zeros = [0 if k == "int8" else 128 for k in (first, second)]
            shift = int(rng.integers(*integer_range(DTYPES[result])))
            yield _product_call(operator, codes, zeros, (multiplier, result, shift))


def _codes(kind: str) -> Array:
    low, high = integer_range(DTYPES[kind])
    return tensor(kind, range(low, high + 1))


def _product_call(
    operator: str, codes: list[Array], zeros: list[int], last: tuple[Array, str, int]
) -> Call:
    multiplier, result, shift = last
    names: tuple[str, str] = ("a", "b")
    shapes: tuple[tuple[int, ...], ...] = ((-1, 1), (1, -1))
    if operator == "QLinearConv":
        names, shapes = ("x", "w"), ((1, 1, -1), (-1, 1, 1))
    inputs: dict[str, Array] = {}
    for name, shape, values, zero in zip(names, shapes, codes, zeros, strict=True):
        inputs[name] = values.reshape(shape)
        inputs[f"{name}_scale"] = tensor("float32", 1)
        inputs[f"{name}_zero_point"] = np.array(zero, values.dtype)
    inputs[f"{names[0]}_scale"] = tensor("float32", multiplier)
    inputs["y_scale"], inputs["y_zero_point"] = tensor("float32", 1), tensor(result, shift)
    return Call(name=f"{result} {multiplier}", inputs=inputs, opset=10)
