"""Attention: which keys a mask keeps, and the projection by another road than a kernel's."""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from qdqdoc.numerics.attention import added_to_scores, late_keys
from qdqdoc.numerics.formats import DTYPES, Array, integer_range, tensor, type_name
from qdqdoc.numerics.rounding import f32
from qdqdoc.registry.checks import refuse
from qdqdoc.registry.operator import Call

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_NOTHING: Mapping[str, Any] = MappingProxyType({})
UNSAID = ("do_rotary", "past_present_share_buffer")
PARAMETERS = ("input_scale", "weight_scale", "input_zero_point", "weight_zero_point")


def kept_keys(operator: str, mask: Array | None, batch: int, queries: int, keys: int) -> Array:
    """Tell which keys a mask keeps: (batch, queries or 1, keys).

    Ends, one for each sequence; or ends and then starts; or a number for each key, of which the
    positive ones keep; or such a number for each query and key. One number for each sequence in
    two dimensions masks nothing.

    >>> kept_keys("QAttention", np.int32([2, 1]), 2, 3, 3).astype(int).tolist()
    [[[1, 1, 0]], [[1, 0, 0]]]
    >>> kept_keys("QAttention", np.int32([3, 1]), 1, 3, 3).astype(int).tolist()
    [[[0, 1, 1]]]
    >>> kept_keys("QAttention", np.int32([[1, 0, 2]]), 1, 3, 3).astype(int).tolist()
    [[[1, 0, 1]]]

    Raises
    ------
    OperatorError
        For a mask of another shape, or an end below 0.
    """
    everything = np.ones((batch, 1, keys), bool)
    if mask is None or mask.shape == (batch, 1):
        return everything
    ends, numbers = ((batch,), (2 * batch,)), ((batch, keys), (batch, queries, keys))
    if mask.shape in numbers:
        return mask.reshape(batch, -1, keys) > 0
    if mask.shape not in ends:
        shapes = *ends, (batch, 1), *numbers
        refuse(operator, "mask_index", f"shape {mask.shape}", " or ".join(map(str, shapes)))
    end, start = mask[:batch, None, None], mask[batch:, None, None]
    if (end < 0).any():
        refuse(operator, "mask_index", f"the end {end.min()}", "0 or more")
    position = np.arange(keys)
    return (position < end) & (position >= start) if start.size else everything & (position < end)


def is_kept(mask: Array | None, place: tuple[int, int, int], batch: int) -> int:
    """Tell of one (sequence, query, key) whether a mask keeps it, as 1 or 0.

    Written with scalars on purpose: it is the witness of :func:`kept_keys`.

    >>> is_kept(np.int32([3, 3, 1, 0]), (0, 0, 0), 2), is_kept(np.int32([[5]]), (0, 0, 0), 1)
    (0, 1)
    """
    sequence, query, key = place
    if mask is None or mask.shape == (batch, 1):
        return 1
    if mask.ndim == 1:
        start = mask[batch + sequence] if len(mask) > batch else 0
        return int(start <= key < mask[sequence])
    row = mask[sequence].reshape(-1, mask.shape[-1])
    return int(row[query if len(row) > 1 else 0, key] > 0)


def mask_cases(keys: int) -> Iterator[tuple[str, Array]]:
    """Yield (name, mask) for each form, for two sequences of three queries.

    >>> dict(mask_cases(3))["ends"]
    array([2, 1], dtype=int32)
    """
    forms = {
        "ends": [2, keys - 2],
        "ends beyond the keys, and none": [9, 0],
        "ends and starts": [keys, 2, 1, 0],
        "an end before its start": [1, 3, 2, -1],
        "one number a sequence": [[0], [-1]],
        "a number for each key": [[1, 0, 2, 1, 0][:keys], [0, -1, 0, 0, 1][:keys]],
        "a number for each query and key": np.arange(6 * keys).reshape(2, 3, keys) % 4 - 1,
    }
    for name, mask in forms.items():
        yield name, tensor("int32", mask)


def head_size(call: Call) -> int:
    """Return the size of a head."""
    return len(call.inputs["bias"]) // 3 // int(call.attributes["num_heads"])


def column_parameters(call: Call, columns: slice) -> dict[str, Array]:
    """Return the scale and zero point of the input, and those of some columns, as lists."""
    none = np.zeros(1, np.int8)
    given = {
        "s_x": call.inputs["input_scale"],
        "z_x": call.inputs.get("input_zero_point", none),
        "s_w": call.inputs["weight_scale"],
        "z_w": call.inputs.get("weight_zero_point", none),
    }
    width = len(call.inputs["bias"])
    return {k: np.broadcast_to(v.reshape(-1), width)[columns] for k, v in given.items()}


