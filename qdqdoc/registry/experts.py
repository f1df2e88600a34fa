"""Mixtures of experts: what is allowed, which code is whose, and where onnxruntime differs."""

from __future__ import annotations

from math import ceil
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from qdqdoc.numerics.experts import expert_weights, select
from qdqdoc.numerics.formats import Array, type_name
from qdqdoc.registry.checks import refuse

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from qdqdoc.registry.operator import Call

WIDTHS = (2, 4, 8)
FLOATS = ("float32", "float16", "bfloat16")
LEAST_BLOCK = 16
SMALLEST = 1e-8
ACTIVATIONS = ("relu", "gelu", "silu", "identity", "swiglu")
FUSIONS = (1, 2)
UNUSED = (
    *(f"fc3_{name}" for name in ("experts_weights", "scales", "experts_bias", "zero_points")),
    *(f"fc{n}_{name}" for name in ("global_scale", "act_scale", "act_block_scale") for n in (1, 2)),
)
"""Inputs of the modes that only other processors have."""
OPTIONAL = (
    *("fc1_scales", "fc1_experts_bias", "fc2_scales", "fc2_experts_bias", *UNUSED[:3]),
    *("fc1_zero_points", "fc2_zero_points", UNUSED[3], "router_weights", *UNUSED[4:]),
)
MODES: Mapping[str, tuple[object, ...]] = MappingProxyType(
    {
        "quant_type": ("int",),
        "use_sparse_mixer": (0,),
        "swiglu_limit_after_activation": (0,),
        "weights_prepacked": (-1, 0),
        "normalize_routing_weights": (0, 1),
        "activation_type": ACTIVATIONS,
    }
)
"""What these attributes may be: the rest is for other processors, or the text does not say."""


def check_modes(operator: str, unused: Sequence[Array | None], modes: Sequence[object]) -> None:
    """Refuse inputs and attributes of the modes that only other processors have.

    Raises
    ------
    OperatorError
        For one of them.
    """
    for name, value in zip(UNUSED, unused, strict=True):
        if value is not None:
            refuse(operator, name, "a tensor", "nothing: only other processors' modes use it")
    for (mode, allowed), found in zip(MODES.items(), modes, strict=True):
        if found not in allowed:
            refuse(operator, mode, found, " or ".join(map(str, allowed)))


def check_routing(
    operator: str, x: Array, router_probs: Array, router_weights: Array | None, k: int
) -> int:
    """Return the number of experts.

    >>> sequences, logits = np.ones((2, 3, 4)), np.ones((6, 5))
    >>> check_routing("QMoE", sequences, logits, None, k=1)
    5

    Raises
    ------
    OperatorError
        For ranks or shapes that do not fit each other, or a k outside 1 to that number.
    """
    if x.ndim not in {2, 3} or not x.shape[-1]:
        refuse(operator, "input", f"shape {x.shape}", "two or three dimensions, the last 1 or more")
    tokens, experts = x.size // x.shape[-1], router_probs.shape[-1] if router_probs.ndim else 0
    given = (("router_probs", router_probs), ("router_weights", router_weights))
    for name, value in given:
        if value is not None and value.shape != (tokens, experts):
            refuse(operator, name, f"shape {value.shape}", f"({tokens}, {experts or 'experts'})")
    if not 1 <= k <= experts:
        refuse(operator, "k", k, f"1 to {experts}, the number of experts")
    return experts


def inner_size(
    operator: str, fc1_experts_weights: Array, *, fusion: int | None, limit: float
) -> int:
    """Return how many values go into the second projection; ``fusion`` is None but for swiglu.

    Raises
    ------
    OperatorError
        For weights without rows, rows that are no pairs, a fusion other than 1 and 2, or a
        limit below 0.
    """
    parts = 1 if fusion is None else 2
    rows = fc1_experts_weights.shape[1] if fc1_experts_weights.ndim > 1 else 0
    if not rows or rows % parts:
        found = f"shape {fc1_experts_weights.shape}"
        refuse(operator, "fc1_experts_weights", found, f"{parts} or more rows, a multiple of it")
    if fusion not in {None, *FUSIONS}:
        refuse(operator, "swiglu_fusion", fusion, "1 or 2: without fusion it takes a third one")
    if not limit >= 0:
        refuse(operator, "swiglu_limit", limit, "0 or more")
    return rows // parts


