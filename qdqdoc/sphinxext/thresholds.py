"""Every accumulator that a layer can reach, under every rule of the atlas, by way of thresholds.

A rule never takes a larger accumulator to a smaller code. So it is known everywhere once it is
known where its codes change: for each code the least accumulator that reaches it. Two rules differ
on the accumulators between their thresholds, which need not be tried one by one.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from qdqdoc.facts.layers import code_range, layers
from qdqdoc.numerics.formats import DTYPES, integer_range
from qdqdoc.sphinxext.atlas import RULES, Rule, Scales

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qdqdoc.document import Document
    from qdqdoc.facts.layers import Layer

Spans = list[tuple[int, int]]
"""Accumulators from the first up to, but not including, the second; in order, apart."""


@dataclass(frozen=True)
class Step:
    """How one layer's accumulators become codes: its scales, what it reaches, its rails.

    Where each output channel has a multiplier of its own, this is the channel of the widest sums.
    """

    node: str
    scales: Scales
    least: int
    most: int
    low: int
    high: int

    @property
    def count(self) -> int:
        """How many accumulators can be reached."""
        return self.most - self.least + 1

    def code(self, rule: Rule, accumulator: int) -> int:
        """Return the code of one accumulator."""
        return min(max(int(rule.apply(accumulator, self.scales)), self.low), self.high)


def steps(document: Document) -> tuple[Step, ...]:
    """Return the layers with stored weights and a quantized result of one scale."""
    return tuple(_steps(document))


def _steps(document: Document) -> Iterator[Step]:
    for layer in layers(document):
        result = layer.group.result
        known = result is not None and result.zero_point_values is not None
        if result is None or not known or len(result.scale_values or ()) != 1:
            continue
        low, high = integer_range(DTYPES[result.dtype])
        lows, highs = _reach(layer)
        channel = int(np.maximum(-lows, highs).argmax())
        several = len(layer.w.scale_values or ()) > 1
        inside = slice(channel, channel + 1) if several else slice(None)
        yield Step(
            node=layer.group.name,
            scales=Scales(
                np.float32((layer.x.scale_values or (1,))[0]),
                np.float32((layer.w.scale_values or (1,))[channel if several else 0]),
                np.float32((result.scale_values or (1,))[0]),
                int((result.zero_point_values or (0,))[0]),
            ),
            least=int(lows[inside].min()),
            most=int(highs[inside].max()),
            low=low,
            high=high,
        )


def _reach(layer: Layer) -> tuple[np.ndarray, np.ndarray]:
    """Return the least and the largest sum of each output channel, bias included."""
    least, most = code_range(layer.x)
    w = layer.centred
    axes = tuple(range(1, w.ndim)) if layer.kind == "Conv" else (*range(w.ndim - 2), -2)
    positive, negative = np.maximum(w, 0).sum(axis=axes), np.minimum(w, 0).sum(axis=axes)
    bias = np.array(layer.bias or (0,), dtype=np.int64)
    return least * positive + most * negative + bias, most * positive + least * negative + bias


@cache
def thresholds(step: Step, rule: Rule) -> tuple[int, ...]:
    """Return for each code above the lower rail the least accumulator that gets it.

    What is not reached counts as one beyond the most that is.
    """
    found = (_threshold(step, rule, code) for code in range(step.low + 1, step.high + 1))
    return tuple(min(max(one, step.least), step.most + 1) for one in found)


def _threshold(step: Step, rule: Rule, code: int) -> int:
    """Search around the place where the exact value is half a step below the code."""
    middle = (code - step.scales.zero_point - Fraction(1, 2)) / step.scales.exact
    below, width = int(middle) - 1, 1
    while rule.apply(below, step.scales) >= code:
        below, width = below - width, 2 * width
    above, width = int(middle) + 1, 1
    while rule.apply(above, step.scales) < code:
        above, width = above + width, 2 * width
    while above - below > 1:
        between = (below + above) // 2
        if rule.apply(between, step.scales) >= code:
            above = between
        else:
            below = between
    return above


def differing(step: Step, one: Rule, other: Rule) -> Spans:
    """Return the accumulators to which two rules give different codes."""
    pairs = zip(thresholds(step, one), thresholds(step, other), strict=True)
    spans = sorted((min(pair), max(pair)) for pair in pairs if pair[0] != pair[1])
    for left, right in pairwise(spans):
        if right[0] < left[1]:
            return _merged(spans)
    return spans


def _merged(spans: Spans) -> Spans:
    """Join spans that overlap: there the codes differ by more than one step."""
    made: Spans = []
    for first, last in spans:
        if made and first < made[-1][1]:
            made[-1] = (made[-1][0], max(made[-1][1], last))
        else:
            made.append((first, last))
    return made


def size(spans: Spans) -> int:
    """Count the accumulators in spans."""
    return sum(last - first for first, last in spans)


EXACT = RULES[0]
