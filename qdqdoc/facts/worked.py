"""One output element of a real layer, term by term, as its operator's formula counts it."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np

from qdqdoc.errors import QdqdocError
from qdqdoc.facts.examples import Images, example
from qdqdoc.facts.layers import Kind, Layer, layers, zero_array
from qdqdoc.facts.reading import digits
from qdqdoc.facts.steps import exact_lines, steps, term_table
from qdqdoc.numerics.formats import DTYPES, Array, integer_range
from qdqdoc.registry import OPERATORS, Call

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qdqdoc.document import Document
    from qdqdoc.groups import Group
    from qdqdoc.registry import Element, Operator
    from qdqdoc.tables import Table

NAMES: dict[Kind, str] = {"Conv": "QLinearConv", "MatMul": "QLinearMatMul"}
CODES = frozenset({"int8", "uint8"})
ATTRIBUTES = ("auto_pad", "dilations", "group", "kernel_shape", "pads", "strides")
POSITIONS = 64
"""How many places of an image are looked at when one is chosen."""


class WorkedError(QdqdocError):
    """A kernel and its formula disagree on the element that a page works out."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Worked:
    """An element of a layer's output, with everything that leads to it.

    ``call`` runs the operator ``name`` on the layer's stored codes and parameters; ``origin``
    says where its data come from. ``element`` binds the operator's formula to the output at
    ``index``. Kernel and formula agree on ``code``; else this is not made.
    """

    group: Group
    name: str
    call: Call
    origin: str
    remark: str
    shape: tuple[int, ...]
    index: tuple[int, ...]
    element: Element
    code: int
    terms: Table
    steps: Table

    @property
    def count(self) -> int:
        """How many products are summed."""
        return len(next(iter(self.element.sets.values())))

    @property
    def accumulator(self) -> int:
        """The sum of products and bias."""
        return int(exact_lines(self.element)["acc"])

    @property
    def multiplier(self) -> np.float32:
        """What brings the accumulator to steps of the result; exact."""
        return np.float32(float(exact_lines(self.element)["m"]))

    @property
    def real(self) -> float:
        """The real number that the code stands for, in six digits."""
        values = self.element.values
        exact = Fraction(float(values["s_y"])) * (self.code - int(values["z_y"]))
        return digits(exact, 6)


def worked(document: Document, kind: Kind, held: Images | None = None) -> Worked | None:
    """Work out an element of the model's first Conv, or of its first MatMul or Gemm.

    Parameters
    ----------
    document
        The model.
    kind
        ``"Conv"``: as QLinearConv, ``"MatMul"``: as QLinearMatMul.
    held
        Real inputs; taken if the layer is the model's first and their shape fits.

    Returns
    -------
    Worked or None
        ``None`` if no such layer has stored codes of eight bits and a quantized result.

    Raises
    ------
    WorkedError
        If kernel and formula disagree.
    """
    layer = next(_suitable(document, kind), None)
    return None if layer is None else _work(document, layer, held)


def _suitable(document: Document, kind: Kind) -> Iterator[Layer]:
    for layer in layers(document):
        y = layer.group.result
        if layer.kind != kind or y is None or not y.scale_values or len(y.scale_values) > 1:
            continue
        known = y.zero_point is None or y.zero_point_values
        if known and {layer.x.dtype, layer.w.dtype, y.dtype} <= CODES:
            yield layer


def _work(document: Document, layer: Layer, held: Images | None) -> Worked:
    chosen = example(document, layer, held)
    call = Call(
        name=layer.group.name,
        inputs=_inputs(layer, chosen.codes),
        attributes=_attributes(layer),
        opset=max(document.opset_version, 10),
    )
    operator = OPERATORS["", NAMES[layer.kind]]
    made = operator.run(call)[0]
    index = _choose(operator, call, made)
    element = operator.element(call, index)
    code = int(made[index])
    if element.evaluate() != code:
        raise WorkedError(f"{operator.name} {index}: kernel {code}, formula {element.evaluate()}")
    return Worked(
        group=layer.group,
        name=operator.name,
        call=call,
        origin=chosen.origin,
        remark=_remark(layer),
        shape=made.shape,
        index=index,
        element=element,
        code=code,
        terms=term_table(element, layer.kind),
        steps=steps(element),
    )


def _remark(layer: Layer) -> str:
    """Say where the operator is not the whole of the group."""
    if layer.kind == "MatMul" and layer.bias:
        return f"The bias of {layer.group.name} is left out: QLinearMatMul has no input for it."
    if not layer.exact_bias:
        return "The bias is rounded to whole steps of the accumulator; the file keeps it finer."
    return ""


def _inputs(layer: Layer, codes: Array) -> dict[str, Array]:
    y = layer.group.result
    if y is None:
        raise WorkedError(f"{layer.group.name} has no quantized result")
    data, weight = ("x", "w") if layer.kind == "Conv" else ("a", "b")
    inputs: dict[str, Array] = {}
    held = {data: codes, weight: layer.weights}
    for name, quantization in ((data, layer.x), (weight, layer.w), ("y", y)):
        if name in held:
            inputs[name] = held[name]
        scale = np.array(quantization.scale_values, dtype=np.float32)
        inputs[f"{name}_scale"] = scale.reshape(()) if scale.size == 1 else scale
        inputs[f"{name}_zero_point"] = zero_array(quantization)
    if layer.kind == "Conv" and layer.bias:
        inputs["B"] = np.array(layer.bias, dtype=np.int32)
    return inputs


def _attributes(layer: Layer) -> dict[str, Any]:
    found = layer.group.operation.attributes if layer.kind == "Conv" else {}
    return {name: found[name] for name in ATTRIBUTES if name in found}


def _choose(operator: Operator, call: Call, made: Array) -> tuple[int, ...]:
    """Take the place with the most different codes under a whole window, then a lively channel.

    The channel is the one furthest from the zero point that is not on a rail.
    """
    if operator.name == "QLinearMatMul":
        places: list[tuple[int, ...]] = [()]
    else:
        every = list(np.ndindex(*made.shape[2:]))
        places = every[:: max(len(every) // POSITIONS, 1)]
    place = max(places, key=lambda at: _variety(operator.element(call, (0, 0, *at))))
    column = np.moveaxis(made[0], 0, -1)[place].astype(np.int64)
    low, high = integer_range(DTYPES[_result_type(call)])
    distance = np.abs(column - int(call.inputs["y_zero_point"]))
    inside = (column > low) & (column < high)
    channel = int(np.where(inside, distance, -1).argmax())
    return (0, channel, *place)


def _result_type(call: Call) -> str:
    return str(call.inputs["y_zero_point"].dtype)


def _variety(element: Element) -> tuple[int, int]:
    taps = next(iter(element.sets.values()))
    data = element.values["x" if "x" in element.values else "a"]
    return len(taps), len({int(data[tap]) for tap in taps})
