"""Level 4 of a product with blocks of weights: activations become int8 codes, if they do.

Which calls those are by the specification, and on which of them onnxruntime goes its own way.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from math import prod
from typing import TYPE_CHECKING

import numpy as np

from qdqdoc.numerics.formats import tensor
from qdqdoc.numerics.rounding import divide, round_to_grid
from qdqdoc.registry.operator import Bound, Call, Differs, Element, ElementOf
from qdqdoc.registry.weights import float_sum, nbits_call

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qdqdoc.numerics.formats import Array

INT8_LEVEL = 4
BITS = 4
"""Bits of a weight unless a call says otherwise."""
_TABLES = (32, 64, 128)
"""Block sizes of 2-bit weights for which onnxruntime has a kernel with int8 activations."""


def bits_of(call: Call) -> int:
    """Return how many bits a weight has."""
    return int(call.attributes.get("bits", BITS))


def has_whole_zeros(call: Call) -> bool:
    """Tell whether zero points are codes, or absent, and not floats."""
    return call.inputs.get("zero_points", call.inputs["B"]).dtype == np.uint8


def is_int8(call: Call) -> bool:
    """Tell whether activations become int8 codes."""
    level = call.attributes.get("accuracy_level", 0)
    return level == INT8_LEVEL and has_whole_zeros(call) and "g_idx" not in call.inputs


def keeps_floats(call: Call) -> bool:
    """Tell whether they stay floats in onnxruntime all the same."""
    bits, size = bits_of(call), call.attributes["block_size"]
    return is_int8(call) and ("B" in call.fed or (bits == 2 and size not in _TABLES))  # noqa: PLR2004 - of bits


def sum_bound(element: ElementOf) -> Bound:
    """Bound the sums of floats; the element is that of the operator."""

    def added(call: Call, index: tuple[int, ...]) -> Element:
        whole = element(call, index)
        return _added_apart(whole) if is_int8(call) and bits_of(call) == 8 else whole  # noqa: PLR2004 - of bits

    return float_sum(
        "Y", 16, added, lambda call: (*call.inputs["A"].shape[:-1], call.attributes["N"])
    )


def _added_apart(whole: Element) -> Element:
    """Multiply codes as they are, and zero points by themselves, as onnxruntime adds 8 bits up.

    The terms are more, and larger.
    """
    held, none = whole.values, [0] * len(whole.values["q"])
    values: dict[str, object] = {name: [*held[name], *held[name]] for name in ("s", "r")}
    values |= {"q": [*held["q"], *none], "z": [*none, *held["z"]]}
    values["a"] = np.tile(held["a"][: len(none)], 2)
    return replace(whole, values={**held, **values}, sets={"K": range(2 * len(none))})


def overflows(call: Call) -> Array:
    """Tell in which rows a block is so small that 127 divided by its largest value is infinite.

    Its step, the largest value divided by 127, is not 0: then nothing would come of the codes.
    """
    A, size, N = call.inputs["A"], call.attributes["block_size"], call.attributes["N"]
    rows = np.abs(A.reshape(prod(A.shape[:-1]), A.shape[-1]).astype(np.float64))
    starts = range(0, rows.shape[1], size)
    tiny = np.zeros((len(rows), 1), bool)
    for start in starts if is_int8(call) else ():
        largest = rows[:, start : start + size].max(1, keepdims=True)
        infinite = np.isinf(divide(np.full((), 127.0), largest, np.float32))
        tiny |= infinite & (divide(largest, np.full((), 127.0), np.float32) > 0)
    return np.broadcast_to(tiny, (len(rows), N)).reshape(*A.shape[:-1], N)


def processors() -> tuple[Differs, Differs]:
    """Return the differences that only some processors have."""
    call = partial(
        nbits_call, codes=np.arange(16)[None, None], zeros=[[0]], scale=2.0**120, level=INT8_LEVEL
    )
    large, tiny = (
        tensor("float32", [[a, b, *[0] * 14]]) for a, b in ((8, 1), (0, 127 * 2.0**-130))
    )
    text = "Level 4 permits int8, and leaves the rule open."
    return (
        Differs(
            "onnxruntime",
            call("level 4 without a kernel", large, scale=1),
            (1,),
            "There is no kernel for int8 activations: they stay floats.",
            text,
            is_int8,
            "without FMA",
        ),
        Differs(
            "onnxruntime",
            call("a block far too small", tiny),
            (-15,),
            "Where 127 divided by a block's largest value is infinite, its codes are all -128.",
            text,
            overflows,
            "saturating",
        ),
    )


def int8_calls() -> Iterator[Call]:
    """Yield rows with quotients on ties; a single code shows the scale, without a sum."""
    rng = np.random.default_rng(13)
    largest = np.array([[0.1], [1.7], [127], [3.3e5]])
    for bits, size in ((2, 32), (4, 16), (4, 64), (8, 16), (8, 32)):
        steps = rng.normal(0, 40, (4, size))
        halves = round_to_grid(steps, tensor("int16", 0), np.int16) + 0.5
        A = tensor("float32", np.where(np.arange(size) % 5, halves / 127 * largest, largest))
        make = partial(nbits_call, bits=bits, scale=[[0.3], [-1.1], [0.07]], level=INT8_LEVEL)
        codes, zeros = rng.integers(0, 2**bits, (3, 1, size)), [[0]] * 3
        single, bias = np.arange(size) == [[[1]], [[4]], [[7]]], tensor("float32", [0.7, -3, 1e3])
        yield make(f"int8 by {bits} bits, blocks of {size}", A, codes, zeros=zeros)
        yield make(f"int8, {bits} bits, blocks of {size}", A[:, : size - 3], codes, bias=bias)
        yield make(f"int8 by one of {bits} bits and {size}", A, single * 1, zeros=zeros)
    # Differences of codes are small beside the codes, which is what onnxruntime adds up.
    codes = 128 + rng.integers(-1, 2, (3, 8, 32))
    A = tensor("float32", rng.normal(0, 1, (4, 250)))
    yield nbits_call(
        "int8, 8 bits near the zero point", A, codes, 8, scale=np.ones((3, 8)), level=4
    )
    ends = (0, -3.7e-37, 3.8e-37, 1e-45, np.inf, -np.inf, 1)
    small = tensor("float32", [(x, x / 3, x / -5, 0) for x in ends])
    yield nbits_call("int8, far too small", small, single * 1, scale=1e30, zeros=zeros, level=4)
