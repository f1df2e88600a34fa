"""The structure of a quantized graph: DQ.op.Q groups and where their branches meet.

Nothing is fused here and no arithmetic is decided; this only follows the tensors. Identity
nodes are seen through, and Constant nodes count as stored values: neither makes a group.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from qdqdoc.document import Document, Graph, Operation, Quantization, Role

Kind = Literal["operator", "quantize", "dequantize"]

QUANTIZE, DEQUANTIZE = "QuantizeLinear", "DequantizeLinear"
WEIGHTED = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul", "FusedMatMul", "FusedConv"})


@dataclass(frozen=True, kw_only=True, slots=True)
class Operand:
    """One input of a group, looked at through its DequantizeLinear.

    ``tensor`` is what the operation reads, ``codes`` the integers behind it, ``origin`` where
    they come from when Identity nodes are seen through. ``source`` is the index of the group
    that made them: ``None`` for inputs of the model and stored values.
    """

    tensor: str
    origin: str
    position: int
    role: Role
    dequantize: Operation | None = None
    codes: str | None = None
    quantization: Quantization | None = None
    source: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Group:
    """A DQ.op.Q unit, or as much of one as the model has.

    ``kind`` is ``operator`` for all nodes that compute, quantized or not. A QuantizeLinear
    that follows no operator (at the model's inputs, behind another DequantizeLinear) and a
    DequantizeLinear that feeds none (at the outputs) are groups of their own: then
    ``operation`` is that node itself.
    """

    index: int
    kind: Kind
    operation: Operation
    operands: tuple[Operand, ...]
    quantize: Operation | None = None
    result: Quantization | None = None

    @property
    def name(self) -> str:
        """The name of the operation, or of what it makes where it has none."""
        return self.operation.name or next(iter(self.operation.outputs), "")

    @property
    def output(self) -> str:
        """The tensor that the rest of the model reads: codes where there is a Q."""
        made = (self.quantize or self.operation).outputs
        return made[0] if made else ""

    @property
    def activations(self) -> tuple[Operand, ...]:
        """The operands that differ from image to image."""
        return tuple(operand for operand in self.operands if operand.role == "activation")

    @property
    def stored(self) -> bool:
        """Whether everything it reads is stored in the model."""
        return bool(self.operands) and not self.activations


@dataclass(frozen=True, kw_only=True, slots=True)
class Join:
    """A group in which two or more branches meet, a residual Add for example."""

    group: Group
    operands: tuple[Operand, ...]


def groups(document: Document) -> tuple[Group, ...]:
    """Return the groups of the main graph, in its order."""
    return tuple(_Finder(document).find())


def joins(document: Document) -> tuple[Join, ...]:
    """Return the groups in which two or more activations meet, in graph order."""
    return tuple(_joins(document, groups(document)))


def pattern(group: Group) -> str:
    """Return what a group consists of: ``DQ.Conv.Q``, ``Relu``, ``DQ.Q``, ``Q``."""
    parts = ["DQ"] if any(operand.dequantize for operand in group.operands) else []
    if group.kind == "operator":
        parts.append(group.operation.op_type)
    if group.quantize is not None:
        parts.append("Q")
    return ".".join(parts)


def partial(document: Document) -> bool:
    """Tell whether the document lacks operators that its model has (Q and DQ alone)."""
    return document.total_nodes > sum(1 for _ in document.walk())


def roots(document: Document) -> dict[str, str]:
    """Return, for each output of an Identity, the tensor that it repeats."""
    found: dict[str, str] = {}
    for operation in document.operations:
        if _is_identity(operation):
            found[operation.outputs[0]] = found.get(operation.inputs[0], operation.inputs[0])
    return found


def own_quantization(operation: Operation) -> Quantization | None:
    """Return what a QuantizeLinear or DequantizeLinear says of its codes."""
    return next(iter(operation.quantization.values()), None)


def _joins(document: Document, found: Iterable[Group]) -> Iterator[Join]:
    for group in found:
        meeting = tuple(o for o in group.activations if _is_data(document, o))
        if len(meeting) > 1:
            yield Join(group=group, operands=meeting)


def _is_data(document: Document, operand: Operand) -> bool:
    """Leave out shapes and indices, integers that no quantization explains, and parameters."""
    tensor = document.tensors.get(operand.tensor)
    if tensor is not None and tensor.role in {"scale", "zero_point"}:
        return False
    if operand.quantization is not None or operand.dequantize is not None:
        return True
    return tensor is None or not tensor.dtype or "float" in tensor.dtype


class _Finder:
    """One walk to learn who makes and who reads what, one walk to form the groups."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.partial = partial(document)
        self.roots = roots(document)
        self.makers: dict[str, Operation] = {}
        self.readers: dict[str, list[Operation]] = {}
        self.constants = {t.name for t in document.tensors.values() if t.initializer}
        self.sources: dict[str, int] = {}
        self.claimed: set[int] = set()
        for operation in document.operations:
            self._learn(operation)
        self.results = {self._root(name) for name in document.graph.outputs}

    def find(self) -> Iterator[Group]:
        index = 0
        for operation in self.document.operations:
            kind = self._kind(operation)
            if kind is not None:
                yield self._group(index, kind, operation)
                index += 1

    def _root(self, name: str) -> str:
        return self.roots.get(name, name)

    def _learn(self, operation: Operation) -> None:
        read = [self._root(name) for name in (*operation.inputs, *captured(operation)) if name]
        if operation.op_type == "Constant" or (read and self.constants.issuperset(read)):
            self.constants.update(operation.outputs)
        if _is_identity(operation):
            return
        if self._reads_stored_codes(operation):
            self.constants.update((read[0], *operation.outputs))
        for name in read:
            self.readers.setdefault(name, []).append(operation)
        for name in operation.outputs:
            self.makers[name] = operation

    def _reads_stored_codes(self, operation: Operation) -> bool:
        """Tell whether a file without operators leaves only one reading: stored codes.

        In such a file a DequantizeLinear stands behind a QuantizeLinear or a stored tensor.
        """
        is_dequantize = operation.op_type == DEQUANTIZE and bool(operation.inputs)
        return self.partial and is_dequantize and self._root(operation.inputs[0]) not in self.makers

    def _kind(self, operation: Operation) -> Kind | None:
        if _is_identity(operation) or operation.op_type == "Constant":
            return None
        if operation.op_type == QUANTIZE:
            return None if id(operation) in self.claimed else "quantize"
        if operation.op_type == DEQUANTIZE:
            made = [name for name in operation.outputs if name]
            inner = made and all(name in self.readers for name in made)
            return None if inner and not self.results.intersection(made) else "dequantize"
        return "operator"

    def _group(self, index: int, kind: Kind, operation: Operation) -> Group:
        quantize = operation if kind == "quantize" else self._claim(operation)
        made = (*operation.outputs, *(quantize.outputs if quantize else ()))
        operands = self._operands(kind, operation)
        self.sources.update(dict.fromkeys(made, index))
        return Group(
            index=index,
            kind=kind,
            operation=operation,
            operands=operands,
            quantize=quantize,
            result=own_quantization(quantize) if quantize else _made_codes(operation),
        )

    def _claim(self, operation: Operation) -> Operation | None:
        """Find the first QuantizeLinear behind an operator; a second one is its own group."""
        if operation.op_type == DEQUANTIZE:
            return None
        for name in filter(None, operation.outputs):
            for reader in self.readers.get(name, ()):
                if reader.op_type == QUANTIZE and self._root(reader.inputs[0]) == name:
                    self.claimed.add(id(reader))
                    return reader
        return None

    def _operands(self, kind: Kind, operation: Operation) -> tuple[Operand, ...]:
        if kind == "dequantize":
            names: tuple[str, ...] = operation.outputs[:1]
        elif kind == "quantize":
            names = operation.inputs[:1]
        else:
            names = (*operation.inputs, *captured(operation))
        skipped = {q.scale for q in operation.quantization.values()}
        skipped |= {q.zero_point or "" for q in operation.quantization.values()}
        return tuple(
            self._operand(operation, position, name)
            for position, name in enumerate(names)
            if name and (kind != "operator" or name not in skipped)
        )

    def _operand(self, operation: Operation, position: int, name: str) -> Operand:
        maker = self.makers.get(self._root(name))
        if maker is not None and maker.op_type == DEQUANTIZE and maker.inputs:
            codes: str | None = maker.inputs[0]
            quantization, dequantize = own_quantization(maker), maker
        else:
            quantization, dequantize = _read_codes(operation, name, maker), None
            codes = name if quantization is not None else None
        lineage = (name, *((codes,) if codes else ()))
        return Operand(
            tensor=name,
            origin=self._root(codes or name),
            position=position,
            role=self._role(operation, position, lineage),
            dequantize=dequantize,
            codes=codes,
            quantization=quantization,
            source=self.sources.get(self._root(codes or name)),
        )

    def _role(self, operation: Operation, position: int, lineage: tuple[str, ...]) -> Role:
        """Return the part a tensor plays: the document's word first, its position second."""
        if self._root(lineage[-1]) not in self.constants:
            return "activation"
        for name in lineage:
            tensor = self.document.tensors.get(self._root(name))
            if tensor is not None and tensor.role in {"weight", "bias"}:
                return tensor.role
        if operation.op_type not in WEIGHTED:
            return "constant"
        return "bias" if position > 1 else "weight"


def captured(operation: Operation) -> tuple[str, ...]:
    """Return what the graphs inside an operation read from outside, each name once."""
    names: dict[str, None] = {}
    for graph in operation.graphs.values():
        names.update(dict.fromkeys(_free(graph)))
    return tuple(name for name in names if name not in operation.inputs)


def _free(graph: Graph) -> Iterator[str]:
    own = {*graph.inputs, *(t.name for t in graph.tensors.values() if t.initializer)}
    for operation in graph.operations:
        for name in (*operation.inputs, *captured(operation)):
            if name and name not in own:
                yield name
        own.update(operation.outputs)
    yield from (name for name in graph.outputs if name not in own)


def _is_identity(operation: Operation) -> bool:
    simple = operation.op_type == "Identity" and operation.domain in {"", "ai.onnx"}
    return simple and bool(operation.inputs and operation.outputs)


def _made_codes(operation: Operation) -> Quantization | None:
    """Return the quantization of what an integer operator (QLinearConv) makes."""
    if operation.op_type == DEQUANTIZE:
        return None
    own = operation.quantization.values()
    return next((q for q in own if q.tensor in operation.outputs), None)


def _read_codes(operation: Operation, name: str, maker: Operation | None) -> Quantization | None:
    """Return the quantization of codes that are read without a DequantizeLinear."""
    if operation.op_type != QUANTIZE:
        for quantization in operation.quantization.values():
            if quantization.tensor == name:
                return quantization
    if maker is None:
        return None
    return own_quantization(maker) if maker.op_type == QUANTIZE else _made_codes(maker)
