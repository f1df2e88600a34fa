"""Run an LSTM whose weights are codes; inputs and hidden values become codes as they come.

The inputs of all sequences are quantized together before the first step, the hidden values of all
sequences together before each step. Sums of products of codes are exact; all else is float32, an
operation at a time. Gates stand in the order input, output, forget, cell.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from qdqdoc.calls import fma
from qdqdoc.calls.lstm import (
    OPTIONAL,
    TRIPLES,
    activation_calls,
    biased,
    clipping_matters,
    large_sums,
    misfits,
    no_steps,
    random_call,
    still_call,
    uneven,
)
from qdqdoc.numerics.activations import ACTIVATIONS
from qdqdoc.numerics.formats import Array, tensor
from qdqdoc.numerics.lstm import Gates, Layer, Matrix
from qdqdoc.registry import UNWRITTEN, Bound, Call, Differs, Version, operator
from qdqdoc.registry.activations import chosen
from qdqdoc.registry.lstm import (
    DIRECTIONS,
    USUAL,
    check_lstm,
    formulas,
    last_cell,
    last_hidden,
    value,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from qdqdoc.numerics.products import Overflow

NAME = "DynamicQuantizeLSTM"

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
    optional=OPTIONAL,
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


def vectors() -> Iterator[Call]:
    """Yield each corner: directions, parameters of columns, lengths, activations, sums, limits."""
    yield biased("gates in their order", [(0.1, 0.2, 0.3, 0.4, 0.5), (5, -4, 3, -2, 1)])
    for kind in V1.types["T2"]:
        for direction in DIRECTIONS:
            for columns in (False, True):
                name = f"{kind}, {direction}{', columns' if columns else ''}"
                yield random_call(name, (3, 3, 4, 2), kind, direction, columns=columns)
    yield random_call("a sequence without steps", (4, 3, 2, 2), lengths=[2, 0, 1])
    yield random_call("backward, too", (4, 3, 2, 2), direction="reverse", lengths=[1, 3, 0])
    yield random_call("coupled gates", (3, 2, 3, 4), input_forget=1)
    yield random_call("clipped", (3, 2, 3, 4), clip=0.25)
    full = random_call("plain", (3, 2, 3, 4), "uint8")
    needed = {k: v for k, v in full.inputs.items() if k not in OPTIONAL}
    yield replace(full, name="nothing optional", inputs=needed)
    for low, high in ((0.5, 3), (-3, -0.5), (0, 0)):
        x = tensor("float32", np.linspace(low, high, 18).reshape(3, 2, 3))
        yield replace(full, name=f"inputs from {low} to {high}", inputs={**full.inputs, "X": x})
    yield random_call("no steps", (0, 2, 3, 2), direction="bidirectional", lengths=[0, 0])
    yield random_call("no sequence has a step", (2, 2, 3, 2), lengths=[0, 0])
    yield from activation_calls()
    yield from large_sums()


def _fma_matters(call: Call, place: int) -> Array:
    return fma.fma_matters(dynamic_quantize_lstm, call, place)


def _clipping_matters(call: Call, place: int) -> Array:
    return clipping_matters(dynamic_quantize_lstm, call, place)


_PLAIN = still_call("plain", (1, 2, 2, 1))
_SHIFTED = {"W_scale": np.ones((1, 4), "f"), "W_zero_point": tensor("int8", [[0, 1, 2, 3]])}
_RELU = {"activations": ("Sigmoid", "Relu", "Relu")}
_THRESHOLD = ("Sigmoid", "ThresholdedRelu", "Relu")
_ROUNDED = 0.009650014340877533, 0.017167143523693085
_HUGE = float(tensor("float32", np.finfo(np.float32).max / 2))
_UNIT = (0, 0, 0)
_OPEN = {"activations": ("Affine", "Relu", "Relu"), "activation_alpha": [0.0]}
_SATURATED = still_call("pairs", (1, 1, 2, 1), **_OPEN, activation_beta=[1.0])
_LARGE = {"X": np.full((1, 1, 2), 255, "f"), "W": tensor("int8", np.full((1, 2, 4), 127))}
_SATURATED = replace(_SATURATED, inputs={**_SATURATED.inputs, **_LARGE})

DIFFERS = (
    Differs(
        "onnxruntime",
        still_call("an empty batch", (2, 0, 3, 2)),
        None,
        "The process dies.",
        "Silent on empty batches.",
        lambda call: call.inputs["X"].shape[1] == 0,
    ),
    Differs(
        "onnxruntime",
        still_call("no steps", (0, 1, 3, 2)),
        UNWRITTEN,
        "Where no sequence has a step, the cells are memory that was never written.",
        "Silent on empty sequences.",
        no_steps,
        output="Y_c",
    ),
    Differs(
        "onnxruntime",
        replace(_PLAIN, name="no hidden_size", attributes={}),
        None,
        "The attribute is required.",
        "It is optional, and R has the number.",
        lambda call: call.attributes.get("hidden_size") is None,
    ),
    Differs(
        "onnxruntime",
        replace(_PLAIN, name="zero points of columns", inputs={**_PLAIN.inputs, **_SHIFTED}),
        None,
        "Zero points of columns must be 0 for int8, and all the same for uint8.",
        "There may be one for each column.",
        uneven,
    ),
    Differs(
        "onnxruntime",
        biased("no threshold", [(*_UNIT, 0.5, 0), (*_UNIT, 2, 0)], activations=_THRESHOLD),
        (0.125, 0.5),
        "The threshold is 0 where none is given.",
        "Defaults are those of the operators; that of ThresholdedRelu is 1.",
    ),
    *(
        Differs(
            "onnxruntime",
            biased(f"not finite, {output}", [(*_UNIT, np.inf, 0), (*_UNIT, np.nan, 0)], **_RELU),
            (theirs, theirs),
            "Sums are clipped to what is finite; NaN becomes the largest float.",
            "No clip if not specified.",
            partial(_clipping_matters, place=place),
            output=output,
        )
        for place, (output, theirs) in enumerate(
            (("Y", _HUGE / 2), ("Y_h", _HUGE / 2), ("Y_c", _HUGE))
        )
    ),
    Differs(
        "onnxruntime",
        _SATURATED,
        (32767,),
        "Products of codes of uint8 and int8 are added in pairs, in int16.",
        "Sums of products are exact.",
        processor="saturating",
    ),
    *(
        Differs(
            "onnxruntime",
            biased(f"a product is rounded, {output}", [(-5, 0.25, -3, -2.25, 0.5)]),
            (theirs,),
            fma.WHY,
            fma.TEXT,
            partial(_fma_matters, place=place),
            fma.NAME,
            output,
        )
        for place, (output, theirs) in enumerate(
            (("Y", _ROUNDED[0]), ("Y_h", _ROUNDED[0]), ("Y_c", _ROUNDED[1]))
        )
    ),
)


def _unit(call: Call) -> Array:
    """Return the bound's unit: none where all functions are exact."""
    named = call.attributes.get("activations") or USUAL
    return np.array(2.0**-24 * any(ACTIVATIONS[name].approximate for name in named))


