"""Where processors without VNNI lose: two products of codes added in 16 bits.

AVX2 multiplies codes of uint8 by codes of int8 and adds neighbours in int16, where the sum
saturates. Neighbours are consecutive along the sum: rows of a matrix; of a Conv the channels of
one place of the window, then the next place. Codes count as they are, with their zero points.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from qdqdoc.audit.answer import Finding
from qdqdoc.calls.saturation import pair_sums
from qdqdoc.document import DocumentError, array
from qdqdoc.fuse import Outcome
from qdqdoc.numerics.formats import DTYPES, Array, integer_range
from qdqdoc.numerics.products import row_blocks

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from qdqdoc.audit.opening import Scope
    from qdqdoc.facts.layers import Layer
    from qdqdoc.fuse import Fusion

INT16 = (-(2**15), 2**15 - 1)
MIXED = ("uint8", "int8")
MATRIX = 2
INTEGER = frozenset({"QLinearConv", "QLinearMatMul", "QGemm", "MatMulIntegerToFloat"})
SCALELESS = frozenset({"ConvInteger", "MatMulInteger", "MatMulIntegerToFloat"})


@dataclass(frozen=True, kw_only=True, eq=False, slots=True)
class Product:
    """A layer as a matrix product: ``columns`` are (output channels, K), in the order of the sum.

    ``low`` and ``high`` are the codes that its data can have; ``kernel`` is the window of a Conv
    with the channels last, empty for a matrix.
    """

    node: str
    tensor: str
    columns: Array
    low: int
    high: int
    kernel: tuple[int, ...]


def product(layer: Layer, node: str, low: int, high: int) -> Product | None:
    """Return the product that a layer computes, ``None`` where its path never adds pairs."""
    weights, conv = layer.weights, layer.kind == "Conv"
    groups = layer.group.operation.attributes.get("group", 1)
    if conv and weights.shape[1] == 1 and groups == len(weights):
        return None  # depthwise: summed without the instruction
    columns, kernel = _columns(weights, conv=conv)
    return Product(
        node=node, tensor=layer.w.tensor, columns=columns, low=low, high=high, kernel=kernel
    )


def _columns(weights: Array, *, conv: bool) -> tuple[Array, tuple[int, ...]]:
    """Return weights as (output channels, K) in the order of the sum, and the window of a Conv."""
    if conv:
        moved = np.moveaxis(weights, 1, -1)
        return moved.reshape(len(moved), -1), moved.shape[1:]
    return np.moveaxis(weights, -2, -1).reshape(-1, weights.shape[-2]), ()


def pair_finding(one: Product) -> Finding | None:
    """Return what saturates in a layer, with data that make it do so."""
    counts, furthest = _count(one)
    count, channels = sum(counts), sum(map(bool, counts))
    if not count:
        return None
    _, channel, pair, positive = furthest
    witness = _witness(one, channel, pair, positive=positive)
    total = len(counts) * ((one.columns.shape[1] + 1) // 2)
    words = (
        f"{count} of {total} pairs, in {channels} of {len(counts)} output channels; "
        f"channel {channel}: codes {witness['codes']} times {witness['weights']} are "
        f"{witness['sum']}, held at {witness['held']}"
    )
    numbers = {
        "pairs": count,
        "of": total,
        "channels": channels,
        "codes_low": one.low,
        "codes_high": one.high,
        **witness,
        **_window(one, channel),
    }
    return Finding(
        code="saturating-pairs", node=one.node, tensor=one.tensor, words=words, numbers=numbers
    )


def _count(one: Product) -> tuple[list[int], tuple[int, int, int, bool]]:
    """Count the pairs of each channel that leave int16, and find the one that goes furthest.

    It is told as how far, which channel, which pair, and whether upwards.
    """
    counts: list[int] = []
    furthest = (0, 0, 0, True)
    for rows in row_blocks(len(one.columns), size=one.columns.size):
        first, second = _halves(one.columns[rows])
        up = _furthest(one, first, second, np.maximum) - INT16[1]
        down = INT16[0] - _furthest(one, first, second, np.minimum)
        beyond = np.maximum(up, down)
        channel, pair = np.unravel_index(int(beyond.argmax()), beyond.shape)
        upwards = bool(up[channel, pair] > 0)
        here = (int(beyond[channel, pair]), rows.start + int(channel), int(pair), upwards)
        furthest = max(furthest, here, key=lambda found: found[0])
        counts += (beyond > 0).sum(axis=1).tolist()
    return counts, furthest


def _halves(columns: Array) -> tuple[Array, Array]:
    """Split each column into the first and the second of every pair; an odd one is alone."""
    wide = columns.astype(np.int32)
    if wide.shape[1] % 2:
        wide = np.pad(wide, ((0, 0), (0, 1)))
    return wide[:, 0::2], wide[:, 1::2]


def _furthest(one: Product, first: Array, second: Array, pick: np.ufunc) -> Array:
    """Return the largest (or least) sum of each pair over all codes that the data can have."""
    ends = [pick(half * one.low, half * one.high) for half in (first, second)]
    return np.asarray(ends[0] + ends[1])


def _witness(
    one: Product, channel: int, pair: int, *, positive: bool
) -> Mapping[str, int | list[int] | list[list[int]]]:
    """Return two codes and what becomes of the sum of their products, computed."""
    places = [at for at in (2 * pair, 2 * pair + 1) if at < one.columns.shape[1]]
    weights = one.columns[channel, places]
    codes = _ends(one, weights, positive=positive)
    held = pair_sums(codes[None], weights[:, None])
    exact = codes.astype(np.int64) @ weights.astype(np.int64)
    found: dict[str, int | list[int] | list[list[int]]] = {
        "channel": channel,
        "places": _places(one, places),
        "weights": weights.tolist(),
        "codes": codes.tolist(),
        "sum": int(exact),
        "held": int(held[0, 0]),
    }
    return found


def _ends(one: Product, weights: Array, *, positive: bool) -> Array:
    """Return the codes that pull the sum furthest."""
    ends = np.array([one.low, one.high])
    return np.asarray(ends[((weights > 0) == positive).astype(np.int64)])


def _places(one: Product, places: list[int]) -> list[list[int]]:
    """Return where the products stand: channel first, then the place in the window."""
    if not one.kernel:
        return [[at] for at in places]
    found = [[int(i) for i in np.unravel_index(at, one.kernel)] for at in places]
    return [[place[-1], *place[:-1]] for place in found]


def _window(one: Product, channel: int) -> Mapping[str, int]:
    """Return the whole sum for the data that pull every product up, exact and as it is held."""
    weights = one.columns[channel]
    codes = _ends(one, weights, positive=True)
    exact = int(codes.astype(np.int64) @ weights.astype(np.int64))
    held = int(pair_sums(codes[None], weights[:, None])[0, 0])
    return {"window_sum": exact, "window_held": held}


def reachable(dtype: str, lowest: int | None, *, shifted: bool) -> tuple[int, int]:
    """Return the uint8 codes that data can have, converted from int8 where the target does it.

    ``lowest`` is the least code that what made them can make, if that is known.

    >>> reachable("int8", None, shifted=True), reachable("uint8", 7, shifted=False)
    ((0, 255), (7, 255))
    """
    low, high = integer_range(DTYPES[dtype])
    shift = -low if shifted else 0
    return (low if lowest is None else lowest) + shift, high + shift


def saturating_findings(
    scope: Scope, known: Sequence[Layer], fusion: Fusion, lowest: Mapping[str, int]
) -> Iterator[Finding]:
    """Yield the layers with pairs that saturate, on a target that is an x86 processor."""
    if not fusion.target.name.startswith("ort-x86"):
        return
    fused = {v.node: v.op_type for v in fusion.verdicts if v.outcome is Outcome.FUSED}
    for one in (*_of_layers(scope, known, fusion, fused, lowest), *_without_scales(scope)):
        found = pair_finding(one) if one.columns.size else None
        if found is not None:
            yield found


def _of_layers(
    scope: Scope,
    known: Sequence[Layer],
    fusion: Fusion,
    fused: Mapping[str, str],
    lowest: Mapping[str, int],
) -> Iterator[Product]:
    for layer in known:
        node = scope.path + layer.group.name
        as_it_is = layer.group.operation.op_type in INTEGER
        if not (as_it_is or fused.get(node) in INTEGER) or layer.w.dtype != MIXED[1]:
            continue
        shifted = layer.x.dtype == "int8" and not (as_it_is or fusion.target.int8_allowed)
        if layer.x.dtype == MIXED[0] or shifted:
            least = lowest.get(layer.operand.origin)
            low, high = reachable(layer.x.dtype, least, shifted=shifted)
            one = product(layer, node, low, high)
            if one is not None:
                yield one


def _without_scales(scope: Scope) -> Iterator[Product]:
    """Yield the products of operators that leave the scales to the nodes behind them."""
    tensors = scope.document.tensors
    for operation in scope.document.operations:
        if operation.op_type not in SCALELESS or len(operation.inputs) < 2:  # noqa: PLR2004 - data and weights
            continue
        names = operation.inputs[:2]
        stored = tensors.get(names[-1])
        data = tensors.get(names[0])
        if stored is None or stored.dtype != MIXED[1] or (data and data.dtype == MIXED[1]):
            continue
        try:
            weights = array(scope.document, stored)
        except DocumentError:
            continue
        conv, groups = operation.op_type == "ConvInteger", operation.attributes.get("group", 1)
        if weights.ndim < MATRIX or (conv and weights.shape[1] == 1 and groups == len(weights)):
            continue
        columns, kernel = _columns(weights, conv=conv)
        yield Product(
            node=scope.path + operation.name,
            tensor=stored.name,
            columns=columns,
            low=0,
            high=255,
            kernel=kernel,
        )
