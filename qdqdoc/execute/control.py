"""If, Loop and Scan: operators that run graphs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import count
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from qdqdoc.document import Graph
from qdqdoc.execute.attributes import Names, Place
from qdqdoc.execute.errors import ExecuteError
from qdqdoc.numerics.formats import DTYPES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qdqdoc.document import Operation
    from qdqdoc.numerics.formats import Array

# ruff: noqa: ANN401 - a value is an array, a sequence of arrays or nothing

Run = Callable[[Graph, Mapping[str, Any], Place, Names], list[Any]]
"""Runs a graph on its inputs; it sees the names around it, too."""

BATCHED_SCAN = 9
"""Before this opset Scan had a batch axis of its own."""


def truth(value: Any, what: str) -> bool:
    """Return a condition as Python's.

    >>> truth(np.array([True]), "cond")
    True
    """
    found = np.asarray(value)
    if found.size != 1 or found.dtype != np.bool_:
        raise ExecuteError(f"{what}: found {found.dtype}{list(found.shape)}, allowed: one bool")
    return bool(found.item())


def run_if(
    run: Run, operation: Operation, inputs: Sequence[Any], names: Names, place: Place
) -> list[Any]:
    """Run the branch that the condition chooses."""
    branch = "then_branch" if truth(inputs[0], "cond") else "else_branch"
    inside = place.inside(f"{operation.name}/{branch}")
    return run(operation.graphs[branch], {}, inside, names)


def run_loop(
    run: Run, operation: Operation, inputs: Sequence[Any], names: Names, place: Place
) -> list[Any]:
    """Run the body while the condition holds, so many times at most."""
    body = operation.graphs["body"]
    most, condition, *carried = [*inputs, None, None][: max(len(inputs), 2)]
    _expect(body.inputs, len(carried) + 2, "inputs")
    rounds = count() if most is None else range(int(np.asarray(most).item()))
    going = condition is None or truth(condition, "cond")
    gathered: list[list[Any]] = [[] for _ in body.outputs[1 + len(carried) :]]
    for index in rounds:
        if not going:
            break
        values = [np.array(index, np.int64), np.array(going), *carried]
        given = dict(zip(body.inputs, values, strict=True))
        inside = place.inside(f"{operation.name}/body[{index}]")
        kept, *results = run(body, given, inside, names)
        going = truth(kept, "the condition that the body makes")
        carried = results[: len(carried)]
        for rows, value in zip(gathered, results[len(carried) :], strict=True):
            rows.append(value)
    made = body.outputs[1 + len(carried) :]
    return [*carried, *(_stacked(*pair, body, 0) for pair in zip(gathered, made, strict=True))]


def run_scan(
    run: Run, operation: Operation, inputs: Sequence[Any], names: Names, place: Place
) -> list[Any]:
    """Run the body on one slice of the scanned inputs after the other."""
    body, settings = operation.graphs["body"], operation.attributes
    scanned = int(settings["num_scan_inputs"])
    _expect(body.inputs, len(inputs), "inputs")
    start = len(inputs) - scanned
    carried, sources = list(inputs[:start]), inputs[start:]
    made = body.outputs[start:]
    axes = settings.get("scan_input_axes", [0] * scanned)
    backwards = settings.get("scan_input_directions", [0] * scanned)
    slices = [_slices(*each) for each in zip(sources, axes, backwards, strict=True)]
    lengths = {len(each) for each in slices}
    if len(lengths) != 1:
        raise ExecuteError(f"scanned inputs: found lengths {sorted(lengths)}, allowed: one length")
    gathered: list[list[Any]] = [[] for _ in made]
    for index, seen in enumerate(zip(*slices, strict=True)):
        given = dict(zip(body.inputs, [*carried, *seen], strict=True))
        inside = place.inside(f"{operation.name}/body[{index}]")
        results = run(body, given, inside, names)
        carried = results[:start]
        for rows, value in zip(gathered, results[start:], strict=True):
            rows.append(value)
    axes_out = settings.get("scan_output_axes", [0] * len(made))
    reverse = settings.get("scan_output_directions", [0] * len(made))
    turned = [rows[::-1] if back else rows for rows, back in zip(gathered, reverse, strict=True)]
    joined = zip(turned, made, axes_out, strict=True)
    return [*carried, *(_stacked(rows, name, body, axis) for rows, name, axis in joined)]


def _slices(value: Array, axis: int, backwards: int) -> Array:
    rows = np.moveaxis(value, axis, 0)
    return rows[::-1] if backwards else rows


def _expect(names: Sequence[str], found: int, what: str) -> None:
    if len(names) != found:
        raise ExecuteError(f"body: has {len(names)} {what}, needed: {found}")


def _stacked(rows: Sequence[Any], name: str, body: Graph, axis: int) -> Array:
    """Put the values of all rounds side by side; those of no round have the declared type."""
    if rows:
        return np.stack([np.asarray(row) for row in rows], axis)
    declared = body.tensors[name]
    kinds = {"float64": np.dtype(np.float64), **DTYPES}
    shape = [size if isinstance(size, int) else 0 for size in declared.shape or ()]
    return np.empty([0, *shape], kinds.get(declared.dtype, np.dtype(np.float32)))


CONTROL: Mapping[tuple[str, str], Callable[..., list[Any]]] = MappingProxyType(
    {("", "If"): run_if, ("", "Loop"): run_loop, ("", "Scan"): run_scan}
)
"""What runs graphs, by domain and name."""
