"""Which cases a pack has: every vector at every version, and every call that must be rejected."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from qdqdoc.calls.wrong import wrong_calls
from qdqdoc.operators import OPERATORS
from qdqdoc.registry import OperatorError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qdqdoc.numerics.formats import Array
    from qdqdoc.registry import Bound, Call, Operator


@dataclass(frozen=True)
class Case:
    """A call at one version with its outputs, or with the reason why it must be rejected."""

    operator: Operator
    call: Call
    since: int
    path: str
    outputs: tuple[tuple[str, Array], ...] = ()
    rejection: str = ""

    @property
    def opset(self) -> int:
        """Version of the operator's own domain that a model of this case imports."""
        return self.since if self.operator.domain else self.call.opset

    @property
    def inputs(self) -> list[tuple[str, Array]]:
        """Inputs in ONNX's order, those of a variadic input last, each under its name."""
        version = self.operator.versions[-1]
        held = [(n, self.call.inputs[n]) for n in version.inputs if n in self.call.inputs]
        more = [(version.variadic, array) for array in self.call.more]
        return [(name, np.asarray(array)) for name, array in (*held, *more)]

    def bounds(self) -> Iterator[tuple[Bound, Array]]:
        """Yield the bounds on this case's outputs, with the size of one unit for each value."""
        shapes = {name: array.shape for name, array in self.outputs}
        for bound in self.operator.bounds:
            unit = np.broadcast_to(bound.unit(self.call), shapes[bound.output])
            yield bound, np.ascontiguousarray(unit, np.float64)


def cases() -> Iterator[Case]:
    """Yield every case, operators by domain and name, versions in order."""
    for _, operator in sorted(OPERATORS.items()):
        for version in operator.versions:
            yield from _of_version(operator, version.since)


def _of_version(operator: Operator, since: int) -> Iterator[Case]:
    taken: set[str] = set()
    root = f"{operator.domain or 'ai.onnx'}/{operator.name}/{since}"
    for call in operator.vectors():
        this = call if operator.domain else replace(call, opset=since)
        try:
            made = operator.run(this)
        except OperatorError:
            continue  # a type or an attribute that this version does not have
        outputs = tuple(zip(operator.outputs, made, strict=True))
        yield Case(operator, this, since, f"{root}/{_slug(call.name, taken)}", outputs)
    if since != operator.versions[-1].since:
        return
    for call in (*wrong_calls(operator), *operator.rejects()):
        path = f"{root}/{_slug(f'rejected {call.name}', taken)}"
        yield Case(operator, call, since, path, rejection=_refusal(operator, call))


def _refusal(operator: Operator, call: Call) -> str:
    try:
        operator.run(call)
    except OperatorError as error:
        return str(error)
    raise AssertionError(f"{operator.full_name}: {call.name} must be rejected, and is not")


def _slug(name: str, taken: set[str]) -> str:
    """Return a name that every file system takes, and that no other case of the folder has.

    >>> _slug("1x3 by 2, z=-1", {"1x3-by-2-z--1"})
    '1x3-by-2-z--1-2'
    """
    plain = re.sub(r"[^a-z0-9.-]+", "-", name.lower().replace("=", "-")).strip("-.") or "case"
    found, number = plain, 1
    while found in taken:
        number += 1
        found = f"{plain}-{number}"
    taken.add(found)
    return found
