"""The one registry: operators register themselves, everything else is derived from it."""

from __future__ import annotations

from functools import wraps
from inspect import Parameter, Signature, getdoc, getmodule, signature
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, cast

import numpy as np

from qdqdoc.registry.checks import (
    OperatorError,
    check_attributes,
    check_inputs,
    check_more,
    choose_version,
    refuse,
)
from qdqdoc.registry.operator import (
    EXTRA_PARAMETERS,
    NEWEST_OPSET,
    PEERS,
    PROCESSORS,
    REQUIRED,
    SEEN_IN,
    UNWRITTEN,
    Bound,
    Call,
    Calls,
    Differs,
    Element,
    ElementOf,
    Operator,
    Peer,
    Version,
    no_calls,
    pick,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from qdqdoc.formula import Formula
    from qdqdoc.numerics.formats import Array

__all__ = [
    "EXTRA_PARAMETERS",
    "NEWEST_OPSET",
    "OPERATORS",
    "PEERS",
    "PROCESSORS",
    "REQUIRED",
    "SEEN_IN",
    "UNWRITTEN",
    "Bound",
    "Call",
    "Differs",
    "Element",
    "Operator",
    "OperatorError",
    "Peer",
    "Version",
    "operator",
    "pick",
    "refuse",
]

P = ParamSpec("P")
R = TypeVar("R")
_operators: dict[tuple[str, str], Operator] = {}
OPERATORS: Mapping[tuple[str, str], Operator] = MappingProxyType(_operators)
"""(domain, name) -> operator, for all that have been imported."""


def operator(
    *,
    name: str,
    versions: tuple[Version, ...],
    formulas: tuple[Formula, ...],
    cites: tuple[str, ...],
    vectors: Calls,
    element: ElementOf | Mapping[str, ElementOf],
    domain: str = "",
    differs: tuple[Differs, ...] = (),
    bounds: tuple[Bound, ...] = (),
    rejects: Calls = no_calls,
    ties: Calls = no_calls,
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Register the decorated kernel and put the common checks before it.

    The kernel returns an array, or a tuple with one for each output. ``element`` speaks of the
    first output, or maps names of outputs. The checks turn inputs into arrays, choose the
    operator's version by ``opset`` and refuse missing inputs and attributes, types that ONNX does
    not allow and attributes that come with a later version.

    Raises
    ------
    TypeError
        If a part is missing or disagrees with the kernel's signature: an incomplete operator
        cannot be imported.
    """

    def register(kernel: Callable[P, R]) -> Callable[P, R]:
        first = next(iter(versions[-1].outputs))
        entry = Operator(
            name=name,
            domain=domain,
            summary=_summary(kernel),
            versions=versions,
            formulas=formulas,
            cites=cites,
            vectors=vectors,
            elements={first: element} if callable(element) else dict(element),
            kernel=_checked(kernel, lambda: _operators[domain, name]),
            differs=differs,
            bounds=bounds,
            rejects=rejects,
            ties=ties,
        )
        _refuse_incomplete(entry, signature(kernel))
        _operators[domain, name] = entry
        return cast("Callable[P, R]", entry.kernel)

    return register


def _checked(kernel: Callable[..., R], entry: Callable[[], Operator]) -> Callable[..., R]:
    form = signature(kernel)

    @wraps(kernel)
    def checked(*args: Any, **kwargs: Any) -> R:  # noqa: ANN401 - any kernel's arguments
        this = entry()
        try:
            given = form.bind_partial(*args, **kwargs).arguments
        except TypeError as error:
            raise OperatorError(f"{this.name}: {error}; allowed: {form}") from None
        version = choose_version(this, given.get("opset", NEWEST_OPSET))
        more: tuple[Array, ...] = given.pop(version.variadic, ())
        inputs = check_inputs(this, version, given)
        rest = {k: v for k, v in given.items() if k not in inputs}
        check_attributes(this, version, rest)
        # Infinities and NaN follow IEEE 754, and nobody is warned of them.
        with np.errstate(all="ignore"):
            if not version.variadic:
                return kernel(**inputs, **rest)
            return kernel(*inputs.values(), *check_more(this, version, more), **rest)

    return checked


def _summary(kernel: Callable[..., Any]) -> str:
    module = getmodule(kernel)
    text = (getdoc(module) or "") if module else ""
    return text.partition("\n")[0]


def _refuse_incomplete(entry: Operator, form: Signature) -> None:
    newest = entry.versions[-1]
    parameters = form.parameters
    attributes = {
        k: p.default
        for k, p in parameters.items()
        if p.kind is Parameter.KEYWORD_ONLY and k not in entry.extra_parameters()
    }
    inputs = tuple(k for k, p in parameters.items() if p.kind is not Parameter.KEYWORD_ONLY)
    required = {
        "a summary in the module's docstring": entry.summary,
        "a formula": entry.formulas,
        "a citation": entry.cites,
        "a vector": next(entry.vectors(), None),
        "a doctest in the kernel's docstring": ">>> " in (entry.kernel.__doc__ or ""),
        "inputs named as in ONNX": inputs == tuple(newest.inputs),
        "attributes named as in ONNX, with its defaults": attributes == dict(newest.attributes),
        "versions in ascending order": sorted(v.since for v in entry.versions)
        == [v.since for v in entry.versions],
        "formulas for its outputs": entry.elements and {*entry.elements} <= {*newest.outputs},
        "a name that is not taken": (entry.domain, entry.name) not in OPERATORS,
    }
    missing = [part for part, present in required.items() if not present]
    if missing:
        raise TypeError(f"{entry.name} lacks {', '.join(missing)}")
