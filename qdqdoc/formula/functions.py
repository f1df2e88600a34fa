"""What the functions of the language compute, those that only mutants say included."""

from __future__ import annotations

from fractions import Fraction
from functools import partial, reduce
from typing import TYPE_CHECKING, Final

from qdqdoc.formula.rounding import POINTS, TYPES, Exact, IntegerType, floor, rint, saturate, wrap
from qdqdoc.formula.transcendental import exp, log, sqrt
from qdqdoc.formula.values import Inner, add, any_order_sum, clip, largest, magnitude, smallest

if TYPE_CHECKING:
    from collections.abc import Callable

_HALF = Fraction(1, 2)


def _truncate(value: Exact) -> Exact:
    return floor(value) if value >= 0 else -floor(-value)


def _half_up(value: Exact) -> Exact:
    return floor(add(value, _HALF))


def _half_away(value: Exact) -> Exact:
    return _half_up(value) if value >= 0 else -_half_up(-value)


def saturate_to(type_: IntegerType) -> Callable[[Exact], Exact]:
    """Return the saturation to a type's range."""
    return partial(saturate, lowest=type_.lowest, highest=type_.highest)


def narrow_to(type_: IntegerType) -> Callable[[Exact], Exact]:
    """Return the saturation to a type's range without its lowest value; a mutant."""
    return partial(saturate, lowest=type_.lowest + 1, highest=type_.highest)


def wrap_to(type_: IntegerType) -> Callable[[Exact], Exact]:
    """Return the reduction modulo the size of a type's range; a mutant of saturation."""
    return partial(wrap, lowest=type_.lowest, highest=type_.highest)


_INTEGERS = tuple(entry for entry in TYPES.values() if isinstance(entry, IntegerType))

MONOTONE: Final[dict[str, Callable[[Exact], Exact]]] = {
    **{name: point.round for name, point in POINTS.items()},
    **{f"saturate_{entry.name}": saturate_to(entry) for entry in _INTEGERS},
    "rint": rint,
    "floor": floor,
    "trunc": _truncate,
    "half_up": _half_up,
    "half_away": _half_away,
}
"""Functions of one argument that never decrease, and so map an interval by its ends."""

UNARY: Final[dict[str, Callable[[Exact], Exact]]] = {
    **{f"wrap_{entry.name}": wrap_to(entry) for entry in _INTEGERS},
    "wrap32": wrap_to(IntegerType("int32", -(2**31), 2**31 - 1)),
    "abs": magnitude,
    "exp": exp,
    "log": log,
    "sqrt": sqrt,
}
"""Other functions of one argument."""

RANGES: Final[dict[str, Callable[[IntegerType], Callable[[Exact], Exact]]]] = {
    "saturate": saturate_to,
    "saturate_narrow": narrow_to,
    "wrap": wrap_to,
}
"""Functions that need to know the range of the result type."""


def _sum(terms: list[Exact]) -> Inner:
    zero: Exact = 0
    return reduce(add, terms, zero)


def _rounded_sum(terms: list[Exact], rounded: Callable[[Exact], Exact]) -> Inner:
    total: Exact = 0
    for term in terms:
        total = rounded(add(total, term))
    return total


GATHERS: Final[dict[str, Callable[[list[Exact]], Inner]]] = {
    "sum": _sum,
    "sum_f32": partial(_rounded_sum, rounded=POINTS["f32"].round),
    "sum_f64": partial(_rounded_sum, rounded=POINTS["f64"].round),
    "anysum_f32": any_order_sum,
    "min": smallest,
    "max": largest,
}
"""What a reduction does with its terms, in the order of its index set."""

SEVERAL: Final[dict[str, Callable[..., Exact]]] = {
    "clip": clip,
    "min": lambda *values: smallest(values),
    "max": lambda *values: largest(values),
}
"""Functions of several arguments."""

ORDERS: Final[dict[str, slice]] = {
    "": slice(None),
    "reversed": slice(None, None, -1),
    "all but the first of": slice(1, None),
    "all but the last of": slice(None, -1),
}
"""In which order, and over how much of its set, a reduction runs; mutants use the others."""
