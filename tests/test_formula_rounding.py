"""The rounding table against the casts of NumPy, ml_dtypes and Python, value by value."""

from __future__ import annotations

import math
import random
from fractions import Fraction

import ml_dtypes
import numpy as np
import pytest

from qdqdoc.formula.rounding import (
    POINTS,
    TYPES,
    Exact,
    FloatFormat,
    IntegerType,
    nearest_even,
    rint,
)

# Format: (its type, the type whose values are cast to it). ml_dtypes casts float64 to bfloat16 by
# way of float32 and so rounds twice; from float32 values there is one rounding.
CASTS: dict[str, tuple[np.dtype, np.dtype]] = {
    "float32": (np.dtype(np.float32), np.dtype(np.float64)),
    "float16": (np.dtype(np.float16), np.dtype(np.float64)),
    "bfloat16": (np.dtype(ml_dtypes.bfloat16), np.dtype(np.float32)),
    "float8e4m3fn": (np.dtype(ml_dtypes.float8_e4m3fn), np.dtype(np.float32)),
    "float8e5m2": (np.dtype(ml_dtypes.float8_e5m2), np.dtype(np.float32)),
    "float8e4m3fnuz": (np.dtype(ml_dtypes.float8_e4m3fnuz), np.dtype(np.float32)),
    "float8e5m2fnuz": (np.dtype(ml_dtypes.float8_e5m2fnuz), np.dtype(np.float32)),
    "float4e2m1": (np.dtype(ml_dtypes.float4_e2m1fn), np.dtype(np.float32)),
    "float6e2m3": (np.dtype(ml_dtypes.float6_e2m3fn), np.dtype(np.float32)),
    "float6e3m2": (np.dtype(ml_dtypes.float6_e3m2fn), np.dtype(np.float32)),
}

SEED = 20260102


def same(left: Exact, right: float) -> bool:
    return left == right or (isinstance(left, float) and math.isnan(left) and math.isnan(right))


def exactly(number: float) -> Exact:
    return Fraction(number) if math.isfinite(number) else number


def representable(name: str) -> np.ndarray:
    """Return finite values of a format: all if they are few, else random ones of every size."""
    target, _ = CASTS[name]
    rng = np.random.default_rng(SEED)
    bits = {1: np.uint8, 2: np.uint16, 4: np.uint32}[target.itemsize]
    few = {"float4e2m1": 16, "float6e2m3": 64, "float6e3m2": 64}
    codes = np.arange(few.get(name, 256)).astype(bits)
    if target.itemsize > 1:
        codes = rng.integers(0, 2 ** (8 * target.itemsize), 3000, dtype=np.uint64).astype(bits)
    with np.errstate(invalid="ignore"):  # signalling nan
        values = codes.view(target).astype(np.float64)
    return np.unique(values[np.isfinite(values)])


@np.errstate(over="ignore", under="ignore")
def inputs(name: str) -> np.ndarray:
    """Return values, midpoints of neighbours, numbers beside those, and others of every size."""
    target, wide = CASTS[name]
    rng = np.random.default_rng(SEED + 1)
    finite = representable(name)
    if target.itemsize > 1:
        step = np.spacing(finite.astype(target)).astype(np.float64)
    else:
        step = np.diff(finite, append=finite[-1] * 2 - finite[-2])
    middle = (finite + step / 2).astype(wide)
    away = [np.nextafter(middle, wide.type(sign * np.inf)) for sign in (-1, 1)]
    sizes = rng.uniform(-170, 140, 3000)
    random_values = (rng.choice([-1.0, 1.0], 3000) * 2.0**sizes).astype(wide)
    near = (rng.uniform(-1.2, 1.2, 3000) * float(TYPES[name].highest)).astype(wide)
    special = np.array([0, np.inf, -np.inf, 1e-300, 3e38], dtype=wide)
    return np.concatenate([finite.astype(wide), middle, *away, random_values, near, special])


@pytest.mark.parametrize("name", CASTS)
def test_rounding_is_the_cast(name: str) -> None:
    format_ = TYPES[name]
    assert isinstance(format_, FloatFormat)
    values = inputs(name)
    with np.errstate(over="ignore", under="ignore"):
        cast = values.astype(CASTS[name][0]).astype(np.float64)
    wrong = [
        (value, format_.round(exactly(value)), wanted)
        for value, wanted in zip(values.astype(np.float64).tolist(), cast.tolist(), strict=True)
        if not same(format_.round(exactly(value)), wanted)
    ]
    assert wrong == []
    assert len(values) > 6000


