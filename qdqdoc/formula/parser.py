"""Text -> checked lines. Read once by :func:`ast.parse`; nothing is ever executed."""

from __future__ import annotations

import ast
import difflib
from fractions import Fraction
from typing import TYPE_CHECKING, Final

from qdqdoc.formula import tree
from qdqdoc.formula.errors import FormulaError
from qdqdoc.formula.language import (
    ARITIES,
    CONSTANTS,
    LIMITS,
    REDUCTIONS,
    RESERVED,
    RESULT_TYPE,
    short_functions,
)
from qdqdoc.formula.rounding import POINTS

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

_BINARY: Final[dict[type, str]] = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/"}
_COMPARE: Final[dict[type, str]] = {
    ast.Lt: "<",
    ast.LtE: "<=",
    ast.Gt: ">",
    ast.GtE: ">=",
    ast.Eq: "==",
    ast.NotEq: "!=",
}
_WHERE_FOR: Final = (
    "a `for` may stand only directly inside " + ", ".join(REDUCTIONS[:-1]) + f" or {REDUCTIONS[-1]}"
)

# Far more than a rule that people read, and far from Python's own limit in every later pass.
_DEEPEST: Final = 120
_TOO_DEEP: Final = "the formula is nested too deeply"


def parse(
    text: str, symbols: Collection[str], sets: Collection[str], types: Collection[str]
) -> tuple[tree.Line, ...]:
    """Read and check a formula.

    >>> [line.target for line in parse("y = f32(x / s)", ["x", "s"], [], [])]
    ['y']
    """
    _check_declarations(symbols, sets, types)
    parser = _Parser(text, symbols, sets, types)
    lines = tuple(parser.line(statement) for statement in parser.statements())
    parser.check_all_used()
    return lines


def _depth(module: ast.AST) -> int:
    """Count the levels of a syntax tree, without recursion."""
    depth, level = 0, [module]
    while level:
        depth, level = depth + 1, [child for node in level for child in ast.iter_child_nodes(node)]
    return depth


def _check_declarations(*groups: Collection[str]) -> None:
    seen: set[str] = set()
    for name in (name for group in groups for name in group):
        if not name.isidentifier():
            raise FormulaError(f"{name!r} cannot be a symbol; write a name such as s_x")
        if name in RESERVED:
            raise FormulaError(f"{name!r} is a word of the formula language; choose another name")
        if name in seen:
            raise FormulaError(f"{name!r} is declared twice")
        seen.add(name)


