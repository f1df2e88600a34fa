"""What onnx and onnxruntime say of themselves: declared operators, and kernels that exist.

Read out of the installed packages, so that no list of types or versions is typed here.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from qdqdoc.numerics.formats import Array, type_name
from qdqdoc.registry import REQUIRED, Version, pick

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from qdqdoc.registry import Call, Operator

_SHORT = {"float": "float32", "double": "float64"}
_OPEN_END = 2**31 - 1
"""End of a kernel's range of versions that means: of the version where it starts, and no other."""


@dataclass(frozen=True)
class Kernel:
    """One registration of onnxruntime's CPU provider."""

    first: int
    last: int
    types: Mapping[str, frozenset[str]]

    def serves(self, since: int, types: Mapping[str, str]) -> bool:
        """Tell whether it runs a version with these types.

        A kernel whose range is open serves the version it starts with alone: a newer declaration
        of the operator needs a newer kernel.
        """
        fits = self.first == since or (self.first < since <= self.last and self.last != _OPEN_END)
        return fits and all(
            variable not in types or types[variable] in allowed
            for variable, allowed in self.types.items()
        )


def declared(domain: str, name: str) -> tuple[Version, ...]:
    """Return every version of an operator as onnx, or onnxruntime for its domain, declares it."""
    return tuple(_version(schema) for schema in _schemas()[domain, name])


@cache
def _schemas() -> Mapping[tuple[str, str], Sequence[Any]]:
    import onnx.defs  # noqa: PLC0415 - only this needs it
    from onnxruntime.capi import onnxruntime_pybind11_state as runtime  # noqa: PLC0415 - late

    own = (s for s in runtime.get_all_operator_schema() if s.domain == "com.microsoft")
    found: dict[tuple[str, str], list[Any]] = {}
    for schema in (*onnx.defs.get_all_schemas_with_history(), *own):
        found.setdefault((schema.domain, schema.name), []).append(schema)
    return MappingProxyType(
        {key: sorted(several, key=lambda s: s.since_version) for key, several in found.items()}
    )


def _version(schema: Any) -> Version:  # noqa: ANN401 - two classes that share no base
    def named(kind: str) -> list[str]:
        return [i.name for i in schema.inputs if str(i.option).rpartition(".")[2] == kind]

    return Version(
        since=schema.since_version,
        inputs={i.name: plain(_type_text(i)) for i in schema.inputs},
        outputs={o.name: plain(_type_text(o)) for o in schema.outputs},
        types={
            t.type_param_str: tuple(plain(text) for text in t.allowed_type_strs)
            for t in schema.type_constraints
        },
        optional=tuple(named("Optional")),
        attributes={name: _default(attribute) for name, attribute in schema.attributes.items()},
        variadic="".join(named("Variadic")),
    )


def _type_text(parameter: Any) -> str:  # noqa: ANN401 - the two classes spell it differently
    return str(parameter.typeStr if hasattr(parameter, "typeStr") else parameter.type_str)


def plain(type_text: str) -> str:
    """Return the name of a type as the registry has it.

    >>> plain("tensor(float)"), plain("tensor(int8)"), plain("T1")
    ('float32', 'int8', 'T1')
    """
    name = type_text.removeprefix("tensor(").removesuffix(")")
    return _SHORT.get(name, name)


def _default(attribute: Any) -> Any:  # noqa: ANN401 - an attribute's default may be anything
    from onnx import AttributeProto, helper  # noqa: PLC0415 - only this needs it

    if attribute.required:
        return REQUIRED
    held = getattr(attribute, "_default_value", None)
    proto = AttributeProto.FromString(held) if held is not None else attribute.default_value
    if not proto.name:
        return None
    value = helper.get_attribute_value(proto)
    return value.decode() if isinstance(value, bytes) else value


def same_declaration(one: Version, other: Version) -> bool:
    """Tell whether two versions declare the same; the order of types and attributes is none."""

    def key(version: Version) -> tuple[object, ...]:
        inputs, outputs = ([*held.items()] for held in (version.inputs, version.outputs))
        types = {name: frozenset(allowed) for name, allowed in version.types.items()}
        attributes = {k: _comparable(v) for k, v in version.attributes.items()}
        rest = (version.since, version.optional, version.variadic)
        return inputs, outputs, types, attributes, rest

    return key(one) == key(other)


def compared_declarations(operators: Iterable[Operator]) -> tuple[int, list[str]]:
    """Compare every version of operators; return how many, and those that are not the same."""
    count, different = 0, []
    for operator in operators:
        known = declared(operator.domain, operator.name)
        count += len(known)
        ours = {version.since: version for version in operator.versions}
        different += [
            f"{operator.full_name} {version.since}"
            for version in known
            if version.since not in ours or not same_declaration(ours[version.since], version)
        ]
    return count, different


def _comparable(value: Any) -> Any:  # noqa: ANN401 - an attribute's default may be anything
    """Take no list for an empty one, and floats for those of 32 bits."""
    import numpy as np  # noqa: PLC0415 - only this needs it

    if value is REQUIRED:
        return "required"
    if isinstance(value, float):
        return float(np.float32(value))
    return value or None if not isinstance(value, int) else value


@cache
def kernels(domain: str, name: str) -> tuple[Kernel, ...]:
    """Return the kernels that onnxruntime's CPU provider has for an operator."""
    from onnxruntime.capi import onnxruntime_pybind11_state as runtime  # noqa: PLC0415 - late

    return tuple(
        Kernel(
            entry.version_range[0],
            entry.version_range[1],
            {
                key: frozenset(map(plain, allowed))
                for key, allowed in entry.type_constraints.items()
            },
        )
        for entry in runtime.get_all_opkernel_def()
        if (entry.domain, entry.op_name) == (domain, name)
        and entry.provider == "CPUExecutionProvider"
    )


def names(domain: str) -> list[str]:
    """Return the names of every operator that is declared in a domain."""
    return sorted(name for where, name in _schemas() if where == domain)


def in_evaluator(domain: str, name: str, version: int) -> bool:
    """Tell whether onnx's evaluator has an implementation for a version of an operator."""
    from onnx.reference.ops import load_op  # noqa: PLC0415 - only this needs it

    if domain:
        return False  # it knows ai.onnx and its siblings alone
    try:
        load_op(domain, name, version)
    except Exception:  # noqa: BLE001 - it raises several classes, and says so in words only
        return False
    return True


def widened(kind: str) -> str:
    """Return the type that onnxruntime casts to where it has no kernel for float16."""
    return "float32" if kind == "float16" else kind


def has_kernel(operator: Operator, call: Call, outputs: Iterable[Array]) -> bool:
    """Tell whether onnxruntime has a CPU kernel for the types of a call.

    Where it has one for float32 alone, it takes float16 too, by way of casts.
    """
    version = operator.versions[-1] if operator.domain else pick(operator.versions, call.opset)
    types: dict[str, str] = {}
    pairs = [*call.inputs.items(), *zip(version.outputs, outputs, strict=False)]
    for name, array in pairs:
        variable = version.inputs.get(name) or version.outputs[name]
        types[variable] = type_name(array.dtype)
    known = kernels(operator.domain, operator.name)
    wide = {variable: widened(kind) for variable, kind in types.items()}
    return any(k.serves(version.since, t) for k in known for t in (types, wide))
