"""Nodes that lack what their operators cannot do without: told before anybody looks for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qdqdoc.audit.answer import AuditError
from qdqdoc.facts.reading import graphs
from qdqdoc.fuse.needs import lacking

if TYPE_CHECKING:
    from qdqdoc.document import Document


def check(document: Document) -> None:
    """Complain of the first node that has too few inputs, or nothing that it makes.

    Examples
    --------
    >>> from qdqdoc.audit.checking import check
    >>> from qdqdoc.document import Document, Graph, Operation
    >>> conv = Operation(name="c", op_type="Conv", inputs=("x",), outputs=("y",))
    >>> check(Document(model_path="m.onnx", graph=Graph(operations=(conv,))))
    Traceback (most recent call last):
    ...
    qdqdoc.audit.answer.AuditError: m.onnx: node 'c' (Conv): found 1 inputs, allowed: at least 2
    """
    complaint = lacking(document)
    if complaint:
        raise AuditError(complaint)
    tensors = (tensor for graph in graphs(document) for tensor in graph.tensors.values())
    texts = {tensor.name for tensor in tensors if tensor.dtype == "string"}
    for operation in document.walk():
        for one in operation.quantization.values():
            for name in texts.intersection({one.scale, one.zero_point}):
                where = f"{document.model_path}: node {operation.name!r} ({operation.op_type})"
                raise AuditError(f"{where}: {name}: found text, allowed: numbers")