WHY = (
    "ScaledTanh, Elu and Softplus use the C library's exp and log, which do not round correctly. "
    "Stated for one step: later a code of a hidden value may be another."
)
BOUNDS = tuple(Bound(output=name, ulp=32, unit=_unit, why=WHY) for name in V1.outputs)


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
    rejects=misfits,
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
    sequence that has ended goes on counting with its last hidden values.

    Examples
    --------
    Inputs of 0 to 255 have a scale of 1; ties go to the even code. All gates are 1 here, so cells
    add up what comes in, hidden values of the step before included:

    >>> import numpy as np
    >>> one, zero = np.float32([1]), np.int8([0])
    >>> grid = {"W_scale": one, "W_zero_point": zero, "R_scale": one, "R_zero_point": zero}
    >>> unit = {"W": np.ones((1, 1, 4), np.int8), "R": np.ones((1, 1, 4), np.int8), **grid}
    >>> open_gates = {"activations": ["Affine", "Relu", "Relu"], "activation_alpha": [0]}
    >>> open_gates["activation_beta"] = [1]
    >>> x = np.float32([[[0.5]], [[255]], [[1.5]]])
    >>> Y, Y_h, Y_c = dynamic_quantize_lstm(x, **unit, **open_gates)
    >>> Y.ravel(), Y_h, Y_c.shape
    (array([  0., 255., 512.], dtype=float32), array([[[512.]]], dtype=float32), (1, 1, 1))

    A sequence is turned within its length:

    >>> two = np.concatenate([x, x], axis=1)
    >>> turned = {**open_gates, "direction": "reverse"}
    >>> Y, Y_h, Y_c = dynamic_quantize_lstm(two, sequence_lens=np.int32([2, 0]), **unit, **turned)
    >>> Y[:, 0, :, 0], Y_h.ravel()
    (array([[510.,   0.],
           [255.,   0.],
           [  0.,   0.]], dtype=float32), array([510.,   0.], dtype=float32))

    One scale serves the hidden values of all sequences: beside 255, a half is nothing.

    >>> h = np.float32([[[255], [0.5]]])
    >>> dynamic_quantize_lstm(two[:1] * 0, initial_h=h, **unit, **open_gates)[2].ravel()
    array([255.,   0.], dtype=float32)

    Gates stand in the order input, output, forget, cell. Both biases are added, peepholes look at
    the cell, which ``clip`` leaves alone, and ``input_forget`` closes one gate as it opens the
    other:

    >>> given = {"activations": ["Affine", "Relu", "Relu"], "activation_alpha": [1]}
    >>> given |= {"activation_beta": [0]}
    >>> b, p = np.float32([[2, 3, 0.5, 6, 0, 0, 0, 1]]), np.float32([[1, 0.5, 0]])
    >>> still = {"X": x[:1] * 0, "B": b, "initial_c": np.float32([[[4]]]), **unit}
    >>> dynamic_quantize_lstm(**still, **given)[1:]
    (array([[[48.]]], dtype=float32), array([[[16.]]], dtype=float32))
    >>> dynamic_quantize_lstm(**still, P=p, **given)[1:]
    (array([[[1100.]]], dtype=float32), array([[[44.]]], dtype=float32))
    >>> dynamic_quantize_lstm(**still, clip=1, **given)[1:]
    (array([[[3.]]], dtype=float32), array([[[3.]]], dtype=float32))
    >>> dynamic_quantize_lstm(**still, input_forget=1, **given)[1:]
    (array([[[30.]]], dtype=float32), array([[[10.]]], dtype=float32))

    The usual functions are onnxruntime's polynomials:

    >>> dynamic_quantize_lstm(**still)[1:]
    (array([[[0.95032656]]], dtype=float32), array([[[3.3706326]]], dtype=float32))
    """
    weights = W_scale, W_zero_point, R_scale, R_zero_point
    given = (X, W, R, B, sequence_lens, initial_h, initial_c, P, *weights)
    attributes: dict[str, Any] = {"direction": direction, "clip": clip, "hidden_size": hidden_size}
    attributes |= {"input_forget": input_forget, "activations": activations}
    attributes |= {"activation_alpha": activation_alpha, "activation_beta": activation_beta}
    check_lstm(NAME, dict(zip(V1.inputs, given, strict=True)), attributes)
    functions = chosen(NAME, attributes, USUAL, len(W))
    steps, batch, _ = X.shape
    count, units, _ = R.shape
    lengths = np.repeat(steps, batch) if sequence_lens is None else sequence_lens
    h, c = (_or_zeros(one, count, batch, units) for one in (initial_h, initial_c))
    bias = _or_zeros(B, count, 8 * units)
    limit = np.inf if clip is None else clip
    made = []
    for k, backward in enumerate(DIRECTIONS[direction]):
        b_w, b_r = np.split(bias[k], 2)
        layer = Layer(
            Matrix(W[k], W_scale[k], W_zero_point[k]),
            Matrix(R[k], R_scale[k], R_zero_point[k]),
            Gates(b_w + b_r, None if P is None else P[k], functions[k], limit, input_forget == 1),
            overflow,
        )
        made.append(layer.run(X, lengths, (h[k], c[k]), backward=backward))
    Y, Y_h, Y_c = zip(*made, strict=True)
    return np.stack(Y, axis=1), np.stack(Y_h), np.stack(Y_c)
