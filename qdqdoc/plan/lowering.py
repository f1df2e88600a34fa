"""From a document to steps: what is a table, what a fast product, and what runs as documented."""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from qdqdoc.execute.attributes import attributes_of
from qdqdoc.plan.integers import INTEGER_POOLS, INTEGER_PRODUCTS, integer_average, integer_product
from qdqdoc.plan.matching import Matcher, Pending
from qdqdoc.plan.pairs import PAIRED, pair
from qdqdoc.plan.requantize import Quantize
from qdqdoc.plan.roots import CODES, Root
from qdqdoc.plan.shares import SOFTMAX, shared
from qdqdoc.plan.steps import Enter, Leave, Run, Turn, key_of
from qdqdoc.plan.tables import TABULATED, Table, codes_of, tabulate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from qdqdoc.document import Operation
    from qdqdoc.numerics.formats import Array
    from qdqdoc.plan.certificate import Certified
    from qdqdoc.plan.documented import Documented
    from qdqdoc.plan.pairs import Pair
    from qdqdoc.plan.requantize import Requantize
    from qdqdoc.plan.sample import Sample
    from qdqdoc.plan.shares import Shares
    from qdqdoc.plan.steps import Step

FLOAT_PRODUCTS = frozenset(
    ("", name) for name in ("Conv", "MatMul", "Gemm", "AveragePool", "GlobalAveragePool")
)
HOLDING = frozenset(("", name) for name in ("Relu", "Clip", "Identity"))
"""What may stand between a product and its Q: whatever holds values within a range."""

FAST: Mapping[
    tuple[str, str],
    Callable[[Sample, Operation, Table, Mapping[str, Any]], Requantize | Shares | None],
] = MappingProxyType(
    {
        **dict.fromkeys(INTEGER_PRODUCTS, integer_product),
        **dict.fromkeys(INTEGER_POOLS, integer_average),
        SOFTMAX: shared,
    }
)
"""What finds the fast form of an operator on codes, if it has one."""

PAIR = 2

MOST_TAIL = 4
"""So many operations may stand between a product and its Q."""

RESHAPING = frozenset(("", name) for name in ("Reshape", "Flatten", "Squeeze", "Unsqueeze"))


