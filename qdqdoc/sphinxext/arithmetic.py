"""What the chapter on arithmetic computes: grids of equal range, bounds, errors of layers."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from qdqdoc.facts.layers import layers
from qdqdoc.facts.reading import digits
from qdqdoc.numerics.formats import DTYPES, integer_range
from qdqdoc.tables import Code, Table

if TYPE_CHECKING:
    from qdqdoc.document import Document
    from qdqdoc.facts.layers import Layer
    from qdqdoc.numerics.formats import Array
    from qdqdoc.tables import Cell

KINDS = ("int2", "int4", "int8", "int16")
DRAWS = 1000
SEED = 0
UNIT = Fraction(float(np.finfo(np.float32).eps)) / 2
"""The relative error of one rounding to float32 at most."""


def grids() -> Table:
    """Return what each integer type makes of the same range, -1 to 1."""
    rows = tuple(_grid(kind) for kind in KINDS)
    columns = ("type", "codes", "step", "error at most", "error, root mean square", "dB")
    return Table(columns=columns, rows=rows)


def _grid(kind: str) -> tuple[Cell, ...]:
    low, high = integer_range(DTYPES[kind])
    step = 2 / (high - low)
    noise = step / math.sqrt(12)
    ratio = 20 * math.log10(high - low)
    return (Code(kind), high - low + 1, *(digits(v, 3) for v in (step, step / 2, noise, ratio)))


def float32_bound(high: int) -> Fraction:
    """Bound what four roundings to float32 move a value up to ``high``: its distance to a tie.

    >>> float(float32_bound(255)) < 1e-4
    True
    """
    return ((1 + UNIT) ** 4 - 1) * high


def relu_for_free(document: Document) -> tuple[int, int]:
    """Count the layers whose zero point is the lower rail, and all with a known one."""
    known = [y for y in (layer.group.result for layer in layers(document)) if y is not None]
    zeros = [(y, y.zero_point_values[0]) for y in known if y.zero_point_values]
    return sum(zero == integer_range(DTYPES[y.dtype])[0] for y, zero in zeros), len(zeros)


def errors(document: Document) -> Table:
    """Return what rounding the inputs of each layer does to its result, in steps of the result.

    The bound and the root mean square follow from the weights; the last column is the largest
    of a thousand draws, each input being off by something between plus and minus half a step.
    """
    rows = tuple(row for layer in layers(document) if (row := _error(layer)))
    columns = ("layer", "K", "bound", "expected, root mean square", f"largest of {DRAWS} draws")
    return Table(columns=columns, rows=rows)


def _error(layer: Layer) -> tuple[Cell, ...] | None:
    y = layer.group.result
    if y is None or len(y.scale_values or ()) != 1:
        return None
    weights = _columns(layer)
    step = (layer.x.scale_values or (1.0,))[0] / (y.scale_values or (1.0,))[0]
    bound = np.abs(weights).sum(axis=0) * step / 2
    expected = np.sqrt((weights**2).sum(axis=0) / 12) * step
    worst = int(bound.argmax())
    off = np.random.default_rng(SEED).uniform(-0.5, 0.5, (DRAWS, len(weights)))
    seen = np.abs(off @ weights[:, worst]).max() * step
    shown = (digits(float(v), 3) for v in (bound[worst], expected[worst], seen))
    return (Code(layer.group.name), layer.products, *shown)


def _columns(layer: Layer) -> Array:
    """Return the real weights, a column for each output channel, in float64."""
    centred = layer.centred.astype(np.float64)
    if layer.kind == "Conv":
        columns = centred.reshape(len(centred), -1).T
    else:
        # Several matrices of the same height lie side by side.
        columns = np.moveaxis(centred, -2, 0).reshape(centred.shape[-2], -1)
    scales = np.array(layer.w.scale_values or (1.0,), np.float64)
    return columns * np.resize(scales, columns.shape[1])
