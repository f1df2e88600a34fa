"""What can be wrong with a document is said before any work starts."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any

from qdqdoc.document import check
from qdqdoc.document.elements import STORAGE, item_size
from qdqdoc.execute.attributes import Place
from qdqdoc.execute.control import BATCHED_SCAN, CONTROL
from qdqdoc.execute.errors import ExecuteError
from qdqdoc.execute.pools import SUMS
from qdqdoc.execute.reference import outdated, refusal
from qdqdoc.execute.running import unsuitable
from qdqdoc.groups import partial
from qdqdoc.operators import OPERATORS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from qdqdoc.document import Document, Graph, Operation, Tensor
    from qdqdoc.execute.inputs import Sizes

GRAPHS = {"If": ("then_branch", "else_branch"), "Loop": ("body",), "Scan": ("body",)}
"""The graphs that the operators of control need."""


def refuse_unsound(document: Document) -> None:
    """Refuse a document that contradicts itself, has a cycle, or lacks operations.

    Raises
    ------
    ExecuteError
        With the first problem, a cycle before all others.
    """
    problems = sorted(check(document), key=lambda note: "a cycle" not in note)
    if problems:
        more = f" (and {len(problems) - 1} more)" if problems[1:] else ""
        raise ExecuteError(f"{document.model_path}: {problems[0]}{more}")
    if partial(document):
        held = sum(1 for _ in document.walk())
        raise ExecuteError(
            f"{document.model_path}: found {held} of {document.total_nodes} operations, "
            "needed: all of them; extract the model again"
        )


def refuse_unknown(document: Document) -> None:
    """Refuse a document with an operation that nobody here runs, or a value that is not in it.

    Raises
    ------
    ExecuteError
        With the first such operation, in the order of the run.
    """
    try:
        _Walk(document).graph(document.graph, Place(imports=document.opset_imports), ())
    except RecursionError:
        deep = "graphs and functions stand in each other too deeply"
        raise ExecuteError(f"{document.model_path}: {deep}") from None


class _Walk:
    """Follows every graph that may run; a function is looked at once."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.functions = {(f.domain, f.name): f for f in document.functions}
        self.seen: set[tuple[str, str]] = set()
        self.runs: dict[tuple[Any, ...], str] = {}

    def graph(self, graph: Graph, place: Place, calls: Sequence[tuple[str, str]]) -> None:
        for tensor in graph.tensors.values():
            if tensor.initializer:
                self._expect_value(tensor)
        for operation in graph.operations:
            reason = self._reason(operation, place)
            if reason:
                raise ExecuteError(f"{place.of(operation)}: {reason}")
            self._inner(operation, place, calls)

    def _inner(self, operation: Operation, place: Place, calls: Sequence[tuple[str, str]]) -> None:
        key = (operation.domain, operation.op_type)
        if key in calls:
            raise ExecuteError(f"{place.of(operation)}: this function calls itself: a cycle")
        if key not in self.functions:
            for name, graph in operation.graphs.items():
                self.graph(graph, place.inside(f"{operation.name}/{name}"), calls)
        elif key not in self.seen:
            function = self.functions[key]
            imports = function.opset_imports or place.imports
            inside = Place(prefix=f"{place.prefix}{operation.name}/", imports=imports)
            self.graph(function.graph, inside, (*calls, key))
            self.seen.add(key)

    def _expect_value(self, tensor: Tensor) -> None:
        known = tensor.values is not None or tensor.sha256 in self.document.data
        if not known or (tensor.dtype not in STORAGE and tensor.dtype != "string"):
            found = f"{tensor.dtype or 'unknown type'} without a value that can be read"
            raise ExecuteError(
                f"{self.document.model_path}: tensor {tensor.name!r}: found {found}, "
                "needed: its value (load the .json beside its .npz)"
            )

    def _reason(self, operation: Operation, place: Place) -> str:
        """Say why an operation cannot run; empty if it can."""
        key = (operation.domain, operation.op_type)
        if key in self.functions:
            return ""
        if key in CONTROL:
            lacking = [name for name in GRAPHS[key[1]] if name not in operation.graphs]
            if lacking:
                return f"there is no graph {lacking[0]!r}"
            old = key[1] == "Scan" and place.imports.get("", 0) < BATCHED_SCAN
            return f"allowed: opset {BATCHED_SCAN} or newer" if old else ""
        if key in OPERATORS:
            return unsuitable(operation, place.imports)
        if key == ("", "Constant"):
            sparse = "sparse_value" in operation.attributes
            return "a sparse value cannot be run" if sparse else ""
        known = (*key, bool(operation.graphs), tuple(place.imports.items()))
        if known not in self.runs:
            if not operation.domain and operation.op_type in SUMS:
                self.runs[known] = outdated("", place.imports)  # without onnx
            else:
                self.runs[known] = refusal(operation, place.imports)
        return self.runs[known]


def refuse_large(document: Document, sizes: Sizes, limit: int) -> None:
    """Refuse a run whose tensors, as far as their shapes are known, need more than ``limit`` bytes.

    Raises
    ------
    ExecuteError
        With the largest tensor and the node that makes it.
    """
    needs = list(_needs(document, sizes))
    total = sum(size for size, _, _ in needs)
    if total > limit:
        size, operation, name = max(needs, key=lambda need: need[0])
        where = Place(imports=document.opset_imports).of(operation)
        raise ExecuteError(
            f"{where}: the tensors of the run need {total} bytes, allowed: {limit}; "
            f"the largest is {name!r} with {size}"
        )


def _needs(document: Document, sizes: Mapping[str, int]) -> Iterator[tuple[int, Operation, str]]:
    for operation in document.operations:
        for name in filter(None, operation.outputs):
            tensor = document.tensors[name]
            shape = [sizes.get(d) if isinstance(d, str) else d for d in tensor.shape or ()]
            known = [size for size in shape if size is not None]
            if tensor.shape is not None and len(known) == len(shape):
                yield prod(known) * (item_size(tensor.dtype) or 1), operation, name
