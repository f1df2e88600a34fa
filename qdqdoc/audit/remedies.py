"""What would fuse a group: changes to the document, each tried by asking `fuse` again.

The changed documents are there to be asked about. Their scales are those of the original, which
is why none of them is handed out: to make such a model, quantize again.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from typing import TYPE_CHECKING

from qdqdoc.audit.answer import Trial
from qdqdoc.audit.folding import fold_batchnorm
from qdqdoc.audit.separating import separate_quantize
from qdqdoc.document import Tensor
from qdqdoc.document.model import QDQ
from qdqdoc.fuse import Outcome, Reason, fuse
from qdqdoc.groups import DEQUANTIZE, QUANTIZE, WEIGHTED, groups

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from qdqdoc.document import Document, Operation
    from qdqdoc.fuse import Fusion

OPTION, UINT8, SEPARATE, FOLD = (
    "session.qdqisint8allowed",
    "uint8-activations",
    "separate-q",
    "fold-batchnorm",
)
ABOUT: Mapping[str, str] = {
    OPTION: "the session option session.qdqisint8allowed=1",
    UINT8: "uint8 activations, and constants that meet them, in the place of int8",
    SEPARATE: "a QuantizeLinear with parameters of its own for each reader",
    FOLD: "BatchNormalization, or Mul and Add by constants, folded into the product before it",
}
"""The remedies that are tried, in the order in which they are told."""

SHIFT = 128
HOPELESS = frozenset({Reason.OPERATOR, Reason.VERSION})
"""No remedy gives an operator an integer form."""


def to_uint8(document: Document) -> Document:
    """Let int8 activations be uint8, with zero points larger by 128; weights stay as they are."""
    codes = set(_int8_codes(document))
    if not codes:
        return document
    tensors = dict(document.tensors)
    for name in codes:
        if name in tensors:
            tensors[name] = replace(tensors[name], dtype="uint8", values=None, sha256=None)
    operations = tuple(_shifted(one, codes, tensors) for one in document.operations)
    graph = replace(document.graph, operations=operations, tensors=tensors)
    return replace(document, graph=graph)


def _int8_codes(document: Document) -> Iterator[str]:
    """Yield the int8 codes between Q and DQ nodes, and constants of operators without weights."""
    found = groups(document)
    for group in found:
        if group.quantize is not None and group.result and group.result.dtype == "int8":
            yield group.quantize.outputs[0]
        for operand in group.operands:
            one = operand.quantization
            if operand.dequantize is None or one is None or one.dtype != "int8":
                continue
            # The bias of a MatMul may be the constant of an Add, which takes the data's type.
            stored = operand.role in {"weight", "bias"}
            if not stored or group.operation.op_type not in WEIGHTED:
                yield operand.dequantize.inputs[0]
                yield operand.origin


def _shifted(operation: Operation, codes: set[str], tensors: dict[str, Tensor]) -> Operation:
    """Give a Q or DQ of such codes a zero point of uint8."""
    at = {QUANTIZE: operation.outputs, DEQUANTIZE: operation.inputs}.get(operation.op_type, ())
    if not at or at[0] not in codes:
        return operation
    old = operation.inputs[2] if len(operation.inputs) > len(QDQ) else ""
    known = tensors.get(old)
    values = (known.values if known else None) or (0,)
    if old and (known is None or known.values is None or known.dtype != "int8"):
        return operation  # known at run time only, for example: it cannot be shifted here
    name = f"{old or at[0]}/uint8"
    points = tuple(int(value) + SHIFT for value in values)
    shape = known.shape if known is not None else ()
    tensors[name] = Tensor(
        name=name, dtype="uint8", shape=shape, values=points, initializer=True, role="zero_point"
    )
    attributes = {k: v for k, v in operation.attributes.items() if k != "output_dtype"}
    return replace(operation, inputs=(*operation.inputs[:2], name), attributes=attributes)


CHANGES: Mapping[str, Callable[[Document], Document]] = {
    UINT8: to_uint8,
    SEPARATE: separate_quantize,
    FOLD: fold_batchnorm,
}
INT8_TARGET = {"ort-x86": "ort-x86-int8"}
"""The target that the session option makes of another one."""


class Tries:
    """Asks `fuse` about remedies, one by one, then about more of them at once."""

    def __init__(self, document: Document, target: str, fusion: Fusion) -> None:
        self.document = document
        self.target = target
        self.before = _stays(fusion)
        self.open = {
            verdict.node
            for verdict in fusion.verdicts
            if verdict.outcome is Outcome.STAYS and verdict.reason not in HOPELESS
        }
        self.found: dict[str, list[tuple[str, ...]]] = {}
        self.trials: list[Trial] = []

    def run(self, progress: Callable[[int, int], None]) -> None:
        """Try sets of remedies, the small ones first, until every group is helped."""
        useful = [name for name in ABOUT if self._applies(name)]
        sets = [s for size in (1, 2, 3) for s in combinations(useful, size)]
        for done, remedies in enumerate(sets):
            progress(done, len(sets))
            if self._is_done(len(remedies)):
                break
            if not {OPTION, UINT8} <= set(remedies):
                self._try(remedies)
        progress(len(sets), len(sets))

    def _is_done(self, size: int) -> bool:
        """Tell whether every group that can be helped is helped by a smaller set than these."""
        smaller = {node for node, sets in self.found.items() if min(map(len, sets)) < size}
        return self.open <= smaller

    def _applies(self, remedy: str) -> bool:
        if remedy == OPTION:
            return self.target in INT8_TARGET
        return _everywhere(CHANGES[remedy], self.document) is not self.document

    def _try(self, remedies: tuple[str, ...]) -> None:
        changed, target = self.document, self.target
        for remedy in remedies:
            if remedy == OPTION:
                target = INT8_TARGET[target]
            else:
                changed = _everywhere(CHANGES[remedy], changed)
        fusion = fuse(changed, target)
        if fusion.refused:
            return
        after = _stays(fusion)
        helped = self.open - after
        new = [node for node in helped if not self._is_known(node, remedies)]
        for node in sorted(new):
            self.found.setdefault(node, []).append(remedies)
        if not new and len(remedies) > 1:
            return  # it does no more than some of its parts do
        self.trials.append(
            Trial(
                remedies=remedies,
                stays=len(after),
                helped=len(helped),
                spoiled=len(after - self.before),
            )
        )

    def _is_known(self, node: str, remedies: tuple[str, ...]) -> bool:
        """Tell whether some of these remedies do for a node."""
        return any(set(one) <= set(remedies) for one in self.found.get(node, ()))


def _everywhere(change: Callable[[Document], Document], document: Document) -> Document:
    """Change a graph and the graphs inside its nodes; return the same object if nothing is."""
    changed = change(document)
    operations = []
    for operation in changed.operations:
        inner = {
            name: _everywhere(change, replace(changed, graph=graph)).graph
            for name, graph in operation.graphs.items()
        }
        same = all(inner[name] is graph for name, graph in operation.graphs.items())
        operations.append(operation if same else replace(operation, graphs=inner))
    if all(new is old for new, old in zip(operations, changed.operations, strict=True)):
        return changed
    return replace(changed, graph=replace(changed.graph, operations=tuple(operations)))


def _stays(fusion: Fusion) -> set[str]:
    return {v.node for v in fusion.verdicts if v.outcome is Outcome.STAYS}
