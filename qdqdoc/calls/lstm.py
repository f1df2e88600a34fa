"""Calls of an LSTM whose weights are codes, for its vectors and differences."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from qdqdoc.calls.fma import results, same
from qdqdoc.numerics.formats import Array, integer_range, tensor
from qdqdoc.registry.lstm import DIRECTIONS, USUAL
from qdqdoc.registry.operator import Call

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

OPTIONAL = ("B", "sequence_lens", "initial_h", "initial_c", "P")
"""Inputs that a call may lack."""

TRIPLES = (
    USUAL,
    ("HardSigmoid", "LeakyRelu", "Relu"),
    ("Affine", "ThresholdedRelu", "Softsign"),
    ("ScaledTanh", "Elu", "Softplus"),
)
"""Activations f, g, h of the vectors: each function once, and the usual ones."""


def activation_calls() -> Iterator[Call]:
    """Yield calls with each activation, its parameters given and by default."""
    named: dict[str, Any] = {"activations": [*TRIPLES[1], *TRIPLES[2]]}
    named |= {"activation_alpha": [0.3, 0.2, 0.7, 0.1], "activation_beta": [0.45, 0.15]}
    yield random_call(
        "three activations a direction", (3, 2, 3, 4), direction="bidirectional", **named
    )
    named = {"activations": TRIPLES[1]}
    yield random_call("parameters by default", (2, 2, 3, 8), **named)
    for alpha in ([0.7], [0.7, 0.4]):
        named = {"activations": TRIPLES[3], "activation_alpha": alpha, "activation_beta": [0.6]}
        yield random_call(f"exponentials, alpha {alpha}", (1, 2, 3, 20), **named)
    for seed, triple in enumerate(TRIPLES):
        named = {"activations": triple, "activation_alpha": [0.3, 0.8]}
        named["activation_beta"] = [0.6, 0.1]
        for coupled in (0, 1):
            name = f"many units, {triple[0]}{', coupled' * coupled}"
            yield biased(name, deciding_units(seed), input_forget=coupled, **named)
    for triple in TRIPLES[1::2]:  # 0 is not multiplied by a slope
        named = {"activations": triple, "activation_alpha": [0.3, np.inf]}
        named["activation_beta"] = [0.6]
        yield biased(f"an endless slope, {triple[1]}", [(0,) * 5], **named)


def misfits() -> Iterator[Call]:
    """Yield calls whose shapes, lengths, activations or attributes do not fit."""
    plain = random_call("plain", (3, 2, 4, 5))
    for name, value in plain.inputs.items():
        for found in (value[..., :-1], value[None]):
            inputs = {**plain.inputs, name: found}
            yield replace(plain, name=f"{name} of shape {found.shape}", inputs=inputs)
    for lengths in ((-1, 3), (1, 4)):
        yield random_call(f"lengths {lengths}", (3, 2, 4, 5), lengths=lengths)
    wrong: dict[str, Any] = {
        "clip": (0.0, -1.0, float("nan")),
        "direction": ("bidirectional", "backward", "Forward"),
        "hidden_size": (0, 4, 20),
        "input_forget": (-1, 2),
        "activations": (
            *(["Tanh"] * 2, ["Tanh"] * 6, ["Sigmoid", "Tanh", "Gelu"], ["Sigmoid", "Tanh", "tanh"]),
            *(["Affine", "Tanh", "Tanh"], ["Tanh", "ScaledTanh", "Tanh"]),
        ),
    }
    for attribute, values in wrong.items():
        for value in values:
            attributes = {**plain.attributes, attribute: value}
            yield replace(plain, name=f"{attribute} {value}", attributes=attributes)
    parameters: dict[str, Any] = {
        "activations": ["Affine", "Tanh", "Tanh"],
        "activation_alpha": [1.0],
    }
    yield random_call("a beta is missing", (3, 2, 4, 5), **parameters)


# Which units of 6000 random ones: searched so that together they tell every order of roundings.
DECIDING = (
    (
        *(0, 2, 6, 7, 8, 10, 12, 14, 19, 22, 24, 34, 36, 42, 46, 56, 58, 60, 62, 86, 88, 98),
        *(122, 184, 190, 194, 222, 324, 950, 1248, 1378, 1676, 2180, 2812, 4498),
    ),
    (0, 3, 4, 5, 8, 11, 17, 104, 121),
    (0, 2, 3, 4, 30, 31, 34, 67),
    (0, 1, 3, 5, 7, 23, 27, 104),
)
# Searched likewise: arguments of the hyperbolic tangent; the last is a threshold, to be met.
ARGUMENTS = (6.5574403, 6.681094, 7.3076982, 8.872645, 0.8)


def deciding_units(seed: int) -> list[Sequence[float]]:
    """Return biases of the gates and the cell of the units that tell mistakes for a triple."""
    rng = np.random.default_rng(seed)
    random = np.stack([rng.uniform(-20, 20, (3000, 5)), rng.normal(0, 1, (3000, 5))], axis=1)
    rows = [*random.reshape(-1, 5)[list(DECIDING[seed])]]
    rows += [(30, 0, 0, x, 0) for x in ARGUMENTS]
    return rows + [(-30, 30, 30, 0, x) for x in ARGUMENTS]


def biased(name: str, rows: Sequence[Sequence[float]], **attributes: Any) -> Call:  # noqa: ANN401 - as ONNX has them
    """Make a call of a step without inputs; each unit has its biases and its cell, a row."""
    units = tensor("float32", rows)
    call = still_call(name, (1, 1, 1, len(rows)), **attributes)
    bias = np.concatenate([units[:, :4].T.ravel(), np.zeros_like(units[:, :4]).ravel()])[None]
    return replace(call, inputs={**call.inputs, "B": bias, "initial_c": units[None, None, :, 4]})


def still_call(name: str, shape: tuple[int, int, int, int], **attributes: Any) -> Call:  # noqa: ANN401 - as ONNX has them
    """Make a call without input; ``shape`` is steps, batch, inputs, hidden units."""
    *outer, size, units = shape
    inputs: dict[str, Array] = {
        "X": tensor("float32", np.zeros((*outer, size))),
        "W": tensor("int8", np.ones((1, size, 4 * units))),
        "R": tensor("int8", np.ones((1, units, 4 * units))),
    }
    for matrix in "WR":
        inputs[f"{matrix}_scale"] = tensor("float32", [1])
        inputs[f"{matrix}_zero_point"] = tensor("int8", [0])
    return Call(name=name, inputs=inputs, attributes={"hidden_size": units, **attributes})


def large_sums() -> Iterator[Call]:
    """Yield calls whose sums of products of codes are large."""
    for name, size, units, scale in (
        ("the sum over the inputs wraps", 33026, 1, 1e-7),
        ("sums over inputs beyond 2**24", 305, 8, 2e-5),
        ("sums over hidden values beyond 2**24", 3, 269, 2e-5),
    ):
        call = random_call(name, (1, 1, size, units), "uint8", columns=True)
        inputs = {k: np.full_like(v, 255) for k, v in call.inputs.items() if k in {"W", "R"}}
        inputs |= {k: np.zeros_like(v) for k, v in call.inputs.items() if "zero" in k}
        inputs |= {k: np.ones_like(call.inputs[k]) for k in ("X", "initial_h")}
        rates = np.linspace(scale, scale * 2, 4 * units)[None]
        inputs |= {k: tensor("float32", rates) for k in ("W_scale", "R_scale")}
        yield replace(call, inputs={**call.inputs, **inputs})


def random_call(
    name: str,
    shape: tuple[int, int, int, int],
    kind: str = "int8",
    direction: str = "forward",
    *,
    columns: bool = False,
    lengths: Sequence[int] | None = None,
    seed: int = 0,
    **attributes: Any,  # noqa: ANN401 - as ONNX has them
) -> Call:
    """Make a call with random tensors; ``shape`` is steps, batch, inputs, hidden units."""
    rng = np.random.default_rng((seed, *shape))
    steps, batch, size, units = shape
    count = len(DIRECTIONS[direction])
    # Codes of int8 stay small, so that processors which saturate have nothing to saturate.
    low, high = (-60, 60) if kind == "int8" else integer_range(kind)
    inputs: dict[str, Array] = {
        "X": tensor("float32", rng.normal(0, 2, (steps, batch, size))),
        "W": tensor(kind, rng.integers(low, high + 1, (count, size, 4 * units))),
        "R": tensor(kind, rng.integers(low, high + 1, (count, units, 4 * units))),
        "B": tensor("float32", rng.normal(0, 0.5, (count, 8 * units))),
        "initial_h": tensor("float32", rng.normal(0, 0.5, (count, batch, units))),
        "initial_c": tensor("float32", rng.normal(0, 0.5, (count, batch, units))),
        "P": tensor("float32", rng.normal(0, 0.5, (count, 3 * units))),
    }
    if lengths is not None or batch > 1:
        given = rng.integers(1, steps + 1, batch) if lengths is None else lengths
        inputs["sequence_lens"] = tensor("int32", given)
    along = (count, 4 * units) if columns else (count,)
    for matrix in "WR":
        inputs[f"{matrix}_scale"] = tensor("float32", rng.uniform(0.002, 0.01, along))
        shift = (
            0 if columns and kind == "int8" else rng.integers(low, high, 1 if columns else count)
        )
        inputs[f"{matrix}_zero_point"] = tensor(kind, np.broadcast_to(shift, along))
    attributes = {"direction": direction, "hidden_size": units, **attributes}
    return Call(name=name, inputs=inputs, attributes=attributes)


def no_steps(call: Call) -> bool:
    """Tell whether no sequence has a step."""
    lengths = call.inputs.get("sequence_lens")
    return len(call.inputs["X"]) == 0 or (lengths is not None and not lengths.any())


def uneven(call: Call) -> bool:
    """Tell whether columns have zero points that onnxruntime refuses."""
    return any(
        zero.ndim > 1 and bool((zero != (0 if zero.dtype == np.int8 else zero[0, 0])).any())
        for zero in (call.inputs["W_zero_point"], call.inputs["R_zero_point"])
    )


def clipping_matters(kernel: Callable[..., object], call: Call, place: int) -> Array:
    """Tell which values of an output differ if sums are clipped to the largest float, NaN too.

    What is quantized together has one scale, so where an input or a hidden value is not finite
    all that comes of it is different.
    """
    ours = results(kernel, call)[place]
    unlike = [name for name in ("X", "initial_h") if not _finite(call.inputs.get(name))]
    if unlike:
        return np.ones(ours.shape, bool)
    largest = float(np.finfo(np.float32).max)
    limit = min(call.attributes.get("clip") or largest, largest)
    clipped = replace(call, attributes={**call.attributes, "clip": limit})
    return np.isnan(ours) | ~same(ours, results(kernel, clipped)[place])


def _finite(value: Array | None) -> bool:
    return value is None or bool(np.isfinite(value).all())