def check_block_size(operator: str, block_size: int) -> int:
    """Return the block size: 0, or a power of two of at least 16.

    Raises
    ------
    OperatorError
        For another.
    """
    if block_size and (block_size < LEAST_BLOCK or block_size.bit_count() > 1):
        refuse(operator, "block_size", block_size, "0, or a power of two, 16 or more")
    return block_size


def check_projection(
    operator: str,
    name: str,
    tensors: tuple[Array, Array | None, Array | None, Array | None],
    shape: tuple[int, int, int],
    *,
    bits: int,
    block_size: int,
) -> Array:
    """Return the scales; weights, zero points and bias, too, are of (experts, rows, columns).

    Nine rows of one expert have nine zero points, which are packed like the codes:

    >>> scales, zeros = np.ones((1, 9), "f"), np.zeros((1, 5), np.uint8)
    >>> held = np.zeros((1, 9, 2), np.uint8), scales, zeros, None
    >>> check_projection("QMoE", "fc1", held, (1, 9, 4), bits=4, block_size=0).shape
    (1, 9)

    Raises
    ------
    OperatorError
        For a width, a type or a shape that does not fit, and for scales that are missing.
    """
    weights, scales, zero_points, bias = tensors
    experts, rows, columns = shape
    if bits not in WIDTHS:
        refuse(operator, f"{name}_expert_weight_bits", bits, "2, 4 or 8")
    if weights.dtype != np.uint8:
        refuse(operator, f"{name}_experts_weights", type_name(weights.dtype), "uint8")
    if scales is None:
        refuse(operator, f"{name}_scales", "nothing", f"a tensor of {' or '.join(FLOATS)}")
    if type_name(scales.dtype) not in FLOATS:
        refuse(operator, f"{name}_scales", type_name(scales.dtype), " or ".join(FLOATS))
    if columns * bits % 8:
        refuse(operator, f"{name}_experts_weights", f"rows of {columns} codes", "whole bytes")
    if block_size and columns % block_size:
        refuse(operator, "block_size", block_size, f"a divisor of {columns}, the inner size")
    steps = (*shape[:2], columns // block_size) if block_size else shape[:2]
    allowed = {
        f"{name}_experts_weights": (weights, (*shape[:2], columns * bits // 8)),
        f"{name}_scales": (scales, steps),
        f"{name}_zero_points": (zero_points, (*steps[:-1], ceil(steps[-1] * bits / 8))),
        f"{name}_experts_bias": (bias, (experts, rows)),
    }
    for key, (found, expected) in allowed.items():
        if found is not None and found.shape != expected:
            refuse(operator, key, f"shape {found.shape}", expected)
    return scales


def widths(
    operator: str, bits: int, first: int | None, second: int | None, third: int | None
) -> tuple[int, int]:
    """Return the widths of the codes of both projections; the third is not there.

    Raises
    ------
    OperatorError
        For a width of the third that is not that of the first.
    """
    own = bits if first is None else first
    if third not in {None, own}:
        refuse(operator, "fc3_expert_weight_bits", third, f"{own}, as of fc1, or nothing")
    return own, bits if second is None else second


class Row(NamedTuple):
    """Codes, zero points and scales of one row of an expert's weights, and its bias."""

    codes: list[int]
    zero_points: list[int]
    scales: Array
    bias: object


def ranked(call: Call, token: int) -> list[int]:
    """List the experts chosen for a token, the lowest first."""
    logits = [float(value) for value in call.inputs["router_probs"][token]]
    best = sorted(range(len(logits)), key=lambda e: (logits[e], e), reverse=True)
    return sorted(best[: call.attributes.get("k", 1)])


def row_order(call: Call) -> list[int]:
    """List the rows of fc1 so that, for swiglu, gates and linear parts take turns."""
    rows = call.inputs["fc1_experts_weights"].shape[1]
    apart = call.attributes.get("swiglu_fusion") == FUSIONS[1]
    return [row // 2 + row % 2 * (rows // 2) if apart else row for row in range(rows)]


def weight(call: Call, name: str, expert: int, row: int) -> Row:
    """Return one row of one expert, by another road than a kernel.

    A byte of the row, shifted and masked, is a code.
    """
    inputs, given = call.inputs, call.attributes
    own = given.get(f"{name}_expert_weight_bits")
    bits = given.get("expert_weight_bits", 4) if own is None else own
    packed, scales = inputs[f"{name}_experts_weights"][expert, row], inputs[f"{name}_scales"]
    columns = range(len(packed) * 8 // bits)
    codes = [_code(packed, k, bits) for k in columns]
    blocks = scales[expert, row].reshape(-1)
    block = len(columns) // len(blocks)
    zeros = inputs.get(f"{name}_zero_points")
    middle = 2 ** (bits - 1)
    if zeros is None:
        points = [middle for _ in columns]
    elif zeros.ndim == packed.ndim + 2:  # a scale for each block
        points = [_code(zeros[expert, row], k // block, bits) for k in columns]
    else:
        points = [_code(zeros[expert], row, bits) for _ in columns]
    bias = inputs.get(f"{name}_experts_bias")
    own_bias = 0 if bias is None else bias[expert, row]
    return Row(codes, points, np.repeat(blocks, block), own_bias)


def _code(packed: Array, place: int, bits: int) -> int:
    first = place * bits
    return int(packed[first // 8] >> first % 8) & ((1 << bits) - 1)


def element_values(call: Call, index: tuple[int, ...]) -> tuple[dict[str, Any], dict[str, range]]:
    """Return the symbols and index sets of the formula of one output element."""
    inputs, given = call.inputs, call.attributes
    *place, channel = index
    token = int(np.ravel_multi_index(place, inputs["input"].shape[:-1]))
    chosen = ranked(call, token)
    weights = inputs.get("router_weights")
    order = row_order(call)
    first = [weight(call, "fc1", e, r) for e in chosen for r in order]
    second = [weight(call, "fc2", e, channel) for e in chosen]
    inner = len(second[0].codes)
    values: dict[str, Any] = {
        "l": [inputs["router_probs"][token, e] for e in chosen],
        "g": [0 if weights is None else weights[token, e] for e in chosen],
        "given": int(weights is not None),
        "normalized": int(weights is None or given.get("normalize_routing_weights", 0)),
        "x": inputs["input"].reshape(-1, inputs["input"].shape[-1])[token],
        "w": inner,
        "alpha": np.float32(given.get("activation_alpha", 1)),
        "beta": np.float32(given.get("activation_beta", 0)),
        "limit": np.float32(given.get("swiglu_limit", np.inf)),
    }
    for suffix, rows in (("", first), ("_2", second)):
        for name, column in zip("czsb", zip(*rows, strict=True), strict=True):
            values[name + suffix] = np.array(column)
    sets = {"E": range(len(chosen)), "I": range(len(values["x"])), "J": range(inner)}
    return values, sets


def rounding_unit(call: Call) -> Array:
    """Scale 2**-24 by all that is rounded on the way to each element of ``output``.

    Those are the two sums of products with their biases. Weights of experts enter with a quarter
    more, for the experts that onnxruntime drops as their weight is below 1e-8.
    """
    inputs, given = call.inputs, call.attributes
    bits = given.get("expert_weight_bits", 4)
    first, second = (
        np.abs(
            expert_weights(
                inputs[f"{n}_experts_weights"],
                inputs[f"{n}_scales"],
                inputs.get(f"{n}_zero_points"),
                bits=given.get(f"{n}_expert_weight_bits") or bits,
            ).astype(np.float64)
        )
        for n in ("fc1", "fc2")
    )
    hidden = inputs["input"].shape[-1]
    x = np.abs(inputs["input"].astype(np.float64)).reshape(1, -1, hidden)
    sizes = x @ first.swapaxes(1, 2) + _size(inputs, "fc1")
    if given.get("activation_type") == "swiglu":
        parts = sizes[..., 0::2], sizes[..., 1::2]
        if given.get("swiglu_fusion") != 1:
            parts = tuple(np.split(sizes, 2, -1))  # type: ignore[assignment]  # two of them
        alpha, beta = (abs(given.get(f"activation_{n}", 1.0)) for n in ("alpha", "beta"))
        sizes = parts[0] * (parts[1] + beta) * (1 + alpha)
    sizes = sizes @ second.swapaxes(1, 2) + _size(inputs, "fc2")
    logits = inputs["router_probs"].astype(np.float64)
    chosen = select(logits, given.get("k", 1))
    near = np.take_along_axis(logits, chosen, -1)
    shares = np.exp(near - near.max(-1, keepdims=True, initial=-np.inf))
    shares /= shares.sum(-1, keepdims=True)
    if "router_weights" in inputs:
        shares = np.abs(np.take_along_axis(inputs["router_weights"], chosen, -1))
        shares = shares.astype(np.float64)
        if given.get("normalize_routing_weights"):
            total = shares.sum(-1, keepdims=True)
            shares /= np.where(total == 0, 1, total)
    rows = np.arange(len(chosen))[:, None]
    unit = ((shares[..., None] + 0.25) * sizes[chosen, rows]).sum(1) * 2.0**-24
    if inputs["input"].dtype == np.float16:
        unit = unit + np.abs(sizes[chosen, rows]).sum(1) * 2.0**-15
    return np.asarray(unit.reshape(inputs["input"].shape))


def _size(inputs: Mapping[str, Array], name: str) -> Any:  # noqa: ANN401 - an array, or 0
    bias = inputs.get(f"{name}_experts_bias")
    return 0 if bias is None else np.abs(bias.astype(np.float64))[:, None]


def with_int8_activations(call: Call) -> bool:
    """Tell whether onnxruntime rounds activations to eight bits: blocks, in constant weights."""
    given = call.attributes
    wide = given.get("expert_weight_bits", 4)
    asked = wide == 8 or (wide == 4 and given.get("accuracy_level") == 4)  # noqa: PLR2004 - widths
    return bool(asked and given.get("block_size") and not call.fed)


def with_lookup_tables(call: Call) -> bool:
    """Tell whether onnxruntime looks sums of 2-bit weights up in tables of rounded sums."""
    given = call.attributes
    block, wide = given.get("block_size") or 0, given.get("expert_weight_bits", 4)
    rows = {call.inputs[f"{n}_experts_weights"].shape[1] for n in ("fc1", "fc2")}
    columns = {call.inputs[f"{n}_experts_weights"].shape[2] * 4 for n in ("fc1", "fc2")}
    return wide == 2 and block > LEAST_BLOCK and any(n % 128 == 0 for n in rows | columns)  # noqa: PLR2004 - its tiles


def dropped(call: Call) -> Array:
    """Tell which elements are of tokens with an expert that onnxruntime leaves out for its weight.

    It does if the weight is NaN, or not above 1e-8.
    """
    inputs, given = call.inputs, call.attributes
    chosen = select(inputs["router_probs"].astype(np.float32), given.get("k", 1))
    logits = np.take_along_axis(inputs["router_probs"].astype(np.float64), chosen, -1)
    out = ~np.isfinite(logits.max(-1))
    if "router_weights" in inputs:
        shares = np.take_along_axis(inputs["router_weights"].astype(np.float64), chosen, -1)
        if given.get("normalize_routing_weights"):
            total = shares.sum(-1, keepdims=True)
            shares = np.where(total == 0, 1, shares / np.where(total == 0, 1, total))
        out |= ~(shares > SMALLEST).all(-1)  # NaN is not above
    shape = inputs["input"].shape
    return np.broadcast_to(out.reshape(*shape[:-1], 1), shape)
