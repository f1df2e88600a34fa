"""The quantization that a node states, by position and graph, never by name."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any, NamedTuple

from qdqdoc.document.elements import is_float
from qdqdoc.document.model import QDQ, Granularity, Quantization
from qdqdoc.extract.constants import dtype_name
from qdqdoc.extract.parameters import PACKED, Parameter, parameters

if TYPE_CHECKING:
    from qdqdoc.extract.scope import Node, Scope


class Stated(NamedTuple):
    """What a node says: known scales and zero points by tensor name, and what they are of."""

    scales: dict[str, Any]
    zero_points: dict[str, Any]
    quantization: dict[str, Quantization]


def stated(node: Node, scope: Scope) -> Stated:
    """Return the quantization of a node."""
    result = Stated({}, {}, {})
    for parameter in parameters(node.op_type, node.domain, len(node.inputs)):
        scale, zero_point = node.at(parameter.scale), node.at(parameter.zero_point)
        _note(result.scales, scale, _scales(scale, scope))
        _note(result.zero_points, zero_point, _values(zero_point, scope))
        if node.at(parameter.tensor) and scale:
            result.quantization[parameter.name] = _quantization(node, scope, parameter)
    return result


def _note(known: dict[str, Any], name: str, values: tuple[Any, ...] | None) -> None:
    if values is not None:
        known[name] = values[0] if len(values) == 1 else list(values)


def _values(name: str, scope: Scope) -> tuple[Any, ...] | None:
    constant = scope.constant(name)
    numbers = constant.numbers if constant else None
    if numbers is None:
        return None
    return tuple(int(one) if isinstance(one, bool) else one for one in numbers)


def _scales(name: str, scope: Scope) -> tuple[float, ...] | None:
    numbers = _values(name, scope)
    return numbers if numbers is None else tuple(float(one) for one in numbers)


def _quantization(node: Node, scope: Scope, parameter: Parameter) -> Quantization:
    tensor, scale = node.at(parameter.tensor), node.at(parameter.scale)
    zero_point = node.at(parameter.zero_point)
    granularity, axis = _granularity(node, scope, parameter)
    return Quantization(
        tensor=tensor,
        dtype=_dtype(node, scope, parameter),
        scale=scale,
        zero_point=zero_point or None,
        scale_values=_scales(scale, scope),
        zero_point_values=_values(zero_point, scope),
        granularity=granularity,
        axis=axis,
        block_size=node.number("block_size", 0) if granularity == "blocked" else 0,
    )


def _dtype(node: Node, scope: Scope, parameter: Parameter) -> str:
    """Return the type of the codes; an output has that of its zero point, else uint8."""
    tensor, _ = scope.type_of(node.at(parameter.tensor))
    zero_point, _ = scope.type_of(node.at(parameter.zero_point))
    if parameter.tensor < 0:
        return zero_point or dtype_name(node.number("output_dtype", 0)) or tensor or "uint8"
    if node.op_type in PACKED and tensor in {"", "uint8"}:
        return f"uint{node.number(PACKED[node.op_type], 4)}"
    return tensor or ("" if is_float(zero_point) else zero_point)


def _granularity(node: Node, scope: Scope, parameter: Parameter) -> tuple[Granularity, int | None]:
    _, shape = scope.type_of(node.at(parameter.tensor))
    _, scale = scope.type_of(node.at(parameter.scale))
    if scale is None or _count(scale) == 1:
        return (
            ("blocked", _axis(node, parameter, shape))
            if scale is None and (node.number("block_size", 0) > 0)
            else ("per_tensor", None)
        )
    blocked = node.number("block_size", 0) > 0 or (node.op_type in QDQ and len(scale) > 1)
    return ("blocked" if blocked else "per_axis"), _axis(node, parameter, shape)


def _count(shape: tuple[Any, ...]) -> int | None:
    sizes = [size for size in shape if isinstance(size, int)]
    return prod(sizes) if len(sizes) == len(shape) else None


def _axis(node: Node, parameter: Parameter, shape: tuple[Any, ...] | None) -> int | None:
    """Return the axis, not negative where the rank is known; beyond the rank it stays as it is."""
    axis = parameter.axis
    if isinstance(axis, str):
        axis = node.number(axis, 1)
    if node.op_type == "QGemm" and parameter.name == "B" and node.number("transB", 0):
        axis = 0
    if axis is None or shape is None or not -len(shape) <= axis < 0:
        return axis
    return axis + len(shape)
