"""Sums of products of uint8 and int8 on processors that add two products in 16 bits.

AVX2 without VNNI has an instruction that multiplies codes of uint8 by codes of int8 and adds
neighbouring products in int16, where the sum saturates :cite:p:`ort-mlas`. The pairs are those of
the codes as they are, along the summed dimension; what zero points take away is exact.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from qdqdoc.numerics.dynamic import dynamic_parameters
from qdqdoc.numerics.formats import Array, tensor
from qdqdoc.numerics.rounding import divide, hold, round_to_grid
from qdqdoc.registry import attention
from qdqdoc.registry.matrices import as_matrices, without_vectors
from qdqdoc.registry.operator import Call, Differs

if TYPE_CHECKING:
    from collections.abc import Callable

    Factors = Callable[[Call], tuple[Array, Array]]

PAIR = tensor("uint8", [[255, 255]]), tensor("int8", [[127], [127]])
"""Two products whose sum, 64770, leaves int16."""
WHY = "Pairs of products are added in int16, which saturates: 32767 for 64770."
TEXT = "The accumulator has 32 bits."
NAME = "saturating"


def pair_sums(a: Array, b: Array) -> Array:
    """Sum products of codes, as :func:`numpy.matmul`, each pair of them held within int16.

    The result is float64, in which it is exact.

    >>> pair_sums(*PAIR), pair_sums(np.uint8([[9, 255, 255]]), np.int8([[1], [127], [127]]))
    (array([[32767.]]), array([[64779.]]))
    """
    left, right = as_matrices("", {"A": a, "B": b})
    # Products of codes are whole numbers of 16 bits, which float64 and float32 hold.
    left, right = left.astype(np.float64), right.astype(np.float64)
    pairs = range(0, left.shape[-1], 2)
    total = left[..., :0] @ right[..., :0, :]
    for k in pairs:
        total += hold(left[..., k : k + 2] @ right[..., k : k + 2, :], -(2**15), 2**15 - 1)
    return without_vectors(total, a, b)


def saturates(a: Array, b: Array) -> Array:
    """Tell which sums of products of two matrices of codes saturate on the way.

    >>> saturates(*PAIR), saturates(PAIR[0], PAIR[0].T)
    (array([[ True]]), array([[False]]))
    """
    exact = np.matmul(a.astype(np.float64), b.astype(np.float64))
    mixed = a.dtype == np.uint8 and b.dtype == np.int8
    return np.asarray(pair_sums(a, b) != exact) if mixed else np.zeros(exact.shape, bool)


def _factors(call: Call) -> tuple[Array, Array]:
    named = {name.lower(): value for name, value in call.inputs.items()}
    a, b = named["a"], named["b"]
    transposed = call.attributes.get("transA"), call.attributes.get("transB")
    return (a.T if transposed[0] else a), (b.T if transposed[1] else b)


def dynamic_factors(call: Call) -> tuple[Array, Array]:
    """Return the codes that a dynamic quantization of ``A`` multiplies."""
    scale, zero_point = dynamic_parameters(call.inputs["A"])
    steps = divide(call.inputs["A"], scale, np.float32)
    return round_to_grid(steps, zero_point, zero_point.dtype), call.inputs["B"]


def adds_pairs(call: Call, *theirs: float, factors: Factors = _factors) -> Differs:
    """Return the difference that onnxruntime's products of uint8 by int8 share."""
    return Differs(
        "onnxruntime",
        call,
        theirs,
        WHY,
        TEXT,
        lambda other: saturates(*factors(other)),
        NAME,
    )


def _projections(call: Call) -> Array:
    """Tell which queries, keys and values saturate: (3, batch, heads, tokens, size of a head)."""
    sums = saturates(call.inputs["input"], call.inputs["weight"])
    heads = call.attributes["num_heads"], attention.head_size(call)
    return np.moveaxis(sums.reshape(*sums.shape[:2], 3, *heads), (2, 3), (0, 2))


def _saturates_present(call: Call) -> Array:
    new = _projections(call)[1:]
    past = call.inputs.get("past", np.zeros((*new.shape[:3], 0, new.shape[4])))
    return np.concatenate([np.zeros(past.shape, bool), new], axis=3)


def _saturates_output(call: Call) -> Array:
    """Mark a query's row, all rows that a key weighs on, and the column of a value."""
    query, key, value = _projections(call)
    marked = query.any(-1, keepdims=True) | key.any((-2, -1), keepdims=True)
    marked = np.asarray(marked | value.any(-2, keepdims=True))
    batch, _, tokens, _ = marked.shape
    return marked.transpose(0, 2, 1, 3).reshape(batch, tokens, len(call.inputs["bias"]) // 3)


def attention_adds_pairs() -> tuple[Differs, Differs]:
    """Return the differences of both results of an attention whose projection saturates."""
    codes = {"input": PAIR[0][None], "weight": PAIR[1].repeat(3, axis=1)}
    call = attention.changed(attention.zeros_call(""), "a pair of products", codes)
    return (
        Differs("onnxruntime", call, (32768,), WHY, TEXT, _saturates_output, NAME, "output"),
        Differs("onnxruntime", call, (32768,) * 2, WHY, TEXT, _saturates_present, NAME, "present"),
    )
