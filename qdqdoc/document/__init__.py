"""The hub: everything that is known of a model, without onnx."""

from qdqdoc.document.arrays import array
from qdqdoc.document.checking import check
from qdqdoc.document.elements import exact, shortest
from qdqdoc.document.files import companion, dump, load
from qdqdoc.document.model import (
    Dimension,
    Document,
    Function,
    Granularity,
    Graph,
    Operation,
    Quantization,
    Role,
    Tensor,
)
from qdqdoc.document.problems import DocumentError
from qdqdoc.document.reading import loads
from qdqdoc.document.schema import schema
from qdqdoc.document.writing import dumps

__all__ = [
    "Dimension",
    "Document",
    "DocumentError",
    "Function",
    "Granularity",
    "Graph",
    "Operation",
    "Quantization",
    "Role",
    "Tensor",
    "array",
    "check",
    "companion",
    "dump",
    "dumps",
    "exact",
    "load",
    "loads",
    "schema",
    "shortest",
]
