"""What is different on processors that round a product before they add it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from qdqdoc.numerics.elementary import without_fma

if TYPE_CHECKING:
    from collections.abc import Callable

    from qdqdoc.numerics.formats import Array
    from qdqdoc.registry.operator import Call

WHY = (
    "The polynomials are evaluated without fused multiply-adds, "
    "and the logistic function is held at 1, too."
)
TEXT = "The function is real; how it is approximated is left open."
NAME = "without FMA"


def results(kernel: Callable[..., object], call: Call) -> list[Array]:
    """Run a kernel on a call."""
    made = kernel(**call.inputs, **call.attributes)
    return [np.asarray(y) for y in (made if isinstance(made, tuple) else (made,))]


def same(ours: Array, theirs: Array) -> Array:
    """Tell which values are equal; NaN equals NaN.

    >>> same(np.float32([1, np.nan, 2]), np.float32([1, np.nan, 3]))
    array([ True,  True, False])
    """
    return np.asarray((ours == theirs) | ((ours != ours) & (theirs != theirs)))  # noqa: PLR0124 - codes have no isnan


def fma_matters(kernel: Callable[..., object], call: Call, place: int = 0) -> Array:
    """Tell which values of an output are others without fused multiply-adds."""
    ours = results(kernel, call)[place]
    with without_fma():
        theirs = results(kernel, call)[place]
    return ~same(ours, theirs)
