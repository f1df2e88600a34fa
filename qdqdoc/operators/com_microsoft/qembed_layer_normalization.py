"""Look up quantized embeddings of words, positions and segments, add them and normalize each row.

Tables hold codes of one scale each. All else is float32, an operation at a time, and sums run
from the first entry of a row to the last.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from qdqdoc.formula import Formula
from qdqdoc.numerics.formats import Array, integer_range, tensor
from qdqdoc.numerics.rounding import divide, f32, multiply, subtract32
from qdqdoc.numerics.sums import sum_in_order
from qdqdoc.registry import Call, Element, Version, operator, refuse
from qdqdoc.registry.values import expect_one_value

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

NAME = "QEmbedLayerNormalization"
INT8 = ("int8", "uint8")
LEAST = 1e-12
EMBEDDINGS = ("word_embedding_quant", "position_embedding_quant", "segment_embedding")
TABLES = (*EMBEDDINGS, "gamma_quant", "beta_quant")
ROWS = (7, 6, 3)
"""Rows of the embeddings in vectors."""

SEGMENTS = (
    *("segment_ids", "segment_embedding"),
    *("segment_embedding_scale", "segment_embedding_zero_point"),
)
"""Inputs that come together or not at all."""

V1 = Version(
    since=1,
    inputs={
        "input_ids": "T1",
        "segment_ids": "T1",
        "word_embedding_quant": "T2",
        "position_embedding_quant": "T2",
        "segment_embedding": "T2",
        "gamma_quant": "T2",
        "beta_quant": "T2",
        "mask": "T1",
        "word_embedding_scale": "T",
        "position_embedding_scale": "T",
        "segment_embedding_scale": "T",
        "gamma_scale": "T",
        "beta_scale": "T",
        "word_embedding_zero_point": "T2",
        "position_embedding_zero_point": "T2",
        "segment_embedding_zero_point": "T2",
        "gamma_zero_point": "T2",
        "beta_zero_point": "T2",
    },
    outputs={"layernorm_out": "T", "mask_index_out": "T1"},
    types={"T1": ("int32",), "T2": INT8, "T": ("float32",)},
    optional=(*SEGMENTS[:2], "mask", *SEGMENTS[2:]),
    attributes={"epsilon": LEAST},
)

SYMBOLS = {
    "w": "row of `word_embedding_quant` that `input_ids` names",
    "p": "row of `position_embedding_quant` with the number of the position",
    "s": "row of `segment_embedding` that `segment_ids` names; 0 where there are no segments",
    "g": "entry of `gamma_quant`",
    "b": "entry of `beta_quant`",
    **{f"s_{k}": f"scale of `{k}`" for k in "wpsgb"},
    **{f"z_{k}": f"zero point of `{k}`" for k in "wpsgb"},
    "n": "how many entries a row has",
    "j": "place of the element in its row",
    "e": "`epsilon`, a float32",
}
NORMALIZED = Formula(
    "x[k] = f32(f32(f32((w[k] - z_w) * s_w) + f32((p[k] - z_p) * s_p)) + f32((s[k] - z_s) * s_s))\n"
    "mean = f32(sum_f32(x[k] for k in K) / n)\n"
    "a[k] = f32(x[k] - mean)\n"
    "square[k] = f32(a[k] * a[k])\n"
    "d = f32(sqrt(f32(f32(sum_f32(square[k] for k in K) / n) + e)))\n"
    "y = f32(f32(f32(a[j] / d) * f32((g - z_g) * s_g)) + f32((b - z_b) * s_b))",
    symbols=SYMBOLS,
    sets={"K": "entries of a row, in order"},
    name="normalized",
    when="the output is `layernorm_out`",
)
COUNTED = Formula(
    "y = sum(1 if mask[t] == 1 else 0 for t in S)",
    symbols={"mask": "row of `mask`"},
    sets={"S": "positions in the sequence; none where there is no mask"},
    name="counted",
    when="the output is `mask_index_out`",
)


def vectors() -> Iterator[Call]:
    """Yield each corner: both types, rails, segments, masks, widths, epsilons, nothing at all."""
    for kind in INT8:
        for zero in (*integer_range(kind), 3):
            yield _call(f"{kind}, zero points {zero}", (3, 4, 8), kind, zero=zero)
    for seed in (1, 2, 3):
        yield _call(f"tables {seed}", (4, 5, 19), "int8", seed=seed)
    yield _call("one entry a row", (2, 3, 1))
    yield _call("epsilon as large as the variance", (2, 3, 5), epsilon=0.3)
    plain = _call("no epsilon", (2, 3, 5), epsilon=0.0)
    yield plain
    level = {**plain.inputs, **{k: np.zeros_like(plain.inputs[k]) for k in EMBEDDINGS}}
    yield replace(plain, name="no variance", inputs=level, attributes={})
    yield replace(plain, name="no variance, no epsilon", inputs=level)
    without = {k: v for k, v in plain.inputs.items() if k not in SEGMENTS}
    yield replace(plain, name="no segments", inputs=without)
    bare = {k: v for k, v in without.items() if k != "mask"}
    yield replace(plain, name="neither segments nor mask", inputs=bare)
    masks = tensor("int32", [[1, 0, 1], [2, 1, -1]])
    yield replace(plain, name="a mask with gaps", inputs={**plain.inputs, "mask": masks})
    ones = {k: np.atleast_1d(v) for k, v in plain.inputs.items()}
    yield replace(plain, name="parameters as vectors of one", inputs=ones)
    yield _call("an empty batch", (0, 3, 5))
    yield _call("empty sequences", (2, 0, 5))


def _call(
    name: str,
    shape: tuple[int, int, int],
    kind: str = "uint8",
    *,
    zero: int = 100,
    seed: int = 0,
    epsilon: float = LEAST,
) -> Call:
    """Make a call with scattered codes; ``shape`` is batch, sequence, entries of a row."""
    *ids, width = shape
    low, high = integer_range(kind)
    shapes = (*((rows, width) for rows in ROWS), (width,), (width,))
    inputs: dict[str, Array] = {}
    for place, (table, of) in enumerate(zip(TABLES, shapes, strict=True)):
        stem = table.removesuffix("_quant")
        inputs[table] = tensor(kind, low + _scattered(of, high - low + 1, seed + place))
        inputs[f"{stem}_scale"] = tensor("float32", 0.2 / (3 + (seed + 1) * (place + 1)))
        inputs[f"{stem}_zero_point"] = tensor(kind, zero - place if zero > low + 4 else zero)
    for name_of, rows in (("input_ids", ROWS[0]), ("segment_ids", ROWS[2]), ("mask", 2)):
        inputs[name_of] = tensor("int32", _scattered(ids, rows, seed))
    return Call(name=name, inputs=inputs, attributes={"epsilon": epsilon})


def _scattered(shape: Sequence[int], count: int, seed: int) -> Array:
    """Scatter whole numbers below a count."""
    return (np.arange(np.prod(shape)) ** 2 * 61 + seed * 7).reshape(shape) % 257 % count


def normalized(call: Call, index: tuple[int, ...]) -> Element:
    """Bind the formula to one element of the first output."""
    inputs = call.inputs
    batch, position, place = index
    rows = {"w": (TABLES[0], inputs["input_ids"][batch, position]), "p": (TABLES[1], position)}
    width = inputs["gamma_quant"].size
    values: dict[str, Any] = {"s": [0] * width, "z_s": 0, "s_s": 1}
    if "segment_ids" in inputs:
        rows["s"] = (TABLES[2], inputs["segment_ids"][batch, position])
    rows |= {"g": (TABLES[3], place), "b": (TABLES[4], place)}
    for symbol, (table, row) in rows.items():
        stem = table.removesuffix("_quant")
        values[symbol] = inputs[table][row]
        values[f"s_{symbol}"] = inputs[f"{stem}_scale"].item()
        values[f"z_{symbol}"] = inputs[f"{stem}_zero_point"].item()
    epsilon = tensor("float32", call.attributes.get("epsilon", LEAST))
    values |= {"n": width, "j": place, "e": epsilon}
    return Element(formula=NORMALIZED, values=values, sets={"K": range(width)})


def counted(call: Call, index: tuple[int, ...]) -> Element:
    """Bind the formula to one element of the second output."""
    mask = call.inputs.get("mask", np.zeros((index[0] + 1, 0), np.int32))[index]
    return Element(formula=COUNTED, values={"mask": mask}, sets={"S": range(mask.size)})


def rejects() -> Iterator[Call]:
    """Yield calls whose shapes, ids or attributes do not fit."""
    plain = _call("plain", (2, 3, 5))
    ids = plain.inputs["input_ids"]
    changes: dict[str, Array] = {
        "input_ids": ids[0],
        "segment_ids": ids[:, :2],
        "mask": ids[:1],
        **{table: plain.inputs[table][..., :4] for table in TABLES},
        **{name: np.stack([value] * 2) for name, value in plain.inputs.items() if not value.ndim},
    }
    for name, value in changes.items():
        found = f"{name} of shape {value.shape}"
        yield replace(plain, name=found, inputs={**plain.inputs, name: value})
    for name in TABLES:
        inputs = {**plain.inputs, name: plain.inputs[name][None]}
        yield replace(plain, name=f"{name} with a batch", inputs=inputs)
    for name, rows in (("input_ids", ROWS[0]), ("segment_ids", ROWS[2])):
        for outside in (-1, rows):
            moved = np.where(np.arange(6).reshape(2, 3) // 5, np.int32(outside), ids * 0)
            yield replace(plain, name=f"{name} {outside}", inputs={**plain.inputs, name: moved})
    for name in SEGMENTS:
        some = {k: v for k, v in plain.inputs.items() if k != name}
        yield replace(plain, name=f"no {name}", inputs=some)
    yield _call("a sequence longer than the positions", (1, ROWS[1] + 1, 5))
    yield _call("rows without an entry", (2, 3, 0))
    for epsilon in (-1e-12, float("nan")):
        yield _call(f"epsilon {epsilon}", (2, 3, 5), epsilon=epsilon)


def _check(held: Mapping[str, Array], epsilon: float) -> None:
    missing = [name for name in SEGMENTS if name not in held]
    if 0 < len(missing) < len(SEGMENTS):
        refuse(NAME, missing[0], "nothing", f"all of {', '.join(SEGMENTS)}, or none")
    ids, table = held["input_ids"], held[TABLES[0]]
    if ids.ndim != 2:  # noqa: PLR2004 - batch and sequence
        refuse(NAME, "input_ids", f"shape {ids.shape}", "(batch, sequence)")
    if table.ndim != 2 or not table.shape[1]:  # noqa: PLR2004 - rows and entries
        refuse(NAME, TABLES[0], f"shape {table.shape}", "(rows, entries), with an entry at least")
    _check_shapes(held, ids, table)
    positions = held[TABLES[1]].shape[0]
    if ids.shape[1] > positions:
        refuse(NAME, "input_ids", f"{ids.shape[1]} positions", f"at most {positions}")
    _check_range("input_ids", ids, table)
    if not missing:
        _check_range("segment_ids", held["segment_ids"], held[TABLES[2]])
    if not epsilon >= 0:
        refuse(NAME, "epsilon", epsilon, "0 or more")


def _check_shapes(held: Mapping[str, Array], ids: Array, table: Array) -> None:
    expect_one_value(NAME, **{k: v for k, v in held.items() if k.endswith(("scale", "point"))})
    for name, value in held.items():
        if name in {"mask", "segment_ids"} and value.shape != ids.shape:
            refuse(NAME, name, f"shape {value.shape}", f"{ids.shape}, as input_ids")
        if name in TABLES and value.shape[name not in TABLES[3:] :] != table.shape[1:]:
            allowed = f"{table.shape[1]} entries, as {TABLES[0]}"
            refuse(NAME, name, f"shape {value.shape}", allowed)


def _check_range(name: str, ids: Array, table: Array) -> None:
    outside = ids[(ids < 0) | (ids >= len(table))]
    if outside.size:
        refuse(NAME, name, outside[0], f"0 to {len(table) - 1}: rows of its table")


def _real(held: Mapping[str, Array], table: str) -> Array:
    """Turn a table of codes into real numbers: zero point off, times the scale."""
    stem = table.removesuffix("_quant")
    zero_point, scale = held[f"{stem}_zero_point"], held[f"{stem}_scale"]
    return multiply(subtract32(held[table], zero_point.reshape(())), scale.reshape(()))


def _mean(values: Array) -> Array:
    """Sum each row in order and divide by the number of its entries."""
    return divide(sum_in_order(values), np.asarray(values.shape[-1]), np.float32)[..., None]


@operator(
    name=NAME,
    domain="com.microsoft",
    versions=(V1,),
    formulas=(NORMALIZED, COUNTED),
    cites=("ort-contrib", "devlin2019"),
    vectors=vectors,
    element={"layernorm_out": normalized, "mask_index_out": counted},
    rejects=rejects,
)
def qembed_layer_normalization(
    input_ids: Array,
    segment_ids: Array | None,
    word_embedding_quant: Array,
    position_embedding_quant: Array,
    segment_embedding: Array | None,
    gamma_quant: Array,
    beta_quant: Array,
    mask: Array | None,
    word_embedding_scale: Array,
    position_embedding_scale: Array,
    segment_embedding_scale: Array | None,
    gamma_scale: Array,
    beta_scale: Array,
    word_embedding_zero_point: Array,
    position_embedding_zero_point: Array,
    segment_embedding_zero_point: Array | None,
    gamma_zero_point: Array,
    beta_zero_point: Array,
    *,
    epsilon: float = LEAST,
) -> tuple[Array, Array]:
    """Add the embeddings of each position, take the mean off, divide by the deviation.

    Parameters
    ----------
    input_ids
        Numbers of words, (batch, sequence), int32.
    segment_ids
        Numbers of segments, shaped as ``input_ids``. The four segment inputs are optional, but
        only together.
    word_embedding_quant
        Codes, (words, H).
    position_embedding_quant
        Codes, (positions, H); the number of a position is its place in the sequence.
    segment_embedding
        Codes, (segments, H).
    gamma_quant, beta_quant
        Codes, (H,): what the normalized row is multiplied by, and what is added then.
    mask
        Shaped as ``input_ids``; 1 counts. Optional; it does not change ``layernorm_out``.
    word_embedding_scale, position_embedding_scale, segment_embedding_scale
        Scales of the three tables, one value each.
    gamma_scale, beta_scale
        Scales of ``gamma_quant`` and ``beta_quant``, one value each.
    word_embedding_zero_point, position_embedding_zero_point, segment_embedding_zero_point
        Zero points of the three tables, one value each, of the type that all codes have.
    gamma_zero_point, beta_zero_point
        Zero points of ``gamma_quant`` and ``beta_quant``, likewise.
    epsilon
        Added to the variance.

    Returns
    -------
    layernorm_out
        Real values, (batch, sequence, H), float32.
    mask_index_out
        How many entries of each row of ``mask`` are 1, (batch,), int32; 0 without a mask.

    Raises
    ------
    OperatorError
        For a missing input, a type that is not allowed, shapes that do not fit, ids outside
        their table, more positions than their table has, or a negative epsilon.

    Notes
    -----
    The text calls the second output the position of the first 0 in the mask
    :cite:p:`ort-contrib`. It is that where the ones come first; elsewhere it counts, here as in
    onnxruntime.

    Examples
    --------
    Word 1 at positions 0 and 1, two entries a row:

    >>> import numpy as np
    >>> one, zero = np.float32(1), np.int8(0)
    >>> tables = {
    ...     "word_embedding_quant": np.int8([[0, 0], [1, 5]]),
    ...     "position_embedding_quant": np.int8([[0, 0], [6, 0]]),
    ...     "gamma_quant": np.int8([1, 1]),
    ...     "beta_quant": np.int8([0, 10]),
    ... }
    >>> scales = {f"{k.removesuffix('_quant')}_scale": one for k in tables}
    >>> zeros = {f"{k.removesuffix('_quant')}_zero_point": zero for k in tables}
    >>> ids = np.int32([[1, 1]])
    >>> qembed_layer_normalization(ids, **tables, **scales, **zeros)
    (array([[[-1., 11.],
            [ 1.,  9.]]], dtype=float32), array([0], dtype=int32))

    Each zero point is subtracted from its codes, each scale multiplies its own table:

    >>> shifted = {**zeros, "word_embedding_zero_point": np.int8(1), "beta_zero_point": np.int8(9)}
    >>> wide = {**scales, "gamma_scale": np.float32(0.5), "position_embedding_scale": 2 * one}
    >>> qembed_layer_normalization(ids, **tables, **wide, **shifted)[0]
    array([[[-9.5,  1.5],
            [-8.5,  0.5]]], dtype=float32)

    Segments are added like words; the mask counts what is 1, and epsilon tames a row without
    variance:

    >>> segments = {
    ...     "segment_ids": np.int32([[0, 1]]),
    ...     "segment_embedding": np.int8([[4, 0], [0, 10]]),
    ...     "segment_embedding_scale": one,
    ...     "segment_embedding_zero_point": zero,
    ... }
    >>> mask = np.int32([[1, 2]])
    >>> qembed_layer_normalization(ids, mask=mask, **tables, **scales, **zeros, **segments)
    (array([[[ 0., 10.],
            [-1., 11.]]], dtype=float32), array([1], dtype=int32))
    >>> qembed_layer_normalization(ids, **tables, **scales, **zeros, **segments, epsilon=0)[0]
    array([[[nan, nan],
            [-1., 11.]]], dtype=float32)
    """
    given = (
        *(input_ids, segment_ids, word_embedding_quant, position_embedding_quant),
        *(segment_embedding, gamma_quant, beta_quant, mask, word_embedding_scale),
        *(position_embedding_scale, segment_embedding_scale, gamma_scale, beta_scale),
        *(word_embedding_zero_point, position_embedding_zero_point),
        *(segment_embedding_zero_point, gamma_zero_point, beta_zero_point),
    )
    held = {k: v for k, v in zip(V1.inputs, given, strict=True) if v is not None}
    _check(held, epsilon)
    x = _real(held, "word_embedding_quant")[input_ids]
    x = x + _real(held, "position_embedding_quant")[: input_ids.shape[1]]
    if segment_ids is not None:
        x = x + _real(held, "segment_embedding")[segment_ids]
    away = x - _mean(x)
    deviation = np.sqrt(_mean(multiply(away, away)) + f32(epsilon))
    scaled = multiply(divide(away, deviation, np.float32), _real(held, "gamma_quant"))
    ones = (np.zeros_like(input_ids) if mask is None else mask) == 1
    return scaled + _real(held, "beta_quant"), ones.sum(axis=1, dtype=np.int32)
