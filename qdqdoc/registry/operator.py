"""What a registered operator consists of; everything that is derived starts from here."""

from __future__ import annotations

from dataclasses import dataclass, field
from inspect import Parameter, signature
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from qdqdoc.formula import Formula, Value
    from qdqdoc.numerics.formats import Array

NEWEST_OPSET = 28
"""Highest version of the ai.onnx operator set that is covered."""

EXTRA_PARAMETERS = ("opset", "overflow")
"""Keywords that kernels may have beside ONNX's own inputs and attributes."""


@dataclass(frozen=True, kw_only=True)
class Version:
    """One version of an operator as ONNX declares it.

    ``inputs`` and ``outputs`` map names to a type variable or a type; ``types`` maps type
    variables to the types they allow; ``attributes`` maps names to defaults.
    """

    since: int
    inputs: Mapping[str, str]
    outputs: Mapping[str, str]
    types: Mapping[str, tuple[str, ...]]
    optional: tuple[str, ...] = ()
    attributes: Mapping[str, Any] = field(default_factory=dict)

    def allowed(self, name: str) -> tuple[str, ...]:
        """Types that an input or output may have."""
        variable = self.inputs.get(name) or self.outputs[name]
        return self.types.get(variable, (variable,))


def pick(versions: Sequence[Version], opset: int) -> Version:
    """Return the version that a model importing ``opset`` gets.

    Raises
    ------
    ValueError
        If the operator comes with a later opset.
    """
    return max((v for v in versions if v.since <= opset), key=lambda v: v.since)


@dataclass(frozen=True, kw_only=True)
class Call:
    """One use of an operator: a vector, a difference, an example."""

    name: str
    inputs: Mapping[str, Array]
    attributes: Mapping[str, Any] = field(default_factory=dict)
    opset: int = NEWEST_OPSET


@dataclass(frozen=True, kw_only=True)
class Element:
    """One output element as the formula sees it: scalars, index sets and types."""

    formula: Formula
    values: Mapping[str, Any]
    sets: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    types: Mapping[str, str] = field(default_factory=dict)

    def evaluate(self) -> Value:
        """Value of the element in exact arithmetic."""
        return self.formula.evaluate(self.values, sets=self.sets, types=self.types)


Peer = Literal["onnx", "onnxruntime"]

PEERS: tuple[Peer, ...] = ("onnx", "onnxruntime")
SEEN_IN: Mapping[Peer, str] = {"onnx": "1.23.2", "onnxruntime": "1.32.0"}
"""Releases of the peers against which the differences are checked."""


@dataclass(frozen=True)
class Differs:
    """A peer that computes something else on ``call``; checked strictly while testing.

    ``theirs`` are the peer's values in row-major order, or ``None`` where it refuses the call.
    ``specification`` says what the text of ONNX has to say about it.
    """

    peer: Peer
    call: Call
    theirs: tuple[Any, ...] | None
    why: str
    specification: str

    @property
    def version(self) -> str:
        """Release of the peer in which this was seen."""
        return SEEN_IN[self.peer]


@dataclass(frozen=True, kw_only=True)
class Operator:
    """An operator with everything that is known of it."""

    name: str
    domain: str
    summary: str
    versions: tuple[Version, ...]
    formulas: tuple[Formula, ...]
    cites: tuple[str, ...]
    vectors: Callable[[], Iterator[Call]]
    element: Callable[[Call, tuple[int, ...]], Element]
    kernel: Callable[..., Array]
    differs: tuple[Differs, ...] = ()

    def attribute_names(self) -> tuple[str, ...]:
        """Names of all attributes, in the order of the kernel's signature."""
        return tuple(
            name
            for name, parameter in signature(self.kernel).parameters.items()
            if parameter.kind is Parameter.KEYWORD_ONLY and name not in EXTRA_PARAMETERS
        )

    def run(self, call: Call) -> Array:
        """Run the kernel on a call."""
        extra = {"opset": call.opset} if "opset" in signature(self.kernel).parameters else {}
        return self.kernel(**call.inputs, **call.attributes, **extra)
