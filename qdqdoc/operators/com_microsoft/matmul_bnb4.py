"""Multiply by weights of 4 bits whose codes name entries of a table: FP4 or NF4.

The N by K weights are flattened, row after row, before they are cut into blocks, so that a block
may begin in one row and end in the next. A block has one scale, the largest magnitude that was in
it; the tables hold fractions of that. Each exact sum is rounded once to float32.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from math import ceil, prod
from typing import TYPE_CHECKING

import numpy as np

from qdqdoc.formula import Formula
from qdqdoc.numerics.formats import Array, tensor, type_name
from qdqdoc.numerics.packing import code_at, pack, packed_length, unpack
from qdqdoc.numerics.products import float_matmul
from qdqdoc.numerics.rounding import cast, multiply
from qdqdoc.registry import REQUIRED, Call, Differs, Element, Version, operator, refuse
from qdqdoc.registry.weights import check_shape, float_sum, with_each

if TYPE_CHECKING:
    from collections.abc import Iterator

NAME = "MatMulBnb4"
FLOATS = ("float32", "float16", "bfloat16")

V1 = Version(
    since=1,
    inputs={"A": "T1", "B": "T2", "absmax": "T1"},
    outputs={"Y": "T1"},
    types={"T1": FLOATS, "T2": ("uint8",)},
    attributes={
        "K": REQUIRED,
        "N": REQUIRED,
        "block_size": REQUIRED,
        "quant_type": REQUIRED,
        "training_mode": 0,
        "transB": 1,
    },
)
RULE = Formula(
    "w[k] = f32(t[k] * s[k])\ny = T(f32(sum(a[k] * w[k] for k in K)))",
    symbols={
        "a": "row of `A`",
        "t": "what the table has for each code of a row of weights, or of a column",
        "s": "`absmax` of the code's block",
    },
    sets={"K": "inputs; outputs if `transB` is 0"},
    types={"T": "type of `A` and `Y`"},
    name="weights from a table",
)

FP4_HALF = tensor("float32", [0, 0.0052083333, 0.6666667, 1, 0.33333334, 0.5, 0.16666667, 0.25])
FP4 = np.concatenate([FP4_HALF, -FP4_HALF])
"""The highest bit of a code is the sign."""
NF4 = tensor(
    "float32",
    [
        -1,
        -0.6961928009986877,
        -0.5250730514526367,
        -0.39491748809814453,
        -0.28444138169288635,
        -0.18477343022823334,
        -0.09105003625154495,
        0,
        0.07958029955625534,
        0.16093020141124725,
        0.24611230194568634,
        0.33791524171829224,
        0.44070982933044434,
        0.5626170039176941,
        0.7229568362236023,
        1,
    ],
)
"""Quantiles of the normal distribution, scaled to -1 ... 1; 0 is one of them."""
TABLES = (FP4, NF4)
"""By ``quant_type``."""


def _call(
    name: str, A: Array, codes: Array, table: int, absmax: object = 1, size: int = 16
) -> Call:
    """Make a call; ``codes`` are (N, K)."""
    scales = np.broadcast_to(np.asarray(absmax, A.dtype), ceil(codes.size / size)).copy()
    packed = pack(codes.reshape(-1), 4, high_first=True)
    sizes = {"N": codes.shape[0], "K": codes.shape[1], "block_size": size}
    inputs = {"A": A, "B": packed, "absmax": scales}
    return Call(name=name, inputs=inputs, attributes={**sizes, "quant_type": table})


def vectors() -> Iterator[Call]:
    """Yield each corner: every code, blocks across rows, an odd count, sums, both directions."""
    half = tensor("float16", [[1, 2**-11, 2**-24], [60000, 60000, 0]])
    yield _call("float16 at a tie", half, np.array([[3, 3, 7]]), 0)
    rng = np.random.default_rng(4)
    codes = rng.integers(0, 16, (3, 41))
    for table, kind in ((t, kind) for t in (0, 1) for kind in FLOATS):
        for size in (16, 64):
            absmax = tensor(kind, rng.random(ceil(codes.size / size)) * 3)
            make = partial(_call, codes=codes, table=table, absmax=absmax, size=size)
            name = f"table {table}, blocks of {size}, {kind}"
            yield make(name, tensor(kind, np.eye(41)))
            if kind == "float32":
                A = tensor(kind, rng.normal(0, 1, (2, 2, 41)))
                yield make(f"{name}, sums", A)
                yield make(f"{name}, one row", A[0, 0])
                yield make(f"{name}, no row", A[:0])
    line, scales = np.arange(16)[None], tensor("float32", [0.1])
    for table in (0, 1):
        plain = _call(
            f"table {table}, all codes", tensor("float32", np.eye(16)), line, table, scales
        )
        yield plain
        training = {**plain.attributes, "training_mode": 1}
        yield replace(plain, name=f"table {table}, training", attributes=training)
        backward = {**plain.attributes, "transB": 0, "N": 16, "K": 1}
        yield replace(plain, name=f"table {table}, backward to one", attributes=backward)
        tall = _call(f"table {table}, backward", tensor("float32", np.eye(9)), codes[:, :21], table)
        turned = {**tall.attributes, "transB": 0, "N": 9, "K": 7}
        yield replace(tall, attributes=turned)


def element(call: Call, index: tuple[int, ...]) -> Element:
    """Bind the formula to one output element."""
    given, A = call.attributes, call.inputs["A"]
    forward, out = given.get("transB", 1), index[-1]
    inner = range(given["K"] if forward else given["N"])
    flat = [out * given["K"] + k if forward else k * given["K"] + out for k in inner]
    table = TABLES[given["quant_type"]]
    values = {
        "a": A[index[:-1]],
        "t": [table[code_at(call.inputs["B"], i, 4, high_first=True)] for i in flat],
        "s": [call.inputs["absmax"][i // given["block_size"]] for i in flat],
    }
    return Element(formula=RULE, values=values, sets={"K": inner}, types={"T": type_name(A.dtype)})


_EYE, _CODES = tensor("float32", np.eye(2)), np.array([[3, 5], [7, 0]])
_SQUARE = _call("backward", _EYE, _CODES, 0)
DIFFERS = (
    Differs(
        "onnxruntime",
        replace(_SQUARE, attributes={**_SQUARE.attributes, "transB": 0}),
        (1, 0.25, 0.5, 0),
        "Without transB the weights are transposed all the same; they are read K apart, which, "
        "where N is less than K, is beyond their end.",
        "Y = A by the N by K weights.",
        lambda call: call.attributes.get("transB", 1) == 0 and call.attributes["K"] > 1,
    ),
    Differs(
        "onnxruntime",
        _call("a block of 512", _EYE, _CODES, 0, size=512),
        None,
        "A block has at most 256 weights.",
        "The block size is a power of two, not smaller than 16.",
    ),
    Differs(
        "onnxruntime",
        _call("no inputs", _EYE[:, :0], _CODES[:, :0], 0),
        None,
        "A matrix without weights is refused.",
        "A sum of nothing is 0.",
    ),
)


def rejects() -> Iterator[Call]:
    """Yield calls that the specification forbids beside what follows from the types."""
    numbers = {"quant_type": (-1, 2), "block_size": (0, 8, 24), "K": (1, 3), "N": (1, 3)}
    one, four = np.ones(1, np.float32), np.zeros(4, np.uint8)
    arrays = {
        "A": (_EYE[:, :1], _EYE[0, 0]),
        "B": (four[:1], four[:3], four[:2, None]),
        "absmax": (one[:0], np.concatenate([one, one]), one[None]),
    }
    return with_each(_SQUARE, numbers, arrays)


@operator(
    name=NAME,
    domain="com.microsoft",
    versions=(V1,),
    formulas=(RULE,),
    cites=("ort-contrib", "dettmers2023"),
    vectors=vectors,
    element=element,
    differs=DIFFERS,
    bounds=(
        float_sum(
            "Y",
            8,
            element,
            lambda c: (
                *c.inputs["A"].shape[:-1],
                c.attributes["N" if c.attributes.get("transB", 1) else "K"],
            ),
        ),
    ),
    rejects=rejects,
)
def matmul_bnb4(
    A: Array,
    B: Array,
    absmax: Array,
    *,
    K: int,
    N: int,
    block_size: int,
    quant_type: int,
    training_mode: int = 0,  # noqa: ARG001 - the result does not depend on it
    transB: int = 1,
) -> Array:
    """Look up each code, multiply by the scale of its block, and multiply: ``A @ W.T``.

    Parameters
    ----------
    A
        Activations, (..., K); (..., N) if ``transB`` is 0.
    B
        Codes of the N by K weights, flat, two to a byte, the first in the high bits.
    absmax
        A scale for each block of the flat weights, of the type of ``A``.
    K, N
        How many inputs and outputs the weights have.
    block_size
        How many neighbours share a scale, a power of two.
    quant_type
        0: FP4; 1: NF4 :cite:p:`dettmers2023`.
    training_mode
        Has no effect on the result.
    transB
        1: multiply by the transposed weights; 0: by the weights, as for gradients.

    Returns
    -------
    Y
        (..., N), or (..., K) if ``transB`` is 0; of the type of ``A``.

    Raises
    ------
    OperatorError
        For a type, shape or attribute that is not allowed.

    Examples
    --------
    The first code is in the high bits; a block of 16 here begins in one row, ends in the next:

    >>> import numpy as np
    >>> B = np.uint8([0x0F, 0x78] + [0xFF] * 8)
    >>> eye, sizes = np.eye(10, dtype=np.float32), {"K": 10, "N": 2, "block_size": 16}
    >>> matmul_bnb4(eye, B, np.float32([2, 8]), quant_type=1, **sizes).T
    array([[-2.       ,  2.       ,  0.       ,  0.1591606,  2.       ,
             2.       ,  2.       ,  2.       ,  2.       ,  2.       ],
           [ 2.       ,  2.       ,  2.       ,  2.       ,  2.       ,
             2.       ,  8.       ,  8.       ,  8.       ,  8.       ]],
          dtype=float32)

    FP4 has a sign and twelfths; without ``transB`` rows of ``A`` meet columns of the weights:

    >>> square = {"K": 2, "N": 2, "block_size": 16, "quant_type": 0}
    >>> codes, scale = np.uint8([0x3B, 0x21]), np.float32([2])
    >>> matmul_bnb4(eye[:2, :2], codes, scale, transB=0, **square)
    array([[ 2.        , -2.        ],
           [ 1.3333334 ,  0.01041667]], dtype=float32)
    >>> matmul_bnb4(eye[:1, :2], codes, scale, **square)
    array([[2.       , 1.3333334]], dtype=float32)
    """
    if quant_type not in range(len(TABLES)):
        refuse(NAME, "quant_type", quant_type, "0 or 1")
    if block_size < 16 or block_size.bit_count() > 1:  # noqa: PLR2004 - the smallest block
        refuse(NAME, "block_size", block_size, "16, 32, 64 and so on")
    count = N * K
    check_shape(NAME, "B", B, (packed_length(count, 4),))
    check_shape(NAME, "absmax", absmax, (ceil(count / block_size),))
    codes = unpack(B, 4, high_first=True)[:count]
    scales = np.repeat(absmax, block_size)[:count]
    weights = multiply(TABLES[quant_type][codes], scales).reshape(N, K)
    right = weights.T if transB else weights
    inner, outer = right.shape
    if A.shape[-1:] != (inner,):
        refuse(NAME, "A", f"shape {A.shape}", f"(..., {inner})")
    sums = float_matmul(A.reshape(prod(A.shape[:-1]), inner), right)
    return cast(sums, A.dtype).reshape(*A.shape[:-1], outer)
