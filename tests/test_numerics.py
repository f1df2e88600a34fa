"""Exact sums, layout and roundings against plain integers and fractions; the grids have teeth."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np
import pytest

from qdqdoc.formula import Formula, Value, agrees
from qdqdoc.numerics.formats import DTYPES, Array, tensor
from qdqdoc.numerics.layout import taps, windows
from qdqdoc.numerics.products import (
    exact_dtype,
    float_matmul,
    integer_conv,
    integer_matmul,
    sum_bound,
)
from qdqdoc.numerics.rounding import f32, f32_of, to_float
from qdqdoc.operators import OPERATORS

if TYPE_CHECKING:
    from collections.abc import Callable

ROUND = Formula("y = T(x)", symbols={"x": "value"}, types={"T": "format"})


def round_to(kind: str, value: Fraction) -> Value:
    return ROUND.evaluate({"x": value}, types={"T": kind})


@pytest.mark.parametrize("largest", [1, 255, 2**12, 2**13, 2**20, 2**26])
def test_integer_products_are_exact_on_each_side_of_the_bounds(largest: int) -> None:
    rng = np.random.default_rng(largest)
    left = rng.integers(-largest, largest + 1, (3, 40)).astype(np.int32)
    right = rng.integers(-largest, largest + 1, (40, 5)).astype(np.int32)
    expected = left.astype(object) @ right.astype(object)
    assert integer_matmul(left, right).tolist() == expected.tolist()
    assert sum_bound(left, right) >= max(abs(v) for v in expected.ravel())


def test_the_bound_is_needed() -> None:
    """One step beyond it, float32 loses a unit: the bound is not merely cautious."""
    left, right = tensor("int32", [[2**24, 1]]), tensor("int32", [[1], [1]])
    assert exact_dtype(sum_bound(left, right)) is np.float64
    assert int((left.astype(np.float32) @ right.astype(np.float32))[0, 0]) != 2**24 + 1
    assert integer_matmul(left, right)[0, 0] == 2**24 + 1


@pytest.mark.parametrize("group", [1, 2, 4])
def test_convolution_by_hand(group: int) -> None:
    rng = np.random.default_rng(group)
    x = rng.integers(-200, 200, (2, 4, 6, 5)).astype(np.int32)
    w = rng.integers(-200, 200, (8, 4 // group, 2, 3)).astype(np.int32)
    strides, dilations = [2, 1], [1, 2]
    y = integer_conv(x, w, strides=strides, dilations=dilations, group=group)
    for n, m, i, j in np.ndindex(y.shape):
        first = m // (8 // group) * (4 // group)
        total = sum(
            int(x[n, first + c, i * 2 + a, j + b * 2]) * int(w[m, c, a, b])
            for c, a, b in np.ndindex(w.shape[1:])
        )
        assert y[n, m, i, j] == total


@pytest.mark.parametrize(
    ("size", "kernel", "strides", "dilations", "pads"),
    [([7], [3], [2], [2], [1, 0]), ([4, 5], [2, 3], [1, 2], [2, 1], [0, 2, 1, 1])],
)
def test_windows_see_what_taps_say(
    size: list[int], kernel: list[int], strides: list[int], dilations: list[int], pads: list[int]
) -> None:
    rank = len(size)
    x = np.arange(1, 1 + np.prod(size)).reshape(1, 1, *size)
    padded = np.pad(x, [(0, 0), (0, 0), *zip(pads[:rank], pads[rank:], strict=True)])
    view = windows(padded, kernel, strides, dilations)
    for position in np.ndindex(view.shape[2 : 2 + rank]):
        seen = taps(position, size, kernel, strides=strides, dilations=dilations, pads=pads)
        expected = np.zeros(kernel, int)
        for offset, at in seen:
            expected[offset] = x[(0, 0, *at)]
        assert view[(0, 0, *position)].tolist() == expected.tolist()


def test_ratio_is_rounded_once() -> None:
    rng = np.random.default_rng(5)
    for _ in range(3000):
        bits = int(rng.integers(0, 200))
        numerator = int(rng.integers(-(2**62), 2**62)) << int(rng.integers(0, 120))
        numerator += int(rng.integers(-2, 3))
        exact = round_to("float32", Fraction(numerator, 2**bits))
        assert agrees(exact, f32_of(Fraction(numerator, 2**bits))), (numerator, bits)


@pytest.mark.parametrize("kind", ["float16", "bfloat16", "float32"])
def test_whole_numbers_are_rounded_once(kind: str) -> None:
    rng = np.random.default_rng(6)
    x = rng.integers(-(2**31), 2**31, 3000).astype(np.int32)
    near = 2 ** rng.integers(10, 31, 3000) + 2 ** rng.integers(0, 24, 3000)
    x = np.concatenate([x, (near + rng.integers(-1, 2, 3000)).clip(max=2**31 - 1).astype(np.int32)])
    for value, got in zip(x, to_float(x, DTYPES[kind]), strict=True):
        assert agrees(round_to(kind, Fraction(int(value))), got), value


def test_float8_sums_are_rounded_once() -> None:
    rng = np.random.default_rng(7)
    codes = rng.integers(0, 123, (2, 6, 9)).astype(np.uint8).view(DTYPES["float8e5m2"])
    left, right = codes.astype(np.float64)[0], codes.astype(np.float64)[1].T
    got = float_matmul(left, right)
    for i, j in np.ndindex(got.shape):
        pairs = zip(left[i], right[:, j], strict=True)
        total = sum((Fraction(a) * Fraction(b) for a, b in pairs), Fraction(0))
        assert agrees(round_to("float32", total), got[i, j])


def in_float64(accumulator: Array, multiplier: Array) -> Array:
    return np.asarray(np.rint(accumulator * np.float64(multiplier)))


def by_division(accumulator: Array, multiplier: Array) -> Array:
    return np.asarray(np.rint(f32(accumulator) / f32(1 / multiplier)))


def half_away(accumulator: Array, multiplier: Array) -> Array:
    product = f32(accumulator) * multiplier
    return np.asarray(np.trunc(product + np.copysign(np.float32(0.5), product)))


@pytest.mark.parametrize("wrong", [in_float64, by_division, half_away])
def test_the_grids_tell_a_wrong_rounding_from_the_right_one(
    wrong: Callable[[Array, Array], Array],
) -> None:
    different = 0
    for call in OPERATORS["", "QLinearMatMul"].ties():
        a = call.inputs["a"].astype(np.int32) - call.inputs["a_zero_point"]
        b = call.inputs["b"].astype(np.int32) - call.inputs["b_zero_point"]
        multiplier = call.inputs["a_scale"]
        right = np.rint(f32(a * b) * multiplier)
        different += int((wrong(a * b, multiplier) != right).sum())
    assert different > 100
