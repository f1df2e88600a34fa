"""The run itself: one graph after the other, node by node."""

from __future__ import annotations

from collections import ChainMap
from typing import TYPE_CHECKING, Any

import numpy as np

from qdqdoc.document import array
from qdqdoc.execute.attributes import Names, Place, attributes_of, constant
from qdqdoc.execute.codes import max_pool, pools_codes
from qdqdoc.execute.control import CONTROL
from qdqdoc.execute.errors import ExecuteError
from qdqdoc.execute.growth import announced
from qdqdoc.execute.pools import SUMS
from qdqdoc.execute.reference import Reference
from qdqdoc.execute.sums import has_sums
from qdqdoc.execute.trace import Traced, kind_of
from qdqdoc.operators import OPERATORS
from qdqdoc.registry import NEWEST_OPSET
from qdqdoc.registry.checks import choose_version

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from qdqdoc.document import Document, Graph, Operation
    from qdqdoc.numerics.formats import Array

# ruff: noqa: ANN401 - a value is an array, a sequence of arrays or nothing

OVERHEAD = 1024
"""What a tensor or a run of a graph costs beside values; so every endless loop meets the limit."""


class Recorder:
    """Collects tensors in the order of the run, under names of their own, within a limit."""

    def __init__(self, reserved: Sequence[str], limit: int) -> None:
        self.tensors: list[Traced] = []
        self.reserved = set(reserved)
        self.taken: set[str] = set()
        self.limit = limit
        self.size = 0

    def take(self, name: str, value: Any, place: Place, operation: str = "") -> None:
        """Keep a tensor, or every tensor of a sequence; nothing where there is no value."""
        if isinstance(value, list | tuple):
            for index, item in enumerate(value):
                self.take(f"{name}[{index}]", item, place, operation)
            return
        if value is None:
            return
        value = np.asarray(value)
        free = self._free(place.prefix + name, main=not place.prefix and name in self.reserved)
        value.flags.writeable = False
        self.expect(value.nbytes, f"tensor {free!r}")
        self.size += value.nbytes + OVERHEAD
        made_by = place.prefix + operation if operation else ""
        self.tensors.append(Traced(name=free, value=value, operation=made_by))

    def charge(self, where: str) -> None:
        """Count a graph that is run, so that a loop whose body makes nothing meets the limit."""
        self.expect(OVERHEAD, f"tensor {where!r}")
        self.size += OVERHEAD

    def expect(self, more: int, where: str) -> None:
        """Refuse what does not fit beside all that is kept."""
        if self.size + more > self.limit:
            raise ExecuteError(
                f"{where}: the tensors of the run need more than {self.limit} bytes: "
                f"found {self.size + more}, allowed: {self.limit}"
            )

    def _free(self, name: str, *, main: bool) -> str:
        """Return a name that no other tensor has; those of the main graph stay as they are."""
        made, number = name, 1
        while made in self.taken or (made in self.reserved and not main):
            number += 1
            made = f"{name}#{number}"
        self.taken.add(made)
        return made


