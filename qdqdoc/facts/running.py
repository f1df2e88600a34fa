"""One run of a model, to see what passes through it; or why it was not run."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING

import numpy as np

from qdqdoc.document import array
from qdqdoc.errors import QdqdocError
from qdqdoc.execute import CONTRACTS, Trace, execute
from qdqdoc.facts.reading import TIMES, digits
from qdqdoc.groups import groups
from qdqdoc.numerics.formats import DTYPES, integer_range, is_integer
from qdqdoc.tables import Cell, Code, Table

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qdqdoc.document import Dimension, Document, Quantization, Tensor
    from qdqdoc.facts.examples import Images
    from qdqdoc.groups import Group
    from qdqdoc.numerics.formats import Array

CONTRACT = "qdq"
SEED = 0
MOST_BYTES = 2**30
"""So much memory may the tensors of the run take."""
MOST_PRODUCTS = 4 * 10**9
"""So many products may be summed: more would take longer than a reader waits for a page."""
SHORT_HASH = 12
UNIT = (0.0, 1.0)
KINDS = {**DTYPES, "float64": np.dtype(np.float64), "uint64": np.dtype(np.uint64)}

WEIGHTED = frozenset({"Conv", "ConvTranspose", "ConvInteger", "QLinearConv", "FusedConv"})
MATRICES = frozenset({"MatMul", "Gemm", "MatMulInteger", "QLinearMatMul", "QGemm"})


@dataclass(frozen=True, kw_only=True, eq=False, slots=True)
class Run:
    """A trace and in words what was fed; without a trace, the reason why there is none."""

    trace: Trace | None = None
    origin: str = ""
    reason: str = ""

    @property
    def meaning(self) -> str:
        """What the contract of the run says."""
        return CONTRACTS[CONTRACT].meaning


def run(document: Document, held: Images | None = None) -> Run:
    """Run the model once, on the first held-out image if that fits, else on drawn numbers.

    >>> from qdqdoc.document import Document, Graph, Operation, Tensor
    >>> odd = Operation(name="o", op_type="Odd", domain="org.example", inputs=(), outputs=())
    >>> run(Document(model_path="odd.onnx", graph=Graph(operations=(odd,)))).trace is None
    True
    """
    try:
        expect_few(document)
        given, origin = drawn_or_held(document, held)
        trace = execute(document, given, CONTRACT, limit=MOST_BYTES)
    except (QdqdocError, MemoryError) as error:
        return Run(reason=str(error) or "there is not enough memory")
    return Run(trace=trace, origin=origin)


def expect_few(document: Document, images: int = 1) -> None:
    """Refuse a model whose sums would take long."""
    products = images * sum(_products(document, *names) for names in _sums(document))
    if products > MOST_PRODUCTS:
        raise QdqdocError(
            f"{document.model_path}: one run sums {products:,} products, "
            f"allowed while pages are made: {MOST_PRODUCTS:,}"
        )


def _sums(document: Document) -> Iterator[tuple[str, str, bool]]:
    """Yield the result and the factor that tells how many products a result sums."""
    for operation in document.operations:
        made = next(iter(operation.outputs), "")
        if operation.op_type in WEIGHTED and len(operation.inputs) > 1:
            weight = operation.inputs[3 if operation.op_type == "QLinearConv" else 1]
            yield made, weight, True
        elif operation.op_type in MATRICES and operation.inputs:
            yield made, operation.inputs[0], False


def _products(document: Document, made: str, factor: str, weighted: bool) -> int:
    result, other = document.tensors.get(made), document.tensors.get(factor)
    if result is None or other is None or result.shape is None or not other.shape:
        return 0
    summed = other.shape[1:] if weighted else other.shape[-1:]
    return prod(map(_size, result.shape)) * prod(map(_size, summed))


def _size(dimension: Dimension) -> int:
    """Take a size that the model leaves open as one: one image, one word."""
    return dimension if isinstance(dimension, int) else 1


def drawn_or_held(
    document: Document, held: Images | None, count: int = 1
) -> tuple[dict[str, Array], str]:
    """Return inputs for some images, held-out ones if they fit, and in words what they are."""
    names = document.graph.inputs
    if held is not None and len(names) == 1:
        tensor, chosen = document.tensors[names[0]], held.x[:count]
        if tensor.dtype == str(chosen.dtype) and _fits(tensor, chosen):
            words = f"image 0 of {held.file}, a digit {held.labels[0]}"
            if count > 1:
                words = f"the first {len(chosen)} images of {held.file}, digits"
            return {names[0]: chosen}, f"{words} that training has not seen"
    generator = np.random.default_rng(SEED)
    drawn = {name: _drawn(document, document.tensors[name], generator, count) for name in names}
    given = {name: value for name, (value, _) in drawn.items()}
    if not given:
        return given, "nothing: the model has no inputs"
    said = "; ".join(dict.fromkeys(words for _, words in drawn.values()))
    opened = "one" if count == 1 else f"one, but for the first, which is {count}"
    return given, f"{said}; by NumPy's default generator, seed {SEED}, every open size {opened}"


def _fits(tensor: Tensor, image: Array) -> bool:
    shape = tensor.shape or ()
    return len(shape) == image.ndim and all(
        size == length
        for size, length in zip(shape, image.shape, strict=True)
        if isinstance(size, int)
    )


def _drawn(
    document: Document, tensor: Tensor, generator: np.random.Generator, count: int
) -> tuple[Array, str]:
    """Draw an input: real numbers from its grid's range if it has one, whole numbers are 0."""
    if tensor.initializer:
        return array(document, tensor), "what the model stores"
    shape = tuple(map(_size, tensor.shape or ()))
    if shape and not isinstance((tensor.shape or ())[0], int):
        shape = (count, *shape[1:])
    size = prod(shape)
    if size > MOST_BYTES // 8:
        raise QdqdocError(f"input {tensor.name!r}: has {size:,} values")
    if tensor.shape is None:
        raise QdqdocError(f"input {tensor.name!r}: the model does not tell its shape")
    if tensor.dtype not in KINDS:
        raise QdqdocError(
            f"input {tensor.name!r}: found {tensor.dtype or 'no type'}, allowed: "
            "numbers or bool, of which values can be made up"
        )
    kind = KINDS[tensor.dtype]
    if "float" not in tensor.dtype:
        return np.zeros(shape, kind), f"zeros ({tensor.dtype})"
    low, high = _range(document, tensor.name)
    words = f"numbers drawn evenly between {digits(low)} and {digits(high)}"
    return np.asarray(generator.uniform(low, high, shape), kind), words


