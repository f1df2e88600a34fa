"""Let each token pass through the experts a router picks: two quantized projections each.

Weights are codes of 2, 4 or 8 bits, dequantized to float32; everything after is float32. Sums of
products have no order in the specification: here each is taken exactly and rounded once.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from qdqdoc.calls import experts as calls
from qdqdoc.formula import Formula
from qdqdoc.numerics.experts import activate, expert_weights, gates, mix, select, shares, swiglu
from qdqdoc.numerics.formats import Array, type_name
from qdqdoc.numerics.products import float_matmul
from qdqdoc.numerics.rounding import cast, f32
from qdqdoc.registry import REQUIRED, Bound, Call, Differs, Element, Version, operator
from qdqdoc.registry import experts as shared

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Tensors = tuple[Array, Array | None, Array | None, Array | None]
NAME = "QMoE"
PROJECTION = {"experts_weights": "T1", "scales": "T2", "experts_bias": "T"}
FUSED_APART = 2  # the swiglu_fusion that has all gates before all linear parts

V1 = Version(
    since=1,
    inputs={
        "input": "T",
        "router_probs": "T",
        **{f"fc{n}_{name}": kind for n in (1, 2, 3) for name, kind in PROJECTION.items()},
        **{f"fc{n}_zero_points": "T1" for n in (1, 2, 3)},
        "router_weights": "T",
        **{f"fc{n}_{name}": "T4" for name in ("global_scale", "act_scale") for n in (1, 2)},
        **{f"fc{n}_act_block_scale": "T2" for n in (1, 2)},
    },
    outputs={"output": "T"},
    types={
        "T": shared.FLOATS,
        "T1": ("uint8", "float8e4m3fn"),
        "T2": (*shared.FLOATS, "float8e8m0", "float8e4m3fn"),
        "T4": ("float32",),
    },
    optional=shared.OPTIONAL,
    attributes={
        "k": 1,
        "activation_type": "relu",
        "activation_alpha": 1.0,
        "activation_beta": 0.0,
        "swiglu_fusion": 0,
        "swiglu_limit": None,
        "swiglu_limit_after_activation": 0,
        **dict.fromkeys(("normalize_routing_weights", "use_sparse_mixer"), 0),
        "expert_weight_bits": 4,
        **{f"fc{n}_expert_weight_bits": None for n in (1, 2, 3)},
        "block_size": None,
        "quant_type": "int",
        "accuracy_level": 0,
        "weights_prepacked": -1,
    },
)

ROUTE = """
m = max(l[e] for e in E)
r[e] = g[e] if given == 1 else f32(exp(f32(l[e] - m)))
n = f32(sum(r[e] for e in E)) if normalized == 1 else 1
p[e] = f32(r[e] * f32(1 / n)) if n != 0 else 0
u[j] = f32(f32(sum(x[i] * f32((c[j, i] - z[j, i]) * s[j, i]) for i in I)) + b[j])
"""
MIX = """
d[e] = f32(sum(h[e * w + j] * f32((c_2[e, j] - z_2[e, j]) * s_2[e, j]) for j in J))
y = T(sum_f32(f32(p[e] * f32(d[e] + b_2[e])) for e in E))
"""
ACTIVATIONS = {
    "relu": "h[j] = u[j] if u[j] > 0 else 0",
    "gelu": """
q[j] = f32(u[j] + f32(f32(0.044715) * f32(f32(u[j] * u[j]) * u[j])))
h[j] = f32(u[j] * f32(1 / f32(1 + f32(exp(-f32(f32(1.5957691216) * q[j]))))))
""",
    "silu": "h[j] = f32(u[j] * f32(1 / f32(1 + f32(exp(-u[j])))))",
    "identity": "h[j] = u[j]",
    "swiglu": """