class Lowering:
    """Goes through the operations once, in their order; then keeps the steps that are needed."""

    def __init__(self, documented: Documented, sample: Sample) -> None:
        self.documented = documented
        self.sample = sample
        self.matcher = Matcher(documented, sample)
        self.steps: list[Step] = []
        self.tables: dict[str, Table] = {}
        self.pending: dict[str, Pending] = {}
        self.plain: set[str] = set(sample.document.graph.inputs)
        self.enters: dict[str, Root] = {}
        self._constants: dict[str, Array] = {}

    def steps_for(self, wanted: Iterable[str]) -> list[Step]:
        """Return the steps that make these tensors, in order."""
        for operation in self.sample.document.operations:
            if self.sample.moving_inputs(operation):
                self._lower(operation)
        for name in wanted:
            self._need(name)
        needed: set[object] = {*wanted}
        kept: list[Step] = []
        for step in reversed(self.steps):
            if needed.intersection(map(key_of, step.writes)):
                kept.append(step)
                needed.update(map(key_of, step.reads))
        return kept[::-1]

    def _lower(self, operation: Operation) -> None:
        key = (operation.domain, operation.op_type)
        name = operation.outputs[0]
        if self._tabulated(operation) or self._followed(operation):
            return
        operands = self._operands(operation)
        first = operands[0] if operands else None
        if key in RESHAPING and isinstance(first, Table) and self._reshaped(first, name):
            return
        if key in FLOAT_PRODUCTS and isinstance(first, Table):
            self.pending[name] = Pending(operation, (first,))
            return
        fast = self._turned(operation) or self._fast(operation, first)
        if fast is not None:
            self._rooted(fast, fast.root)
            return
        if key in PAIRED and self._paired(operation, operands):
            return
        self._run(operation)

    def _turned(self, operation: Operation) -> Quantize | None:
        """Turn real numbers before their Q rather than the codes behind it: that is only a view."""
        source = operation.inputs[0]
        made = [one for one in self.steps if isinstance(one, Quantize) and one.root.name == source]
        if (operation.domain, operation.op_type) != ("", "Transpose") or not made:
            return None
        (before,), name = made, operation.outputs[0]
        turned = f"{before.source} for {name}"
        while turned in self.sample.values:
            turned += "'"
        self.steps.append(Turn(before.source, turned, self._axes(operation)))
        return replace(before, source=turned, root=self.sample.root(operation))

    def _axes(self, operation: Operation) -> tuple[int, ...]:
        rank = self.sample.values[operation.inputs[0]].ndim
        return tuple(operation.attributes.get("perm") or range(rank)[::-1])

    def _fast(
        self, operation: Operation, first: Table | Array | None
    ) -> Requantize | Quantize | Shares | None:
        """Return the fast form of an operation that makes codes by itself."""
        key = (operation.domain, operation.op_type)
        plain = operation.inputs[0] in self.plain
        if key == ("", "QuantizeLinear") and plain and not isinstance(first, Table):
            return self.matcher.quantized(operation)
        if key not in FAST or not isinstance(first, Table):
            return None
        attributes = attributes_of(self.sample.document, operation, self.documented.place)
        return FAST[key](self.sample, operation, first, attributes)

    def _operands(self, operation: Operation) -> list[Table | Array | None]:
        found: list[Table | Array | None] = []
        for name in operation.inputs:
            table = self.table(name) if name in self.sample.moving else None
            found.append(table if table is not None else self.sample.constant(name))
        return found

    def table(self, name: str) -> Table | None:
        """Return a tensor as a table, if it is one or holds codes."""
        codes = self.sample.dtype(name) in CODES and self.sample.values[name].ndim > 0
        if name not in self.tables and name in self.plain and codes:
            root = Root(name, self.sample.dtype(name), self.sample.shape(name))
            self.steps.append(Enter(name, root))
            self.tables[name] = codes_of(root)
        return self.tables.get(name)

    def _rooted(self, step: Step, root: Root) -> None:
        """Add a step that makes codes."""
        self.steps.append(step)
        self.tables[root.name] = codes_of(root)

    def _tabulated(self, operation: Operation) -> bool:
        operands = self._operands(operation)
        moving = [name in self.sample.moving for name in operation.inputs]
        unknown = [m and not isinstance(o, Table) for m, o in zip(moving, operands, strict=True)]
        if any(unknown):
            return False
        found = tabulate(self.documented, self.sample, operation, operands)
        if found is not None:
            self.tables[operation.outputs[0]] = found
        return found is not None

    def _followed(self, operation: Operation) -> bool:
        """Put an operation behind a product, or finish one at its Q."""
        name, key = operation.inputs[0], (operation.domain, operation.op_type)
        constants = [self.sample.constant(one) for one in operation.inputs[1:]]
        if self.sample.moving_inputs(operation) != [name] or name not in self.pending:
            return False
        pending = self.pending[name]
        quantizes = key == ("", "QuantizeLinear")
        allowed = HOLDING if len(pending.operands) == 1 else TABULATED
        if (
            key in allowed
            and not quantizes
            and len(pending.tail) < MOST_TAIL
            and _scalars(constants)
        ):
            self.pending[operation.outputs[0]] = pending.followed(operation, constants)
            return True
        if not quantizes or not _scalars(constants):
            return False
        fast = self._finished(pending, operation)
        if fast is None:
            return False
        self._rooted(fast, fast.root)
        return True

    def _finished(self, pending: Pending, quantize: Operation) -> Certified | Pair | None:
        if len(pending.operands) == 1:
            return self.matcher.certified(pending, quantize)
        constants = [self.sample.constant(one) for one in quantize.inputs[1:]]
        root = self.sample.root(quantize)
        return pair(self.documented, pending.followed(quantize, constants), root)

    def _paired(self, operation: Operation, operands: list[Table | Array | None]) -> bool:
        """Join two tables; where the result is no code yet, wait for its Q."""
        tables = [one for one in operands if isinstance(one, Table)]
        name = operation.outputs[0]
        shapes = {one.shape for one in tables} | {self.sample.shape(name)}
        if len(tables) != PAIR or len(shapes) != 1:
            return False
        constants = tuple(None if isinstance(one, Table) else one for one in operands)
        joined = Pending(operation, tuple(tables), constants)
        if self.sample.dtype(name) not in CODES:
            self.pending[name] = joined
            return True
        fast = pair(self.documented, joined, self.sample.root(operation))
        if fast is not None:
            self._rooted(fast, fast.root)
        return fast is not None

    def _need(self, name: str) -> None:
        """See to it that a tensor is there as the operators know it."""
        if name in self.plain or name not in self.sample.moving:
            return
        if name in self.tables:
            self.steps.append(Leave(self.tables[name], name))
            self.plain.add(name)
            return
        self._run(self.sample.makers[name])

    def _run(self, operation: Operation) -> None:
        for name in operation.inputs:
            if name in self.sample.moving:
                self._need(name)
        self.plain.update(filter(None, operation.outputs))
        key = (operation.domain, operation.op_type)
        if key == ("", "Transpose"):
            self.steps.append(
                Turn(operation.inputs[0], operation.outputs[0], self._axes(operation))
            )
            return
        constants = {
            name: self.sample.values[name]
            for name in operation.inputs
            if name and name not in self.sample.moving
        }
        self.steps.append(Run(self.documented, operation, constants))

    def _reshaped(self, table: Table, name: str) -> bool:
        """Keep a table whose images have one pixel: only axes of length one come and go."""
        shape = self.sample.shape(name)
        if table.root.pixels != 1 or shape[:1] != table.shape[:1] or not shape:
            return False
        self.tables[name] = Table(table.root, table.values, shape, table.step)
        return True


def _scalars(constants: Iterable[Array | None]) -> bool:
    return all(one is None or one.size == 1 for one in constants)
