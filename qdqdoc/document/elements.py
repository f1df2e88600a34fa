"""Element types: how many bytes a value takes, and how it is spelled."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

STORAGE = {
    "float32": "<f4",
    "float64": "<f8",
    "float16": "<f2",
    "bfloat16": "<u2",
    "float8e4m3fn": "|u1",
    "float8e4m3fnuz": "|u1",
    "float8e5m2": "|u1",
    "float8e5m2fnuz": "|u1",
    "float8e8m0": "|u1",
    "float6e2m3": "|u1",
    "float6e3m2": "|u1",
    "float4e2m1": "|u1",
    "int2": "|i1",
    "uint2": "|u1",
    "int4": "|i1",
    "uint4": "|u1",
    "int8": "|i1",
    "uint8": "|u1",
    "int16": "<i2",
    "uint16": "<u2",
    "int32": "<i4",
    "uint32": "<u4",
    "int64": "<i8",
    "uint64": "<u8",
    "bool": "|b1",
    "complex64": "<c8",
    "complex128": "<c16",
}
"""What NumPy reads of the raw bytes: the value itself, or its code where NumPy lacks the type."""

SPELLINGS = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
"""JSON has no word for these, so the document writes them as text."""


COMMON = 6e4
"""Every float type but those of less than 16 bits goes so far."""


def item_size(dtype: str) -> int | None:
    """Bytes per value, ``None`` for types without a fixed size."""
    return np.dtype(STORAGE[dtype]).itemsize if dtype in STORAGE else None


def is_float(dtype: str) -> bool:
    """Tell whether values of this type are real numbers (complex ones are not)."""
    return "float" in dtype


def exact(number: float, dtype: str) -> float:
    """Return the value that a decimal stands for in its own type.

    >>> exact(0.1, "float32")
    0.10000000149011612

    Types of less than 16 bits are subsets of float32, and so is bfloat16.
    """
    if dtype == "float16":
        return float(_quietly(np.float16, number))
    if dtype in {"", "float64"} or not is_float(dtype):
        return float(number)
    return float(_quietly(np.float32, number))


def shortest(value: float, dtype: str) -> float:
    """Return the number with the fewest digits that `exact` turns into `value`.

    >>> shortest(0.10000000149011612, "float32")
    0.1
    """
    if dtype == "float16":
        return float(str(_quietly(np.float16, value)))
    if dtype in {"", "float64"} or not is_float(dtype):
        return float(value)
    return float(str(_quietly(np.float32, value)))


def spell(value: float, dtype: str) -> float | str:
    """Return a float as JSON can hold it."""
    if math.isfinite(value):
        return shortest(value, dtype)
    return next(word for word, number in SPELLINGS.items() if str(number) == str(value))


def _quietly(kind: type[np.floating[Any]], number: float) -> np.floating[Any]:
    if -COMMON < number < COMMON:
        return kind(number)  # no need to guard, which takes longer than all the rest
    with np.errstate(over="ignore"):
        return kind(number)


def flat(value: Any) -> tuple[Any, ...] | None:  # noqa: ANN401 - a number or a list of them
    """Return a number, or a list of numbers, as a tuple."""
    if value is None:
        return None
    return tuple(value) if isinstance(value, list | tuple) else (value,)


def needed_bits(codes: NDArray[Any]) -> int:
    """Return the smallest width in bits that holds every one of these integers.

    >>> needed_bits(np.int8([-8, 7])), needed_bits(np.uint8([0, 15]))
    (4, 4)
    """
    if not codes.size:
        return 1
    low, high = int(codes.min()), int(codes.max())
    if codes.dtype.kind == "u":
        return max(1, high.bit_length())
    return 1 + max(high.bit_length() if high > 0 else 0, (~low).bit_length() if low < 0 else 0)
