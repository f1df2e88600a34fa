"""How the caller's numbers, sets and types come into a frame, and what is said if they do not."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from qdqdoc.formula.errors import FormulaError
from qdqdoc.formula.functions import RANGES
from qdqdoc.formula.rounding import TYPES, Exact, FloatFormat, IntegerType, NumberType
from qdqdoc.formula.values import exact

Elements = Callable[[Any], Exact]
"""One indexed input: from index to value."""


def wanted(kind: str, name: str, given: Mapping[str, Any] | None) -> Any:  # noqa: ANN401 - any input
    """Look a name up in what the caller gave."""
    if given is not None and name in given:
        return given[name]
    have = ", ".join(given or ()) or "none"
    raise FormulaError(f"the formula needs a {kind} for {name!r}; given: {have}")


def number(name: str, value: object) -> Exact:
    """Convert a scalar input."""
    try:
        return exact(value)
    except FormulaError as error:
        raise FormulaError(f"{name!r} is {error}") from None


def elements(name: str, values: Any) -> Elements:  # noqa: ANN401 - any container
    """Make an indexed input a function of its index.

    A list would answer index -1 with its last element; here that is an error, because a formula
    that reads outside its input is wrong.
    """
    if isinstance(values, str) or not hasattr(values, "__getitem__"):
        raise FormulaError(f"{name!r} is indexed: give a sequence, an array or a mapping")
    container: Mapping[Any, object] | Sequence[object] = values
    bounded = not isinstance(values, Mapping)

    def element(index: Any) -> Exact:  # noqa: ANN401 - an index may be anything hashable
        try:
            if bounded and _negative(index):
                raise IndexError
            value = container[index]
        except (LookupError, TypeError):
            raise FormulaError(f"{name!r} has no element {index!r}") from None
        return number(f"{name}[{index}]", value)

    return element


def _negative(index: Any) -> bool:  # noqa: ANN401 - the same
    return any(i < 0 for i in index) if isinstance(index, tuple) else index < 0


def index_set(name: str, indices: object) -> Sequence[object]:
    """Give an index set an order and a length."""
    if isinstance(indices, tuple | list | range):
        return indices
    if isinstance(indices, str) or not isinstance(indices, Iterable):
        raise FormulaError(f"index set {name!r} must be a sequence of indices, not {indices!r}")
    return tuple(indices)


def number_type(variable: str, name: object) -> NumberType:
    """Look up the type a variable is bound to."""
    entry = TYPES.get(name) if isinstance(name, str) else None
    if entry is None:
        near = difflib.get_close_matches(str(name), TYPES, 1)
        hint = f"; did you mean {near[0]!r}?" if near else "."
        raise FormulaError(
            f"{variable!r} is bound to the unknown type {name!r}{hint} Known: {', '.join(TYPES)}"
        )
    return entry


def typed(function: str, variable: str, bound: NumberType) -> Callable[[Exact], Exact]:
    """Return what a function means once its type variable is bound."""
    if function in RANGES:
        if isinstance(bound, IntegerType):
            return RANGES[function](bound)
        raise FormulaError(
            f"{function} needs an integer type, but {variable!r} is bound to {bound.name}; "
            f"write {variable}(clip(v, lowest({variable}), highest({variable})))"
        )
    if isinstance(bound, FloatFormat):
        return bound.round
    raise FormulaError(
        f"{variable}(v) rounds to a floating-point type, but {variable!r} is bound to {bound.name}"
    )
