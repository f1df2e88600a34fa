"""Two contracts on one batch: what differs, by how many steps, in how many images."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from qdqdoc.evaluate.answer import MANY, SHOWN, Agreement, Layer, Output
from qdqdoc.evaluate.errors import EvaluateError
from qdqdoc.numerics.formats import is_integer

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from qdqdoc.evaluate.layers import Code
    from qdqdoc.numerics.formats import Array

SHORT = 2
"""Integers of so many bytes have differences that fit into int32."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """What a contract made of one batch, and what is added to its codes beside the file's."""

    contract: str
    values: Mapping[str, Array]
    shifts: Mapping[str, int]
    classes: Array | None


def ordinals(codes: Array, shift: int = 0) -> Array:
    """Return codes as integers, such that neighbours on the grid differ by one.

    The two zeros of a float are one value, and what is no number stands behind all others.

    >>> ordinals(np.uint8([130]), shift=128)
    array([2], dtype=int32)
    >>> import ml_dtypes
    >>> seen = ordinals(np.array([0.5, -0.0, 0, -6], ml_dtypes.float4_e2m1fn))
    >>> seen - seen[1]
    array([ 1,  0,  0, -7])
    """
    if is_integer(codes.dtype):
        short = codes.dtype.itemsize <= SHORT
        wide = codes.astype(np.int32) if short else codes.astype(np.int64)
        return np.asarray(wide - shift)
    grid = np.arange(256, dtype=np.uint8).view(codes.dtype).astype(np.float64)
    _, ranks = np.unique(grid, return_inverse=True)
    return np.asarray(ranks[np.ascontiguousarray(codes).view(np.uint8)])


def compare(
    first: Run, second: Run, codes: Sequence[Code], outputs: Sequence[str], start: int, images: int
) -> Agreement:
    """Compare two contracts on a batch whose first image has the number ``start``."""
    untouched = np.ones(images, np.bool_)
    layers = []
    shared = first.values.keys() & second.values.keys()
    for code in (one for one in codes if one.tensor in shared):
        layer, touched = _layer(first, second, code, untouched)
        layers.append(layer)
        untouched &= ~touched
    changed = None
    if first.classes is not None and second.classes is not None:
        changed = np.flatnonzero(first.classes != second.classes)
    return Agreement(
        contracts=(first.contract, second.contract),
        layers=tuple(layers),
        absent=tuple(one.tensor for one in codes if one.tensor not in shared),
        equal=int(untouched.sum()),
        outputs=tuple(_outputs(first, second, outputs, images)),
        changed=None if changed is None else len(changed),
        examples=() if changed is None else tuple(int(i) + start for i in changed[:SHOWN]),
    )


def _layer(first: Run, second: Run, code: Code, untouched: Array) -> tuple[Layer, Array]:
    """Return the counts of a layer and which images it touches."""
    name = code.tensor
    left, right = first.values[name], second.values[name]
    if left.shape != right.shape:
        raise EvaluateError(
            f"tensor {name!r}: found shape {list(left.shape)} under {first.contract} and "
            f"{list(right.shape)} under {second.contract}, allowed: one shape"
        )
    moves = ordinals(right, second.shifts.get(name, 0)) - ordinals(left, first.shifts.get(name, 0))
    seen, counts = np.unique(moves[moves != 0], return_counts=True)
    steps: Counter[int] = Counter()
    for step, count in zip(seen.tolist(), counts.tolist(), strict=True):
        steps[max(-MANY, min(step, MANY))] += count
    touched = _by_image(moves != 0, len(untouched), varies=code.varies)
    layer = Layer(
        tensor=name,
        layer=code.layer,
        pattern=code.pattern,
        values=moves.size,
        differing=int(counts.sum()),
        largest=max(map(abs, seen.tolist()), default=0),
        steps=dict(steps),
        images=None if touched is None else int(touched.sum()),
        first=None if touched is None else int((touched & untouched).sum()),
    )
    return layer, np.zeros_like(untouched) if touched is None else touched


def _by_image(differs: Array, images: int, *, varies: bool | None = None) -> Array | None:
    """Tell for each image whether anything differs; ``None`` if the first axis is another one."""
    if varies is False or differs.shape[:1] != (images,):
        return None
    return np.asarray(differs.reshape(images, differs.size // images).any(axis=1))


def _outputs(first: Run, second: Run, names: Sequence[str], images: int) -> Iterator[Output]:
    for name in names:
        left, right = first.values.get(name), second.values.get(name)
        if not isinstance(left, np.ndarray) or not isinstance(right, np.ndarray):
            continue
        if left.shape != right.shape:
            yield Output(tensor=name, images=None, largest=np.inf)
        elif "O" not in left.dtype.kind + right.dtype.kind:
            yield _output(name, left.astype(np.float64), right.astype(np.float64), images)


def _output(name: str, left: Array, right: Array, images: int) -> Output:
    differs = (left != right) & ~(np.isnan(left) & np.isnan(right))
    touched = _by_image(differs, images)
    with np.errstate(invalid="ignore"):
        distance = np.abs(left - right)[differs]
    distance[np.isnan(distance)] = np.inf
    return Output(
        tensor=name,
        images=None if touched is None else int(touched.sum()),
        largest=float(distance.max(initial=0)),
    )


def classes_of(scores: Array, images: int) -> Array | None:
    """Return the place of the largest score of each image; ``None`` if there is no such axis.

    >>> classes_of(np.float32([[0.1, 0.9], [0.7, 0.3]]), images=2)
    array([1, 0])
    >>> classes_of(np.zeros((2, 3, 3)), images=2) is None
    True
    """
    long = [size for size in scores.shape[1:] if size != 1]
    if scores.shape[:1] != (images,) or len(long) != 1 or scores.dtype.kind in "OSU":
        return None
    return np.asarray(scores.astype(np.float64).reshape(images, *long).argmax(axis=1))
