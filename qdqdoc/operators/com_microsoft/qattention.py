"""Attention over quantized inputs: queries, keys and values from one exact product of codes.

The projection is integer arithmetic, scaled once. All that follows is float32 and nothing is
quantized again. The sums of float products have no order in the specification; here each is taken
exactly and rounded once, which lies in the middle of what orders can give.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from qdqdoc.calls.saturation import attention_adds_pairs
from qdqdoc.formula import Formula
from qdqdoc.numerics.attention import added_to_scores, attend, late_keys
from qdqdoc.numerics.formats import Array, tensor, type_name
from qdqdoc.numerics.products import Overflow, accumulate, integer_matmul
from qdqdoc.numerics.rounding import cast, multiply, subtract32
from qdqdoc.registry import REQUIRED, UNWRITTEN, Bound, Call, Differs, Element, Version, operator
from qdqdoc.registry import attention as shared

if TYPE_CHECKING:
    from collections.abc import Iterator

NAME = "QAttention"

V1 = Version(
    since=1,
    inputs={
        "input": "T1",
        "weight": "T2",
        "bias": "T3",
        "input_scale": "T3",
        "weight_scale": "T3",
        "mask_index": "T4",
        "input_zero_point": "T1",
        "weight_zero_point": "T2",
        "past": "T3",
    },
    outputs={"output": "T3", "present": "T3"},
    types={
        **dict.fromkeys(("T1", "T2"), ("int8", "uint8")),
        "T3": ("float32", "float16"),
        "T4": ("int32",),
    },
    optional=("mask_index", "input_zero_point", "weight_zero_point", "past"),
    attributes={
        "num_heads": REQUIRED,
        "unidirectional": 0,
        "scale": None,
        "mask_filter_value": None,
        "do_rotary": None,
        "past_present_share_buffer": None,
    },
)
FILTER = -10000.0
"""What is added to the score of a masked key unless ``mask_filter_value`` says otherwise."""

PRESENT = Formula(
    """
    acc = wrap32(sum((x[d] - z_x) * (w[d] - z_w) for d in D))
    y = T(f32(f32(f32(acc) * f32(s_x * s_w)) + b))
    """,
    symbols={
        "x": "row of `input`",
        "w": "column of `weight`",
        "s_x": "`input_scale`",
        "z_x": "`input_zero_point`",
        "s_w": "`weight_scale` of the tensor or column",
        "z_w": "`weight_zero_point` of the tensor or column",
        "b": "`bias` of the column",
    },
    sets={"D": "positions along the inner dimension"},
    types={"T": "type of `bias`"},
    when="the key or value is of this call",
    name="present",
)
PAST = Formula(
    "y = x", symbols={"x": "element of `past`"}, when="the key or value is of the past", name="past"
)
OUTPUT = Formula(
    """
    c = f32(1 / f32(sqrt(h))) if scale == 0 else scale
    f[t] = lowest(F) if late[t] == 1 else (0 if kept[t] == 1 else filter)
    a[t] = f32(f32(sum(q[i] * k[t, i] for i in I)) * c + f[t])
    m = max(a[t] for t in K)
    e[t] = f32(exp(f32(a[t] - m)))
    n = f32(sum(e[t] for t in K))
    p[t] = f32(e[t] * f32(1 / n))
    y = T(f32(sum(p[t] * v[t] for t in K)))
    """,
    symbols={
        "q": "query, a float32 row of the projection",
        "k": "keys, those of `past` first, before they are rounded to the type of `bias`",
        "v": "column of the values, like the keys",
        "h": "size of a head",
        "scale": "`scale`, 0 if there is none",
        "filter": "`mask_filter_value`",
        "kept": "1 where `mask_index` keeps the key",
        "late": "1 where `unidirectional` is 1 and the key comes after the query",
    },
    sets={"I": "positions in a head", "K": "keys"},
    types={"T": "type of `bias`", "F": "float32, the type of the scores"},
    name="output",
)


def vectors() -> Iterator[Call]:
    """Yield each corner: types, parameters of columns, masks, causality, the past, scales."""
    yield shared.zeros_call("codes of 0")
    for x, w in product(("uint8", "int8"), repeat=2):
        yield shared.attention_call(f"{x} by {w}", x=x, w=w)
    plain = shared.attention_call("plain", size=3)
    columns = {
        "weight_scale": tensor("float32", np.linspace(0.002, 0.03, 18)),
        "weight_zero_point": tensor("int8", range(-5, 13)),
    }
    yield shared.changed(plain, "a scale and a zero point per column", columns)
    bare = {k: v for k, v in plain.inputs.items() if "zero_point" not in k}
    yield replace(plain, name="no zero points", inputs=bare)
    lists = {k: v.reshape(1) for k, v in plain.inputs.items() if not v.ndim}
    yield shared.changed(plain, "scales and zero points in lists of one", lists)
    yield from shared.masked_calls()
    for name, scale in (("a scale", 0.3), ("a negative scale", -0.7), ("scale 0", 0.0)):
        yield shared.changed(plain, name, attributes={"scale": scale})
    for size in (5, 7, 11):
        yield shared.attention_call(f"heads of {size}", heads=1, size=size, seed=size)
    yield shared.attention_call("scores far apart", seed=4, scale=0.06)
    yield shared.attention_call("scores close together", seed=5, scale=0.001, length=9)
    yield shared.attention_call("no tokens", length=0)
    yield shared.attention_call("no tokens after some", length=0, past=2)
    yield shared.attention_call("a past of no tokens", past=0)
    yield shared.attention_call("float16", kind="float16", seed=7, scale=0.02)
    # Found by searching: rounded to float16 at once, one value would be another.
    yield shared.attention_call("float16, a past", kind="float16", seed=562, past=3, scale=0.02)
    zeros = dict.fromkeys(("input_zero_point", "weight_zero_point"), tensor("uint8", 0))
    beyond = shared.attention_call("sums beyond 2**24", inner=3000, w="uint8", scale=1e-4, seed=8)
    yield shared.changed(beyond, beyond.name, zeros)
    single = partial(shared.attention_call, batch=1, length=1, heads=1, size=1)
    long = single("the accumulator wraps", inner=33100, w="uint8", scale=1e-7)
    full = {k: np.full_like(long.inputs[k], 255) for k in ("input", "weight")}
    yield shared.changed(long, long.name, {**full, **zeros})
    # In float32 the sums are 1025.5, a tie that goes to 1026 in float16; exactly they are less.
    inputs = {
        "input": tensor("uint8", [[[8]]]),
        "weight": tensor("int8", [[4, 4, 4]]),
        "bias": tensor("float16", [1025] * 3),
        "input_scale": tensor("float16", 0.50048828125),
        "weight_scale": tensor("float16", 0.9990234375),
    }
    yield shared.changed(single("", kind="float16", inner=1), "less than a tie", inputs)


def ties() -> Iterator[Call]:
    """Yield larger calls: long rows, long heads, many keys, small and large scores."""
    for seed in range(12):
        yield shared.attention_call(
            f"larger, {seed}",
            seed=seed,
            past=seed % 3 * 4,
            scale=2.0 ** (-12 + seed % 6),
            inner=64 + 13 * seed,
            length=5 + seed,
            size=8 + 3 * seed,
        )


def rejects() -> Iterator[Call]:
    """Yield calls whose shapes, mask or attributes fit nothing."""
    yield from shared.forbidden(shared.attention_call("plain", past=1))


def element(call: Call, index: tuple[int, ...]) -> Element:
    """Bind the formula to one element of ``output``."""
    batch, position, channel = index
    inputs, size = call.inputs, shared.head_size(call)
    query, key, value = (shared.head_rows(call, part, batch, channel // size) for part in range(3))
    keys = range(len(key))
    now = position + len(keys) - len(query)
    causal = call.attributes.get("unidirectional", 0)
    mask = inputs.get("mask_index")
    values = {
        "q": query[position],
        "k": key,
        "v": value[:, channel % size],
        "h": size,
        "scale": np.float32(call.attributes.get("scale") or 0),
        "filter": np.float32(call.attributes.get("mask_filter_value", FILTER)),
        "kept": [shared.is_kept(mask, (batch, position, t), len(inputs["input"])) for t in keys],
        "late": [causal if t > now else 0 for t in keys],
    }
    types = {"T": type_name(inputs["bias"].dtype), "F": "float32"}
    return Element(formula=OUTPUT, values=values, sets={"I": range(size), "K": keys}, types=types)


def element_of_present(call: Call, index: tuple[int, ...]) -> Element:
    """Bind the formula to one element of ``present``."""
    which, batch, head, position, place = index
    inputs, size = call.inputs, shared.head_size(call)
    length = inputs["past"].shape[3] if "past" in inputs else 0
    if position < length:
        return Element(formula=PAST, values={"x": inputs["past"][index]})
    column = ((1 + which) * call.attributes["num_heads"] + head) * size + place
    parameters = shared.column_parameters(call, slice(column, column + 1))
    values: dict[str, object] = {
        "x": inputs["input"][batch, position - length],
        "w": inputs["weight"][:, column],
        "b": inputs["bias"][column],
        **{name: value[0] for name, value in parameters.items()},
    }
    types = {"T": type_name(inputs["bias"].dtype)}
    return Element(
        formula=PRESENT, values=values, sets={"D": range(inputs["weight"].shape[0])}, types=types
    )


DIFFERS = (
    Differs(
        "onnxruntime",
        shared.zeros_call("no sequence", batch=0),
        None,
        "A batch of none divides by zero and kills the process.",
        "Silent.",
        lambda call: call.inputs["input"].shape[0] == 0,
    ),
    Differs(
        "onnxruntime",
        shared.zeros_call("nothing to sum", inner=0),
        UNWRITTEN,
        "With nothing to sum, the projection is memory that was never written.",
        "A sum of nothing is 0; queries, keys and values are the bias.",
        lambda call: call.inputs["input"].shape[2] == 0,
    ),
    *attention_adds_pairs(),
)
_ZERO = np.zeros((), np.int32)
BOUND = Bound(
    output="output",
    ulp=4,
    unit=lambda call: shared.rounding_unit(call, FILTER),
    why="The order of the sums of scores, weights and values, and the exponential, are its own.",
)


@operator(
    name=NAME,
    domain="com.microsoft",
    versions=(V1,),
    formulas=(OUTPUT, PRESENT, PAST),
    cites=("ort-contrib", "vaswani2017", "ort-mlas"),
    vectors=vectors,
    element={"output": element, "present": element_of_present},
    differs=DIFFERS,
    bounds=(BOUND,),
    rejects=rejects,
    ties=ties,
)
def qattention(
    input: Array,  # noqa: A002 - ONNX's name
    weight: Array,
    bias: Array,
    input_scale: Array,
    weight_scale: Array,
    mask_index: Array | None = None,
    input_zero_point: Array | None = None,
    weight_zero_point: Array | None = None,
    past: Array | None = None,
    *,
    num_heads: int = REQUIRED,  # type: ignore[assignment]  # the checks before see to it
    unidirectional: int = 0,
    scale: float | None = None,
    mask_filter_value: float | None = None,
    do_rotary: int | None = None,
    past_present_share_buffer: int | None = None,
    overflow: Overflow = "wrap",
) -> tuple[Array, Array]:
    """Project codes to queries, keys and values, and let each query weigh the values.

    Parameters
    ----------
    input
        Codes, (B, S, D).
    weight
        Codes, (D, 3 H): the columns of queries, of keys, then of values.
    bias
        (3 H); its type is the type of the results.
    input_scale, input_zero_point
        One value each; the zero point is 0 if not given.
    weight_scale, weight_zero_point
        One value each, or one for each of the 3 H columns.
    mask_index
        int32: ends (B), ends and then starts (2 B), numbers that keep a key where they are
        positive, (B, P + S) or (B, S, P + S). A (B, 1) masks nothing.
    past
        Keys and values of earlier calls, (2, B, num_heads, P, H / num_heads).
    num_heads
        How many heads share the columns.
    unidirectional
        1: a query sees no later key.
    scale
        What products of queries and keys are multiplied by; one over the root of the head size
        if it is not given, or 0.
    mask_filter_value
        What is added to the scores of masked keys, -10000 if not given.
    do_rotary
        0: the text does not say what angles another value means.
    past_present_share_buffer
        0 or not given: the text does not say which part of the buffer another value means.
    overflow
        ``"wrap"``: a sum beyond int32 wraps; ``"raise"``: it is an error.

    Returns
    -------
    output
        What the queries make of the values, (B, S, H).
    present
        The past with the new keys and values after it, as long as both.

    Raises
    ------
    OperatorError
        For a missing input, a type or shape that does not fit, or an attribute out of range.
    AccumulatorOverflowError
        If a sum leaves int32 and ``overflow`` is ``"raise"``.

    Examples
    --------
    One head of size 1. The query is 0, so that the values 3 and 6 weigh the same, unless a mask
    ends before the second, or it comes later than the query:

    >>> import numpy as np
    >>> one, bias = np.float32(1), np.float32([0, 0, 0])
    >>> codes, weight = np.uint8([[[4], [7]]]), np.int8([[0, 1, 1]])
    >>> rest = {"input_zero_point": np.uint8(1), "num_heads": 1}
    >>> output, present = qattention(codes, weight, bias, one, one, **rest)
    >>> output.ravel(), present.reshape(2, 2)
    (array([4.5, 4.5], dtype=float32), array([[3., 6.],
           [3., 6.]], dtype=float32))
    >>> qattention(codes, weight, bias, one, one, np.int32([1]), **rest)[0].ravel()
    array([3., 3.], dtype=float32)
    >>> qattention(codes, weight, bias, one, one, unidirectional=1, **rest)[0].ravel()
    array([3. , 4.5], dtype=float32)

    The filter is added, so a small one leaves masked keys in sight:

    >>> qattention(codes, weight, bias, one, one, np.int32([1]), mask_filter_value=-1.0,
    ...            **rest)[0].ravel()
    array([3.8068244, 3.8068244], dtype=float32)

    The past stands before the new keys and values; a mask counts it in:

    >>> past = np.float32([[[[[0]]]], [[[[9]]]]])
    >>> output, present = qattention(codes, weight, bias, one, one, np.int32([[1, 0, 1]]),
    ...                              past=past, **rest)
    >>> output.ravel(), present[1].ravel()
    (array([7.5, 7.5], dtype=float32), array([9., 3., 6.], dtype=float32))

    A scale per column makes the query half the key; the scale of the scores is an attribute:

    >>> scales, weight = np.float32([0.125, 0.25, 2]), np.int8([[1, 1, 1]])
    >>> qattention(codes, weight, bias, one, scales, scale=4.0, **rest)[0].ravel()
    array([10.52949 , 11.427903], dtype=float32)

    The accumulator has 32 bits and wraps:

    >>> long = np.full((1, 1, 33026), 255, np.uint8)
    >>> weight, scale = np.full((33026, 3), 255, np.uint8), np.float32(2**-10)
    >>> qattention(long, weight, bias, one, scale, num_heads=1)[0]
    array([[[-2.0971208e+06]]], dtype=float32)
    """
    size = shared.check_attention(NAME, input, weight, bias, past, num_heads)
    shared.check_parameters(
        NAME, len(bias), input_scale, weight_scale, input_zero_point, weight_zero_point
    )
    shared.check_attributes(NAME, unidirectional, do_rotary, past_present_share_buffer)
    batch, length, _ = input.shape
    codes = subtract32(input, _ZERO if input_zero_point is None else input_zero_point)
    weights = subtract32(weight, _ZERO if weight_zero_point is None else weight_zero_point)
    accumulator = accumulate(integer_matmul(codes, weights), overflow)
    projected = multiply(accumulator, multiply(input_scale, weight_scale)) + bias
    split = projected.reshape(batch, length, 3, num_heads, size)
    query, *new = np.moveaxis(split, (2, 3), (0, 2))
    if past is None:
        past = np.zeros((2, batch, num_heads, 0, size), bias.dtype)
    keys, values = present = np.concatenate([past, new], axis=3)
    kept = shared.kept_keys(NAME, mask_index, batch, length, keys.shape[2])
    late = late_keys(length, keys.shape[2]) & (unidirectional == 1)
    filter_value = FILTER if mask_filter_value is None else mask_filter_value
    added = added_to_scores(kept, late, filter_value)[:, None]
    output = attend(query, keys, values, added, scale).transpose(0, 2, 1, 3)
    output = output.reshape(batch, length, num_heads * size)
    return cast(output, bias.dtype), cast(present, bias.dtype)
