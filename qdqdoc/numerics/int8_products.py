"""Products of int8 matrices by a library that has the processor's instructions for them.

NumPy multiplies whole numbers in floats, which costs several times as much. Nothing needs this:
a caller asks for an engine by its name, and the sums are the same.
"""

from __future__ import annotations

from importlib import import_module
from itertools import product as product_of_pairs
from typing import TYPE_CHECKING, Any, Literal, Protocol, get_args

import numpy as np

from qdqdoc.errors import QdqdocError

if TYPE_CHECKING:
    from collections.abc import Callable

    from qdqdoc.numerics.formats import Array

Engine = Literal["blas", "torch"]
"""BLAS multiplies floats, and comes with NumPy; torch multiplies int8."""

ENGINES: tuple[Engine, ...] = get_args(Engine)


class EngineError(QdqdocError):
    """An engine that is not there, or whose sums are not exact on this processor."""


class Int8Product(Protocol):
    """Makes ready ``out = left @ right``, and returns what computes it as often as it is called."""

    def __call__(self, left: Array, right: Array, out: Array) -> Callable[[], object]:
        """Take int8 matrices (rows, terms) and (terms, columns), and int32 (rows, columns)."""


def int8_product(engine: str) -> Int8Product | None:
    """Return what multiplies int8 matrices into int32; none for BLAS, which has no such product.

    Raises
    ------
    EngineError
        If there is no such engine, it is not installed, or this processor saturates its sums.

    Examples
    --------
    >>> int8_product("blas")
    >>> int8_product("fpga")
    Traceback (most recent call last):
    ...
    qdqdoc.numerics.int8_products.EngineError: engine 'fpga': allowed: blas, torch
    """
    if engine not in ENGINES:
        raise EngineError(f"engine {engine!r}: allowed: {', '.join(ENGINES)}")
    return _by_torch() if engine == "torch" else None


def _by_torch() -> Int8Product:
    try:
        torch: Any = import_module("torch")
    except ImportError as error:
        hint = "it needs PyTorch; the other engine, blas, needs nothing"
        raise EngineError(f"engine torch: {hint} ({error})") from None

    def product(left: Array, right: Array, out: Array) -> Callable[[], object]:
        rows, columns, sums = map(torch.from_numpy, (left, right, out))
        return lambda: torch._int_mm(rows, columns, out=sums)  # noqa: SLF001 - its only name

    # A processor that has no such product, and saturates instead, says so at once.
    left, out = np.empty((PROBE, PROBE), np.int8), np.empty((PROBE, PROBE), np.int32)
    try:
        expect_exact(product, left, PROBE, out)
    except EngineError as error:
        raise EngineError(f"engine torch: {error}; the other engine, blas, is exact") from None
    return product


PROBE = 64
"""Rows, columns and terms of a product that is made for a trial."""


def expect_exact(product: Int8Product, left: Array, columns: int, out: Array) -> None:
    """Multiply the codes with the largest sums, in these shapes; the sums must be exact.

    Instructions of older processors add two products in 16 bits and hold the sum there. If the
    largest sums there are do not show it, no other does. ``left`` and ``out`` are overwritten.

    Raises
    ------
    EngineError
        If a sum is not exact.

    Examples
    --------
    >>> def exactly(left, right, out):
    ...     return lambda: np.matmul(left, right, out=out, dtype=np.int32)
    >>> def saturating(left, right, out):
    ...     low, high = -(2**15), 2**15 - 1
    ...     return lambda: np.copyto(out, np.matmul(left, right, dtype=np.int32).clip(low, high))
    >>> left, out = np.empty((4, 3), np.int8), np.empty((4, 2), np.int32)
    >>> expect_exact(exactly, left, 2, out)
    >>> expect_exact(saturating, left, 2, out)
    Traceback (most recent call last):
    ...
    qdqdoc.numerics.int8_products.EngineError: not exact on this processor: 3 * 127 * 127 is 32767
    """
    rows, terms = left.shape
    for x, w in product_of_pairs(EXTREMES, repeat=2):
        left[...] = x
        right = np.empty((terms, columns), np.int8)
        right[...] = w
        product(left, right, out)()
        if rows and (out != terms * x * w).any():
            (found,) = out[out != terms * x * w][:1]
            raise EngineError(f"{SATURATES}: {terms} * {x} * {w} is {found}")


EXTREMES = (127, -128)
SATURATES = "not exact on this processor"