def head_rows(call: Call, part: int, batch: int, head: int) -> Array:
    """Project one sequence to the queries (part 0), keys (1) or values (2) of one head.

    The past comes first. What this says of keys and values, the formula of ``present`` witnesses.
    """
    inputs, size = call.inputs, head_size(call)
    first = (part * call.attributes["num_heads"] + head) * size
    columns = slice(first, first + size)
    near = {k: v.astype(np.float64) for k, v in column_parameters(call, columns).items()}
    codes = inputs["input"][batch] - near["z_x"][:1]
    sums = codes @ (inputs["weight"][:, columns] - near["z_w"])  # whole, and below 2**53
    held = (sums + 2.0**31) % 2.0**32 - 2.0**31
    with np.errstate(all="ignore"):
        rows = f32(held) * f32(near["s_x"] * near["s_w"]) + f32(inputs["bias"][columns])
    if part and "past" in inputs:
        rows = np.concatenate([f32(inputs["past"][part - 1, batch, head]), rows])
    return rows


def rounding_unit(call: Call, filter_value: float) -> Array:
    """Scale 2**-24 by all that is rounded on the way to each element of ``output``.

    Those are the sums of products of the scores, whose errors move every weight, and the weighted
    sum itself. ``filter_value`` is added to masked scores unless the call says another.
    """
    length, heads = call.inputs["input"].shape[1], range(call.attributes["num_heads"])
    scale = call.attributes.get("scale") or head_size(call) ** -0.5
    filter_value = call.attributes.get("mask_filter_value", filter_value)
    units = []
    for batch in range(len(call.inputs["input"])):
        for head in heads:
            query, key, value = (
                head_rows(call, part, batch, head).astype(np.float64) for part in range(3)
            )
            mask, sizes = call.inputs.get("mask_index"), (length, len(key))
            late = late_keys(*sizes) & (call.attributes.get("unidirectional") == 1)
            kept = kept_keys("unit", mask, len(call.inputs["input"]), *sizes)[batch]
            added = added_to_scores(kept, late, filter_value).astype(np.float64)
            terms = abs(scale) * np.abs(query) @ np.abs(key).T + np.abs(added)
            scores = scale * query @ key.T + added
            weights = np.exp(scores - scores.max(-1, keepdims=True, initial=-np.inf))
            weights /= weights.sum(-1, keepdims=True)
            moved = weights * (1 + terms + (weights * terms).sum(-1, keepdims=True))
            units.append(moved @ np.abs(value))
    shape = len(call.inputs["input"]), len(heads), length, head_size(call)
    unit = np.reshape(units, shape).swapaxes(1, 2).reshape(shape[0], length, len(heads) * shape[3])
    return np.asarray(unit * 2.0**-24)


