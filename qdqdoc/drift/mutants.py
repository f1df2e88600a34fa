"""Mutants of the functions that kernels are made of, put in place one at a time."""

from __future__ import annotations
import __future__

import ast
import functools
import gc
import inspect
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from types import CodeType, FunctionType
from typing import TYPE_CHECKING, Any

from qdqdoc.drift.edits import edits

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from types import ModuleType


@dataclass(frozen=True)
class Mutant:
    """A function of a module with one small error."""

    module: str
    label: str
    original: FunctionType
    changed: FunctionType

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Let everybody who calls the original run the changed code."""
        kept = _body(self.original)
        _put(self.original, _body(self.changed))
        _forget()
        try:
            yield
        finally:
            _put(self.original, kept)
            _forget()


Body = tuple[CodeType, tuple[Any, ...] | None, dict[str, Any] | None]


def _body(function: FunctionType) -> Body:
    return function.__code__, function.__defaults__, function.__kwdefaults__


def _put(function: FunctionType, body: Body) -> None:
    function.__code__, function.__defaults__, function.__kwdefaults__ = body


_CACHES: list[Any] = []


def _forget() -> None:
    """Empty the caches, which may hold what other code computed."""
    if not _CACHES:
        kind = type(functools.cache(len))
        _CACHES.extend(
            o for o in gc.get_objects() if isinstance(o, kind) and "qdqdoc" in str(o.__module__)
        )
    for cached in _CACHES:
        cached.cache_clear()


def functions(module: ModuleType) -> Iterator[tuple[ast.FunctionDef, FunctionType]]:
    """Yield every function and method of a module: its syntax, and what is called."""
    tree = ast.parse(inspect.getsource(module))
    for node in tree.body:
        if isinstance(node, ast.FunctionDef):
            yield from _live(node, vars(module).get(node.name))
        elif isinstance(node, ast.ClassDef):
            methods = (entry for entry in node.body if isinstance(entry, ast.FunctionDef))
            for entry in methods:
                yield from _live(entry, vars(vars(module)[node.name]).get(entry.name))


def _live(node: ast.FunctionDef, held: object) -> Iterator[tuple[ast.FunctionDef, FunctionType]]:
    if isinstance(held, property):
        held = held.fget
    while hasattr(held, "__wrapped__"):
        held = held.__wrapped__
    if isinstance(held, FunctionType):
        yield node, held


def mutants(module: ModuleType, touched: Iterable[CodeType]) -> Iterator[Mutant]:
    """Yield the mutants of a module's functions that kernels come through."""
    known = set(touched)
    for node, function in functions(module):
        if function.__code__ not in known:
            continue
        for edit in edits(node):
            changed = _compiled(edit.function, function)
            yield Mutant(module.__name__, edit.label, function, changed)


def _compiled(node: ast.FunctionDef, function: FunctionType) -> FunctionType:
    node.decorator_list = []
    tree = ast.Module([node], type_ignores=[])
    flags = __future__.annotations.compiler_flag
    code = compile(tree, function.__code__.co_filename, "exec", flags, dont_inherit=True)
    # The source is the package's own; a module's names are what the function sees anyway.
    space = {**vars(sys.modules[function.__module__])}
    exec(code, space)  # noqa: S102 - see above
    made: FunctionType = space[node.name]
    return made
