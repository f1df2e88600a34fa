"""What onnxruntime makes of a model, why not of more, and what looking at it changes."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

from qdqdoc.fuse import TARGETS, FuseError, Fusion, Outcome, fuse
from qdqdoc.groups import QUANTIZE, groups, pattern
from qdqdoc.tables import Cell, Code, Table

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from qdqdoc.document import Document, Operation
    from qdqdoc.fuse import Verdict

WORDS = {
    Outcome.FUSED: "integer operator",
    Outcome.DROPPED: "works on the codes",
    Outcome.REMOVED: "gone",
    Outcome.STAYS: "floats",
}
TARGET = "ort-x86"


def fusion(document: Document, target: str = TARGET) -> Fusion | str:
    """Return what becomes of the model, or in words why that cannot be told.

    >>> from qdqdoc.document import Document, Graph
    >>> fusion(Document(model_path="m.onnx", graph=Graph(), declared_total=2))
    'm.onnx: holds its Q and DQ nodes alone; fuse needs all'
    """
    try:
        return fuse(document, target)
    except FuseError as error:
        return str(error)


def fusion_table(document: Document, found: Fusion) -> Table:
    """Return each node that has a Q or DQ beside it, what becomes of it, and why."""
    rows: list[tuple[Cell, ...]] = []
    for verdict in found.verdicts:
        becomes = verdict.op_type if verdict.outcome is Outcome.FUSED else ""
        head = (Code(verdict.node), verdict.source, WORDS[verdict.outcome], becomes)
        rows.append((*head, *(_cause(document, verdict) if verdict.reason else ("", "", ""))))
    columns = ("Node", "Operator", "Runs as", "Becomes", "Reason", "Because of", "Which")
    return Table(columns, tuple(rows))


def _cause(document: Document, verdict: Verdict) -> tuple[Cell, Cell, Cell]:
    """Return the code of the reason, the tensor that the words begin with, and the words."""
    reason = Code(verdict.reason.value) if verdict.reason else None
    last = verdict.words.rpartition("; ")[2]
    name, _, rest = last.partition(" ")
    if name in document.tensors:
        return reason, Code(name), rest
    return reason, "", last


def targets_table(document: Document) -> Table:
    """Return for each target how many nodes end in which way, and whether anybody has seen it."""
    rows: list[tuple[Cell, ...]] = []
    for name, target in TARGETS.items():
        found = fusion(document, name)
        if isinstance(found, str):
            continue
        counts = found.outcomes
        cells: list[Cell] = [counts.get(outcome, 0) for outcome in WORDS]
        witnessed = "yes" if target.witnessed else "no: predicted"
        rows.append((Code(name), target.about, *cells, witnessed, found.refused or "yes"))
    columns = ("Target", "What it is", *WORDS.values(), "Witnessed", "Loads")
    return Table(tuple(map(_capital, columns)), tuple(rows))


def _capital(word: str) -> str:
    return word[:1].upper() + word[1:]


def observed_table(document: Document, target: str = TARGET) -> Table:
    """Return what becomes of the nodes when tensors between them are made outputs of the model."""
    made = [name for o in document.operations for name in o.outputs if name]
    codes = [o.outputs[0] for o in document.operations if o.op_type == QUANTIZE]
    ways = (
        ("nobody looks", ()),
        ("every result of a Q is an output", codes),
        ("every tensor is an output", made),
    )
    rows: list[tuple[Cell, ...]] = []
    for words, names in ways:
        found = fusion(_shown(document, names), target)
        if not isinstance(found, str):
            rows.append((words, *(found.outcomes.get(outcome, 0) for outcome in WORDS)))
    return Table(("", *map(_capital, WORDS.values())), tuple(rows))


def _shown(document: Document, names: Iterable[str]) -> Document:
    """Return the document with more outputs."""
    outputs = tuple(dict.fromkeys((*document.graph.outputs, *names)))
    return replace(document, graph=replace(document.graph, outputs=outputs))


def computation_table(document: Document, target: str = TARGET) -> Table:
    """Return on which types each operator works as written, and after the fusions.

    What only moves or holds values is left out.
    """
    found = fusion(document, target)
    after = {} if isinstance(found, str) else _signatures(found.document)
    rows: list[tuple[Cell, ...]] = [
        (contract, Code(op_type), types, count)
        for contract, counts in (("qdq", _signatures(document)), (target, after))
        for (op_type, types), count in counts.items()
    ]
    return Table(("Contract", "Operator", "Types in and out", "Nodes"), tuple(rows))


def _signatures(document: Document) -> Mapping[tuple[str, str], int]:
    counts: Counter[tuple[str, str]] = Counter()
    constants = {name for name, tensor in document.tensors.items() if tensor.initializer}
    for operation in document.operations:
        if constants.issuperset(name for name in operation.inputs if name):
            constants.update(operation.outputs)
        else:
            counts[operation.op_type, _types(document, operation)] += 1
    return dict(sorted(counts.items()))


def _types(document: Document, operation: Operation) -> str:
    """Spell the types of what an operator computes with, scales and zero points left out."""
    parameters = {
        name
        for item in operation.quantization.values()
        for name in (item.scale, item.zero_point)
        if name
    }
    tensors = [document.tensors[name] for name in operation.inputs if name]
    given = [
        tensor.dtype or "?"
        for tensor in tensors
        if tensor.name not in parameters and tensor.role not in {"scale", "zero_point"}
    ]
    made = [document.tensors[name].dtype or "?" for name in operation.outputs if name]
    return f"{', '.join(given)} → {', '.join(made)}"


def group_count(document: Document) -> int:
    """Return how many DQ.op.Q groups the model has, those of an operator with DQ and Q."""
    found = [pattern(group) for group in groups(document) if group.kind == "operator"]
    return sum(name.startswith("DQ.") and name.endswith(".Q") for name in found)
