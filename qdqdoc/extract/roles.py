"""What part each tensor plays, found by following the graph from those who read it."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

import numpy as np

from qdqdoc.document.elements import STORAGE, needed_bits
from qdqdoc.extract.parameters import BIASES, DOMAINS, WEIGHTS, parameters

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from qdqdoc.document.model import Role
    from qdqdoc.extract.scope import Node, Scope

CHAIN = frozenset(
    {
        *("QuantizeLinear", "DequantizeLinear", "Identity", "Cast", "Clip"),
        *("Transpose", "Reshape", "Flatten", "Squeeze", "Unsqueeze"),
    }
)
"""Operators through which a weight stays a weight: it is their first input."""

ARITHMETIC = frozenset({"Add", "Sub", "Mul", "Div"})
"""Hand-made dequantization: of constants alone, the largest is what is dequantized."""

PASSING = frozenset({"QuantizeLinear", "DequantizeLinear", "Identity", "Reshape", "Cast"})
"""What may stand between a product and the Add of its bias."""

PRODUCTS = frozenset({"MatMul", "MatMulInteger", "MatMulNBits", "FusedMatMul", "QLinearMatMul"})

ADDENDS = {"Add": (0, 1), "QLinearAdd": (0, 3)}
"""Sums, and the inputs that are added."""

RANK: dict[Role, int] = {"scale": 0, "zero_point": 1, "bias": 2, "weight": 3, "constant": 4}
"""A tensor of several roles is shown in the first of them."""


def assign(main: Scope) -> None:
    """Fill roles and bits of a graph and of all graphs inside it."""
    scopes = list(main.walk())
    for scope in scopes:
        _fix(scope)
    for scope in scopes:
        for node in scope.nodes:
            _from_reader(scope, node)
    for scope in scopes:
        _rest(scope)
        _bits(scope)


def _fix(scope: Scope) -> None:
    """Find the names whose values the model settles, also those it would have to compute."""
    scope.fixed.update(scope.constants)
    for node in scope.nodes:
        if node.domain not in DOMAINS or node.op_type not in CHAIN | ARITHMETIC:
            continue
        read = [node.at(0)] if node.op_type in CHAIN else list(node.inputs)
        if all(_is_fixed(scope, name) for name in read):
            scope.fixed.update(filter(None, node.outputs))


def _is_fixed(scope: Scope, name: str) -> bool:
    owner = scope.owner(name) if name else None
    return owner is not None and name in owner.fixed


def _from_reader(scope: Scope, node: Node) -> None:
    """Give roles to what a node reads."""
    for parameter in parameters(node.op_type, node.domain, len(node.inputs)):
        _mark_parameter(scope, node.at(parameter.scale), "scale")
        _mark_parameter(scope, node.at(parameter.zero_point), "zero_point")
    if node.domain not in DOMAINS:
        return
    for position in WEIGHTS.get(node.op_type, ()):
        _mark_constant(scope, node.at(position), "weight")
    for position in BIASES.get(node.op_type, ()):
        _mark_constant(scope, node.at(position), "bias")
    if node.op_type in ADDENDS:
        _mark_constant(scope, _added_bias(scope, node), "bias")


def _mark(scope: Scope, name: str, role: Role) -> None:
    if RANK[role] < RANK[scope.roles.get(name, "constant")]:
        scope.roles[name] = role


def _mark_parameter(scope: Scope, name: str, role: Role) -> None:
    """Mark a scale or zero point, and where it comes from if it is only passed on."""
    owner = scope.owner(name) if name else None
    while owner is not None:
        _mark(owner, name, role)
        node = owner.makers.get(name)
        if node is None or (node.domain, node.op_type) != ("", "Identity"):
            return
        name = node.at(0)
        owner = owner.owner(name)


def _mark_constant(scope: Scope, name: str, role: Role) -> None:
    """Mark everything from a constant to its reader; nothing if it is no constant."""
    owner = scope.owner(name) if _is_fixed(scope, name) else None
    while owner is not None:
        _mark(owner, name, role)
        node = owner.makers.get(name)
        if node is None or name in owner.constants:
            return
        name = node.at(0) if node.op_type in CHAIN else _largest(owner, node.inputs)
        owner = owner.owner(name)


def _largest(scope: Scope, names: Sequence[str]) -> str:
    return max(names, key=lambda name: _size(scope, name))


def _size(scope: Scope, name: str) -> int:
    _, shape = scope.type_of(name)
    return prod(size for size in shape or () if isinstance(size, int))


def _added_bias(scope: Scope, node: Node) -> str:
    """Return the constant that an Add puts on top of a product, one value per column at most."""
    names = [node.at(position) for position in ADDENDS[node.op_type]]
    constant = [name for name in names if _is_fixed(scope, name)]
    if not all(names) or len(constant) != 1:
        return ""
    _, shape = scope.type_of(constant[0])
    other = names[1 - names.index(constant[0])]
    flat = shape is not None and all(size == 1 for size in shape[:-1])
    return constant[0] if flat and _is_product(scope, other) else ""


def _is_product(scope: Scope, name: str) -> bool:
    owner = scope.owner(name)
    while owner is not None:
        node = owner.makers.get(name)
        if node is None or node.domain not in DOMAINS:
            return False
        if node.op_type not in PASSING:
            return node.op_type in PRODUCTS
        name = node.at(0)
        owner = owner.owner(name) if name else None
    return False


def _rest(scope: Scope) -> None:
    for name in scope.fixed:
        scope.roles.setdefault(name, "constant")


def _bits(scope: Scope) -> None:
    """Count the bits of codes: what constants need, and what a Clip leaves of others."""
    for node in scope.nodes:
        for owner, name in _codes(scope, node):
            constant = owner.constants[name]
            if constant.flat is not None and _is_integer(constant.dtype):
                owner.bits[name] = needed_bits(_plain(constant.flat, constant.dtype))
        if (node.domain, node.op_type) == ("", "Clip") and node.at(-1):
            _clipped(scope, node)


def _codes(scope: Scope, node: Node) -> Iterator[tuple[Scope, str]]:
    """Yield the constants among the codes that a node reads."""
    names = [node.at(p.tensor) for p in parameters(node.op_type, node.domain, len(node.inputs))]
    for name in (*names, *node.inputs):
        found = scope.origin(name) if name else None
        if found is None or found[1] not in found[0].constants:
            continue
        if name in names or found[0].roles.get(found[1]) in {"weight", "bias"}:
            yield found


def _is_integer(dtype: str) -> bool:
    return dtype.startswith(("int", "uint"))


def _plain(codes: np.ndarray, dtype: str) -> np.ndarray:
    return codes.astype(STORAGE[dtype]) if dtype in STORAGE else codes


def _clipped(scope: Scope, node: Node) -> None:
    bounds = [scope.constant(node.at(position)) for position in (1, 2)]
    values = [c.flat for c in bounds if c is not None and _is_integer(c.dtype)]
    low, high = (*values, None, None)[:2]
    if low is not None and high is not None and low.size == high.size == 1:
        scope.bits[node.at(-1)] = needed_bits(np.concatenate([low, high]))