@pytest.mark.parametrize("name", CASTS)
def test_a_value_of_the_format_stays(name: str) -> None:
    format_ = TYPES[name]
    assert isinstance(format_, FloatFormat)
    for value in representable(name).tolist():
        assert format_.round(Fraction(value)) == value


@pytest.mark.parametrize("name", CASTS)
def test_the_range_is_the_one_of_the_library(name: str) -> None:
    information = ml_dtypes.finfo(CASTS[name][0])  # type: ignore[no-untyped-call]
    assert TYPES[name].highest == float(information.max)
    assert TYPES[name].lowest == float(information.min)


def test_float64_is_rounded_like_division_of_integers() -> None:
    # Python's int / int is correctly rounded, subnormal results included.
    rng = random.Random(SEED)  # noqa: S311 - the same values every time, nothing secret
    format_ = POINTS["f64"]
    for _ in range(3000):
        numerator = rng.getrandbits(rng.randint(1, 300)) * rng.choice((-1, 1))
        denominator = rng.getrandbits(rng.randint(1, 1200)) + 1
        assert format_.round(Fraction(numerator, denominator)) == numerator / denominator
    assert format_.round(Fraction(2**54 + 2, 1)) == float(2**54 + 2) == 2**54
    assert format_.round(2**1024 - 2**970) == math.inf
    assert format_.round(2**1024 - 2**970 - 1) == 2**1024 - 2**971
    assert format_.round(Fraction(1, 2**1075)) == 0
    assert format_.round(Fraction(3, 2**1076)) == Fraction(1, 2**1074)


@pytest.mark.parametrize(
    ("point", "value", "rounded"),
    [
        # Overflow: a tie with the next step goes to the even one, which is the largest value.
        ("f8e4m3fn", 464, 448),
        ("f8e4m3fn", Fraction(4641, 10), math.nan),
        ("f8e4m3fn", math.inf, math.nan),
        ("f8e5m2", 61439, 57344),
        ("f8e5m2", -61440, -math.inf),
        ("f8e4m3fnuz", Fraction(2479, 10), 240),
        ("f8e4m3fnuz", 248, math.nan),
        ("f8e5m2fnuz", 61440, math.nan),
        ("f4e2m1", 100, 6),
        ("f4e2m1", -math.inf, -6),
        ("f6e2m3", 8, Fraction(15, 2)),
        ("f6e3m2", -math.inf, -28),
        ("f32", 2**128 - 2**103, math.inf),
        ("f32", 2**128 - 2**103 - 1, 2**128 - 2**104),
        # nan, after ONNX's tables for the formats that have none.
        ("f4e2m1", math.nan, 6),
        ("f6e2m3", math.nan, 0),
        ("f6e3m2", math.nan, 0),
        ("bf16", math.nan, math.nan),
        # Subnormals: half the smallest is a tie with 0.
        ("f32", Fraction(1, 2**150), 0),
        ("f32", Fraction(-3, 2**151), Fraction(-1, 2**149)),
        ("f4e2m1", Fraction(1, 4), 0),
        ("f4e2m1", Fraction(3, 4), 1),
        ("f6e2m3", Fraction(3, 16), Fraction(1, 4)),
    ],
)
def test_limits(point: str, value: Exact, rounded: float) -> None:
    assert same(POINTS[point].round(value), rounded)


def test_rint_is_numpys_and_ties_go_to_even() -> None:
    halves = np.arange(-41, 42) / 2
    assert [rint(Fraction(half)) for half in halves.tolist()] == np.rint(halves).tolist()
    assert rint(math.inf) == math.inf


def test_every_power_of_two_survives() -> None:
    for exponent in range(-300, 300):
        assert nearest_even(Fraction(2) ** exponent, 1, -300) == Fraction(2) ** exponent


def test_integer_ranges_are_numpys() -> None:
    entries = {name: entry for name, entry in TYPES.items() if isinstance(entry, IntegerType)}
    assert len(entries) == 12
    for name, entry in entries.items():
        narrow = name in {"int2", "int4", "uint2", "uint4"}
        library = getattr(ml_dtypes if narrow else np, name)
        information = ml_dtypes.iinfo(library)  # type: ignore[no-untyped-call]
        assert (entry.lowest, entry.highest) == (information.min, information.max)


def test_e8m0_has_a_range_and_no_rounding() -> None:
    information = ml_dtypes.finfo(ml_dtypes.float8_e8m0fnu)  # type: ignore[no-untyped-call]
    entry = TYPES["float8e8m0"]
    assert (entry.lowest, entry.highest) == (2.0**-127, float(information.max))
    assert not hasattr(entry, "round")
