"""What a model consists of, and why it has more DequantizeLinear than QuantizeLinear nodes."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from qdqdoc.facts.reading import BOUNDARY, PLURAL, ROLES, graphs, is_integer_operator
from qdqdoc.groups import DEQUANTIZE, QUANTIZE, groups, joins, pattern
from qdqdoc.tables import Code, Table

if TYPE_CHECKING:
    from qdqdoc.document import Document, Graph, Role

SHORT_HASH = 12


@dataclass(frozen=True, kw_only=True, slots=True)
class Summary:
    """A model in a few numbers. ``form`` says by which means it is quantized, if it is."""

    name: str
    sha256: str
    opset: int
    producer: str
    nodes: int
    quantize: int
    dequantize: int
    integer_operators: int
    groups: int
    joins: int
    form: str


def summary(document: Document) -> Summary:
    """Return the model in a few numbers."""
    counts = document.op_type_counts
    return Summary(
        name=document.model_path,
        sha256=(document.model_sha256 or "")[:SHORT_HASH],
        opset=document.opset_version,
        producer=document.producer or "unknown",
        nodes=document.total_nodes,
        quantize=counts.get(QUANTIZE, 0),
        dequantize=counts.get(DEQUANTIZE, 0),
        integer_operators=_integer_operators(document),
        groups=len(groups(document)),
        joins=len(joins(document)),
        form=form(document),
    )


def identity(document: Document) -> Table:
    """Return the model's name, fingerprint and size as a table of two columns."""
    found = summary(document)
    return Table(
        ("The model", ""),
        (
            ("file", Code(found.name)),
            ("sha256", Code(f"{found.sha256}…" if found.sha256 else "unknown")),
            ("operator set", f"ai.onnx {found.opset}"),
            ("written by", found.producer),
            ("form", found.form),
            ("nodes", found.nodes),
            ("QuantizeLinear", found.quantize),
            ("DequantizeLinear", found.dequantize),
            ("operators on codes", found.integer_operators),
            ("groups", found.groups),
            ("joins", found.joins),
        ),
    )


def form(document: Document) -> str:
    """Name the form: QDQ, QOperator (operators on codes), both, dynamic, or none of them."""
    if any(operation.op_type.startswith("DynamicQuantize") for operation in document.walk()):
        return "dynamic: scales of activations are made at run time"
    operators = _integer_operators(document)
    wrapped = any(
        group.kind == "operator" and any(operand.dequantize for operand in group.operands)
        for group in groups(document)
    )
    if operators and wrapped:
        return "QOperator and QDQ"
    if operators:
        return "QOperator"
    return "QDQ" if document.qlinear_nodes else "no quantized operators"


def _integer_operators(document: Document) -> int:
    return sum(is_integer_operator(operation) for operation in document.walk())


def node_counts(document: Document) -> Table:
    """Return how often each operator type occurs, the most frequent first."""
    integer = {o.op_type for o in document.walk() if is_integer_operator(o)}
    counts = sorted(document.op_type_counts.items(), key=lambda item: (-item[1], item[0]))
    rows = [(name, _kind(name, integer), count) for name, count in counts]
    return Table(("Operator", "Kind", "Nodes"), (*rows, ("all", "", document.total_nodes)))


def _kind(op_type: str, integer: set[str]) -> str:
    if op_type in BOUNDARY:
        return "boundary"
    return "operator on codes" if op_type in integer else "operator"


def group_patterns(document: Document) -> Table:
    """Return the groups of the model by pattern, the most frequent first."""
    found: dict[str, list[str]] = {}
    for group in groups(document):
        found.setdefault(pattern(group), []).append(group.name)
    rows = sorted(found.items(), key=lambda item: (-len(item[1]), item[0]))
    return Table(
        ("Pattern", "Groups", "For example"),
        tuple((Code(name), len(nodes), Code(nodes[0])) for name, nodes in rows),
    )


@dataclass(frozen=True, slots=True)
class Surplus:
    """Where the DequantizeLinear nodes come from; ``dequantize`` is the sum of the parts.

    ``unread`` QuantizeLinear nodes have codes that no DequantizeLinear reads. ``again`` counts
    further readers of codes that one DequantizeLinear reads already, ``stored`` those that read
    codes of the file, by role, and ``other`` those whose codes another operator makes.
    """

    quantize: int
    unread: int
    again: int
    stored: dict[Role, int]
    other: int

    @property
    def dequantize(self) -> int:
        """How many DequantizeLinear nodes the parts explain."""
        return self.quantize - self.unread + self.again + sum(self.stored.values()) + self.other

    @property
    def difference(self) -> int:
        """How many more DequantizeLinear than QuantizeLinear nodes there are."""
        return self.dequantize - self.quantize


def surplus(document: Document) -> Surplus:
    """Count the DequantizeLinear nodes of all graphs by what they read."""
    parts = [_surplus(graph) for graph in graphs(document)]
    stored: dict[Role, int] = {}
    for part in parts:
        for role, count in part.stored.items():
            stored[role] = stored.get(role, 0) + count
    return Surplus(
        quantize=sum(part.quantize for part in parts),
        unread=sum(part.unread for part in parts),
        again=sum(part.again for part in parts),
        stored=stored,
        other=sum(part.other for part in parts),
    )


def _surplus(graph: Graph) -> Surplus:
    same = {o.outputs[0]: o.inputs[0] for o in graph.operations if o.op_type == "Identity"}
    made = [o.outputs[0] for o in graph.operations if o.op_type == QUANTIZE]
    read = [_behind(o.inputs[0], same) for o in graph.operations if o.op_type == DEQUANTIZE]
    quantized = [name for name in read if name in set(made)]
    roles = [_role(graph, name) for name in read if name not in set(made)]
    stored: Counter[Role] = Counter(role for role in roles if role != "activation")
    return Surplus(
        quantize=len(made),
        unread=len(made) - len(set(quantized)),
        again=len(quantized) - len(set(quantized)),
        stored=dict(stored),
        other=len(roles) - sum(stored.values()),
    )


def _behind(name: str, same: dict[str, str]) -> str:
    while name in same:
        name = same[name]
    return name


def _role(graph: Graph, name: str) -> Role:
    tensor = graph.tensors.get(name)
    return "activation" if tensor is None else tensor.role


def dequantize_explained(document: Document) -> Table:
    """Return an account that starts at the Q nodes and ends at the DQ nodes, line by line."""
    parts = surplus(document)
    stored = tuple(
        (f"codes stored in the file: {PLURAL[role]}", parts.stored[role])
        for role in ROLES
        if role in parts.stored
    )
    lines: tuple[tuple[str, int], ...] = (
        ("QuantizeLinear nodes, each read by one DequantizeLinear", parts.quantize),
        ("less those whose codes no DequantizeLinear reads", -parts.unread),
        ("the same codes read by a further DequantizeLinear", parts.again),
        *stored,
        ("codes that another operator or the caller makes", parts.other),
    )
    kept = tuple(line for line in lines[:1] + tuple(x for x in lines[1:] if x[1]))
    return Table(
        ("What the DequantizeLinear nodes read", "Nodes"),
        (*kept, ("all DequantizeLinear nodes", parts.dequantize)),
    )
