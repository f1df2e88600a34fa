"""A graph that can be changed: what the optimizer works on.

Names are unique, functions are opened, constants are constants however they are written. The
document itself never changes.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from qdqdoc.document import Document, Graph, Tensor, array
from qdqdoc.document.arrays import encode
from qdqdoc.groups import DEQUANTIZE, QUANTIZE
from qdqdoc.numerics.formats import type_name

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Iterator, Mapping

    from qdqdoc.document import Role
    from qdqdoc.numerics.formats import Array

SHARED_TYPES = frozenset({"float32", "float16", "float64", "int32", "int64"})
INLINE = 16
"""So many values of a new constant stand beside its name, as in what `extract` makes."""


@dataclass(eq=False, slots=True)
class Node:
    """A node. ``name`` is that of the document, behind those of the functions around it.

    ``replaces`` lists the document's nodes that it stands for, each with its operator. What its
    graphs read from outside, ``hidden``, was called ``origins`` when the graph was made; so were
    its inputs, which stand first there.
    """

    name: str
    op_type: str
    inputs: list[str]
    outputs: list[str]
    domain: str = ""
    opset: int = 0
    attributes: Mapping[str, Any] = field(default_factory=dict)
    graphs: Mapping[str, Graph] = field(default_factory=dict)
    hidden: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()
    replaces: tuple[tuple[str, str], ...] = ()

    @property
    def quantizes(self) -> bool:
        """Whether this is a QuantizeLinear; onnxruntime looks at the name alone."""
        return self.op_type == QUANTIZE

    @property
    def dequantizes(self) -> bool:
        """Whether this is a DequantizeLinear."""
        return self.op_type == DEQUANTIZE

    def input(self, position: int) -> str:
        """Return an input, empty where there is none."""
        return self.inputs[position] if position < len(self.inputs) else ""

    def is_onnx(self, *op_types: str) -> bool:
        """Tell whether this is one of ai.onnx's operators."""
        return not self.domain and self.op_type in op_types


Edge = tuple[Node, int]
"""Who reads a tensor, and at which input: -1 when a graph inside the node does."""


