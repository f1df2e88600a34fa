"""The rounding atlas: what becomes of the same accumulators under every rule found in the wild.

Each rule is written out here in whole numbers and exact fractions, so that they can be compared
side by side; none is a kernel. A rule takes an accumulator, the three scales and the zero point.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from qdqdoc.formula.rounding import POINTS, floor, rint, saturate
from qdqdoc.tables import Code, Table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from qdqdoc.tables import Cell

LOW, HIGH = -128, 127
HALF = Fraction(1, 2)


@dataclass(frozen=True)
class Scales:
    """The scales of the two operands and of the result, float32, and its zero point."""

    x: np.float32
    w: np.float32
    y: np.float32
    zero_point: int

    @property
    def exact(self) -> Fraction:
        """The multiplier without any rounding."""
        return Fraction(float(self.x)) * Fraction(float(self.w)) / Fraction(float(self.y))


@dataclass(frozen=True)
class Rule:
    """A way to bring an accumulator to the grid of the result."""

    name: str
    where: str
    cites: str
    apply: Callable[[int, Scales], Fraction | int]

    def code(self, accumulator: int, scales: Scales) -> int:
        """Return the code that comes out, held within int8."""
        return int(saturate(Fraction(self.apply(accumulator, scales)), lowest=LOW, highest=HIGH))


def _f32(value: Fraction | int) -> Fraction:
    return Fraction(POINTS["f32"].round(Fraction(value)))


def _f64(value: Fraction | int) -> Fraction:
    return Fraction(POINTS["f64"].round(Fraction(value)))


def _even(value: Fraction) -> int:
    return int(rint(value))


def _up(value: Fraction) -> int:
    return int(floor(value + HALF))


def _away(value: Fraction) -> int:
    return _up(value) if value >= 0 else -_up(-value)


def _multiplier32(scales: Scales) -> Fraction:
    """Return the multiplier of onnxruntime's integer kernels: two roundings to float32."""
    product = _f32(Fraction(float(scales.x)) * Fraction(float(scales.w)))
    return _f32(product / Fraction(float(scales.y)))


def _scaled32(accumulator: int, scales: Scales) -> Fraction:
    return _f32(_f32(accumulator) * _multiplier32(scales))


def _exact(accumulator: int, scales: Scales) -> int:
    return _even(accumulator * scales.exact) + scales.zero_point


def _zero_point_exact(accumulator: int, scales: Scales) -> int:
    return _even(accumulator * scales.exact + scales.zero_point)


def _kernel(accumulator: int, scales: Scales) -> int:
    return _even(_scaled32(accumulator, scales)) + scales.zero_point


def _zero_point_first(accumulator: int, scales: Scales) -> int:
    return _even(_f32(_scaled32(accumulator, scales) + scales.zero_point))


def _evaluator(accumulator: int, scales: Scales) -> int:
    """Add the zero point in float64: an int32 times a float32 is one in NumPy."""
    multiplier = _multiplier32(scales)
    return _even(_f64(_f64(accumulator * multiplier) + scales.zero_point))


def _dequantized(accumulator: int, scales: Scales) -> int:
    """Multiply, then divide: the float network that a QDQ file writes down."""
    product = _f32(Fraction(float(scales.x)) * Fraction(float(scales.w)))
    real = _f32(_f32(accumulator) * product)
    return _even(_f32(real / Fraction(float(scales.y)))) + scales.zero_point


def _reciprocal(accumulator: int, scales: Scales) -> int:
    product = _f32(Fraction(float(scales.x)) * Fraction(float(scales.w)))
    real = _f32(_f32(accumulator) * product)
    return _even(_f32(real * _f32(1 / Fraction(float(scales.y))))) + scales.zero_point


def _half_up(accumulator: int, scales: Scales) -> int:
    return _up(accumulator * scales.exact) + scales.zero_point


def _half_away(accumulator: int, scales: Scales) -> int:
    return _away(accumulator * scales.exact) + scales.zero_point


def _truncated(accumulator: int, scales: Scales) -> int:
    value = accumulator * scales.exact
    return int(floor(value) if value >= 0 else -floor(-value)) + scales.zero_point


BITS = 31


