"""Multiply by weights of 4 bits that lie in one blob, each block with its scale before it.

The blob holds K by N weights column by column, each column cut into blocks. A block is the
four bytes of its scale, for one type a byte with its zero point, and its codes; a byte of codes
has two that are sixteen places apart. Each exact sum is rounded once to float32.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from math import ceil, prod
from typing import TYPE_CHECKING

import numpy as np

from qdqdoc.formula import Formula
from qdqdoc.numerics.formats import Array, tensor
from qdqdoc.numerics.packing import pack, unpack
from qdqdoc.numerics.products import float_matmul
from qdqdoc.numerics.rounding import multiply
from qdqdoc.registry import Call, Differs, Element, Version, operator, refuse
from qdqdoc.registry.weights import check_shape, float_sum, with_each

if TYPE_CHECKING:
    from collections.abc import Iterator

NAME = "MatMulFpQ4"
V1 = Version(
    since=1,
    inputs={"A": "T1", "B": "T2", "B_shape": "T3"},
    outputs={"Y": "T1"},
    types={"T1": ("float32",), "T2": ("uint8",), "T3": ("int64",)},
    attributes={"blk_quant_type": 1},
)
RULE = Formula(
    "w[k] = f32((q[k] - z[k]) * s[k])\ny = f32(sum(a[k] * w[k] for k in K))",
    symbols={
        "a": "row of `A`",
        "q": "codes of a column of weights",
        "s": "scale of the code's block",
        "z": "zero point of its block; 8 where blocks have none",
    },
    sets={"K": "inputs"},
    name="weights in a blob",
)

BLOCKS = {0: (32, 4), 1: (32, 5), 2: (64, 4)}
"""Type of the blob -> weights in a block, and bytes before their codes."""
RUN = 32
"""Codes in a run of 16 bytes: the first half in the low bits, the second in the high."""


def _call(name: str, A: Array, kind: int, columns: int, seed: int = 0, zero: int = 0) -> Call:
    """Make a call with random weights; ``zero`` is added to zero points below 16."""
    rng = np.random.default_rng(seed)
    size, start = BLOCKS[kind]
    K = A.shape[-1]
    shape = (columns, ceil(K / size))
    scale = tensor("float32", rng.normal(0, 1, (*shape, 1))).view(np.uint8)
    zeros = tensor("uint8", rng.integers(0, 16, (*shape, start - 4)) + zero)
    codes = rng.integers(0, 16, (*shape, size // RUN, 2, RUN // 2)).swapaxes(-1, -2)
    blob = np.concatenate([scale, zeros, pack(codes.reshape(*shape, size), 4)], -1).reshape(-1)
    inputs = {"A": A, "B": blob, "B_shape": tensor("int64", [K, columns])}
    return Call(name=name, inputs=inputs, attributes={"blk_quant_type": kind})


def vectors() -> Iterator[Call]:
    """Yield each corner: weights read out by the identity, sums, ranks, short last blocks."""
    yield _one_block("type 0, each code twice", 0, *range(0, 256, 17))
    rng = np.random.default_rng(5)
    for kind in BLOCKS:
        make = partial(_call, kind=kind, columns=3, seed=kind)
        for length in (64, 70):
            A = tensor("float32", rng.normal(0, 1, (2, 2, length)))
            yield make(f"type {kind}, {length} weights", tensor("float32", np.eye(length)))
            yield make(f"type {kind}, sums of {length}", A)
            yield make(f"type {kind}, a row of {length}", A[0, 0])
            yield make(f"type {kind}, no row of {length}", A[:0])
    plain = _call("the type by default", tensor("float32", np.eye(40)), 1, 2)
    yield replace(plain, attributes={})
    yield _call("zero points beyond a code", tensor("float32", np.eye(40)), 1, 2, zero=100)


def _kind(call: Call) -> int:
    return int({**V1.attributes, **call.attributes}["blk_quant_type"])


def element(call: Call, index: tuple[int, ...]) -> Element:
    """Bind the formula to one output element."""
    kind = _kind(call)
    size, start = BLOCKS[kind]
    blob, K = call.inputs["B"], int(call.inputs["B_shape"][0])
    blocks = -(-K // size)
    parts: dict[str, list[object]] = {"q": [], "s": [], "z": []}
    for k in range(K):
        first = (index[-1] * blocks + k // size) * (start + size // 2)
        run, place = divmod(k % size, 32)
        byte = int(blob[first + start + run * 16 + place % 16])
        parts["q"].append(byte // 16 if place > 15 else byte % 16)  # noqa: PLR2004 - half a run
        parts["s"].append(np.frombuffer(blob[first : first + 4].tobytes(), "<f4")[0])
        parts["z"].append(blob[first + 4] if kind == 1 else 8)
    values = {"a": call.inputs["A"][index[:-1]], **parts}
    return Element(formula=RULE, values=values, sets={"K": range(K)})


def _bytes_of(scale: float, *rest: int) -> Array:
    return np.concatenate([tensor("float32", [scale]).view(np.uint8), tensor("uint8", rest)])


def _one_block(name: str, kind: int, *rest: int, K: int = 32) -> Call:
    inputs = {
        "A": tensor("float32", np.eye(K)),
        "B": _bytes_of(1, *rest),
        "B_shape": tensor("int64", [K, 1]),
    }
    return Call(name=name, inputs=inputs, attributes={"blk_quant_type": kind})


DIFFERS = (
    Differs(
        "onnxruntime",
        _one_block("type 2", 2, *range(32), K=64),
        None,
        "Type 2 is taken for type 1: a blob of another size is refused.",
        "Type 2: blocks of 64, no offset.",
        lambda call: _kind(call) == 2,  # noqa: PLR2004 - of a type
    ),
    Differs(
        "onnxruntime",
        _one_block("a zero point of 200", 1, 200, *range(16)),
        (*range(56, 72), *[56] * 16),
        "A zero point above 127 is taken for a negative one.",
        "Silent on the offset's type.",
        processor="with AVX512",
    ),
    Differs(
        "onnxruntime",
        _one_block("without AVX512", 0, *range(16)),
        None,
        "There is no kernel but for AVX512.",
        "Silent on processors.",
        lambda _: True,
        "without AVX512",
    ),
    Differs(
        "onnxruntime",
        Call(
            name="no inputs",
            inputs={
                "A": np.zeros((1, 0), np.float32),
                "B": np.zeros(0, np.uint8),
                "B_shape": tensor("int64", [0, 2]),
            },
        ),
        None,
        "A matrix without weights is refused.",
        "A sum of nothing is 0.",
    ),
)


def rejects() -> Iterator[Call]:
    """Yield calls that the specification forbids beside what follows from the types."""
    plain = _one_block("plain", 0, *range(16))
    blob, eye = plain.inputs["B"], plain.inputs["A"]
    arrays = {
        "A": (eye[:, :31], eye[0, 0]),
        "B": (blob[:-1], blob[None], np.concatenate([blob, blob])),
        "B_shape": tuple(
            tensor("int64", n) for n in ([32], [[32, 1]], [32, 2], [-32, 1], [32, -1], [31, 1])
        ),
    }
    return with_each(plain, {"blk_quant_type": (-1, 1, 2, 3)}, arrays)


@operator(
    name=NAME,
    domain="com.microsoft",
    versions=(V1,),
    formulas=(RULE,),
    cites=("ort-contrib",),
    vectors=vectors,
    element=element,
    differs=DIFFERS,
    bounds=(
        float_sum(
            "Y", 8, element, lambda c: (*c.inputs["A"].shape[:-1], int(c.inputs["B_shape"][1]))
        ),
    ),
    rejects=rejects,
)
def matmul_fpq4(A: Array, B: Array, B_shape: Array, *, blk_quant_type: int = 1) -> Array:
    """Read the weights out of the blob, dequantize them, and multiply.

    Parameters
    ----------
    A
        Activations, (..., K).
    B
        The blob, one byte after the other: N columns, each K / 32 (or 64) blocks, rounded up.
    B_shape
        Two values, K and N.
    blk_quant_type
        0: blocks of 32; 1: blocks of 32 with a zero point; 2: blocks of 64.

    Returns
    -------
    Y
        (..., N).

    Raises
    ------
    OperatorError
        For a type, shape or attribute that is not allowed.

    Notes
    -----
    The specification :cite:p:`ort-contrib` names the three types and leaves the blob's layout open;
    the one here is that of onnxruntime's types 0 and 1. Type 2 has two runs of 32 codes.

    Examples
    --------
    Scale 0.5, then bytes of two codes: the low one stands in the first half of the block. 8 is
    subtracted where there is no zero point:

    >>> import numpy as np
    >>> scale, codes = np.float32([0.5]).view(np.uint8), np.uint8([0x2F] + [0x88] * 15)
    >>> eye, shape = np.eye(32, dtype=np.float32)[[0, 16, 31]], np.int64([32, 1])
    >>> matmul_fpq4(eye, np.concatenate([scale, codes]), shape, blk_quant_type=0).ravel()
    array([ 3.5, -3. ,  0. ], dtype=float32)

    The zero point is the byte after the scale:

    >>> matmul_fpq4(eye, np.concatenate([scale, np.uint8([3]), codes]), shape).ravel()
    array([ 6. , -0.5,  2.5], dtype=float32)

    Of a short last block all bytes are there:

    >>> matmul_fpq4(eye[:1, :2], np.concatenate([scale, [3], codes]).astype(np.uint8), [2, 1])
    array([[6.]], dtype=float32)

    A sum of nothing is 0:

    >>> matmul_fpq4(np.zeros((1, 0), np.float32), np.uint8([]), np.int64([0, 2]))
    array([[0., 0.]], dtype=float32)
    """
    if blk_quant_type not in BLOCKS:
        refuse(NAME, "blk_quant_type", blk_quant_type, "0, 1 or 2")
    check_shape(NAME, "B_shape", B_shape, (2,))
    K, N = map(int, B_shape)
    if A.shape[-1:] != (K,):
        refuse(NAME, "A", f"shape {A.shape}", f"(..., {K})")
    size, start = BLOCKS[blk_quant_type]
    blocks = ceil(K / size)
    check_shape(NAME, "B", B, (N * blocks * (start + size // 2),))
    blob = B.reshape(N, blocks, start + size // 2)
    scales = np.ascontiguousarray(blob[..., :4]).view("<f4")
    zeros = blob[..., 4:start] if start > 4 else np.array(8)  # noqa: PLR2004 - after the scale
    halves = unpack(blob[..., start:], 4).reshape(N * blocks * size // RUN, RUN // 2, 2)
    codes = halves.transpose(0, 2, 1).reshape(N, blocks, size)
    weights = multiply(codes - zeros, scales).reshape(N, blocks * size)[:, :K]
    sums = float_matmul(A.reshape(prod(A.shape[:-1]), K), weights.T)
    return sums.reshape(*A.shape[:-1], N)