def _range(document: Document, name: str) -> tuple[float, float]:
    """Return the real numbers between the rails of the grid that an input is quantized to."""
    for operation in document.operations:
        grid = operation.quantization.get("y")
        reads = operation.inputs[:1] == (name,) and operation.op_type == "QuantizeLinear"
        if reads and grid is not None and grid.dtype in DTYPES and _simple(grid):
            scale = (grid.scale_values or (1.0,))[0]
            zero = (grid.zero_point_values or (0,))[0]
            low, high = integer_range(DTYPES[grid.dtype])
            return scale * (low - zero), scale * (high - zero)
    return UNIT


def _simple(grid: Quantization) -> bool:
    scales = grid.scale_values or ()
    return is_integer(DTYPES[grid.dtype]) and len(scales) == 1 and 0 < scales[0] < np.inf


def run_table(document: Document, trace: Trace) -> Table:
    """Return what came out of each group: the span of its values, and their fingerprint."""
    rows = tuple(_row(group, trace) for group in groups(document) if group.output in trace.by_name)
    columns = (
        *("#", "Node", "Type", "Shape", "Least", "Most"),
        *("Different values", "On the rails", "sha256"),
    )
    return Table(columns, rows, keys=tuple(f"result-{row[0]}" for row in rows))


def _row(group: Group, trace: Trace) -> tuple[Cell, ...]:
    made = trace.by_name[group.output]
    shape = TIMES.join(map(str, made.shape)) or "one value"
    cells = _span(made.value, group.result)
    fingerprint = Code(f"{made.sha256[:SHORT_HASH]}…")
    return (group.index, Code(group.name), made.dtype, shape, *cells, fingerprint)


def _span(value: Array, grid: Quantization | None) -> tuple[Cell, ...]:
    """Return the least and the largest value, how many there are, and how many are rails."""
    if value.dtype.kind in "OSUc" or not value.size:
        return None, None, None, None
    whole = value.dtype.kind == "b" or is_integer(value.dtype)
    wide = value.astype(np.int64 if whole else np.float64)
    known = wide[np.isfinite(wide)]
    if not known.size:
        return None, None, len(np.unique(wide)), None
    low, high = known.min().item(), known.max().item()
    different = len(np.unique(wide))
    if not whole:
        return digits(low), digits(high), different, None
    rails = integer_range(value.dtype) if grid is not None else ()
    return low, high, different, int(np.isin(wide, rails).sum()) if rails else None