class Runner:
    """Runs the graphs of one document under the contract `qdq`."""

    def __init__(self, document: Document, recorder: Recorder) -> None:
        self.document = document
        self.recorder = recorder
        self.functions = {(f.domain, f.name): f for f in document.functions}
        self.reference = Reference()
        self._stored: dict[int, dict[str, Any]] = {}

    def graph(
        self, graph: Graph, given: Mapping[str, Any], place: Place, outer: Names | None = None
    ) -> list[Any]:
        """Run a graph and return its outputs."""
        self.recorder.charge(place.prefix)
        names = outer.new_child() if outer is not None else ChainMap()
        names.update(self.stored(graph))
        names.update(given)
        for operation in graph.operations:
            results = self._guarded(operation, names, place)
            for name, value in zip(operation.outputs, results, strict=False):
                if name:
                    names[name] = value
                    self.recorder.take(name, value, place, operation.name)
        return [names[name] for name in graph.outputs]

    def stored(self, graph: Graph) -> dict[str, Any]:
        """Return what a graph holds itself."""
        if id(graph) not in self._stored:
            kept = (t for t in graph.tensors.values() if t.initializer)
            self._stored[id(graph)] = {t.name: array(self.document, t) for t in kept}
        return self._stored[id(graph)]

    def _guarded(self, operation: Operation, names: Names, place: Place) -> list[Any]:
        """Run an operation; whatever it trips over becomes one line that names it."""
        inputs = [names[name] if name else None for name in operation.inputs]
        where = place.of(operation)
        try:
            with np.errstate(all="ignore"):
                results = self._results(operation, inputs, names, place)
            missing = [n for n in operation.outputs[len(results) :] if n]
        except ExecuteError as error:
            # An inner graph has named its node; a kernel has not.
            text = str(error)
            raise ExecuteError(
                text if text.startswith(("node ", "tensor ")) else f"{where}: {text}"
            ) from error
        except MemoryError as error:
            raise ExecuteError(f"{where}: there is not enough memory: {error}") from error
        except Exception as error:
            # Reference operators raise whatever they trip over.
            found = ", ".join(_shown(value) for value in inputs)
            reason = " ".join(str(error).split()) or type(error).__name__
            raise ExecuteError(f"{where}: cannot be run on {found}: {reason}") from error
        if missing:
            raise ExecuteError(f"{where}: makes {len(results)} outputs, needed: {missing[0]!r}")
        return results

    def _results(
        self, operation: Operation, inputs: list[Any], names: Names, place: Place
    ) -> list[Any]:
        key = (operation.domain, operation.op_type)
        attributes = attributes_of(self.document, operation, place)
        if key in self.functions:
            return self._call(operation, inputs, attributes, place)
        if key in CONTROL:
            return CONTROL[key](self.graph, operation, inputs, names, place)
        if key == ("", "Constant"):
            return [constant(attributes)]
        self.recorder.expect(announced(key[1], inputs, attributes), place.of(operation))
        if key in OPERATORS:
            return _registered(operation, inputs, attributes, place)
        own = _own(operation, inputs)
        if own is not None:
            return [own(*inputs, **attributes)]
        more = self.reference.announced(operation, inputs, attributes, place.imports)
        self.recorder.expect(more, place.of(operation))
        found = self.reference.run(operation, inputs, attributes, place.imports)
        return [_as_value(value) for value in found]

    def _call(
        self, operation: Operation, inputs: list[Any], attributes: dict[str, Any], place: Place
    ) -> list[Any]:
        """Run a function of the model; inputs that are left out are nothing inside."""
        function = self.functions[operation.domain, operation.op_type]
        names = function.graph.inputs
        given = dict(zip(names, [*inputs, *[None] * len(names)], strict=False))
        inside = Place(
            prefix=f"{place.prefix}{operation.name}/",
            imports=function.opset_imports or place.imports,
            attributes=attributes,
        )
        return self.graph(function.graph, given, inside)


def _own(operation: Operation, inputs: Sequence[Any]) -> Callable[..., Array] | None:
    """Return what runs operators whose sums are rounded once, or that work on codes."""
    if operation.domain:
        return None
    if operation.op_type in SUMS and has_sums(inputs[0]):
        return SUMS[operation.op_type]
    pools = pools_codes(operation.op_type, inputs, len(operation.outputs))
    return max_pool if pools else None


def _registered(
    operation: Operation, inputs: Sequence[Any], attributes: Mapping[str, Any], place: Place
) -> list[Any]:
    """Run an operator of ours."""
    operator = OPERATORS[operation.domain, operation.op_type]
    opset = place.imports.get("", NEWEST_OPSET)
    call = operator.call_of(inputs, attributes, opset=opset, name=operation.name)
    return [np.asarray(value) for value in operator.run(call)][: len(operation.outputs)]


def _as_value(value: Any) -> Any:
    return value if value is None or isinstance(value, list) else np.asarray(value)


def _shown(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return f"{kind_of(value)}{list(value.shape)}"
    return "nothing" if value is None else f"a {type(value).__name__}"


def unsuitable(operation: Operation, imports: Mapping[str, int]) -> str:
    """Say why a registered operator does not run in a model of these versions; empty if it does."""
    try:
        operator = OPERATORS[operation.domain, operation.op_type]
        choose_version(operator, imports.get("", NEWEST_OPSET))
    except ValueError as error:
        return str(error)
    return ""