a[j] = min(u[2 * j], limit)
o[j] = f32(a[j] * f32(1 / f32(1 + f32(exp(-f32(alpha * a[j]))))))
h[j] = f32(o[j] * f32(clip(u[2 * j + 1], -limit, limit) + beta))
""",
}
SYMBOLS = {
    "l": "`router_probs` of the token, by rank of the chosen expert",
    "g": "`router_weights` of the token, by rank, 0 if there are none",
    "given": "1 with `router_weights`, 0 without",
    "normalized": "1 unless `router_weights` are taken as they are",
    "x": "token, a row of `input`",
    "c": "codes of `fc1_experts_weights`, the rows of the chosen experts one after another",
    "z": "zero points of those codes",
    "s": "scales of those codes",
    "b": "`fc1_experts_bias` of those rows, 0 if there is none",
    "w": "inner size of an expert",
    "c_2": "codes of the output's row of `fc2_experts_weights`, by rank",
    "z_2": "zero points of those codes",
    "s_2": "scales of those codes",
    "b_2": "`fc2_experts_bias` of that row, 0 if there is none",
}
SWIGLU = {"alpha": "`activation_alpha`", "beta": "`activation_beta`", "limit": "`swiglu_limit`"}
RULES = {
    name: Formula(
        f"{ROUTE.strip()}\n{rule.strip()}\n{MIX.strip()}",
        symbols={**SYMBOLS, **(SWIGLU if name == "swiglu" else {})},
        sets={
            "E": "ranks of the chosen experts, from the lowest expert to the highest",
            "I": "positions in the token",
            "J": "positions in the inner row",
        },
        types={"T": "type of `input`"},
        when=f"`activation_type` is {name}",
        name=name,
    )
    for name, rule in ACTIVATIONS.items()
}


def vectors() -> Iterator[Call]:
    """Yield each corner: activations, widths, routing, blocks, zero points, biases, types."""
    yield calls.single("one value", [3])
    small = partial(calls.expert_call, sizes=(8, 4, 4, 4))
    for kind in RULES:
        common = partial(small, activation_type=kind)
        for bits in shared.WIDTHS:
            yield common(f"{kind}, {bits} bits", bits=(bits, bits), seed=bits)
        yield common(f"{kind}, float16, 3 of 4", k=3, kind="float16", seed=1)
        yield common(f"{kind}, all experts", k=4, seed=kind.count("u"))
        yield from calls.routings(common, kind)
        yield calls.curve(kind)
    yield small("gates, then linear parts", activation_type="swiglu", swiglu_fusion=2)
    gated = partial(small, activation_type="swiglu")
    yield calls.curve("swiglu", activation_alpha=1.702, activation_beta=1.0)
    for limit in (0.75, 0.0):
        yield gated(f"swiglu, limit {limit}", activation_beta=0.5, swiglu_limit=limit)
    for more in ((), ("bias",), ("zero_points",)):
        yield small(f"with {' and '.join(more) or 'nothing more'}", more=more, seed=4)
    for bits, fed in ((2, False), (4, False), (4, True), (8, True)):
        blocks = partial(calls.expert_call, bits=(bits, bits), fed=fed, block_size=16, k=1)
        yield blocks(f"blocks, {bits} bits, fed {fed}", sizes=(1, 32, 16, 2))
    yield blocks("blocks and no more", sizes=(1, 16, 32, 2), more=(), accuracy_level=4)
    yield small("codes of 8 and 2 bits", bits=(8, 2))
    yield small("odd sizes", sizes=(3, 5, 3, 4), bits=(8, 8))
    yield small("no tokens", sizes=(0, 8, 4, 4))
    plain = small("plain")
    yield replace(plain, name="codes of 4 bits by default", attributes={"k": 2})
    x = plain.inputs["input"].reshape(4, 2, 4)
    yield calls.changed(plain, "three dimensions", {"input": x})
    yield small("bfloat16", kind="bfloat16")


def element(call: Call, index: tuple[int, ...]) -> Element:
    """Bind the formula to one output element."""
    values, sets = shared.element_values(call, index)
    types = {"T": type_name(call.inputs["input"].dtype)}
    formula = RULES[call.attributes.get("activation_type", "relu")]
    return Element(formula=formula, values=values, sets=sets, types=types)


_GATED = {"activation_type": "swiglu", "expert_weight_bits": 8}
_NOT_FUSED = replace(calls.single("not fused", [1], "swiglu"), attributes=_GATED)
_here, _fused = (partial(Differs, "onnxruntime", processor=name) for name in ("", "with FMA"))
DIFFERS = (
    _here(
        calls.single("gates first", [1], "swiglu", swiglu_fusion=2),
        None,
        "Gates that stand before all linear parts are refused.",
        "swiglu_fusion 2 has gates and linear parts one after the other.",
        lambda call: call.attributes.get("swiglu_fusion") == FUSED_APART,
    ),
    _here(
        calls.identities("codes of 4 and 8 bits", 4, second=8),
        None,
        "Projections with codes of different widths are refused.",
        "Each projection may have a width of its own.",
        lambda call: call.attributes.get("fc2_expert_weight_bits") is not None,
    ),
    _here(
        calls.single("bfloat16", [1], "relu", "bfloat16"),
        None,
        "bfloat16 is registered, and refused when the model is loaded.",
        "All three float types are allowed.",
        lambda call: type_name(call.inputs["input"].dtype) == "bfloat16",
    ),
    *(
        _fused(
            calls.identities(f"{bits} bits, level {level}", bits, accuracy_level=level),
            (127, 1, *[0] * 14),
            "Blocks in constant weights: activations are rounded to 8 bits, too.",
            "Allowed at accuracy level 4, and done at every level for codes of 8 bits.",
            shared.with_int8_activations,
        )
        for bits, level in ((8, 0), (4, 4))
    ),
    _fused(
        calls.identities("2 bits, 128 rows", 2, 126.25, inner=128),
        (126.5, 0.5, *[0] * 30),
        "Sums of 2-bit weights come from tables of sums rounded to 8 bits.",
        "Silent.",
        shared.with_lookup_tables,
    ),
    *(
        _here(
            call,
            (weight * 3, 0, 0, 0),
            "An expert is left out if its weight is NaN, or not above 1e-8.",
            "The values of router_weights are the weights; silent on NaN.",
            shared.dropped,
        )
        for call, weight in calls.odd_weights()
    ),
)
BOUND = Bound(
    output="output",
    ulp=4,
    unit=shared.rounding_unit,
    why="The order of both sums of products is its own, and so are its exp and tanh.",
)


def _projection(
    name: str, tensors: Tensors, shape: tuple[int, int, int], bits: int, block_size: int
) -> Callable[[int, Array], Array]:
    """Return the function that takes (expert, rows) through its weights and bias."""
    scales = shared.check_projection(NAME, name, tensors, shape, bits=bits, block_size=block_size)
    weights = expert_weights(tensors[0], scales, tensors[2], bits=bits)
    bias = np.zeros(shape[:2], scales.dtype) if tensors[3] is None else tensors[3]
    return lambda expert, rows: float_matmul(rows, weights[expert].T) + bias[expert]


@operator(
    name=NAME,
    domain="com.microsoft",
    versions=(V1,),
    formulas=tuple(RULES.values()),
    cites=("ort-contrib", "shazeer2017", "shazeer2020"),
    vectors=vectors,
    element=element,
    differs=DIFFERS,
    bounds=(BOUND,),
    rejects=lambda: iter((*calls.forbidden(), _NOT_FUSED)),
    ties=lambda: calls.larger(RULES),
)
def qmoe(
    input: Array,  # noqa: A002 - ONNX's name
    router_probs: Array,
    fc1_experts_weights: Array,
    fc1_scales: Array | None = None,
    fc1_experts_bias: Array | None = None,
    fc2_experts_weights: Array = REQUIRED,  # type: ignore[assignment]  # see the checks before
    fc2_scales: Array | None = None,
    fc2_experts_bias: Array | None = None,
    fc3_experts_weights: Array | None = None,
    fc3_scales: Array | None = None,
    fc3_experts_bias: Array | None = None,
    fc1_zero_points: Array | None = None,
    fc2_zero_points: Array | None = None,
    fc3_zero_points: Array | None = None,
    router_weights: Array | None = None,
    fc1_global_scale: Array | None = None,
    fc2_global_scale: Array | None = None,
    fc1_act_scale: Array | None = None,
    fc2_act_scale: Array | None = None,
    fc1_act_block_scale: Array | None = None,
    fc2_act_block_scale: Array | None = None,
    *,
    k: int = 1,
    activation_type: str = "relu",
    activation_alpha: float = 1.0,
    activation_beta: float = 0.0,
    swiglu_fusion: int = 0,
    swiglu_limit: float | None = None,
    swiglu_limit_after_activation: int = 0,
    normalize_routing_weights: int = 0,
    use_sparse_mixer: int = 0,
    expert_weight_bits: int = 4,
    fc1_expert_weight_bits: int | None = None,
    fc2_expert_weight_bits: int | None = None,
    fc3_expert_weight_bits: int | None = None,
    block_size: int | None = None,
    quant_type: str = "int",
    accuracy_level: int = 0,  # noqa: ARG001 - float32 is as accurate as any level asks
    weights_prepacked: int = -1,
) -> Array:
    """Mix what the k experts with the largest logits make of each token.

    Parameters
    ----------
    input
        Tokens, (T, H) or (B, S, H).
    router_probs
        (T, E), logits and not probabilities: the k largest choose the experts, the later one of
        equals, and their softmax weighs them.
    router_weights
        (T, E): those of the chosen experts weigh them instead, divided by their sum if
        ``normalize_routing_weights`` is 1.
    fc1_experts_weights, fc2_experts_weights
        (E, F I, H bits / 8) and (E, H, I bits / 8), low bits first; F is 2 for swiglu, else 1.
    fc1_scales, fc1_zero_points, fc1_experts_bias, fc2_scales, fc2_zero_points, fc2_experts_bias
        (E, F I), of fc2 (E, H); scales and zero points have one more axis, along blocks, if there
        is a ``block_size``. Zero points are packed along their last axis; absent, they are half
        the number of codes.
    expert_weight_bits, fc1_expert_weight_bits, fc2_expert_weight_bits
        2, 4 or 8; where a projection's own width is not given, the first one holds.
    activation_type
        relu, gelu (with tanh), silu, identity or swiglu.
    activation_alpha, activation_beta, swiglu_limit
        Parameters of swiglu.
    swiglu_fusion
        1: the gates and linear parts of swiglu take turns in the rows; 2: all gates stand first.
    accuracy_level
        Permits less than float32, of which no use is made here.

    Returns
    -------
    output
        As ``input``.

    Raises
    ------
    OperatorError
        For a type or shape that does not fit, and for what other processors have alone: codes
        of 3 bits, float4 and float8, a third projection, scales of tensors or activations, the
        sparse mixer, packed weights, relu2 and geglu.

    Examples
    --------
    Two tokens, two experts, one number in and out: codes of 8 bits less the middle one, times
    the scale. The first expert doubles, the second negates, so that relu leaves nothing of it:

    >>> import numpy as np
    >>> x, logits = np.float32([[3], [5]]), np.float32([[9, 0], [4, 4]])
    >>> ones, doubled = np.float32([[1], [1]]), np.uint8([[[130]], [[127]]])
    >>> weights = (doubled, ones, None, np.uint8([[[129]], [[129]]]), ones)
    >>> qmoe(x, logits, *weights, expert_weight_bits=8).ravel()
    array([6., 0.], dtype=float32)
    >>> qmoe(x, logits, *weights, expert_weight_bits=8, activation_type="identity").ravel()
    array([ 6., -5.], dtype=float32)

    The second token's logits are equal: the later expert was taken. With both, their softmax
    weighs them, or ``router_weights`` do:

    >>> both = {"k": 2, "expert_weight_bits": 8, "activation_type": "identity"}
    >>> qmoe(x, logits, *weights, **both).ravel()
    array([5.99889, 2.5    ], dtype=float32)
    >>> both["router_weights"] = np.float32([[1, 3], [0, 0]])
    >>> qmoe(x, logits, *weights, **both).ravel()
    array([-3.,  0.], dtype=float32)
    >>> qmoe(x, logits, *weights, **both, normalize_routing_weights=1).ravel()
    array([-0.75,  0.  ], dtype=float32)

    Zero points and biases:

    >>> zeros, bias = np.uint8([[129], [127]]), np.float32([[10], [0]])
    >>> qmoe(x, logits, doubled, ones, bias, *weights[3:], fc1_zero_points=zeros,
    ...      expert_weight_bits=8).ravel()
    array([13.,  0.], dtype=float32)
    """
    third = fc3_experts_weights, fc3_scales, fc3_experts_bias, fc3_zero_points
    steps = fc1_global_scale, fc2_global_scale, fc1_act_scale, fc2_act_scale
    unused = *third, *steps, fc1_act_block_scale, fc2_act_block_scale
    modes = (quant_type, use_sparse_mixer, swiglu_limit_after_activation, weights_prepacked)
    shared.check_modes(NAME, unused, (*modes, normalize_routing_weights, activation_type))
    limit = np.inf if swiglu_limit is None else swiglu_limit
    experts = shared.check_routing(NAME, input, router_probs, router_weights, k)
    fusion = swiglu_fusion if activation_type == "swiglu" else None
    inner = shared.inner_size(NAME, fc1_experts_weights, fusion=fusion, limit=limit)
    block = shared.check_block_size(NAME, block_size or 0)
    own = fc1_expert_weight_bits, fc2_expert_weight_bits, fc3_expert_weight_bits
    bits = shared.widths(NAME, expert_weight_bits, *own)
    hidden, rows = input.shape[-1], inner if fusion is None else 2 * inner
    weights = fc1_experts_weights, fc1_scales, fc1_zero_points, fc1_experts_bias
    first = _projection("fc1", weights, (experts, rows, hidden), bits[0], block)
    weights = fc2_experts_weights, fc2_scales, fc2_zero_points, fc2_experts_bias
    second = _projection("fc2", weights, (experts, hidden, inner), bits[1], block)

    def expert(number: int, tokens: Array) -> Array:
        values = first(number, tokens)
        if fusion is None:
            return second(number, activate(activation_type, values))
        numbers = activation_alpha, activation_beta, limit
        return second(number, swiglu(*gates(values, apart=fusion == FUSED_APART), *numbers))

    logits = f32(router_probs)
    chosen = select(logits, k)
    counts = shares(logits, router_weights, chosen, normalized=normalize_routing_weights == 1)
    y = mix(f32(input).reshape(len(logits), hidden), chosen, counts, expert)
    return cast(y.reshape(input.shape), input.dtype)
