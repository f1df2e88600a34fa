"""A QuantizeLinear for each reader: the remedy for codes that several nodes read."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from qdqdoc.groups import DEQUANTIZE, QUANTIZE

if TYPE_CHECKING:
    from qdqdoc.document import Document, Operation, Quantization, Tensor

Edge = tuple[int, int]
"""Which input of which operation."""


def separate_quantize(document: Document) -> Document:
    """Give every reader of quantized codes a Q and a DQ of its own, with parameters of its own.

    Equal parameters alone are not enough: onnxruntime merges equal nodes. The first reader keeps
    what there is.
    """
    return _Separator(document).document()


class _Separator:
    def __init__(self, document: Document) -> None:
        self.source = document
        self.operations = list(document.operations)
        self.tensors: dict[str, Tensor] = dict(document.tensors)
        self.readers: dict[str, list[Edge]] = {}
        for index, operation in enumerate(self.operations):
            for position, name in enumerate(operation.inputs):
                self.readers.setdefault(name, []).append((index, position))
        self.added: dict[int, list[Operation]] = {}

    def document(self) -> Document:
        for index, operation in enumerate(self.source.operations):
            if operation.op_type == QUANTIZE and len(operation.inputs) > 2:  # noqa: PLR2004 - a zero point
                self._separate(index, operation)
        if not self.added:
            return self.source
        operations: list[Operation] = []
        for index, operation in enumerate(self.operations):
            operations += [operation, *self.added.get(index, ())]
        graph = replace(self.source.graph, operations=tuple(operations), tensors=self.tensors)
        return replace(self.source, graph=graph)

    def _separate(self, index: int, quantize: Operation) -> None:
        """Take all readers but the first away from a Q, and give each of them another."""
        codes = quantize.outputs[0]
        kept = codes in self.source.graph.outputs
        for at, _ in self.readers.get(codes, []):
            dequantize = self.operations[at]
            if dequantize.op_type != DEQUANTIZE:
                kept = True  # something else reads the codes: they stay with it
                continue
            made = dequantize.outputs[0]
            kept = kept or made in self.source.graph.outputs
            for edge in self.readers.get(made, []):
                if kept:
                    self._own(index, quantize, dequantize, edge)
                kept = True

    def _own(self, index: int, quantize: Operation, dequantize: Operation, edge: Edge) -> None:
        mark = f"/{edge[0]}.{edge[1]}"
        scale, zero = (self._copy(name, mark) for name in quantize.inputs[1:3])
        codes, made = self._copy(quantize.outputs[0], mark), self._copy(dequantize.outputs[0], mark)
        twins = [
            replace(
                quantize,
                name=quantize.name + mark,
                inputs=(quantize.inputs[0], scale, zero),
                outputs=(codes,),
            ),
            replace(
                dequantize,
                name=dequantize.name + mark,
                inputs=(codes, scale, zero),
                outputs=(made,),
            ),
        ]
        twins = [replace(twin, quantization=_moved(twin)) for twin in twins]
        self.added.setdefault(index, []).extend(twins)
        reader = self.operations[edge[0]]
        inputs = list(reader.inputs)
        inputs[edge[1]] = made
        self.operations[edge[0]] = replace(reader, inputs=tuple(inputs))

    def _copy(self, name: str, mark: str) -> str:
        """Describe a tensor again under another name."""
        made = name + mark
        if name in self.tensors:
            known = self.tensors[name]
            stored = known.initializer or known.values is not None  # a Constant has values, too
            self.tensors[made] = replace(known, name=made, initializer=stored)
        return made


def _moved(twin: Operation) -> dict[str, Quantization]:
    """Let the quantization of a twin name its own tensors."""
    codes = twin.outputs[0] if twin.op_type == QUANTIZE else twin.inputs[0]
    return {
        key: replace(one, tensor=codes, scale=twin.inputs[1], zero_point=twin.inputs[2])
        for key, one in twin.quantization.items()
    }
