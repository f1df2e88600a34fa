"""Convolutions on processors that add two products in 16 bits, see :mod:`qdqdoc.calls.saturation`.

Padding takes part: it holds the zero point. Which products are neighbours depends on the operator:
QLinearConv puts channels together, ConvInteger the positions of a window.
"""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

import numpy as np

from qdqdoc.calls.saturation import saturates
from qdqdoc.numerics.layout import pad, windows
from qdqdoc.registry.window import window

if TYPE_CHECKING:
    from qdqdoc.numerics.formats import Array
    from qdqdoc.registry.operator import Call


def adds_pairs(call: Call) -> Array:
    """Tell which outputs of QLinearConv sum products of uint8 and int8 that saturate on the way."""
    fields, weights, rank = _codes(call)
    rows, columns = np.moveaxis(fields, 2, -1), np.moveaxis(weights, 2, -1)
    found = saturates(*_matrices(rows, columns, rank))
    found = _arranged(found, fields.shape[3 : 3 + rank])
    return np.moveaxis(found, 1, -1) if call.attributes.get("channels_last") else found


def integer_adds_pairs(call: Call) -> Array:
    """Tell which outputs of ConvInteger do: there the weights are the first factor."""
    fields, weights, rank = _codes(call)
    rows, columns = _matrices(np.moveaxis(fields, 2, 2 + rank), weights, rank)
    found = saturates(columns.swapaxes(-1, -2), rows.swapaxes(-1, -2)).swapaxes(-1, -2)
    return _arranged(found, fields.shape[3 : 3 + rank])


def _codes(call: Call) -> tuple[Array, Array, int]:
    """Return (N, groups, channels, outputs..., kernel...), (groups, filters, channels, kernel...).

    The last number is that of the spatial axes.
    """
    x, w, attributes = call.inputs["x"], call.inputs["w"], dict(call.attributes)
    if attributes.pop("channels_last", 0):
        x = np.moveaxis(x, -1, 1)
    shape = window("Conv", x, w, **{"group": 1, **attributes})
    zero = call.inputs.get("x_zero_point", np.zeros((), x.dtype)).reshape(-1)[0]
    padded = pad(x, shape.pads, int(zero))
    fields = windows(padded, shape.kernel, shape.strides, shape.dilations)
    filters, depth, *kernel = w.shape
    fields = fields.reshape(len(x), shape.group, depth, *fields.shape[2:])
    weights = w.reshape(shape.group, filters // shape.group, depth, *kernel)
    return fields, weights, len(kernel)


def _matrices(fields: Array, weights: Array, rank: int) -> tuple[Array, Array]:
    """Return (N, groups, windows, codes) and (N, groups, codes, filters)."""
    batch, groups, *rest = fields.shape
    codes = prod(weights.shape[2:])
    rows = fields.reshape(batch, groups, prod(rest[:rank]), codes)
    columns = weights.reshape(*weights.shape[:2], codes).swapaxes(-1, -2)
    return rows, np.broadcast_to(columns, (batch, *columns.shape))


def _arranged(found: Array, outputs: tuple[int, ...]) -> Array:
    """Bring (N, groups, windows, filters) to (N, channels, outputs...)."""
    batch, groups, _, filters = found.shape
    return found.swapaxes(-1, -2).reshape(batch, groups * filters, *outputs)
