"""Multiply by a matrix of weights of 2, 4 or 8 bits, dequantized block by block.

Each row of the N by K weights is cut into blocks along K; a block has a scale and a zero point.
Activations stay floats, or become int8 codes with a scale for each row and block. No text says in
which order floats are summed: here each exact sum is rounded once to float32.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from itertools import product
from math import ceil, prod
from typing import TYPE_CHECKING, Any

import numpy as np

from qdqdoc.calls.level4 import (
    BITS,
    INT8_LEVEL,
    bits_of,
    has_whole_zeros,
    int8_calls,
    is_int8,
    keeps_floats,
    processors,
    sum_bound,
)
from qdqdoc.formula import Formula
from qdqdoc.numerics.formats import Array, tensor, type_name
from qdqdoc.numerics.int8_blocks import block_matmul, int8_blocks
from qdqdoc.numerics.packing import code_at, packed_length, unpack
from qdqdoc.numerics.products import float_matmul
from qdqdoc.numerics.rounding import cast, multiply
from qdqdoc.registry import REQUIRED, Call, Differs, Element, Version, operator, refuse
from qdqdoc.registry.weights import check_shape, nbits_call, with_each

if TYPE_CHECKING:
    from collections.abc import Iterator

NAME = "MatMulNBits"
FLOATS = ("float32", "float16", "bfloat16")
_INPUTS = {"A": "T1", "B": "T2", "scales": "T1", "zero_points": "T3", "g_idx": "T4", "bias": "T1"}
V1 = Version(
    since=1,
    inputs=_INPUTS,
    optional=("zero_points", "g_idx", "bias"),
    outputs={"Y": "T1"},
    types={"T1": FLOATS, "T2": ("uint8",), "T3": ("uint8", *FLOATS), "T4": ("int32",)},
    attributes=dict.fromkeys(("K", "N", "block_size"), REQUIRED)
    | {"accuracy_level": 0, "bits": BITS, "weight_prepacked": 0},
)

SYMBOLS = {
    "a": "row of `A`",
    "q": "row of codes in `B`",
    "s": "the code's scale: that of its block, or of the block that `g_idx` names",
    "z": "its zero point likewise; half of two to the power of `bits` where there are none",
    "b": "`bias` of the column; zero where it is absent",
}
_SETS, _TYPES = {"K": "inputs; none if `B` is empty"}, {"T": "type of `A` and `Y`"}
_rule = partial(Formula, symbols=SYMBOLS, sets=_SETS, types=_TYPES)
SUM = "\ny = T(f32(f32(sum(a[k] * w[k] for k in K)) + b))"
WHOLE = _rule(
    "w[k] = f32((q[k] - z[k]) * s[k])" + SUM,
    name="whole zero points",
    when="zero points are whole numbers, and there is no `g_idx`",
)
SCALED = _rule(
    "w[k] = f32(f32(q[k] * s[k]) - f32(z[k] * s[k]))" + SUM,
    name="scaled zero points",
    when="zero points are floats, or there is `g_idx`",
)
INT8 = _rule(
    "v[k] = f32(a[k] * f32(127 / r[k]))\n"
    "c[k] = rint(v[k]) if abs(v[k]) < inf else 0\n"
    "m[k] = f32(f32(r[k] / 127) * s[k])\n"
    "y = T(f32(f32(sum(c[k] * (q[k] - z[k]) * m[k] for k in K)) + b))",
    symbols={**SYMBOLS, "r": "largest magnitude in the block of the row"},
    name="int8 activations",
    when="`accuracy_level` is 4, zero points are whole numbers, and there is no `g_idx`",
)


def vectors() -> Iterator[Call]:
    """Yield each corner: weights read out by the identity, sums, int8, shapes."""
    yield from _half_vectors()
    rng = np.random.default_rng(11)
    for bits in (2, 4, 8):
        codes, scale = rng.integers(0, 2**bits, (5, 3, 16)), rng.normal(0, 1, (5, 3))
        whole = rng.integers(0, 2**bits, (5, 3))
        make = partial(nbits_call, codes=codes, bits=bits, scale=scale)
        for kind in FLOATS:
            eye, floats = tensor(kind, np.eye(40)), tensor(kind, rng.random((5, 3)) * 2**bits)
            yield make(f"{bits} bits to {kind}", eye)
            yield make(f"{bits} bits to {kind}, zero points", eye, zeros=whole)
            yield make(f"{bits} bits to {kind}, float zero points", eye, zeros=floats)
        A = tensor("float32", rng.normal(0, 1, (2, 3, 40)))
        bias, floats = tensor("float32", rng.normal(0, 1, 5)), tensor("float32", whole + 0.3)
        yield make(f"{bits} bits, bias", A, zeros=whole, bias=bias, level=1)
        yield make(f"{bits} bits, fed", A[0], bias=bias, fed=("A", "B", "bias"))
        yield make(f"{bits} bits, float zero points", A[1], zeros=floats, bias=bias, level=4)
        yield make(f"{bits} bits, one row, int8", A[0, 0], zeros=whole, level=4)
    yield from _shape_vectors()
    yield from int8_calls()


def _half_vectors() -> Iterator[Call]:
    """Yield sums that no order of adding rounds, then rounded to float16: at a tie, and to inf."""
    tie = [0] * 12 + [12, 0, 0, 127]  # times the codes: 2**11 + 1
    A, codes = tensor("float16", [tie, [500] * 16]), np.arange(48).reshape(3, 1, 16) % 16
    make = partial(nbits_call, codes=codes, scale=[[2**-11], [0.25], [2]])
    floats, zeros = tensor("float16", [[0], [15], [3.5]]), [[0], [15], [3]]
    for name, bias in (("small", [2**-24] * 3), ("large", [2**-14, 0.3, -7])):
        half = tensor("float16", bias)
        yield make(f"float16, {name} bias", A, zeros=zeros, bias=half)
        yield make(f"float16, {name} bias, float zero points", A, zeros=floats, bias=half)
        yield make(f"float16, {name} bias, int8", A, zeros=zeros, bias=half, level=4)


def _shape_vectors() -> Iterator[Call]:
    rng = np.random.default_rng(12)
    codes, scale = rng.integers(0, 16, (3, 3, 16)), rng.normal(0, 1, (3, 3))
    A, whole = tensor("float32", np.eye(40)), rng.integers(0, 16, (3, 3))
    floats, make = tensor("float32", whole + 0.3), partial(nbits_call, codes=codes, scale=scale)
    plain = make("one row", A[3], zeros=whole, bias=tensor("float32", [1, 2, 3]))
    yield plain
    needed = {k: v for k, v in plain.attributes.items() if V1.attributes[k] is REQUIRED}
    yield replace(plain, name="no optional attribute", attributes=needed)
    held = plain.inputs
    flat = {k: held[k].reshape(-1) for k in ("scales", "zero_points")}
    yield replace(plain, name="flat scales and zero points", inputs={**held, **flat})
    yield replace(plain, name="no rows", inputs={**held, "A": A[:0]})
    for shape in ((0, 3, 8), (3, 0, 8), (3, 3, 0)):
        gone = {**held, "A": A[:2], "B": np.zeros(shape, np.uint8), "scales": held["scales"][:0]}
        yield replace(plain, name=f"left out by {shape}", inputs=gone)
    yield nbits_call("no inputs", A[:2, :0], codes[:, :0], level=4)
    groups = tensor("int32", rng.integers(0, 3, 48))
    yield make("g_idx", A, g_idx=groups[:40])
    yield make("g_idx, zero points", A, zeros=whole, g_idx=groups[:40])
    yield make("g_idx, flat float zero points", A, g_idx=groups, zero_points=floats.reshape(-1))
    yield make("g_idx for the padding too", A, g_idx=groups, level=4)


def element(call: Call, index: tuple[int, ...]) -> Element:
    """Bind the formula to one output element."""
    inputs, given = call.inputs, {**V1.attributes, **call.attributes}
    size, bits, groups = given["block_size"], given["bits"], inputs.get("g_idx")
    row, n, K = inputs["A"][index[:-1]], index[-1], range(given["K"] if inputs["B"].size else 0)
    zeros, scales = inputs.get("zero_points"), inputs["scales"].reshape(-1)
    group = [k // size if groups is None else int(groups[k]) for k in K]
    values: dict[str, Any] = {
        "a": row,
        "q": [code_at(inputs["B"][n, k // size], k % size, bits) for k in K],
        "s": [scales[n * ceil(len(K) / size) + g] for g in group],
        "z": [2 ** (bits - 1)] * len(K),
        "b": inputs["bias"][n] if "bias" in inputs else 0,
    }
    if zeros is not None:
        line = zeros.reshape(given["N"], -1)[n]
        values["z"] = [code_at(line, g, bits) if has_whole_zeros(call) else line[g] for g in group]
    formula = WHOLE if has_whole_zeros(call) and groups is None else SCALED
    if is_int8(call):
        formula = INT8
        values["r"] = [np.abs(row[k - k % size :][:size]).max() for k in K]
    types = {"T": type_name(row.dtype)}
    return Element(formula=formula, values=values, sets={"K": K}, types=types)


_EYE, _LINE = tensor("float32", np.eye(16)), np.arange(16)[None, None]
_GROUPS, _LONG = np.zeros(16, np.int32), np.zeros((1, 1, 512), np.int64)
_theirs = partial(Differs, "onnxruntime")
_int8 = partial(nbits_call, A=_EYE[1:2], codes=_LINE, zeros=[[0]], level=INT8_LEVEL)
DIFFERS = (
    _theirs(
        nbits_call("8 bits, float zero points", _EYE, _LINE, 8, zeros=_EYE[:1, :1]),
        None,
        "8 bits take whole zero points only, and no g_idx.",
        "Allowed.",
        lambda c: bits_of(c) == 8 and (not has_whole_zeros(c) or "g_idx" in c.inputs),  # noqa: PLR2004 - of bits
    ),
    _theirs(
        nbits_call("2 bits, a block of 512", _EYE[:1], _LONG, 2),
        None,
        "Codes of 2 bits, and any where there is g_idx, stand in blocks of at most 256.",
        "Allowed.",
    ),
    _theirs(
        nbits_call("g_idx and zero points", _EYE, _LINE, zeros=[[0]], g_idx=_GROUPS),
        tuple(range(-8, 8)),
        "With g_idx the packed zero points are not read: 8 is subtracted.",
        "The zero point of the block that g_idx names, an input that is deprecated.",
        lambda c: "g_idx" in c.inputs and "zero_points" in c.inputs and has_whole_zeros(c),
    ),
    _theirs(
        nbits_call("g_idx and 2 bits", _EYE[:8, :8], _LINE % 4, 2, g_idx=_GROUPS[:8]),
        (-4, 6) * 4,
        "With g_idx, codes of 2 bits are read as if they had 4, and from beyond their end.",
        "Each code has 2 bits.",
    ),
    _theirs(
        _int8("weights fed", A=_EYE[1:2] + _EYE[:1] * 8, fed=("B",)),
        (1,),
        "Activations stay floats if weights are fed, or have 2 bits and blocks of 16 or over 128.",
        "Level 4 permits int8, and leaves the rule open.",
        keeps_floats,
    ),
    *(
        _theirs(
            _int8(f"{name} fed", fed=(name,)),
            (value,),
            why,
            "Inputs may be fed or constant.",
            processor="with FMA",
        )
        for name, value, why in (
            ("scales", 0, "At level 4, scales that are fed are taken for zeros."),
            ("zero_points", -7, "At level 4, zero points that are fed are not read."),
        )
    ),
    *processors(),
)


def rejects() -> Iterator[Call]:
    """Yield calls that the specification forbids beside what follows from the types."""
    for bits, size in ((1, 16), (3, 16), (4, 8), (4, 24)):
        yield nbits_call(f"{bits} bits, blocks of {size}", _EYE[:, :8], _LONG[..., :size], bits)
    numbers = {"accuracy_level": (-1, 5), "weight_prepacked": (1,), "K": (15, 17), "N": (2,)}
    bytes_, floats = partial(np.zeros, dtype=np.uint8), partial(np.zeros, dtype=np.float32)
    arrays = {
        "A": (floats(()),),
        "B": (bytes_((1, 8)), bytes_((0, 2, 8))),
        "scales": (floats((1, 1, 1)),),
        "zero_points": (bytes_((1, 2)), floats((1, 2)), np.zeros((1, 1), np.float16)),
        "g_idx": (_GROUPS[1:], _GROUPS + np.int32(1), _GROUPS - np.int32(1)),
        "bias": (floats((1, 1)),),
    }
    yield from with_each(nbits_call("plain", _EYE, _LINE), numbers, arrays)


def _check_attributes(bits: int, block_size: int, accuracy_level: int, prepacked: int) -> None:
    if bits not in {2, 4, 8}:
        refuse(NAME, "bits", bits, "2, 4 or 8")
    if block_size < 16 or block_size.bit_count() > 1:  # noqa: PLR2004 - the smallest block
        refuse(NAME, "block_size", block_size, "16, 32, 64 and so on")
    if not 0 <= accuracy_level <= INT8_LEVEL:
        refuse(NAME, "accuracy_level", accuracy_level, "0 to 4")
    if prepacked:
        refuse(NAME, "weight_prepacked", prepacked, "0: other layouts belong to one device")


def _zero_points(given: Array | None, A: Array, shape: tuple[int, int], bits: int) -> Array:
    """Return the zero points of all blocks, (N, blocks)."""
    if given is None:
        return np.full(shape, fill_value=2 ** (bits - 1), dtype=np.int32)
    count, blocks = shape
    if given.dtype == np.uint8:
        packed = count, packed_length(blocks, bits)
        check_shape(NAME, "zero_points", given, packed, (prod(packed),))
        return unpack(given.reshape(packed), bits)[:, :blocks]
    if given.dtype != A.dtype:
        refuse(NAME, "zero_points", given.dtype, f"uint8 or the type of A, {A.dtype}")
    check_shape(NAME, "zero_points", given, shape, (prod(shape),))
    return given.reshape(shape)


def _groups(g_idx: Array | None, inputs: int, blocks: int, block_size: int) -> Array:
    """Return for each input the block whose scale and zero point it has."""
    if g_idx is None:
        return np.arange(inputs) // block_size
    check_shape(NAME, "g_idx", g_idx, (inputs,), (blocks * block_size,))
    if not ((g_idx >= 0) & (g_idx < blocks)).all():
        refuse(NAME, "g_idx", f"{g_idx.min()} to {g_idx.max()}", f"0 to {blocks - 1}")
    return g_idx[:inputs]


@operator(
    name=NAME,
    domain="com.microsoft",
    versions=(V1,),
    formulas=(WHOLE, SCALED, INT8),
    cites=("ort-contrib",),
    vectors=vectors,
    element=element,
    differs=DIFFERS,
    bounds=(sum_bound(element),),
    rejects=rejects,
)
def matmul_nbits(
    A: Array,
    B: Array,
    scales: Array,
    zero_points: Array | None = None,
    g_idx: Array | None = None,
    bias: Array | None = None,
    *,
    K: int,
    N: int,
    accuracy_level: int = 0,
    bits: int = 4,
    block_size: int,
    weight_prepacked: int = 0,
) -> Array:
    """Dequantize the weights block by block and multiply: ``A @ W.T + bias``.

    Parameters
    ----------
    A
        Activations, (..., K).
    B
        Codes, (N, blocks, block_size * bits / 8), the first one in the low bits; blocks is
        K / block_size, rounded up. A length of 0 leaves the weights out: all products are 0.
    scales
        (N, blocks), or the same values flat.
    zero_points
        Codes, each row packed as in ``B``, (N, bytes), or (N, blocks) floats of the type of ``A``.
    g_idx
        The block whose scale and zero point each of the K inputs has; deprecated.
    bias
        (N,), added to the rounded sum in float32.
    K, N
        How many inputs and outputs there are.
    bits
        Width of a code: 2, 4 or 8.
    block_size
        How many neighbours along K share a scale: a power of two, 16 or more.
    accuracy_level
        4: activations become int8 codes, unless zero points are floats or there is ``g_idx``. That
        is permitted, the rule left open :cite:p:`ort-contrib`; this one is onnxruntime's.
    weight_prepacked
        0: ``B`` is laid out as said here.

    Returns
    -------
    Y
        (..., N), of the type of ``A``.

    Raises
    ------
    OperatorError
        For a type, shape or attribute that is not allowed.

    Examples
    --------
    The first code is in the low bits; 8, or the block's zero point, is subtracted from it:

    >>> import numpy as np
    >>> B = np.uint8([[[0x21, 0x43, 0, 0, 0, 0, 0, 0]]])
    >>> scale, sizes = np.float32([[0.1]]), {"K": 4, "N": 1, "block_size": 16}
    >>> eye, bias = np.eye(4, dtype=np.float32), np.float32([100])
    >>> matmul_nbits(eye, B, scale, bias=bias, **sizes).ravel()
    array([99.3, 99.4, 99.5, 99.6], dtype=float32)
    >>> matmul_nbits(eye, B, scale, np.uint8([[0x03]]), **sizes).ravel()
    array([-0.2, -0.1,  0. ,  0.1], dtype=float32)

    A float zero point is scaled by itself, so that two products are rounded:

    >>> matmul_nbits(eye, B, scale, np.float32([[3]]), **sizes).ravel()
    array([-0.20000002, -0.10000001,  0.        ,  0.09999999], dtype=float32)

    At level 4 activations are rounded to a 127th of the largest in their block:

    >>> A = np.float32([[0, 0, 1, 0.1]])
    >>> matmul_nbits(A, B, scale, np.uint8([[0x03]]), accuracy_level=4, **sizes)
    array([[0.01023622]], dtype=float32)

    There are no other widths:

    >>> matmul_nbits(eye, B, scale, bits=3, **sizes)
    Traceback (most recent call last):
    ...
    qdqdoc.registry.checks.OperatorError: MatMulNBits: bits: found 3, allowed: 2, 4 or 8
    """
    _check_attributes(bits, block_size, accuracy_level, weight_prepacked)
    blocks = ceil(K / block_size)
    packed = N, blocks, block_size * bits // 8
    if A.shape[-1:] != (K,):
        refuse(NAME, "A", f"shape {A.shape}", f"(..., {K})")
    if B.shape not in product(*((n, 0) for n in packed)):
        refuse(NAME, "B", f"shape {B.shape}", f"{packed}, or 0 in place of any")
    check_shape(NAME, "bias", bias, (N,))
    rows = A.reshape(prod(A.shape[:-1]), K)
    sums = np.zeros((len(rows), N), A.dtype)
    if B.size:
        check_shape(NAME, "scales", scales, (N, blocks), (N * blocks,))
        scales = scales.reshape(N, blocks)
        codes, zeros = unpack(B, bits), _zero_points(zero_points, A, (N, blocks), bits)
        whole = g_idx is None and zeros.dtype == np.int32
        if whole and accuracy_level == INT8_LEVEL:
            activations, steps = int8_blocks(rows, block_size)
            sums = block_matmul(activations, codes - zeros[..., None], steps, scales)
        else:
            of = _groups(g_idx, K, blocks, block_size)
            q, z, s = codes.reshape(N, blocks * block_size)[:, :K], zeros[:, of], scales[:, of]
            w = multiply(q - z, s) if whole else multiply(q, s) - multiply(z, s)
            sums = float_matmul(rows, w.T)
    return cast(sums if bias is None else sums + bias, A.dtype).reshape(*A.shape[:-1], N)
