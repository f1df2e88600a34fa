"""What a registered operator consists of; everything that is derived starts from here."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from inspect import Parameter, signature
from typing import TYPE_CHECKING, Any, Literal

from qdqdoc.errors import QdqdocError

if TYPE_CHECKING:
    from qdqdoc.formula import Formula, Value
    from qdqdoc.numerics.formats import Array

NEWEST_OPSET = 28
"""Highest version of the ai.onnx operator set that is covered."""

EXTRA_PARAMETERS = ("opset", "overflow")
"""Keywords that kernels may have beside ONNX's own inputs and attributes."""

REQUIRED = Parameter.empty
"""Default of an attribute that has none: leaving it out is an error."""


@dataclass(frozen=True, kw_only=True)
class Version:
    """One version of an operator as ONNX declares it.

    ``inputs`` and ``outputs`` map names to a type variable or a type; ``types`` maps type
    variables to the types they allow; ``attributes`` maps names to defaults, :data:`REQUIRED`
    where there is none. ``variadic`` names the last input if it takes any number of tensors.
    """

    since: int
    inputs: Mapping[str, str]
    outputs: Mapping[str, str]
    types: Mapping[str, tuple[str, ...]]
    optional: tuple[str, ...] = ()
    attributes: Mapping[str, Any] = field(default_factory=dict)
    variadic: str = ""

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
    """One use of an operator: a vector, a difference, an example.

    ``more`` holds the tensors of a variadic input. ``fed`` names the inputs that a model of this
    call takes when it runs; all others are constants of the model.
    """

    name: str
    inputs: Mapping[str, Array]
    attributes: Mapping[str, Any] = field(default_factory=dict)
    opset: int = NEWEST_OPSET
    more: tuple[Array, ...] = ()
    fed: tuple[str, ...] = ()


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


UNWRITTEN: Literal["unwritten"] = "unwritten"
"""Stands for the values of a peer that returns memory which it never wrote."""


def _nothing_else(call: Call) -> bool:  # noqa: ARG001 - the form of `Differs.covers`
    return False


@dataclass(frozen=True)
class Differs:
    """A peer that computes something else on ``call``; checked strictly while testing.

    ``theirs`` are the peer's values in row-major order, :data:`UNWRITTEN`, or ``None`` where it
    refuses the call or dies of it. ``specification`` says what the text of the specification has
    to say about it. ``covers`` tells for any other call whether the peer refuses it too, or which
    elements may differ for the same reason. Values are those of ``output``, the first one if none
    is named. ``processor`` names a processor on which alone this is so, see :data:`PROCESSORS`.
    """

    peer: Peer
    call: Call
    theirs: tuple[Any, ...] | Literal["unwritten"] | None
    why: str
    specification: str
    covers: Callable[[Call], Any] = _nothing_else
    processor: str = ""
    output: str = ""

    @property
    def version(self) -> str:
        """Release of the peer in which this was seen."""
        return SEEN_IN[self.peer]


PROCESSORS: Mapping[str, str] = {
    "saturating": "AVX2 without VNNI: neighbouring products of uint8 and int8 are added in int16",
    "with FMA": "AVX2 and later",
    "without FMA": "SSE: a product is rounded before it is added",
    "with AVX512": "AVX512",
    "without AVX512": "SSE and AVX2",
}
"""Processors that onnxruntime's x86 kernels answer differently on, and what is different."""


@dataclass(frozen=True, kw_only=True)
class Bound:
    """How far a peer may be from an output whose floats it sums in an order of its own.

    ``unit`` gives the size of one unit for each element of the output, ``ulp`` how many of them
    are allowed, and ``why`` says where they come from. The tests measure and print the largest.
    """

    output: str
    ulp: float
    unit: Callable[[Call], Array]
    why: str


ElementOf = Callable[[Call, tuple[int, ...]], Element]
Calls = Callable[[], Iterator[Call]]


def no_calls() -> Iterator[Call]:
    """Yield nothing."""
    yield from ()


@dataclass(frozen=True, kw_only=True)
class Operator:
    """An operator with everything that is known of it.

    ``elements`` has an entry for each output that a formula states. ``vectors`` are few and
    small, one for each corner; ``ties`` yields larger calls on which a wrong order of roundings
    shows; ``rejects`` yields calls that the specification forbids, beside those that follow from
    the types.
    """

    name: str
    domain: str
    summary: str
    versions: tuple[Version, ...]
    formulas: tuple[Formula, ...]
    cites: tuple[str, ...]
    vectors: Calls
    elements: Mapping[str, ElementOf]
    kernel: Callable[..., Any]
    differs: tuple[Differs, ...] = ()
    bounds: tuple[Bound, ...] = ()
    rejects: Calls = no_calls
    ties: Calls = no_calls

    @property
    def full_name(self) -> str:
        """Name with its domain, unless that is ai.onnx."""
        return f"{self.domain}::{self.name}" if self.domain else self.name

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the outputs, in ONNX's order."""
        return tuple(self.versions[-1].outputs)

    def place(self, entry: Differs) -> int:
        """Position of the output that a difference is about."""
        return self.outputs.index(entry.output or self.outputs[0])

    def element(self, call: Call, index: tuple[int, ...]) -> Element:
        """Bind the formula to one element of the first output that has one."""
        return next(iter(self.elements.values()))(call, index)

    def attribute_names(self) -> tuple[str, ...]:
        """Names of all attributes, in the order of the kernel's signature."""
        extra = self.extra_parameters()
        return tuple(
            name
            for name, parameter in signature(self.kernel).parameters.items()
            if parameter.kind is Parameter.KEYWORD_ONLY and name not in extra
        )

    def extra_parameters(self) -> tuple[str, ...]:
        """Keywords of the kernel that are not ONNX's; one operator has an attribute ``opset``."""
        own = self.versions[-1].attributes
        return tuple(name for name in EXTRA_PARAMETERS if name not in own)

    def takes(self) -> frozenset[str]:
        """Names of all parameters of the kernel."""
        return frozenset(signature(self.kernel).parameters)

    def call_of(
        self,
        inputs: Sequence[Array | None],
        attributes: Mapping[str, Any],
        *,
        opset: int = NEWEST_OPSET,
        name: str = "",
    ) -> Call:
        """Bind the inputs of a node, in ONNX's order; ``None`` stands for one that is left out.

        Raises
        ------
        QdqdocError
            If there are more than the operator takes.
        """
        newest = self.versions[-1]
        names = [name for name in newest.inputs if name != newest.variadic]
        more = tuple(value for value in inputs[len(names) :] if value is not None)
        if more and not newest.variadic:
            found = f"found {len(inputs)} inputs, allowed: {len(names)}"
            raise QdqdocError(f"{self.name}: {found}")
        given = {k: v for k, v in zip(names, inputs, strict=False) if v is not None}
        return Call(name=name, inputs=given, attributes=attributes, opset=opset, more=more)

    def run(self, call: Call) -> tuple[Array, ...]:
        """Run the kernel on a call; the result has one array for each output."""
        versioned = "opset" in self.takes() and "opset" in self.extra_parameters()
        extra = {"opset": call.opset} if versioned else {}
        given, positional = dict(call.inputs), []
        if call.more:
            fixed = [name for name in self.versions[-1].inputs if name in given]
            positional = [*(given.pop(name) for name in fixed), *call.more]
        result = self.kernel(*positional, **given, **call.attributes, **extra)
        return result if isinstance(result, tuple) else (result,)