class Network:
    """Nodes in an order in which they can run, and who makes and reads each tensor."""

    def __init__(self, outputs: Iterable[str], document: Document | None = None) -> None:
        self.document = document
        self.nodes: list[Node] = []
        self.tensors: dict[str, Tensor] = {}
        self.constants: set[str] = set()
        self.results = tuple(outputs)
        self.outputs = set(self.results)
        self.around: frozenset[str] = frozenset()
        self.makers: dict[str, Node] = {}
        self.readers: dict[str, list[Edge]] = {}
        self.fresh: Counter[str] = Counter()
        self.data: dict[str, bytes] = {}
        self.folded: list[Node] = []
        self.shifted: dict[str, int] = {}
        self.refused = ""
        self.unwritten = ""

    def add(self, node: Node, *, before: Node | None = None) -> Node:
        """Put a node in, at the end where no place is given."""
        self.nodes.insert(len(self.nodes) if before is None else self.nodes.index(before), node)
        for name in filter(None, node.outputs):
            self.makers[name] = node
        for name, edge in self._edges_into(node):
            self.readers.setdefault(name, []).append(edge)
        return node

    def remove(self, node: Node) -> None:
        """Take a node out."""
        self.nodes.remove(node)
        for name in filter(None, node.outputs):
            self.makers.pop(name, None)
        for name, edge in self._edges_into(node):
            self.readers[name].remove(edge)

    def connect(self, node: Node, position: int, name: str) -> None:
        """Let an input of a node read another tensor."""
        before = node.inputs[position]
        if before:
            self.readers[before].remove((node, position))
        node.inputs[position] = name
        if name:
            self.readers.setdefault(name, []).append((node, position))

    def rewire(self, node: Node, inputs: list[str]) -> None:
        """Give a node other inputs."""
        for position in range(len(node.inputs)):
            self.connect(node, position, "")
        node.inputs = [""] * len(inputs)
        for position, name in enumerate(inputs):
            self.connect(node, position, name)

    def redirect(self, old: str, new: str) -> None:
        """Let all that read a tensor read another one."""
        for node, position in list(self.edges(old)):
            if position >= 0:
                self.connect(node, position, new)
            else:
                node.hidden = tuple(new if name == old else name for name in node.hidden)
                self.readers[old].remove((node, -1))
                self.readers.setdefault(new, []).append((node, -1))

    def rename_output(self, node: Node, position: int, name: str) -> None:
        """Let a node make a tensor of another name."""
        self.makers.pop(node.outputs[position], None)
        node.outputs[position] = name
        self.makers[name] = node

    @staticmethod
    def _edges_into(node: Node) -> Iterator[tuple[str, Edge]]:
        for position, name in enumerate(node.inputs):
            if name:
                yield name, (node, position)
        for name in node.hidden:
            yield name, (node, -1)

    def edges(self, name: str) -> list[Edge]:
        """Return who reads a tensor."""
        return self.readers.get(name, [])

    def edges_of(self, node: Node) -> list[Edge]:
        """Return who reads what a node makes."""
        return [edge for name in node.outputs if name for edge in self.edges(name)]

    def is_result(self, node: Node) -> bool:
        """Tell whether a node makes an output of the graph."""
        return not self.outputs.isdisjoint(node.outputs)

    def only_reader(self, node: Node) -> Node | None:
        """Return the one node that reads what a node makes, if it is the only use there is."""
        edges = self.edges_of(node)
        return edges[0][0] if len(edges) == 1 and not self.is_result(node) else None

    def new(self, base: str, like: Tensor | None = None) -> str:
        """Return a name that nothing has, of a tensor described like another."""
        self.fresh[base] += 1
        name = f"{base}/{self.fresh[base]}"
        while name in self.tensors or name in self.makers:
            self.fresh[base] += 1
            name = f"{base}/{self.fresh[base]}"
        self.tensors[name] = replace(like, name=name) if like else Tensor(name=name)
        return name

    def store(self, base: str, value: Array, role: Role = "constant") -> str:
        """Keep a value as a constant and return its name."""
        dtype, shape, name = type_name(value.dtype), value.shape, self.new(base)
        held = Tensor(name=name, dtype=dtype, shape=shape, role=role, initializer=True)
        if value.size <= INLINE:
            self.tensors[name] = replace(held, values=tuple(value.ravel().tolist()))
        else:
            raw = encode(value, dtype)
            self.tensors[name] = replace(held, sha256=sha256(raw).hexdigest())
            self.data[sha256(raw).hexdigest()] = raw
        self.constants.add(name)
        return name

    def new_constant(self, name: str, dtype: str) -> None:
        """Make a tensor a constant whose value only a run tells."""
        shape = self.tensors[name].shape if name in self.tensors else None
        self.tensors[name] = Tensor(name=name, dtype=dtype, shape=shape)
        self.constants.add(name)

    def dtype(self, name: str) -> str:
        """Return the element type of a tensor, empty where it is unknown."""
        maker = self.makers.get(name)
        if maker is not None and maker.quantizes:
            return self.code_type(maker)
        known = self.tensors.get(name)
        return known.dtype if known else ""

    def code_type(self, node: Node) -> str:
        """Return the type of the codes of a QuantizeLinear or DequantizeLinear."""
        zero = node.input(2)
        if zero and (self.tensors.get(zero) or Tensor(name="")).dtype:
            return self.tensors[zero].dtype
        if node.dequantizes:
            return self.dtype(node.inputs[0])
        known = self.tensors.get(node.outputs[0])
        return known.dtype if known and known.dtype else "uint8"

    def is_scalar(self, name: str) -> bool:
        """Tell whether a tensor is known to hold one value: rank 0, or rank 1 of length 1."""
        known = self.tensors.get(name)
        return known is not None and known.shape in {(), (1,)}

    def value(self, name: str) -> Any:  # noqa: ANN401 - a number of any type
        """Return the single value of a constant, ``None`` where it is none."""
        known = self.tensors.get(name)
        if name not in self.constants or known is None or not known.values:
            return None
        return known.values[0] if len(known.values) == 1 else None

    def values(self, name: str) -> tuple[Any, ...] | None:
        """Return all values of a constant, ``None`` where they are unknown."""
        known = self.tensors.get(name)
        if name not in self.constants or known is None:
            return None
        if known.values is None and known.sha256 is not None:
            return tuple(self.array(name).reshape(-1).tolist())
        return known.values

    def array(self, name: str) -> Array:
        """Return the value of a constant that the model stores or that was stored here.

        Raises
        ------
        DocumentError
            If its value is not known before a run.
        """
        known = self.tensors[name]
        if self.document is None or known.sha256 in self.data:
            held = Document(model_path="", graph=Graph(), data=self.data)
            return array(held, known)
        return array(self.document, known)

    def identity(self, name: str) -> Hashable:
        """Return what a tensor is the same as: onnxruntime lets equal scalars be one tensor.

        It does so for the common types; zero points are of none of them.
        """
        known = self.tensors.get(name)
        if name in self.constants and known and known.dtype in SHARED_TYPES:
            value = self.value(name) if self.is_scalar(name) else None
            if value is not None:
                return known.dtype, known.shape, value
        return name

    def uses(self, name: str) -> int:
        """Count the inputs that read a constant, or one that is the same."""
        same = self.identity(name)
        names = [name] if same == name else [n for n in self.constants if self.identity(n) == same]
        return sum(len(self.edges(one)) for one in names)
