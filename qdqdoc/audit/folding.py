"""BatchNormalization folded into the Conv before it: how the graph looks when that is done."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from qdqdoc.groups import DEQUANTIZE, QUANTIZE

if TYPE_CHECKING:
    from qdqdoc.document import Document, Operation

AFFINE = frozenset({"Mul", "Add", "Sub", "Div", "BatchNormalization"})
SUMMING = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
ONNX = frozenset({"", "ai.onnx"})


def fold_batchnorm(document: Document) -> Document:
    """Take out what multiplies and shifts the output of a Conv by constants, channel by channel.

    Q and DQ nodes between them go, too; the last Q, behind all of it, stays. Only the form is
    folded: the new weights and scales are up to whoever quantizes.
    """
    return _Folder(document).document()


class _Folder:
    def __init__(self, document: Document) -> None:
        self.source = document
        self.makers = {name: one for one in document.operations for name in one.outputs if name}
        self.readers: dict[str, list[Operation]] = {}
        for operation in document.operations:
            for name in operation.inputs:
                self.readers.setdefault(name, []).append(operation)
            for inner in operation.graphs.values():
                for one in inner.walk():
                    for name in one.inputs:
                        self.readers.setdefault(name, []).append(one)
        self.gone: set[int] = set()
        self.renamed: dict[str, str] = {}

    def document(self) -> Document:
        for operation in self.source.operations:
            if operation.op_type in SUMMING and operation.domain in ONNX:
                self._fold(operation)
        if not self.gone:
            return self.source
        operations = tuple(
            replace(one, outputs=tuple(self.renamed.get(name, name) for name in one.outputs))
            for one in self.source.operations
            if id(one) not in self.gone
        )
        graph = replace(self.source.graph, operations=operations)
        return replace(self.source, graph=graph)

    def _fold(self, conv: Operation) -> None:
        """Follow the output as long as one affine operator reads it, and nothing else."""
        name, passed = conv.outputs[0], []
        while True:
            between, reader = self._next(name)
            if reader is None or reader.op_type not in AFFINE or reader.domain not in ONNX:
                break
            last = between[-1].outputs[0] if between else name
            if not self._by_constants(reader, last):
                break
            passed += [*between, reader]
            name = reader.outputs[0]
        if passed:
            self.gone.update(map(id, passed))
            self.renamed[conv.outputs[0]] = name

    def _next(self, name: str) -> tuple[list[Operation], Operation | None]:
        """Return the Q and DQ behind a tensor, if there are, and the one node that reads on."""
        between: list[Operation] = []
        for wanted in (QUANTIZE, DEQUANTIZE):
            reader = self._only(name)
            if reader is None or reader.op_type != wanted:
                break
            between.append(reader)
            name = reader.outputs[0]
        return between, self._only(name)

    def _only(self, name: str) -> Operation | None:
        readers = self.readers.get(name, [])
        return readers[0] if len(readers) == 1 and name not in self.source.graph.outputs else None

    def _by_constants(self, reader: Operation, data: str) -> bool:
        """Tell whether all other inputs are constants, one value per channel at most."""
        if reader.op_type in {"Sub", "Div"} and reader.inputs[0] != data:
            return False
        others = [name for name in reader.inputs if name and name != data]
        return bool(others) and all(self._is_constant(name) for name in others)

    def _is_constant(self, name: str) -> bool:
        maker = self.makers.get(name)
        while maker is not None and maker.op_type in {DEQUANTIZE, "Identity"}:
            name = maker.inputs[0]
            maker = self.makers.get(name)
        tensor = self.source.tensors.get(name)
        if maker is not None and maker.op_type != "Constant":
            return False
        if tensor is None or not (tensor.initializer or maker is not None):
            return False
        sizes = [size for size in tensor.shape or () if size != 1]
        return tensor.shape is not None and len(sizes) <= 1
