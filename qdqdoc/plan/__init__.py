"""A document compiled: the numbers of `execute`, bit for bit, fast and in little memory.

What is computed from one code alone is a table, made by running the documented operations on all
codes; so is what is computed from two. Sums of products are sums of whole numbers, exact in the
floats that BLAS multiplies. All else runs as documented. A batch goes through block by block.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from qdqdoc.document.problems import nearest
from qdqdoc.execute import ExecuteError, execute
from qdqdoc.execute.checks import refuse_unknown, refuse_unsound
from qdqdoc.execute.contracts import contract_named, followed
from qdqdoc.execute.inputs import bind
from qdqdoc.execute.trace import kind_of
from qdqdoc.numerics.int8_products import int8_product
from qdqdoc.plan.batching import by_image, known
from qdqdoc.plan.documented import Documented
from qdqdoc.plan.lowering import Lowering
from qdqdoc.plan.program import Program
from qdqdoc.plan.sample import Sample

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from qdqdoc.document import Document
    from qdqdoc.numerics.formats import Array

__all__ = ["Plan", "compile_plan"]

BY_NODE = frozenset({"qdq", "ort"})
"""Contracts under which every node is run by itself; under others a plan is `execute`."""

PLAIN = frozenset(
    (
        *("bool", "float16", "float32", "float64"),
        *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)),
    )
)
"""Types of which a caller can give no other form."""

SAMPLED = 2
"""Images of the run that shows what the shapes are: with two it shows what the batch is."""


def compile_plan(document: Document, contract: str = "qdq", engine: str = "blas") -> Plan:
    """Return what runs a document fast.

    ``engine`` is what multiplies: NumPy's BLAS, or ``torch``, which multiplies int8 several times
    as fast on processors that can, and must be installed. The numbers are the same.

    Raises
    ------
    ExecuteError
        For a contract or an operation that `execute` refuses, too.
    EngineError
        For an engine that is not there.

    Examples
    --------
    >>> from qdqdoc.document import Document, Graph, Operation, Tensor
    >>> tensors = [
    ...     Tensor(name="x", dtype="float32", shape=("n", 2)),
    ...     Tensor(name="s", dtype="float32", shape=(), initializer=True, values=(0.5,)),
    ...     Tensor(name="q", dtype="uint8", shape=("n", 2)),
    ...     Tensor(name="y", dtype="float32", shape=("n", 2)),
    ... ]
    >>> q = Operation(name="q", op_type="QuantizeLinear", inputs=("x", "s"), outputs=("q",))
    >>> dq = Operation(name="dq", op_type="DequantizeLinear", inputs=("q", "s"), outputs=("y",))
    >>> graph = Graph(
    ...     inputs=("x",), outputs=("y",), operations=(q, dq), tensors={t.name: t for t in tensors}
    ... )
    >>> document = Document(model_path="small.onnx", graph=graph, opset_imports={"": 21})
    >>> plan = compile_plan(document)
    >>> plan.run({"x": np.float32([[1, 1.3]])}, keep=["q"])
    {'y': array([[1. , 1.5]], dtype=float32), 'q': array([[2, 3]], dtype=uint8)}
    """
    return Plan(document, contract, engine)


class Plan:
    """A model that can be run many times; ``kept`` are the tensors that a run can return.

    The first run on images of a size makes the steps, which takes as long as `execute` takes for
    two images. Runs share their memory: one at a time.
    """

    def __init__(self, document: Document, contract: str, engine: str = "blas") -> None:
        self.product = int8_product(engine)
        self.contract = contract_named(contract)
        refuse_unsound(document)
        self.source = document
        self.document = followed(document, self.contract)
        refuse_unknown(self.document)
        made = (name for one in self.document.operations for name in one.outputs if name)
        self.kept = tuple(dict.fromkeys((*self.document.graph.inputs, *made)))
        self._documented = Documented(self.document)
        self._checked: set[object] = set()
        self._samples: dict[object, Sample | None] = {}
        self._programs: dict[object, Program] = {}

    def run(self, inputs: Mapping[str, Any], keep: Iterable[str] = ()) -> dict[str, Array]:
        """Return the outputs of the model and the tensors named in ``keep``.

        Raises
        ------
        ExecuteError
            For inputs or names that are not those of the model, before any work.
        """
        wanted = tuple(dict.fromkeys((*self.document.graph.outputs, *self._known(keep))))
        given = self._given(inputs)
        program = self._program(given, wanted) if given is not None else None
        if given is None or program is None:
            return self._whole(inputs, wanted)
        return program.run(given, len(next(iter(given.values()))))

    def _known(self, names: Iterable[str]) -> Iterable[str]:
        for name in names:
            if name not in self.kept:
                note = nearest(name, self.kept)
                raise ExecuteError(f"keep: {self.document.model_path} makes no {name!r}{note}")
            yield name

    def _given(self, inputs: Mapping[str, Any]) -> dict[str, Array] | None:
        """Check inputs; return them as they are, if a batch of them can be cut without a copy."""
        given = {name: np.asarray(value) for name, value in inputs.items()}
        batches = {one.shape[:1] for one in given.values()}
        declared = [self.document.tensors[name] for name in self.document.graph.inputs]
        plain = [one.dtype.isnative and kind_of(one) in PLAIN for one in given.values()]
        if len(batches) != 1 or batches & {(), (0,)} or not all(plain):
            bind(self.document, inputs)
            return None
        fixed = any(isinstance(size, int) for one in declared for size in (one.shape or ())[:1])
        # One image shows everything that there is to check, but for a batch of a fixed size; and
        # of values of these types there is nothing to check but the type and the shape.
        seen = given if fixed else {name: value[:1] for name, value in given.items()}
        key = tuple((name, value.dtype, value.shape) for name, value in seen.items())
        if key not in self._checked:
            bind(self.document, seen)
            self._checked.add(key)
        return given

    def _program(self, given: Mapping[str, Array], wanted: tuple[str, ...]) -> Program | None:
        """Return the steps for inputs of these shapes; none if the model is run as a whole."""
        shapes = tuple(given[name].shape[1:] for name in self.document.graph.inputs)
        declared = [self.document.tensors[name].shape for name in self.document.graph.inputs]
        cut = all(shape is None or not isinstance(shape[0], int) for shape in declared)
        images = SAMPLED if cut else len(next(iter(given.values())))
        key = (shapes, images)
        if key not in self._samples:
            self._samples[key] = self._sample(given, images, cut=cut)
        sample = self._samples[key]
        if sample is None:
            return None
        if (key, wanted) not in self._programs:
            steps = Lowering(self._documented, sample).steps_for(wanted)
            self._programs[key, wanted] = Program(
                sample, steps, self.product, wanted=wanted, cut=cut
            )
        return self._programs[key, wanted]

    def _sample(self, given: Mapping[str, Array], images: int, *, cut: bool) -> Sample | None:
        if self.contract.name not in BY_NODE or not known(self.document):
            return None
        shapes = {name: (images, *value.shape[1:]) for name, value in given.items()}
        zeros = {name: np.zeros(shape, given[name].dtype) for name, shape in shapes.items()}
        try:
            sample = Sample(self.document, zeros)
        except ExecuteError:
            return None  # zeros of two images may be what it cannot take
        return sample if by_image(sample, self._documented.place, cut=cut) else None

    def _whole(self, inputs: Mapping[str, Any], wanted: Sequence[str]) -> dict[str, Array]:
        """Run everything as documented."""
        trace = execute(self.source, inputs, self.contract.target or self.contract.name)
        return {name: trace[name] for name in wanted}
