"""How wide the sums of a model's layers can become, from the real weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from qdqdoc.facts.layers import Kind, Layer, code_range, layers
from qdqdoc.facts.reading import digits
from qdqdoc.tables import Code, Table

if TYPE_CHECKING:
    from qdqdoc.document import Document, Quantization
    from qdqdoc.numerics.formats import Array

INT32_BITS = 32
EXACT_IN_FLOAT32 = 2**24


@dataclass(frozen=True, kw_only=True, slots=True)
class Accumulator:
    """The least and the largest sum that a layer can reach, over its output channels.

    Both are reached by some input, where a window lies wholly inside the image; the bias is
    in them. ``by_type`` is what the types alone allow: every code and every weight as far from
    its zero point as can be, no bias. ``partial`` bounds every sum on the way, in whichever
    order products and bias are added.
    """

    node: str
    products: int
    by_type: int
    low: int
    high: int
    partial: int

    @property
    def largest(self) -> int:
        """The largest magnitude of a sum."""
        return max(-self.low, self.high)

    @property
    def bits(self) -> int:
        """The width of the narrowest two's complement register that holds every sum."""
        return _width(self.low, self.high)

    @property
    def bits_by_type(self) -> int:
        """The width that is needed if nothing is known of the weights."""
        return _width(-self.by_type, self.by_type)

    @property
    def exact_in_float32(self) -> bool:
        """Whether a float32 can hold the sum all the way."""
        return self.partial <= EXACT_IN_FLOAT32


def _width(low: int, high: int) -> int:
    return 1 + max(max(high, 0).bit_length(), (~min(low, -1)).bit_length())


def bounds(document: Document, kind: Kind | None = None) -> tuple[Accumulator, ...]:
    """Return the accumulators of all layers with known weights, or of those of one kind."""
    return tuple(bound(layer) for layer in layers(document) if kind in {None, layer.kind})


def bound(layer: Layer) -> Accumulator:
    """Return what the sums of one layer can reach."""
    least, most = code_range(layer.x)
    positive, negative = (side.astype(object) for side in _sums(layer))
    # The data takes the value that pulls each product furthest; 0 lies between both ends.
    low = least * positive + most * negative
    high = most * positive + least * negative
    # Counted in steps of tiny scales, a bias can be any whole number.
    bias = np.array(layer.bias or (0,), dtype=object)
    bottom, top = (
        np.minimum(low, 0) + np.minimum(bias, 0),
        np.maximum(high, 0) + np.maximum(bias, 0),
    )
    return Accumulator(
        node=layer.group.name,
        products=layer.products,
        by_type=layer.products * _furthest(layer.x) * _furthest(layer.w),
        low=int((low + bias).min()),
        high=int((high + bias).max()),
        partial=max(-int(bottom.min()), int(top.max())),
    )


def _furthest(quantization: Quantization) -> int:
    return max(map(abs, code_range(quantization)))


def _sums(layer: Layer) -> tuple[Array, Array]:
    """Add up the positive and the negative weights of each output channel."""
    w = layer.centred
    axes = tuple(range(1, w.ndim)) if layer.kind == "Conv" else (-2,)
    return np.maximum(w, 0).sum(axis=axes), np.minimum(w, 0).sum(axis=axes)


def accumulators(document: Document, kind: Kind | None = None) -> Table:
    """Return, for each layer with known weights, how wide its sums become.

    ``K`` counts the products of one output, ``Room`` how often the largest sum goes into int32.
    """
    rows = tuple(
        (
            Code(one.node),
            one.products,
            one.bits_by_type,
            one.low,
            one.high,
            one.bits,
            INT32_BITS - one.bits,
            digits(2**31 / one.largest) if one.largest else None,
            "yes" if one.exact_in_float32 else "no",
        )
        for one in bounds(document, kind)
    )
    return Table(
        (
            *("Node", "K", "Bits by type", "Lowest sum", "Highest sum"),
            *("Bits", "Spare bits", "Room", "Exact in float32"),
        ),
        rows,
    )


def widest(document: Document, kind: Kind | None = None) -> Accumulator | None:
    """Return the accumulator with the largest sum."""
    return max(bounds(document, kind), key=lambda one: one.largest, default=None)
