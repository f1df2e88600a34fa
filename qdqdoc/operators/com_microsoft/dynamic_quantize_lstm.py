"""Run an LSTM whose weights are codes; inputs and hidden values become codes as they come.

The inputs of all sequences are quantized together before the first step, the hidden values of all
sequences together before each step. Sums of products of codes are exact; all else is float32, an
operation at a time. Gates stand in the order input, output, forget, cell.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from qdqdoc.numerics.formats import Array, integer_range, tensor
from qdqdoc.numerics.lstm import Gates, Layer, Matrix
from qdqdoc.registry import UNWRITTEN, Bound, Call, Differs, Element, Version, operator, refuse
from qdqdoc.registry.activations import chosen
from qdqdoc.registry.lstm import PADDING, USUAL, elements, formulas

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from qdqdoc.numerics.products import Overflow

NAME = "DynamicQuantizeLSTM"
DIRECTIONS = {"forward": (False,), "reverse": (True,), "bidirectional": (False, True)}
"""Whether each direction reads a sequence from its end."""

V1 = Version(
    since=1,
    inputs={
        "X": "T",
        "W": "T2",
        "R": "T2",
        "B": "T",
        "sequence_lens": "T1",
        "initial_h": "T",
        "initial_c": "T",
        "P": "T",
        "W_scale": "T",
        "W_zero_point": "T2",
        "R_scale": "T",
        "R_zero_point": "T2",
    },
    outputs={"Y": "T", "Y_h": "T", "Y_c": "T"},
    types={"T": ("float32",), "T1": ("int32",), "T2": ("uint8", "int8")},
    optional=("B", "sequence_lens", "initial_h", "initial_c", "P"),
    attributes={
        "activation_alpha": None,
        "activation_beta": None,
        "activations": None,
        "clip": None,
        "direction": "forward",
        "hidden_size": None,
        "input_forget": 0,
    },
)

TRIPLES = (
    USUAL,
    ("HardSigmoid", "LeakyRelu", "Relu"),
    ("Affine", "ThresholdedRelu", "Softsign"),
    ("ScaledTanh", "Elu", "Softplus"),
)
"""Activations f, g, h of the vectors: each function once, and the usual ones."""


def vectors() -> Iterator[Call]:
    """Yield each corner: directions, parameters of columns, lengths, activations, sums, limits."""
    for kind in V1.types["T2"]:
        for direction in DIRECTIONS:
            for columns in (False, True):
                name = f"{kind}, {direction}{', columns' if columns else ''}"
                yield _call(name, (3, 3, 4, 2), kind, direction, columns=columns)
    yield _call("a sequence without steps", (4, 3, 2, 2), lengths=[2, 0, 1])
    yield _call("backward, too", (4, 3, 2, 2), direction="reverse", lengths=[1, 3, 0])
    yield _call("coupled gates", (3, 2, 3, 4), input_forget=1)
    yield _call("clipped", (3, 2, 3, 4), clip=0.25)
    full = _call("plain", (3, 2, 3, 4), "uint8")
    needed = {k: v for k, v in full.inputs.items() if k not in V1.optional}
    yield replace(full, name="nothing optional", inputs=needed)
    for low, high in ((0.5, 3), (-3, -0.5), (0, 0)):
        x = tensor("float32", np.linspace(low, high, 18).reshape(3, 2, 3))
        yield replace(full, name=f"inputs from {low} to {high}", inputs={**full.inputs, "X": x})
    yield from _activations()
    yield from _sums()


def _activations() -> Iterator[Call]:
    parameters: dict[str, Any] = {"activation_alpha": [0.3, 0.2, 0.7, 0.1]}
    parameters["activation_beta"] = [0.45, 0.15]
    named = {"activations": [*TRIPLES[1], *TRIPLES[2]], **parameters}
    yield _call("three activations a direction", (3, 2, 3, 4), direction="bidirectional", **named)
    named = {"activations": TRIPLES[1]}
    yield _call("parameters by default", (2, 2, 3, 8), **named)
    for alpha in ([0.7], [0.7, 0.4]):
        named = {"activations": TRIPLES[3], "activation_alpha": alpha, "activation_beta": [0.6]}
        yield _call(f"exponentials, alpha {alpha}", (1, 2, 3, 20), **named)
    for shift, triple in enumerate(TRIPLES):
        call = _call(f"many units, {triple[0]}", (1, 1, 1, 64), seed=shift, activations=triple)
        wide = {k: v * np.float32(8) for k, v in call.inputs.items() if k in {"B", "initial_c"}}
        named = {"activation_alpha": [0.3, 0.8], "activation_beta": [0.6, 0.1]}
        inputs = {**call.inputs, **wide}
        yield replace(call, inputs=inputs, attributes={**call.attributes, **named})


def _sums() -> Iterator[Call]:
    for name, size, units, scale in (
        ("the sum over the inputs wraps", 33026, 1, 1e-9),
        ("sums over inputs beyond 2**24", 300, 2, 1e-7),
        ("sums over hidden values beyond 2**24", 3, 260, 1e-7),
    ):
        call = _call(name, (1, 1, size, units), "uint8")
        inputs = {k: v * np.uint8(0) + np.uint8(255) for k, v in call.inputs.items() if k in "WR"}
        inputs |= {k: v * np.uint8(0) for k, v in call.inputs.items() if "zero" in k}
        inputs |= {k: np.abs(call.inputs[k]) for k in ("X", "initial_h")}
        inputs |= {k: tensor("float32", [scale]) for k in ("W_scale", "R_scale")}
        yield replace(call, inputs={**call.inputs, **inputs})


def _call(
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


def value(call: Call, index: tuple[int, ...]) -> Element:
    """Bind the formula to one element of ``Y``."""
    steps = elements(call)
    position, direction, row, unit = index
    if position >= steps.lengths[row]:
        return Element(formula=PADDING, values={})
    return steps.hiddens[direction, steps.step_of(direction, position, row), row, unit]


def last_hidden(call: Call, index: tuple[int, ...]) -> Element:
    """Bind the formula to one element of ``Y_h``."""
    return _last(call, index, elements(call).hiddens)


def last_cell(call: Call, index: tuple[int, ...]) -> Element:
    """Bind the formula to one element of ``Y_c``."""
    return _last(call, index, elements(call).cells)


def _last(call: Call, index: tuple[int, ...], states: Mapping[tuple[int, ...], Element]) -> Element:
    direction, row, unit = index
    length = elements(call).lengths[row]
    if not length:
        return Element(formula=PADDING, values={})
    return states[direction, length - 1, row, unit]


DIFFERS = ()
BOUNDS = ()


def rejects() -> Iterator[Call]:
    yield from ()


def _check(given: Mapping[str, Array | None], attributes: Mapping[str, Any]) -> None:
    """Refuse shapes, lengths and attributes that do not fit."""
    directions = DIRECTIONS.get(attributes["direction"])
    if directions is None:
        refuse(NAME, "direction", repr(attributes["direction"]), " or ".join(DIRECTIONS))
    held = {name: value for name, value in given.items() if value is not None}
    for name in "XR":
        if held[name].ndim != 3:  # noqa: PLR2004 - steps, batch, inputs; directions, rows, columns
            refuse(NAME, name, f"shape {held[name].shape}", "three dimensions")
    _, batch, size = held["X"].shape
    count, units = len(directions), held["R"].shape[1]
    gates = (count, 4 * units)
    allowed: dict[str, tuple[tuple[int, ...], ...]] = {
        "W": ((count, size, 4 * units),),
        "R": ((count, units, 4 * units),),
        "B": ((count, 8 * units),),
        "sequence_lens": ((batch,),),
        **dict.fromkeys(("initial_h", "initial_c"), ((count, batch, units),)),
        "P": ((count, 3 * units),),
        **dict.fromkeys((*V1.inputs,)[-4:], ((count,), gates)),
    }
    for name, shapes in allowed.items():
        if name in held and held[name].shape not in shapes:
            refuse(NAME, name, f"shape {held[name].shape}", " or ".join(map(str, shapes)))
    _check_attributes(attributes, units)
    steps = len(held["X"])
    lengths = held.get("sequence_lens", np.zeros(0))
    if np.any((lengths < 0) | (lengths > steps)):
        refuse(NAME, "sequence_lens", lengths.tolist(), f"0 to {steps}, the steps of X")


def _check_attributes(attributes: Mapping[str, Any], units: int) -> None:
    if attributes["hidden_size"] not in {None, units}:
        refuse(NAME, "hidden_size", attributes["hidden_size"], f"{units}, the rows of R")
    if attributes["clip"] is not None and not attributes["clip"] > 0:
        refuse(NAME, "clip", attributes["clip"], "a positive number")
    if attributes["input_forget"] not in {0, 1}:
        refuse(NAME, "input_forget", attributes["input_forget"], "0 or 1")


def _or_zeros(given: Array | None, *shape: int) -> Array:
    return np.zeros(shape, np.float32) if given is None else given


@operator(
    name=NAME,
    domain="com.microsoft",
    versions=(V1,),
    formulas=formulas(*TRIPLES),
    cites=("ort-contrib", "onnx-lstm", "onnx-dynamicquantizelinear", "hochreiter1997", "ort-mlas"),
    vectors=vectors,
    element={"Y": value, "Y_h": last_hidden, "Y_c": last_cell},
    differs=DIFFERS,
    bounds=BOUNDS,
    rejects=rejects,
)
def dynamic_quantize_lstm(
    X: Array,
    W: Array,
    R: Array,
    B: Array | None,
    sequence_lens: Array | None,
    initial_h: Array | None,
    initial_c: Array | None,
    P: Array | None,
    W_scale: Array,
    W_zero_point: Array,
    R_scale: Array,
    R_zero_point: Array,
    *,
    activation_alpha: Sequence[float] | None = None,
    activation_beta: Sequence[float] | None = None,
    activations: Sequence[str] | None = None,
    clip: float | None = None,
    direction: str = "forward",
    hidden_size: int | None = None,
    input_forget: int = 0,
    overflow: Overflow = "wrap",
) -> tuple[Array, Array, Array]:
    """Quantize, multiply codes, scale, add; gates, cell and hidden value in float32.

    With H hidden units and D directions:

    Parameters
    ----------
    X
        Inputs, (steps, batch, I), float32.
    W, R
        Codes of the weights, (D, I, 4H) and (D, H, 4H): turned, compared with ONNX's LSTM.
    B
        Biases, (D, 8H): first those that ONNX calls Wb, then Rb. They are added first. Optional.
    sequence_lens
        Length of each sequence, (batch,), int32. Optional: all are as long as ``X``.
    initial_h, initial_c
        Hidden values and cells before the first step, (D, batch, H). Optional: 0.
    P
        Peepholes for input, output, forget, (D, 3H). Optional: none.
    W_scale, W_zero_point, R_scale, R_zero_point
        (D,), or (D, 4H) for one a column.
    activation_alpha, activation_beta
        Parameters of those activations that take them, in order; then defaults.
    activations
        Three a direction: f for the gates, g for the input of the cell, h for its output.
    clip
        Limit of what f and g are applied to, above 0. Cells are not clipped.
    direction
        ``"forward"``, ``"reverse"`` or ``"bidirectional"`` (D = 2).
    hidden_size
        H; it is the number of rows of ``R``.
    input_forget
        1: the forget gate is 1 less the input gate.
    overflow
        ``"wrap"``: a sum of products beyond int32 wraps; ``"raise"``: it is an error.

    Returns
    -------
    Y
        Hidden value after each step, (steps, D, batch, H); 0 after the end of a sequence.
    Y_h, Y_c
        Hidden values and cells after the last step, (D, batch, H); 0 for sequences of length 0.

    Raises
    ------
    OperatorError
        For a missing input, a type that is not allowed, shapes that do not fit, a length outside
        ``X``, an activation that is unknown or lacks a parameter, or an attribute out of range.
    AccumulatorOverflowError
        If a sum leaves int32 and ``overflow`` is ``"raise"``.

    Notes
    -----
    Sequences of a batch influence each other, through the common scale, even after their end:
    then their hidden values count as 0.

    onnxruntime gives these numbers with one thread and with ``Y`` requested. With more threads it
    cuts the batch into parts whose hidden values are quantized each on its own. Without ``Y``, a
    sequence that has ended goes on counting with its last hidden values. Where no sequence has
    any step, it never writes ``Y_c``.

    Examples
    --------
    >>> import numpy as np
    """
    weights = W_scale, W_zero_point, R_scale, R_zero_point
    given = (X, W, R, B, sequence_lens, initial_h, initial_c, P, *weights)
    attributes: dict[str, Any] = {"direction": direction, "clip": clip, "hidden_size": hidden_size}
    attributes |= {"input_forget": input_forget, "activations": activations}
    attributes |= {"activation_alpha": activation_alpha, "activation_beta": activation_beta}
    _check(dict(zip(V1.inputs, given, strict=True)), attributes)
    functions = chosen(NAME, attributes, USUAL, len(W))
    steps, batch, _ = X.shape
    count, units, _ = R.shape
    lengths = np.full(batch, steps) if sequence_lens is None else sequence_lens
    h, c = (_or_zeros(one, count, batch, units) for one in (initial_h, initial_c))
    bias, peep = _or_zeros(B, count, 8 * units), _or_zeros(P, count, 3 * units)
    limit = np.inf if clip is None else clip
    made = []
    with np.errstate(all="ignore"):
        for k, backward in enumerate(DIRECTIONS[direction]):
            b_w, b_r = np.split(bias[k], 2)
            layer = Layer(
                Matrix(W[k], W_scale[k], W_zero_point[k]),
                Matrix(R[k], R_scale[k], R_zero_point[k]),
                Gates(b_w + b_r, peep[k], functions[k], limit, input_forget == 1),
                overflow,
            )
            made.append(layer.run(X, lengths, (h[k], c[k]), backward=backward))
    Y, Y_h, Y_c = zip(*made, strict=True)
    return np.stack(Y, axis=1), np.stack(Y_h), np.stack(Y_c)
