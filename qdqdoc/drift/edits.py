"""Small errors in Python source: each yields the same function with one thing changed."""

from __future__ import annotations

import ast
import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Function = ast.FunctionDef


@dataclass(frozen=True)
class Edit:
    """One change of a function: a label that says what, and the changed function."""

    label: str
    function: Function


_BINARY: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Add,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.FloorDiv,
    ast.Pow: ast.Mult,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
    ast.BitXor: ast.BitOr,
}
_COMPARE: dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
}
_INSTEAD: dict[str, tuple[str, ...]] = {
    "np.rint": ("np.floor", "np.trunc"),
    "np.float32": ("np.float64",),
    "np.float64": ("np.float32",),
    "np.int32": ("np.int64", "np.int16"),
    "np.int64": ("np.int32",),
    "np.minimum": ("np.maximum",),
    "np.maximum": ("np.minimum",),
    "np.floor": ("np.ceil",),
    "np.ceil": ("np.floor",),
    "min": ("max",),
    "max": ("min",),
    "all": ("any",),
    "any": ("all",),
    "divide": ("multiply",),
}
"""What stands for a name: another rounding, another type, the other end."""

_DROPPED = {
    *("np.rint", "np.clip", "np.abs", "np.where", "np.floor", "np.ceil", "abs", "ceil"),
    *("f32", "to_float", "cast", "saturate_float", "wrap32", "accumulate", "hold", "round_to_grid"),
}
"""Calls that are replaced by their first argument: a dropped clamp, cast or rounding."""


_COMMUTE = {
    *("multiply", "fma", "requantize", "scaled", "packed_length", "min", "max", "np.minimum"),
    *("np.maximum", "np.clip", "np.broadcast_shapes"),
}
"""Calls whose first two arguments may change places: no error at all."""

_ASSERTED = {"strict"}
"""Keywords that only say what must be so anyway."""


def edits(function: Function) -> Iterator[Edit]:
    """Yield each small error of a function, in the order of the source, each with its own label."""
    seen: dict[str, int] = {}
    for path, node in _walk(function):
        for said, changed in _changes(node):
            label = f"{function.name}: {ast.unparse(node)[:60]} -> {said[:60]}"
            seen[label] = seen.get(label, 0) + 1
            if seen[label] > 1:
                label += f" ({seen[label]})"
            yield Edit(label, _replaced(function, path, changed))


Path = tuple[tuple[str, int | None], ...]


def _walk(node: ast.AST, path: Path = ()) -> Iterator[tuple[Path, ast.AST]]:
    """Yield every node that can be wrong; docstrings and annotations and messages cannot."""
    for name, value in ast.iter_fields(node):
        if name in {"annotation", "returns", "decorator_list", "type_params"}:
            continue
        children = enumerate(value) if isinstance(value, list) else [(None, value)]
        for index, child in children:
            if not isinstance(child, ast.AST) or _is_text(child):
                continue
            if isinstance(child, ast.keyword) and child.arg in _ASSERTED:
                continue
            if _is_inferred(node, child):
                continue
            step = (*path, (name, index))
            yield step, child
            yield from _walk(child, step)


def _is_inferred(parent: ast.AST, child: ast.AST) -> bool:
    """Tell whether a node is the -1 of a reshape: any negative number means the same."""
    reshapes = isinstance(parent, ast.Call) and ast.unparse(parent.func).endswith("reshape")
    return reshapes and ast.unparse(child) == "-1"


def _is_text(node: ast.AST) -> bool:
    """Tell whether a node is a docstring, a message or an assertion: prose for people."""
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return True
    return isinstance(node, ast.JoinedStr | ast.Assert | ast.FormattedValue)


def _replaced(function: Function, path: Path, changed: ast.AST) -> Function:
    fresh = copy.deepcopy(function)
    parent: ast.AST = fresh
    for name, index in path[:-1]:
        held = getattr(parent, name)
        parent = held if index is None else held[index]
    name, index = path[-1]
    if index is None:
        setattr(parent, name, changed)
    else:
        getattr(parent, name)[index] = changed
    return ast.fix_missing_locations(fresh)