class _Parser:
    """One pass over the statements. ``self.defined`` grows line by line."""

    def __init__(
        self, text: str, symbols: Collection[str], sets: Collection[str], types: Collection[str]
    ) -> None:
        self.text = text
        self.rows = text.split("\n")
        self.symbols, self.sets, self.types = tuple(symbols), tuple(sets), tuple(types)
        self.defined: dict[str, str | None] = {}  # target -> index of the family, if it is one
        self.bound: list[str] = []  # indices of the enclosing family and reductions
        self.indices: set[str] = set()  # all indices so far
        self.rounded = 0  # how many rounding points enclose the node being read
        self.used: set[str] = set()
        self.indexed: dict[str, bool] = {}  # input symbol -> read with an index?

    # Errors ---------------------------------------------------------------------------------

    def error(self, node: ast.AST, message: str) -> FormulaError:
        number, offset = getattr(node, "lineno", 1), getattr(node, "col_offset", 0)
        # ast counts bytes of UTF-8, people count characters.
        return self.located(message, number, len(self.row(number).encode()[:offset].decode()))

    def row(self, number: int) -> str:
        return self.rows[number - 1] if number <= len(self.rows) else ""

    def located(self, message: str, number: int, column: int) -> FormulaError:
        head, row = f"  line {number}: ", self.row(number)
        return FormulaError(f"{message}\n{head}{row}\n{' ' * (len(head) + column)}^")

    def unknown(
        self, node: ast.AST, what: tuple[str, str], known: Iterable[str], tail: str
    ) -> FormulaError:
        kind, name = what
        near = difflib.get_close_matches(name, known, 1, 0.5)
        hint = f"; did you mean {near[0]!r}?" if near else "."
        return self.error(node, f"unknown {kind} {name!r}{hint} {tail}")

    def check_all_used(self) -> None:
        for name in (*self.symbols, *self.sets, *self.types):
            if name not in self.used:
                raise FormulaError(f"{name!r} is declared but the formula never uses it")

    # Lines ----------------------------------------------------------------------------------

    def statements(self) -> list[ast.stmt]:
        try:
            module = ast.parse(self.text)
        except SyntaxError as error:
            column = max((error.offset or 1) - 1, 0)
            raise self.located(error.msg, error.lineno or 1, column) from None
        except ValueError as error:  # null bytes, lone surrogates
            raise FormulaError(f"not a text: {error}") from None
        except (RecursionError, MemoryError):
            raise FormulaError(_TOO_DEEP) from None
        if not module.body:
            raise FormulaError("a formula needs at least one line `name = expression`")
        if _depth(module) > _DEEPEST:
            raise FormulaError(_TOO_DEEP)
        return module.body

    def line(self, statement: ast.stmt) -> tree.Line:
        if not isinstance(statement, ast.Assign) or len(statement.targets) != 1:
            raise self.error(statement, "a line is `name = expression` or `name[k] = expression`")
        name, index = self.target(statement.targets[0])
        self.bound = [] if index is None else [index]
        value = self.node(statement.value)
        self.bound = []
        self.defined[name] = index
        return tree.Line(name, index, value)

    def target(self, node: ast.expr) -> tuple[str, str | None]:
        match node:
            case ast.Name(name):
                index = None
            case ast.Subscript(ast.Name(name), ast.Name(index)):
                self.new_name(node, index, "an index")
            case _:
                raise self.error(node, "a line is `name = expression` or `name[k] = expression`")
        if name in self.symbols:
            raise self.error(node, f"{name!r} is an input and cannot be assigned")
        self.new_name(node, name, "a target")
        if name in self.indices or name == index:
            raise self.error(node, f"{name!r} is an index and cannot be a target")
        return name, index

    def new_name(self, node: ast.AST, name: str, role: str) -> None:
        taken = RESERVED.union(self.symbols, self.sets, self.types, self.defined, self.bound)
        if name in taken:
            raise self.error(node, f"{name!r} has a meaning already and cannot be {role}")
        if role == "an index":
            self.indices.add(name)

    # Expressions ----------------------------------------------------------------------------

    def node(self, node: ast.expr) -> tree.Node:  # noqa: PLR0911 - one for each kind of node
        match node:
            case ast.Constant():
                return self.constant(node)
            case ast.Name():
                return self.name(node)
            case ast.Subscript():
                return self.item(node)
            case ast.BinOp(left, op, right):
                return tree.Binary(self.operator(node, op), self.node(left), self.node(right))
            case ast.UnaryOp(ast.USub(), operand):
                return tree.Negate(self.node(operand))
            case ast.IfExp(test, then, other):
                return tree.Choice(self.condition(test), self.node(then), self.node(other))
            case ast.Call():
                return self.call(node)
            case _:
                raise self.refuse(node)

    def refuse(self, node: ast.expr) -> FormulaError:
        match node:
            case ast.Compare() | ast.BoolOp():
                return self.error(
                    node, "a comparison may stand only in the condition of `a if ... else b`"
                )
            case ast.GeneratorExp() | ast.ListComp() | ast.SetComp() | ast.DictComp():
                return self.error(node, _WHERE_FOR)
            case ast.UnaryOp(op):
                return self.error(node, f"operator {type(op).__name__} is not allowed; use + - * /")
            case _:
                return self.error(
                    node, f"{type(node).__name__} is not part of the formula language"
                )

    def operator(self, node: ast.expr, op: ast.operator) -> str:
        if type(op) not in _BINARY:
            raise self.error(node, f"operator {type(op).__name__} is not allowed; use + - * /")
        return _BINARY[type(op)]

    def constant(self, node: ast.Constant) -> tree.Number:
        value = node.value
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self.error(node, f"only numbers may be constants, not {value!r}")
        text = ast.get_source_segment(self.text, node) or repr(value)
        # The decimal as written: 0.1 is one tenth, not the double beside it.
        number = Fraction(value) if isinstance(value, int) else Fraction(text.replace("_", ""))
        return tree.Number(number, text)

    def name(self, node: ast.Name) -> tree.Node:
        name = node.id
        if name in CONSTANTS:
            return tree.Number(float(name), name)
        if name in self.bound:
            return tree.Name(name)
        if name in self.defined:
            if self.defined[name] is not None:
                raise self.error(node, f"{name!r} is a family; write {name}[...]")
            return tree.Name(name)
        if name not in self.symbols:
            raise self.misnamed(node, name)
        self.read(node, name, indexed=False)
        return tree.Name(name)

    def misnamed(self, node: ast.AST, name: str) -> FormulaError:
        if name in RESERVED:
            return self.error(node, f"{name!r} is a function; write {name}(...)")
        if name in self.types:
            return self.error(node, f"{name!r} is a type; write {name}(...)")
        if name in self.sets:
            return self.error(node, f"{name!r} is an index set; write `... for k in {name}`")
        known = (*self.symbols, *self.defined, *self.bound)
        return self.unknown(node, ("symbol", name), known, f"Declared: {', '.join(sorted(known))}")

    def read(self, node: ast.AST, name: str, *, indexed: bool) -> None:
        self.used.add(name)
        if self.indexed.setdefault(name, indexed) != indexed:
            raise self.error(node, f"{name!r} is used both with and without an index")

    def item(self, node: ast.Subscript) -> tree.Item:
        if not isinstance(node.value, ast.Name):
            raise self.error(node, "only a name can have an index; several are written x[i, j]")
        name = node.value.id
        if name in self.bound or self.defined.get(name, "") is None:
            raise self.error(node, f"{name!r} has one value and takes no index")
        if name in self.symbols:
            self.read(node, name, indexed=True)
        elif name not in self.defined:
            raise self.misnamed(node, name)
        inner = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
        return tree.Item(name, tuple(self.node(index) for index in inner))

    def condition(self, node: ast.expr) -> tree.Node:
        match node:
            case ast.BoolOp(ast.And(), values):
                return tree.And(tuple(self.condition(value) for value in values))
            case ast.Compare(left, ops, rest) if all(type(op) in _COMPARE for op in ops):
                operands = tuple(self.node(operand) for operand in (left, *rest))
                return tree.Compare(operands, tuple(_COMPARE[type(op)] for op in ops))
            case _:
                raise self.error(node, "a condition is a comparison, or several joined by `and`")

    # Calls ----------------------------------------------------------------------------------

    def call(self, node: ast.Call) -> tree.Node:
        if not isinstance(node.func, ast.Name):
            what = ast.unparse(node.func)
            raise self.error(node, f"{what!r} cannot be called; functions are: {short_functions()}")
        name = node.func.id
        if node.keywords:
            raise self.error(node, f"{name} takes no keyword arguments")
        if name in LIMITS:
            return self.limit(node, name)
        if name in REDUCTIONS and (name not in ARITIES or len(node.args) == 1):
            return self.reduce(node, name)
        return self.function(node, name)

    def limit(self, node: ast.Call, name: str) -> tree.Limit:
        match node.args:
            case [ast.Name(type_)] if type_ in self.types:
                self.used.add(type_)
                return tree.Limit(name, type_)
            case _:
                known = ", ".join(self.types) or "none"
                raise self.error(node, f"write {name}(T) with one declared type ({known})")

    def function(self, node: ast.Call, name: str) -> tree.Call:
        if name not in ARITIES and name not in self.types:
            known = (*ARITIES, *REDUCTIONS, *LIMITS, *self.types)
            tail = f"Functions are: {', '.join((short_functions(), *self.types))}"
            raise self.unknown(node, ("function", name), known, tail)
        least, most = ARITIES.get(name, (1, 1))
        if len(node.args) < least or (most is not None and len(node.args) > most):
            count = f"{least}" if least == most else f"at least {least}"
            raise self.error(node, f"{name} takes {count} argument(s), not {len(node.args)}")
        self.check_use(node, name)
        rounds = name in POINTS or name in self.types
        self.rounded += rounds
        arguments = tuple(self.node(argument) for argument in node.args)
        self.rounded -= rounds
        return tree.Call(name, arguments)

    def check_use(self, node: ast.Call, name: str) -> None:
        if name in ("exp", "log", "sqrt") and not self.rounded:
            raise self.error(
                node, f"{name} is a real function: put it inside a rounding point, f32(...)"
            )
        if name == "saturate":
            if RESULT_TYPE not in self.types:
                raise self.error(
                    node, "saturate(v) means the type variable 'T': declare it in types"
                )
            self.used.add(RESULT_TYPE)
        if name in self.types:
            self.used.add(name)

    def reduce(self, node: ast.Call, name: str) -> tree.Reduce:
        declared = ", ".join(self.sets) or "none declared"
        usage = f"write `{name}(... for k in SET)` with one declared index set ({declared})"
        match node.args:
            case [ast.GeneratorExp(body, [loop])]:
                pass
            case _:
                raise self.error(node, usage)
        match loop:
            case ast.comprehension(ast.Name(index), ast.Name(set_), [], 0) if set_ in self.sets:
                pass
            case _:
                raise self.error(node.args[0], usage)
        self.new_name(node, index, "an index")
        self.used.add(set_)
        self.bound.append(index)
        value = self.node(body)
        self.bound.pop()
        return tree.Reduce(name, value, index, set_)
