"""Which operations treat every image of a batch by itself, so that a batch can be cut into blocks.

Axis 0 is the batch. An operation that is not in the table below, or does not meet its condition,
makes the model one that is run as a whole.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

from qdqdoc.execute.attributes import attributes_of
from qdqdoc.plan.sample import moving

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    from qdqdoc.document import Document, Operation
    from qdqdoc.execute.attributes import Place
    from qdqdoc.plan.sample import Sample

MS = "com.microsoft"
MATRIX = 2
PER_AXIS = 13
"""Since this opset the default axis of Softmax is the last."""

ELEMENTWISE = frozenset(
    {
        ("", name)
        for name in (
            *("Abs", "Add", "Cast", "Ceil", "Clip", "Div", "Elu", "Erf", "Exp", "Floor"),
            *("HardSigmoid", "HardSwish", "Identity", "LeakyRelu", "Log", "Max", "Min", "Mul"),
            *("Neg", "PRelu", "Reciprocal", "Relu", "Round", "Selu", "Sigmoid", "Sign"),
            *("Softplus", "Softsign", "Sqrt", "Sub", "Tanh"),
        )
    }
    | {(MS, name) for name in ("QLinearAdd", "QLinearMul", "QLinearSigmoid", "QLinearLeakyRelu")}
)
"""Operators that compute each element from the elements of their inputs at the same place."""

QUANTIZING = frozenset((d, f"{k}Linear") for d in ("", MS) for k in ("Quantize", "Dequantize"))


class Facts:
    """What the conditions look at: an operation, its attributes, and the values of a sample."""

    def __init__(self, sample: Sample, operation: Operation, place: Place, *, cut: bool) -> None:
        self.sample = sample
        self.operation = operation
        self.attributes: dict[str, Any] = attributes_of(sample.document, operation, place)
        self.cut = cut
        self.first = operation.inputs[0] if operation.inputs else ""
        self.rank = self.rank_of(self.first)

    def rank_of(self, name: str) -> int:
        """Return the number of axes of a tensor."""
        return self.sample.values[name].ndim if name in self.sample.values else 0

    def moves(self, *positions: int) -> bool:
        """Tell whether exactly these inputs depend on those of the model."""
        found = (n for n, name in enumerate(self.operation.inputs) if name in self.sample.moving)
        return (*found,) == positions

    def values(self, position: int) -> list[int]:
        """Return the whole numbers of a constant input; none if it is left out."""
        names = self.operation.inputs[position : position + 1]
        value = self.sample.constant(names[0]) if names else None
        return [] if value is None else [int(one) for one in value.ravel()]


def known(document: Document) -> bool:
    """Tell whether there is a rule for all that depends on the inputs, so that zeros may be run."""
    moves = moving(document)
    return not any(
        operation.graphs or (moves.intersection(operation.inputs) and _key(operation) not in RULES)
        for operation in document.operations
    )


def _key(operation: Operation) -> tuple[str, str]:
    return operation.domain, operation.op_type


def by_image(sample: Sample, place: Place, *, cut: bool) -> bool:
    """Tell whether each image goes through the model by itself.

    With ``cut`` a batch may be cut anywhere; else it is always that of the sample, and an
    operation may know its size.
    """
    for operation in sample.document.operations:
        if not sample.moving_inputs(operation):
            continue
        rule = RULES[_key(operation)]
        if not all(_starts(sample, operation)) or not rule(
            Facts(sample, operation, place, cut=cut)
        ):
            return False
    return True


def _starts(sample: Sample, operation: Operation) -> list[bool]:
    names = [*sample.moving_inputs(operation), *filter(None, operation.outputs)]
    shapes = [getattr(sample.values.get(name), "shape", ()) for name in names]
    return [shape[:1] == (sample.images,) for shape in shapes]


def _elementwise(facts: Facts) -> bool:
    """Constants do not reach to the axis of the batch, and all that moves does."""
    rank = facts.rank_of(facts.operation.outputs[0])
    for name in filter(None, facts.operation.inputs):
        value = facts.sample.values[name]
        if name in facts.sample.moving:
            if value.ndim != rank:
                return False
        elif value.ndim > rank or (value.ndim == rank and value.shape[0] != 1):
            return False
    return True


def _added(facts: Facts) -> bool:
    """In QLinearAdd the order depends on which operand is one element long: not by the batch."""
    shapes = [facts.sample.values[facts.operation.inputs[n]].shape for n in (0, 3)]
    if not _elementwise(facts):
        return False
    shortest = min(map(len, shapes)) or 1
    if shortest < facts.rank_of(facts.operation.outputs[0]):
        return True
    inner = zip(*(shape[1:] for shape in shapes), strict=True)
    return any(pair != (1, 1) for pair in inner)


def _along(facts: Facts) -> bool:
    """Look along an axis that is not that of the batch."""
    old = facts.sample.document.opset_version < PER_AXIS and not facts.operation.domain
    default = 1 if old else -1
    return facts.moves(0) and facts.attributes.get("axis", default) % facts.rank != 0


def _joined(facts: Facts) -> bool:
    every = facts.moves(*range(len(facts.operation.inputs)))
    return every and facts.attributes["axis"] % facts.rank != 0


def _joined_codes(facts: Facts) -> bool:
    """Join codes; each comes with its grid, behind the grid of the result."""
    count = len(facts.operation.inputs)
    axis = facts.attributes.get("axis", 0) % facts.rank_of(facts.operation.outputs[0])
    return facts.moves(*range(2, count, 3)) and axis != 0


def _quantizing(facts: Facts) -> bool:
    scale = facts.sample.values[facts.operation.inputs[1]]
    axis = facts.attributes.get("axis", 1)
    whole = scale.size == 1 and not facts.attributes.get("block_size", 0)
    return facts.moves(0) and (whole or (scale.ndim == 1 and axis % facts.rank != 0))


def _reshaped(facts: Facts) -> bool:
    wanted = facts.values(1)
    kept = wanted[:1] == [-1] or (wanted[:1] == [0] and not facts.attributes.get("allowzero", 0))
    return facts.moves(0) and (kept or not facts.cut)


def _squeezed(facts: Facts) -> bool:
    axes: Sequence[int] = facts.attributes.get("axes") or facts.values(1)
    rank = max(facts.rank, facts.rank_of(facts.operation.outputs[0]))
    return facts.moves(0) and bool(axes) and all(axis % rank for axis in axes)


def _rows(facts: Facts) -> bool:
    """Multiply rows, which are images, by a constant matrix."""
    constants = [facts.sample.constant(name) for name in facts.operation.inputs[1:]]
    columns = facts.rank_of(facts.operation.inputs[RIGHT.get(facts.operation.op_type, 1)])
    scales = constants[:2] if facts.operation.op_type == "QLinearMatMul" else []
    per_row = any(one is not None and one.size != 1 for one in scales)
    return facts.moves(0) and facts.rank >= MATRIX and columns == MATRIX and not per_row


def _gemm(facts: Facts) -> bool:
    added = facts.operation.inputs[ADDED[facts.operation.op_type] :][:1]
    value = facts.sample.constant(added[0]) if added and added[0] else None
    spread = value is None or value.ndim < MATRIX or value.shape[0] == 1
    return facts.moves(0) and not facts.attributes.get("transA", 0) and spread


RIGHT = {"QLinearMatMul": 3}
ADDED = {"Gemm": 2, "QGemm": 6}


def _only_first(facts: Facts) -> bool:
    """Refuse the places of maxima, too: they are counted through the batch."""
    return facts.moves(0) and len(facts.operation.outputs) == 1


RULES: Mapping[tuple[str, str], Callable[[Facts], bool]] = MappingProxyType(
    {
        **dict.fromkeys(ELEMENTWISE, _elementwise),
        **dict.fromkeys(QUANTIZING, _quantizing),
        (MS, "QLinearAdd"): _added,
        **dict.fromkeys(
            (
                *(("", name) for name in ("Conv", "ConvInteger", "QLinearConv", "MaxPool")),
                *(("", name) for name in ("AveragePool", "GlobalAveragePool", "GlobalMaxPool")),
                *((MS, name) for name in ("QLinearConv", "QLinearAveragePool")),
                *((MS, name) for name in ("QLinearGlobalAveragePool", "NhwcMaxPool")),
            ),
            _only_first,
        ),
        **dict.fromkeys((("", n) for n in ("MatMul", "MatMulInteger", "QLinearMatMul")), _rows),
        ("", "Gemm"): _gemm,
        (MS, "QGemm"): _gemm,
        ("", "Softmax"): _along,
        ("", "LogSoftmax"): _along,
        (MS, "QLinearSoftmax"): _along,
        ("", "Concat"): _joined,
        (MS, "QLinearConcat"): _joined_codes,
        ("", "Reshape"): _reshaped,
        ("", "Squeeze"): _squeezed,
        ("", "Unsqueeze"): _squeezed,
        ("", "Flatten"): lambda facts: facts.moves(0) and facts.attributes.get("axis", 1) == 1,
        ("", "Transpose"): lambda facts: (facts.attributes.get("perm") or [1])[0] == 0,
    }
)
"""The condition under which an operator treats each image by itself, by domain and name."""
