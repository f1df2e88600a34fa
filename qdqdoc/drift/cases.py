"""What mutants are tried on: every call that the registry knows, and every example."""

from __future__ import annotations

import doctest
import sys
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pkgutil import walk_packages
from typing import TYPE_CHECKING, Any

import numpy as np

from qdqdoc import numerics, operators, registry
from qdqdoc.calls.wrong import wrong_calls
from qdqdoc.errors import QdqdocError
from qdqdoc.numerics.formats import Array, type_name
from qdqdoc.operators import OPERATORS

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator
    from types import CodeType, FrameType, ModuleType

    from qdqdoc.registry import Call, Operator

Outcome = tuple[Array, ...] | str


@dataclass(frozen=True)
class Case:
    """A call of an operator with what comes out of it, be it values or an error."""

    operator: Operator
    call: Call
    expected: Outcome
    touched: frozenset[CodeType]

    def notices(self) -> bool:
        """Tell whether the outcome is another one now."""
        return not same(outcome(self.operator, self.call), self.expected)


@dataclass(frozen=True)
class Example:
    """The examples of one docstring."""

    test: doctest.DocTest
    touched: frozenset[CodeType]

    def notices(self) -> bool:
        """Tell whether an example fails now."""
        return not passes(self.test)


def outcome(operator: Operator, call: Call) -> Outcome:
    """Run a call; an error of the package is an outcome, any other is one too."""
    with np.errstate(all="ignore"):
        try:
            return operator.run(call)
        except QdqdocError as error:
            return str(error)
        except Exception as error:  # noqa: BLE001 - a mutant raises whatever it likes
            return f"crashed: {type(error).__name__}"


def same(one: Outcome, other: Outcome) -> bool:
    """Tell whether two outcomes agree: types, shapes and values; NaN equals NaN."""
    if isinstance(one, str) or isinstance(other, str):
        return isinstance(one, str) and isinstance(other, str) and one == other
    if len(one) != len(other):
        return False
    return all(_same_array(a, b) for a, b in zip(one, other, strict=True))


def _same_array(a: object, b: Array) -> bool:
    if not isinstance(a, np.ndarray | np.generic) or a.dtype != b.dtype or a.shape != b.shape:
        return False
    if a.tobytes() == b.tobytes():
        return True
    # A float of eight bits has no comparison that knows NaN; float32 holds all of them.
    wide = [y.astype(np.float64 if type_name(y.dtype)[0] in "fb" else y.dtype) for y in (a, b)]
    return np.array_equal(wide[0], wide[1], equal_nan=wide[0].dtype.kind == "f")


def passes(test: doctest.DocTest) -> bool:
    """Run the examples of a docstring."""
    runner = doctest.DocTestRunner(verbose=False)
    return runner.run(test, out=lambda _: None, clear_globs=False).failed == 0


def traced(function: Callable[[], Any]) -> tuple[Any, frozenset[CodeType]]:
    """Run a function; return its result and the code of every function it came through."""
    seen: set[CodeType] = set()

    def note(frame: FrameType, event: str, _: object) -> None:
        if event == "call":
            seen.add(frame.f_code)

    sys.setprofile(note)
    try:
        result = function()
    finally:
        sys.setprofile(None)
    return result, frozenset(code for code in seen if "qdqdoc" in code.co_filename)


def cases(names: Collection[str] = ()) -> list[Case]:
    """Return every vector, and every call that must be rejected, of every operator.

    If ``names`` are modules of operators and no others, theirs suffice.
    """
    places = {operator.kernel.__module__ for operator in OPERATORS.values()}
    enough = {*names} if names and {*names} <= places else places
    found = []
    for operator in OPERATORS.values():
        if operator.kernel.__module__ not in enough:
            continue
        for call in (*operator.vectors(), *operator.rejects(), *wrong_calls(operator)):
            expected, touched = traced(partial(outcome, operator, call))
            found.append(Case(operator, call, expected, touched))
    return found


def modules() -> Iterator[ModuleType]:
    """Yield the modules that kernels are made of."""
    for package in (operators, numerics, registry):
        yield package
        for entry in walk_packages(package.__path__, f"{package.__name__}."):
            yield import_module(entry.name)


def examples(names: Collection[str] = ()) -> list[Example]:
    """Return every docstring with examples in those modules, or in the named ones."""
    finder = doctest.DocTestFinder(exclude_empty=True)
    found = []
    for module in modules():
        if names and module.__name__ not in names:
            continue
        for test in finder.find(module, module.__name__):
            if test.examples:
                passed, touched = traced(partial(passes, test))
                if not passed:
                    raise QdqdocError(f"{test.name}: an example fails before anything is changed")
                found.append(Example(test, touched))
    return found


def touching(these: Iterable[Case | Example], code: CodeType) -> list[Case | Example]:
    """Return the cases that come through a function."""
    return [case for case in these if code in case.touched]
