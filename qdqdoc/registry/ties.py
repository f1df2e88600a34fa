"""Inputs on which a wrong order of rounding shows: exact ties, and the neighbours of ties.

Random inputs hardly tell a right order of roundings from a wrong one; these do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from qdqdoc.numerics.formats import DTYPES, Array, integer_range, tensor
from qdqdoc.registry.operator import Call

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from qdqdoc.registry.operator import Calls

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


def quotients(kind: str, float_type: str, opset: int) -> Iterator[Call]:
    """Yield calls of QuantizeLinear whose quotients are halves, moved by up to two ulp."""
    low, high = integer_range(DTYPES[kind])
    rng = np.random.default_rng(low + high + opset)
    halves = rng.integers(low - 3, high + 4, 400) + 0.5
    for scale in (1, 0.1, 0.007843138, 3.25, 0.33333334):
        s = tensor(float_type, scale)
        for zero in dict.fromkeys((low, 0, 1, high)):
            with np.errstate(over="ignore"):
                middles = tensor(float_type, halves - zero) * s
            x = np.concatenate([nudge(middles, k) for k in range(-2, 3)])
            inputs = {"x": x, "y_scale": s, "y_zero_point": tensor(kind, zero)}
            name = f"{kind} from {float_type} at {opset}, scale {scale}, zero point {zero}"
            yield Call(name=name, inputs=inputs, opset=opset)


def products(
    names: Sequence[str], shapes: Sequence[tuple[int, ...]], opset: int = 10, suffix: str = "y"
) -> Calls:
    """Return a generator of calls whose outputs are all products of two codes, scaled near ties.

    ``names`` are the two operands, ``shapes`` turn 256 codes of each into tensors, and ``suffix``
    names the result in its scale and zero point.
    """

    def calls() -> Iterator[Call]:
        for seed in (1, 2):
            rng = np.random.default_rng(seed)
            for kinds in SIGNS:
                for number, multiplier in enumerate(tie_multipliers(seed)):
                    codes = [every_code(kind) for kind in kinds[:2]]
                    zeros = [int(rng.integers(*integer_range(DTYPES[k]))) for k in kinds[:2]]
                    if seed % 2:
                        zeros = [0 if k == "int8" else 128 for k in kinds[:2]]
                    inputs: dict[str, Array] = {}
                    operands = zip(names, shapes, codes, zeros, strict=True)
                    for operand, shape, values, zero in operands:
                        inputs[operand] = values.reshape(shape)
                        inputs[f"{operand.lower()}_scale"] = tensor("float32", 1)
                        inputs[f"{operand.lower()}_zero_point"] = np.array(zero, values.dtype)
                    inputs[f"{names[0].lower()}_scale"] = multiplier
                    shift = int(rng.integers(*integer_range(DTYPES[kinds[2]])))
                    inputs[f"{suffix}_scale"] = tensor("float32", 1)
                    inputs[f"{suffix}_zero_point"] = tensor(kinds[2], shift)
                    name = f"{kinds[0]} by {kinds[1]}, {number}th multiplier of {seed}"
                    yield Call(name=name, inputs=inputs, opset=opset)

    return calls


def every_code(kind: str) -> Array:
    """Return all codes of an integer type, in order."""
    low, high = integer_range(DTYPES[kind])
    return tensor(kind, range(low, high + 1))