def check_attention(
    operator: str, codes: Array, weight: Array, bias: Array, past: Array | None, heads: int
) -> int:
    """Return the size of a head.

    Raises
    ------
    OperatorError
        For ranks and sizes that do not fit each other.
    """
    if codes.ndim != 3:  # noqa: PLR2004 - batch, sequence, inner
        refuse(operator, "input", f"shape {codes.shape}", "(batch, sequence, inner)")
    if weight.shape[:-1] != codes.shape[2:] or len(weight.T) % 3:
        refuse(operator, "weight", f"shape {weight.shape}", f"({codes.shape[2]}, a multiple of 3)")
    hidden = len(weight.T) // 3
    if heads < 1 or hidden < 1 or hidden % heads:
        refuse(operator, "num_heads", heads, f"a divisor of {hidden}, a third of weight's columns")
    if bias.shape != weight.shape[1:]:
        refuse(operator, "bias", f"shape {bias.shape}", weight.shape[1:])
    if past is not None:
        allowed = (2, len(codes), heads, *past.shape[3:4], hidden // heads)
        if past.shape != allowed:
            refuse(operator, "past", f"shape {past.shape}", f"{allowed}, the fourth being any")
    return hidden // heads


def check_parameters(operator: str, width: int, *parameters: Array | None) -> None:
    """Refuse the scales of input and weight, then their zero points, if their shape is wrong.

    Each is one value; the weight's may be one for each column.

    Raises
    ------
    OperatorError
        For another shape.
    """
    for name, value in zip(PARAMETERS, parameters, strict=True):
        allowed = [(), (1,), *([(width,)] if name.startswith("weight") else [])]
        if value is not None and value.shape not in allowed:
            refuse(operator, name, f"shape {value.shape}", " or ".join(map(str, allowed)))


def check_attributes(operator: str, unidirectional: int, *unsaid: int | None) -> None:
    """Refuse what is neither 0 nor 1, and attributes of which the text does not say enough.

    Raises
    ------
    OperatorError
        For one of them.
    """
    if unidirectional not in {0, 1}:
        refuse(operator, "unidirectional", unidirectional, "0 or 1")
    for name, value in zip(UNSAID, unsaid, strict=True):
        if value:
            refuse(operator, name, value, "0: the text does not say enough of it")


def attention_call(
    name: str,
    *,
    x: str = "uint8",
    w: str = "int8",
    kind: str = "float32",
    scale: float = 0.01,
    attributes: Mapping[str, object] = _NOTHING,
    seed: int = 0,
    past: int | None = None,
    batch: int = 2,
    length: int = 3,
    inner: int = 5,
    heads: int = 2,
    size: int = 2,
) -> Call:
    """Make a call of random codes; ``length`` is that of a sequence, ``size`` that of a head."""
    rng = np.random.default_rng(seed)
    width = 3 * heads * size

    def codes(of: str, shape: tuple[int, ...]) -> Array:
        return rng.integers(*integer_range(DTYPES[of]), shape, DTYPES[of], endpoint=True)

    inputs = {
        "input": codes(x, (batch, length, inner)),
        "weight": codes(w, (inner, width)),
        "bias": tensor(kind, rng.normal(size=width)),
        "input_scale": tensor(kind, scale),
        "weight_scale": tensor(kind, 0.013),
        "input_zero_point": tensor(x, 7),
        "weight_zero_point": tensor(w, 3),
    }
    if past is not None:
        inputs["past"] = tensor(kind, rng.normal(size=(2, batch, heads, past, size)))
    return Call(name=name, inputs=inputs, attributes={"num_heads": heads, **attributes})


def zeros_call(name: str, *, batch: int = 1, inner: int = 1) -> Call:
    """Make a call of one token and one head of size 1, whose codes are 0 and whose biases 1."""
    inputs: dict[str, Array] = {
        "input": np.zeros((batch, 1, inner), np.uint8),
        "weight": np.zeros((inner, 3), np.int8),
        "bias": np.ones(3, np.float32),
        "input_scale": np.ones((), np.float32),
        "weight_scale": np.ones((), np.float32),
    }
    return Call(name=name, inputs=inputs, attributes={"num_heads": 1})


def changed(
    call: Call,
    name: str,
    inputs: Mapping[str, Array] = _NOTHING,
    attributes: Mapping[str, object] = _NOTHING,
) -> Call:
    """Return a call of another name with other inputs and attributes."""
    return replace(
        call,
        name=name,
        inputs={**call.inputs, **inputs},
        attributes={**call.attributes, **attributes},
    )


def forbidden(call: Call) -> Iterator[Call]:
    """Yield a call with one input of a wrong shape, or one attribute out of its range.

    The call has two sequences of three tokens, rows of five codes, two heads of two, a past of one.
    """
    shapes: dict[str, tuple[tuple[int, ...], ...]] = {
        "input": ((3, 5), (1, 2, 3, 5)),
        "weight": ((4, 12), (5,), (5, 13), (5, 0), (5, 4, 3)),
        "bias": ((4,), (1, 12)),
        "input_scale": ((2,), (1, 1), (12,)),
        "weight_scale": ((4,), (1, 12)),
        "input_zero_point": ((2,), (12,)),
        "weight_zero_point": ((4,), (1, 12)),
        "mask_index": ((2, 1, 3, 4), (3,), (8,), (2, 3), (2, 1, 4)),
        "past": ((1, 2, 2, 1, 2), (2, 2, 1, 1, 4), (2, 1, 2, 1, 2), (2, 2, 2, 1, 1), (2, 2, 2)),
    }
    for name, several in shapes.items():
        kind = type_name(call.inputs[name].dtype) if name in call.inputs else "int32"
        for shape in several:
            yield changed(call, f"{name} {shape}", {name: tensor(kind, np.ones(shape))})
    yield changed(call, "an end below 0", {"mask_index": tensor("int32", [1, -1])})
    attributes = {
        "num_heads": (0, 3, -2),
        "unidirectional": (2, -1),
        **dict.fromkeys(UNSAID, (1,)),
    }
    for name, values in attributes.items():
        for value in values:
            yield changed(call, f"{name} {value}", attributes={name: value})


def masked_calls() -> Iterator[Call]:
    """Yield each kind of mask, with and without a past, of queries that see all keys or not."""
    for past, unidirectional in ((0, 0), (0, 1), (2, 0), (2, 1)):
        name = f"past of {past}, unidirectional {unidirectional}"
        attributes = {"unidirectional": unidirectional}
        yield (call := attention_call(name, past=past, attributes=attributes, seed=past))
        for kind, mask in mask_cases(3 + past):
            yield changed(call, f"{kind}, {name}", {"mask_index": mask})
    for value in (-1.5, 0.0, -30000.0):
        masked = {"mask_index": tensor("int32", [1, 2])}
        yield changed(call, f"filter {value}", masked, {"mask_filter_value": value})
