"""The operations document: what a model says, as plain immutable data."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import prod
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

Dimension = int | str | None
"""A size, the name of a symbolic size, or ``None`` where the model says nothing."""

Role = Literal["activation", "weight", "bias", "constant", "scale", "zero_point"]
Granularity = Literal["per_tensor", "per_axis", "blocked"]

QDQ = ("QuantizeLinear", "DequantizeLinear")


@dataclass(frozen=True, kw_only=True, slots=True)
class Tensor:
    """A named value of a graph: its type, its shape and the part it plays.

    ``dtype`` is ONNX's name of the element type in lower case (``float32``, ``int4``,
    ``float8e4m3fn``), empty where it is unknown. ``bits`` is the width that the stored
    values really need, where it is known and may be less than the type offers.

    ``initializer`` says that the graph holds the value itself. ``sha256`` is of the value's
    raw little-endian bytes, one value per byte for types of less than eight bits; ``values``
    are flat, in row-major order, and present where they are few. Floats are exact: the
    float32 nearest to 0.1 is here ``float(np.float32(0.1))``; only JSON spells it ``0.1``.
    """

    name: str
    dtype: str = ""
    shape: tuple[Dimension, ...] | None = None
    role: Role = "activation"
    initializer: bool = False
    bits: int | None = None
    sha256: str | None = None
    values: tuple[Any, ...] | None = None

    @property
    def size(self) -> int | None:
        """Number of elements; ``None`` while a dimension is unknown."""
        if self.shape is None:
            return None
        sizes = [d for d in self.shape if isinstance(d, int)]
        return prod(sizes) if len(sizes) == len(self.shape) else None


@dataclass(frozen=True, kw_only=True, slots=True)
class Quantization:
    """How the codes of one integer tensor stand for real numbers.

    ``tensor`` holds the codes, ``scale`` and ``zero_point`` name the tensors that hold the
    parameters (``zero_point`` is ``None`` where the model leaves it out). The values are
    flat, in row-major order; they are ``None`` where they are known at run time only.
    """

    tensor: str
    dtype: str
    scale: str
    zero_point: str | None = None
    scale_values: tuple[float, ...] | None = None
    zero_point_values: tuple[int | float, ...] | None = None
    granularity: Granularity = "per_tensor"
    axis: int | None = None
    block_size: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Operation:
    """One node. ``quantization`` is keyed by the ONNX name of the quantized parameter.

    ``scales`` and ``zero_points`` hold what is known before the model runs, by tensor name:
    a number, or a flat list where there are several. ``attributes`` are plain JSON values;
    a float among them is the shortest decimal that gives the float32 of the model.
    """

    name: str
    op_type: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    domain: str = ""
    attributes: Mapping[str, Any] = field(default_factory=dict)
    scales: Mapping[str, Any] = field(default_factory=dict)
    zero_points: Mapping[str, Any] = field(default_factory=dict)
    quantization: Mapping[str, Quantization] = field(default_factory=dict)
    graphs: Mapping[str, Graph] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class Graph:
    """Operations in an order in which they can run, and the tensors they name."""

    name: str = ""
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    operations: tuple[Operation, ...] = ()
    tensors: Mapping[str, Tensor] = field(default_factory=dict)

    def walk(self) -> Iterator[Operation]:
        """Yield every operation, those of nested graphs after the one that holds them."""
        for operation in self.operations:
            yield operation
            for graph in operation.graphs.values():
                yield from graph.walk()


@dataclass(frozen=True, kw_only=True, slots=True)
class Function:
    """A function that the model brings along (``domain``, ``name``) and its body."""

    domain: str
    name: str
    graph: Graph
    opset_imports: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class Document:
    """A whole model. ``model_path`` is a file name, never a path of somebody's machine.

    ``data`` holds the bytes of the tensors without inline values, by sha256. A document that
    came from a file with the Q/DQ nodes alone still knows what the file said of the others:
    ``declared_counts`` and ``declared_total``.
    """

    model_path: str
    graph: Graph
    opset_imports: Mapping[str, int] = field(default_factory=dict)
    functions: tuple[Function, ...] = ()
    model_sha256: str | None = None
    ir_version: int | None = None
    producer: str = ""
    data: Mapping[str, bytes] = field(default_factory=dict, repr=False, compare=False)
    declared_counts: Mapping[str, int] | None = None
    declared_total: int | None = None

    @property
    def opset_version(self) -> int:
        """Version of the ai.onnx operators that the model imports."""
        return self.opset_imports.get("", 0)

    @property
    def operations(self) -> tuple[Operation, ...]:
        """The operations of the main graph."""
        return self.graph.operations

    @property
    def tensors(self) -> Mapping[str, Tensor]:
        """The tensors of the main graph."""
        return self.graph.tensors

    def walk(self) -> Iterator[Operation]:
        """Yield every operation of the model, nested graphs and functions included."""
        yield from self.graph.walk()
        for function in self.functions:
            yield from function.graph.walk()

    @property
    def op_type_counts(self) -> dict[str, int]:
        """How often each operator type occurs anywhere in the model, in alphabetical order."""
        if self.declared_counts is not None:
            return dict(sorted(self.declared_counts.items()))
        counts: dict[str, int] = {}
        for operation in self.walk():
            counts[operation.op_type] = counts.get(operation.op_type, 0) + 1
        return dict(sorted(counts.items()))

    @property
    def total_nodes(self) -> int:
        """Number of nodes, those of nested graphs and functions included."""
        if self.declared_total is not None:
            return self.declared_total
        return sum(self.op_type_counts.values())

    @property
    def qlinear_nodes(self) -> int:
        """Number of QuantizeLinear and DequantizeLinear nodes together."""
        return sum(self.op_type_counts.get(op_type, 0) for op_type in QDQ)