def fixed_point(multiplier: Fraction) -> tuple[int, int]:
    """Return a multiplier as (mantissa of 31 bits, shift to the right): mantissa / 2**shift.

    >>> fixed_point(Fraction(3, 8))
    (1610612736, 32)
    """
    shift = BITS
    while multiplier * 2 ** (shift - BITS) < HALF:
        shift += 1
    while multiplier * 2 ** (shift - BITS) >= 1:
        shift -= 1
    mantissa = _away(multiplier * 2**shift)
    return (mantissa // 2, shift - 1) if mantissa == 2**BITS else (mantissa, shift)


def _single(accumulator: int, scales: Scales) -> int:
    """One product of 64 bits, one shift that adds half first."""
    mantissa, shift = fixed_point(scales.exact)
    return (accumulator * mantissa + (1 << shift - 1) >> shift) + scales.zero_point


def _tosa_double(accumulator: int, scales: Scales) -> int:
    mantissa, shift = fixed_point(scales.exact)
    half = 1 << shift - 1
    if shift > BITS:
        half += (1 << BITS - 1) * (1 if accumulator >= 0 else -1)
    return (accumulator * mantissa + half >> shift) + scales.zero_point


def _gemmlowp(accumulator: int, scales: Scales) -> int:
    """Take a doubling high product, rounded; then a shift that rounds halves away from zero."""
    mantissa, shift = fixed_point(scales.exact)
    product = accumulator * mantissa
    nudge = 1 << BITS - 1 if product >= 0 else 1 - (1 << BITS - 1)
    # C divides towards zero.
    high = abs(product + nudge) >> BITS
    return _away(Fraction(high if product + nudge >= 0 else -high, 2 ** (shift - BITS))) + (
        scales.zero_point
    )


RULES = (
    Rule("exact", "the rational value, rounded once", "onnx-quantizelinear", _exact),
    Rule(
        "float32, then the zero point",
        "onnxruntime's QLinearConv, QLinearMatMul, QGemm",
        "onnx-qlinearconv",
        _kernel,
    ),
    Rule(
        "float32, after the zero point",
        "onnxruntime's QLinearMul",
        "ort-contrib",
        _zero_point_first,
    ),
    Rule(
        "float64, after the zero point",
        "onnx's evaluator of QLinearConv and QLinearMatMul",
        "onnx-qlinearconv",
        _evaluator,
    ),
    Rule("exact, after the zero point", "StableHLO's quantize", "stablehlo", _zero_point_exact),
    Rule(
        "float32, multiplied then divided",
        "DequantizeLinear, a float sum, QuantizeLinear",
        "onnx-quantizelinear",
        _dequantized,
    ),
    Rule(
        "float32, by the reciprocal",
        "runtimes that multiply instead of dividing",
        "jacob2018",
        _reciprocal,
    ),
    Rule("halves up", "an added half and a shift, with an exact multiplier", "tosa", _half_up),
    Rule("halves away from zero", "C's round(), with an exact multiplier", "jacob2018", _half_away),
    Rule("towards zero", "a cast to integer: rounds nothing", "jacob2018", _truncated),
    Rule(
        "31-bit multiplier, one rounding",
        "TOSA apply_scale_32, and newer TFLite kernels",
        "tosa",
        _single,
    ),
    Rule(
        "31-bit multiplier, double rounding",
        "TOSA apply_scale_32 with double_round",
        "tosa",
        _tosa_double,
    ),
    Rule(
        "31-bit multiplier, gemmlowp",
        "a doubling high product, then a rounding shift",
        "gemmlowp",
        _gemmlowp,
    ),
)

TIES = Scales(np.float32(0.5), np.float32(1), np.float32(1), 0)
ODD = Scales(np.float32(0.5), np.float32(1), np.float32(1), 1)
NARROW = Scales(np.float32(0.1), np.float32(1), np.float32(1), 0)
WILD = tuple(
    Scales(np.float32(x), np.float32(w), np.float32(y), 0)
    for x, w, y in ((0.5, 1, 1), (0.1, 1, 1), (0.0235, 0.0061, 0.0471), (0.3, 0.7, 0.6))
)
"""Scales on which the rules are counted against each other."""


def codes(scales: Scales, accumulators: Iterable[int]) -> Table:
    """Return one row for each rule: the code of each accumulator."""
    chosen = [*accumulators]
    rows: list[tuple[Cell, ...]] = [
        (rule.name, *(rule.code(a, scales) for a in chosen)) for rule in RULES
    ]
    return Table(columns=("rule", *map(str, chosen)), rows=tuple(rows))


def rules() -> Table:
    """Return who rounds in which way."""
    return Table(
        columns=("rule", "found in"), rows=tuple((rule.name, rule.where) for rule in RULES)
    )


def counted(reach: int, zero_point: int) -> Table:
    """Count for each rule how many accumulators up to ``reach`` get another code than exactly."""
    every = [replace(scales, zero_point=zero_point) for scales in WILD]
    rows: list[tuple[Cell, ...]] = []
    for rule in RULES[1:]:
        numbers = []
        for scales in every:
            pairs = ((rule.code(a, scales), RULES[0].code(a, scales)) for a in range(-reach, reach))
            numbers.append(sum(ours != exact for ours, exact in pairs))
        rows.append((rule.name, *numbers))
    heads = [f"{s.x!s}·{s.w!s}/{s.y!s}" for s in every]
    return Table(columns=("rule", *heads), rows=tuple(rows))


def shown(scales: Scales) -> Code:
    """Return scales as a reader would write them down."""
    return Code(f"{scales.x!s} * {scales.w!s} / {scales.y!s}, zero point {scales.zero_point}")
