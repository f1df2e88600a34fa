"""Run an operations document, node by node, under a numeric contract that has a name."""

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np

from qdqdoc import __version__
from qdqdoc.execute.attributes import Place
from qdqdoc.execute.checks import refuse_large, refuse_unknown, refuse_unsound
from qdqdoc.execute.contracts import CONTRACTS, READY, Contract, contract_named, followed
from qdqdoc.execute.errors import ExecuteError
from qdqdoc.execute.exact import ExactRecorder, ExactRunner, refuse_inexact
from qdqdoc.execute.inputs import bind
from qdqdoc.execute.reading import read_array
from qdqdoc.execute.running import Recorder, Runner
from qdqdoc.execute.saving import index_of, save
from qdqdoc.execute.trace import Trace, Traced
from qdqdoc.fuse import TARGETS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from qdqdoc.document import Document

__all__ = [
    "CONTRACTS",
    "LIMIT",
    "READY",
    "Contract",
    "ExecuteError",
    "Trace",
    "Traced",
    "execute",
    "index_of",
    "read_array",
    "save",
]

LIMIT = 4 * 2**30
"""So many bytes may the tensors of a run take, unless the caller says otherwise."""


def execute(
    document: Document,
    inputs: Mapping[str, Any],
    contract: str = "qdq",
    *,
    limit: int = LIMIT,
) -> Trace:
    """Run a document and return every tensor of the run.

    Quantized operators are those of the registry. Sums of Conv, MatMul, Gemm, ReduceSum,
    ReduceMean, AveragePool and GlobalAveragePool are rounded once; all other operators are onnx's
    reference operators.

    Parameters
    ----------
    document
        A whole model, see `qdqdoc.extract`.
    inputs
        An array for each input of the model.
    contract
        What the numbers are to be equal to, one of `READY`. The name of a target stands for
        ``ort`` as that onnxruntime fuses; ``ort`` alone is ``ort-x86``.
    limit
        So many bytes may the tensors of the run take together.

    Raises
    ------
    ExecuteError
        Before any work: for a contract, an input, an operation or a size that cannot be. While it
        runs: for an operation whose inputs do not fit each other. The message names the node.

    Examples
    --------
    >>> from qdqdoc.document import Document, Graph, Operation, Tensor
    >>> tensors = [
    ...     Tensor(name="x", dtype="float32", shape=("n",)),
    ...     Tensor(name="s", dtype="float32", shape=(), initializer=True, values=(0.5,)),
    ...     Tensor(name="y", dtype="uint8", shape=("n",)),
    ... ]
    >>> q = Operation(name="q", op_type="QuantizeLinear", inputs=("x", "s"), outputs=("y",))
    >>> graph = Graph(
    ...     inputs=("x",), outputs=("y",), operations=(q,), tensors={t.name: t for t in tensors}
    ... )
    >>> document = Document(model_path="small.onnx", graph=graph, opset_imports={"": 21})
    >>> trace = execute(document, {"x": np.float32([1, 1.25, 99])})
    >>> trace["y"]
    array([  2,   2, 198], dtype=uint8)
    >>> last = trace.tensors[-1]
    >>> trace.contract, last.operation, last.dtype, last.shape
    ('qdq', 'q', 'uint8', (3,))
    >>> from hashlib import sha256
    >>> last.sha256 == sha256(bytes([2, 2, 198])).hexdigest()
    True
    """
    named = contract_named(contract)
    refuse_unsound(document)
    document = followed(document, named)
    refuse_unknown(document)
    given, sizes = bind(document, inputs)
    refuse_large(document, sizes, limit)
    recorder, runner = _runner(document, named, limit)
    place = Place(imports=document.opset_imports)
    for name, value in given.items():
        recorder.take(name, value, place)
    results = runner.graph(document.graph, given, place)
    for name, value in zip(document.graph.outputs, results, strict=True):
        if name not in recorder.taken:  # a stored value that is an output, too
            recorder.take(name, value, place)
    return Trace(
        model=document.model_path,
        model_sha256=document.model_sha256,
        contract=named.name,
        target=named.target,
        processor=TARGETS[named.target].processor if named.target else "",
        peers=_peers() | runner.reference.peers,
        tensors=tuple(recorder.tensors),
        outputs=document.graph.outputs,
    )


def _runner(document: Document, contract: Contract, limit: int) -> tuple[Recorder, Runner]:
    names = tuple(document.tensors)
    if contract.name == "exact":
        refuse_inexact(document)
        recorder = ExactRecorder(names, limit)
        return recorder, ExactRunner(document, recorder)
    plain = Recorder(names, limit)
    return plain, Runner(document, plain)


def _peers() -> dict[str, str]:
    return {
        "qdqdoc": __version__,
        "numpy": np.__version__,
        "ml_dtypes": version("ml_dtypes"),
    }
