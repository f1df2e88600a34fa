"""Calls of mixtures of experts: random ones, and those that are forbidden."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from math import ceil
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from qdqdoc.numerics.formats import Array, tensor, type_name
from qdqdoc.numerics.packing import pack
from qdqdoc.registry.experts import UNUSED
from qdqdoc.registry.operator import Call

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence


def expert_call(
    name: str,
    *,
    sizes: tuple[int, int, int, int] = (6, 8, 4, 4),
    k: int = 2,
    bits: tuple[int, int] = (4, 4),
    block_size: int | None = None,
    kind: str = "float32",
    more: tuple[str, ...] = ("bias", "zero_points"),
    fed: bool = False,
    seed: int = 0,
    **attributes: object,
) -> Call:
    """Make a call of random codes; ``sizes`` are tokens, hidden size, inner size and experts.

    ``more`` names optional inputs; ``fed`` makes the weights inputs of the model.
    """
    rng = np.random.default_rng(seed)
    tokens, hidden, inner, experts = sizes
    fused = 2 if attributes.get("activation_type") == "swiglu" else 1
    inputs = {
        "input": tensor(kind, rng.normal(size=(tokens, hidden))),
        "router_probs": tensor(kind, rng.normal(size=(tokens, experts))),
    }
    if "router_weights" in more:
        inputs["router_weights"] = tensor(kind, rng.uniform(0.1, 2, (tokens, experts)))
    shapes = {"fc1": (fused * inner, hidden), "fc2": (hidden, inner)}
    for (part, (rows, columns)), width in zip(shapes.items(), bits, strict=True):
        steps = (rows,) if block_size is None else (rows, columns // block_size)
        packed = (*steps[:-1], ceil(steps[-1] * width / 8))
        codes = rng.integers(0, 256, (experts, rows, columns * width // 8), np.uint8)
        inputs[f"{part}_experts_weights"] = codes
        inputs[f"{part}_scales"] = tensor(kind, rng.uniform(0.5, 2, (experts, *steps)) / 2**width)
        if "bias" in more:
            inputs[f"{part}_experts_bias"] = tensor(kind, rng.normal(size=(experts, rows)))
        if "zero_points" in more:
            zeros = rng.integers(0, 256, (experts, *packed), np.uint8)
            inputs[f"{part}_zero_points"] = zeros
    given: dict[str, object] = {"k": k, "expert_weight_bits": bits[0], **attributes}
    if bits[1] != bits[0]:
        given["fc2_expert_weight_bits"] = bits[1]
    if block_size is not None:
        given["block_size"] = block_size
    if fused > 1:
        given.setdefault("swiglu_fusion", 1)
    names = tuple(n for n in inputs if n.endswith("experts_weights")) if fed else ()
    return Call(name=name, inputs=inputs, attributes=given, fed=names)


def identities(
    name: str,
    bits: int,
    first: float = 127,
    *,
    inner: int = 16,
    second: int | None = None,
    **attributes: object,
) -> Call:
    """Pass a value, 0.75 and zeros through two identities of one expert: no sum is rounded.

    ``second`` is another width for the second identity.
    """
    hidden = block = min(inner, 32)
    x = tensor("float32", [[first, 0.75, *[0] * (hidden - 2)]])
    inputs = {"input": x, "router_probs": tensor("float32", [[1]])}
    given = {"expert_weight_bits": bits, "block_size": block, **attributes}
    if second is not None:
        given["fc2_expert_weight_bits"] = second
    widths = bits, bits if second is None else second
    shapes = ("fc1", inner, hidden), ("fc2", hidden, inner)
    for (part, rows, columns), width in zip(shapes, widths, strict=True):
        codes = 2 ** (width - 1) + np.eye(rows, columns, dtype=np.int32)
        inputs[f"{part}_experts_weights"] = pack(codes, width)[None]
        inputs[f"{part}_scales"] = tensor("float32", np.ones((1, rows, columns // block)))
    return Call(name=name, inputs=inputs, attributes=given)


def routings(make: Callable[..., Call], kind: str) -> Iterator[Call]:
    """Yield calls whose logits are equal or far apart, or whose weights are 0 or below."""
    plain = make("", seed=7)
    several: Mapping[str, list[list[float]]] = {
        "equal logits": [[1, 1, 1, 1], [2, 1, 2, 2], [0, 3, 0, 0], [1, 5, 5, 5]],
        "logits far apart": [
            [9, 0, -9, 100],
            [-300, 2, -np.inf, -1],
            [80, 70, 60, 75],
            [0, 1, 2, 2],
        ],
    }
    for name, values in several.items():
        logits = {"router_probs": tensor("float32", values * 2)}
        yield changed(plain, f"{kind}, {name}", logits)
    shares = [[0.3, -1, 1, -1], [0, 0, 0, 0], [3, -1, 2, 0], [0.7, 0.1, 0.2, 0.5]]
    given = {"router_weights": tensor("float32", shares * 2)}
    for number in (0, 1):
        attributes = {"normalize_routing_weights": number}
        yield changed(plain, f"{kind}, weights given, normalized {number}", given, attributes)


def single(
    name: str,
    values: Sequence[float],
    kind: str = "relu",
    float_type: str = "float32",
    **rest: object,
) -> Call:
    """Make a call of one expert whose weights are 1: each token is one value."""
    gated = kind == "swiglu"
    inputs = {
        "input": tensor(float_type, values).reshape(-1, 1),
        "router_probs": tensor(float_type, np.ones((len(values), 1))),
        "fc1_experts_weights": tensor("uint8", [[[129], [127]] if gated else [[129]]]),
        "fc1_scales": tensor(float_type, [[1, 0.75] if gated else [1]]),
        "fc2_experts_weights": tensor("uint8", [[[129]]]),
        "fc2_scales": tensor(float_type, [[1]]),
    }
    given = {"activation_type": kind, "expert_weight_bits": 8, "swiglu_fusion": int(gated), **rest}
    return Call(name=name, inputs=inputs, attributes=given)


def curve(kind: str, **rest: object) -> Call:
    """Make a call whose results are values of an activation."""
    values = np.random.default_rng(1).normal(scale=2, size=160)
    far = [0.0, -0.0, 1e-20, -1e-20, 30.0, -30.0, 88.0, -88.0, -104.0]
    deciding = [-8.45, -8.07, -8.01]  # found by searching: the order of products in gelu shows
    name = " ".join([f"{kind} of many values", *map(str, rest.values())])
    return single(name, [*far, *deciding, *values], kind, "float32", **rest)


def odd_weights() -> Iterator[tuple[Call, float]]:
    """Yield a call whose one expert counts in the first of four tokens alone, and how much."""
    logits = {"router_probs": tensor("float32", [[1], [np.nan], [np.inf], [-np.inf]])}
    plain = single("", [3.0] * 4)
    yield changed(plain, "logits of NaN and infinity", logits), 1
    weights = {"router_weights": tensor("float32", [[2], [-1], [np.nan], [1e-8]])}
    yield changed(plain, "weights of 0 and below, of NaN", weights), 2


def forbidden() -> Iterator[Call]:
    """Yield a call with one input of a wrong shape, or one attribute out of its range."""
    plain = expert_call("plain", more=("bias", "zero_points", "router_weights"))
    blocks = expert_call("blocks", sizes=(2, 32, 16, 2), block_size=16)
    gated = expert_call("gated", activation_type="swiglu")
    shapes: Mapping[str, tuple[tuple[int, ...], ...]] = {
        "input": ((8,), (1, 1, 6, 8), (6, 0), (1, 6, 0), (6, 4)),
        "router_probs": ((5, 4), (4,), (6, 1), (6, 4, 1), ()),
        "router_weights": ((6, 3), (4,)),
        "fc1_experts_weights": ((3, 4, 4), (4, 4, 8), (4, 0, 4), (4,), (4, 4), (4, 4, 4, 1)),
        "fc1_scales": ((4, 3), (4, 4, 1), (4,)),
        "fc1_experts_bias": ((4, 8), (4,)),
        "fc1_zero_points": ((4, 4), (4, 4, 1)),
        "fc2_experts_weights": ((4, 8, 4), (4, 4, 2), (3, 8, 2)),
        "fc2_scales": ((4, 4),),
        "fc2_experts_bias": ((4, 4),),
        "fc2_zero_points": ((4, 8), (4, 3)),
    }
    for name, several in shapes.items():
        kind = type_name(plain.inputs[name].dtype)
        for shape in several:
            yield changed(plain, f"{name} {shape}", {name: tensor(kind, np.ones(shape))})
    yield from _wrong_scales(plain, blocks)
    yield from _wrong_attributes(plain, blocks)
    for fusion in (0, 3):
        yield changed(gated, f"swiglu_fusion {fusion}", attributes={"swiglu_fusion": fusion})
    for limit in (-1.0, float("nan")):
        yield changed(gated, f"swiglu_limit {limit}", attributes={"swiglu_limit": limit})
    odd = {"fc1_experts_weights": gated.inputs["fc1_experts_weights"][:, :7]}
    yield changed(gated, "a gate without its linear part", odd)
    yield expert_call("half a byte", sizes=(6, 7, 4, 4))


def _wrong_scales(plain: Call, blocks: Call) -> Iterator[Call]:
    for name in ("fc1_scales", "fc2_scales"):
        rest = {k: v for k, v in plain.inputs.items() if k != name}
        yield replace(plain, name=f"no {name}", inputs=rest)
        flat = blocks.inputs[name][..., 0]
        yield changed(blocks, f"{name} without blocks", {name: flat})
    for name in ("fc1_zero_points", "fc2_zero_points"):
        yield changed(blocks, f"{name} without blocks", {name: blocks.inputs[name][..., 0]})
    for name in UNUSED:
        kind = "uint8" if "weights" in name or "points" in name else "float32"
        yield changed(plain, name, {name: tensor(kind, np.ones(4))})
    both = ("fc1_scales", "fc2_scales")
    powers = {k: tensor("float8e8m0", np.ones(plain.inputs[k].shape)) for k in both}
    yield changed(plain, "scales of powers of two", powers)
    bare = expert_call("weights of float8", more=())
    names = [k for k in bare.inputs if k.endswith("experts_weights")]
    eights = {k: tensor("float8e4m3fn", np.ones(bare.inputs[k].shape)) for k in names}
    yield changed(bare, bare.name, eights)


def _wrong_attributes(plain: Call, blocks: Call) -> Iterator[Call]:
    attributes: Mapping[str, tuple[object, ...]] = {
        "k": (0, -1, 5),
        "activation_type": ("relu2", "geglu", ""),
        "normalize_routing_weights": (2, -1),
        "use_sparse_mixer": (1,),
        "swiglu_limit_after_activation": (1,),
        "weights_prepacked": (1, 2),
        "quant_type": ("fp4", "nvfp4", "fp8", "wfp4afp8", "bogus"),
        "expert_weight_bits": (3, 5, 0, 8, 2),
        "fc1_expert_weight_bits": (3, 8),
        "fc2_expert_weight_bits": (3, 2),
        "fc3_expert_weight_bits": (8,),
        "block_size": (8, 24, -16, 16),
    }
    for name, values in attributes.items():
        for value in values:
            yield changed(plain, f"{name} {value}", attributes={name: value})
    for value in (0, 32, 48):
        yield changed(blocks, f"blocks of {value}", attributes={"block_size": value})


def changed(
    call: Call,
    name: str,
    inputs: Mapping[str, Array] = MappingProxyType({}),
    attributes: Mapping[str, object] = MappingProxyType({}),
) -> Call:
    """Return a call of another name with other inputs and attributes."""
    held, given = {**call.inputs, **inputs}, {**call.attributes, **attributes}
    return replace(call, name=name, inputs=held, attributes=given)


def larger(activations: Iterable[str]) -> Iterator[Call]:
    """Yield larger calls: long rows, many experts, blocks."""
    for number, kind in enumerate(activations):
        make = partial(expert_call, sizes=(60, 32, 16, 8), activation_type=kind, seed=number)
        yield make(f"larger, {kind}", k=3)
        yield make(f"larger with blocks, {kind}", block_size=16)