def _changes(node: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    make = _MAKERS.get(type(node))
    for changed in make(node) if make else ():
        text = "nothing" if isinstance(changed, ast.Pass) else ast.unparse(changed)
        yield text, changed


def _binary(node: ast.BinOp) -> Iterator[ast.AST]:
    other = _BINARY.get(type(node.op))
    if other:
        yield ast.BinOp(node.left, other(), node.right)


def _assigned(node: ast.AugAssign) -> Iterator[ast.AST]:
    other = _BINARY.get(type(node.op))
    if other:
        yield ast.AugAssign(node.target, other(), node.value)


def _compared(node: ast.Compare) -> Iterator[ast.AST]:
    for position, op in enumerate(node.ops):
        for other in _COMPARE[type(op)]:
            ops = [*node.ops[:position], other(), *node.ops[position + 1 :]]
            yield ast.Compare(node.left, ops, node.comparators)


def _joined(node: ast.BoolOp) -> Iterator[ast.AST]:
    other = ast.Or() if isinstance(node.op, ast.And) else ast.And()
    yield ast.BoolOp(other, node.values)


def _unary(node: ast.UnaryOp) -> Iterator[ast.AST]:
    yield node.operand


def _constant(node: ast.Constant) -> Iterator[ast.AST]:
    value = node.value
    if isinstance(value, bool):
        yield ast.Constant(not value)
    elif isinstance(value, int | float):
        yield ast.Constant(value + 1)
        if isinstance(value, float) and value:
            yield ast.Constant(-value)


def _chosen(node: ast.If) -> Iterator[ast.AST]:
    test = ast.UnaryOp(ast.Not(), node.test)
    yield ast.If(test, node.body, node.orelse)


def _either(node: ast.IfExp) -> Iterator[ast.AST]:
    yield ast.IfExp(ast.UnaryOp(ast.Not(), node.test), node.body, node.orelse)


def _statement(node: ast.Expr) -> Iterator[ast.AST]:
    if isinstance(node.value, ast.Call):
        yield ast.Pass()


def _called(node: ast.Call) -> Iterator[ast.AST]:
    name = ast.unparse(node.func)
    plain = node.args and not any(isinstance(a, ast.Starred) for a in node.args)
    if name in _DROPPED and plain:
        yield node.args[0]
    if isinstance(node.func, ast.Attribute) and node.func.attr in {"astype", "clip"}:
        yield node.func.value
    symmetric = name in {"refuse", *_COMMUTE} or name.endswith(".swapaxes")
    if len(node.args) > 1 and plain and not symmetric:
        first, second, *rest = node.args
        if ast.unparse(first) != ast.unparse(second):
            yield ast.Call(node.func, [second, first, *rest], node.keywords)


def _named(node: ast.Name) -> Iterator[ast.AST]:
    if isinstance(node.ctx, ast.Load):
        for other in _INSTEAD.get(node.id, ()):
            yield ast.parse(other, mode="eval").body


def _dotted(node: ast.Attribute) -> Iterator[ast.AST]:
    if isinstance(node.ctx, ast.Load):
        for other in _INSTEAD.get(ast.unparse(node), ()):
            yield ast.parse(other, mode="eval").body


_MAKERS: dict[type[ast.AST], Callable[..., Iterator[ast.AST]]] = {
    ast.BinOp: _binary,
    ast.AugAssign: _assigned,
    ast.Compare: _compared,
    ast.BoolOp: _joined,
    ast.UnaryOp: _unary,
    ast.Constant: _constant,
    ast.If: _chosen,
    ast.IfExp: _either,
    ast.Expr: _statement,
    ast.Call: _called,
    ast.Name: _named,
    ast.Attribute: _dotted,
}
