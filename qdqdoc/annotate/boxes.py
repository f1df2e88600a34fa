"""How groups share boxes and boxes share columns, so that a network fits one page."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from qdqdoc.groups import WEIGHTED, Group

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

HEAVY = WEIGHTED | {"QLinearConv", "QLinearMatMul", "QGemm", "ConvInteger", "MatMulInteger"}
HEAVY |= {"MatMulNBits", "DynamicQuantizeMatMul", "QAttention", "LSTM", "GRU", "Gather"}
"""Operators that begin a box: where a layer begins in the eyes of a reader."""
LONGEST_BOX = 6
PAGE = (802.0, 555.0)
"""A4 in points, the long side first, within margins of 20 points."""
GAP = 20.0
"""Between neighbours, beside an edge or between columns."""
LEVEL_GAP = 36.0
"""Between a box and the one below it: the edge and its label."""
MOST_COLUMNS = 12


@dataclass(frozen=True, slots=True)
class Box:
    """Groups that follow one another without a branch: one box of the overview."""

    index: int
    groups: tuple[Group, ...]

    @property
    def last(self) -> Group:
        """The group whose result leaves the box."""
        return self.groups[-1]


def boxes(found: Sequence[Group], limit: int = LONGEST_BOX) -> tuple[Box, ...]:
    """Collapse chains such as Conv, Mul, Add; begin anew at each weight and each join."""
    readers = _reader_counts(found)
    runs: list[list[Group]] = []
    run_of: dict[int, int] = {}
    for group in found:
        source = _only_source(group)
        run = run_of.get(source) if source is not None else None
        if (
            run is not None
            and source is not None
            and _continues(runs[run], group, readers[source], limit)
        ):
            runs[run].append(group)
        else:
            run = len(runs)
            runs.append([group])
        run_of[group.index] = run
    return tuple(Box(index, tuple(run)) for index, run in enumerate(runs))


def _reader_counts(found: Sequence[Group]) -> dict[int, int]:
    counts = {group.index: 0 for group in found}
    for group in found:
        for source in {o.source for o in group.activations if o.source is not None}:
            counts[source] = counts.get(source, 0) + 1
    return counts


def _only_source(group: Group) -> int | None:
    activations = group.activations
    return activations[0].source if len(activations) == 1 else None


def _continues(run: Sequence[Group], group: Group, readers: int, limit: int) -> bool:
    follows = run[-1].index == group.activations[0].source
    return follows and readers == 1 and len(run) < limit and not _is_heavy(group)


def _is_heavy(group: Group) -> bool:
    return group.operation.op_type in HEAVY or bool(group.operation.graphs)


@dataclass(frozen=True, slots=True)
class Edge:
    """A tensor that goes from a box to an operand of another box's first group."""

    source: int
    target: int
    operand: int


def edges(drawn: Sequence[Box]) -> tuple[Edge, ...]:
    """Return who feeds whom, in the order of the boxes that are fed."""
    owner = {group.index: box.index for box in drawn for group in box.groups}
    return tuple(
        Edge(owner[operand.source], box.index, position)
        for box in drawn
        for position, operand in enumerate(box.groups[0].operands)
        if operand.source is not None and owner.get(operand.source, box.index) != box.index
    )


def columns(
    drawn: Sequence[Box], size: Callable[[Box], tuple[float, float]], beside: float
) -> tuple[tuple[Box, ...], ...]:
    """Cut the network into columns so that the whole is largest on one A4 page.

    ``size`` estimates a box's width and height in points, ``beside`` is the width of what
    stands next to the columns.
    """
    if not drawn:
        return ()
    links = edges(drawn)
    blocks = _blocks(drawn, links)
    sizes = [_extent(block, links, size) for block in blocks]
    best: tuple[float, list[list[int]]] | None = None
    for count in range(1, min(len(blocks), MOST_COLUMNS) + 1):
        parts = _partition([height for _, height in sizes], count)
        width = beside + sum(max(sizes[i][0] for i in part) + GAP for part in parts)
        height = max(sum(sizes[i][1] for i in part) for part in parts)
        scale = max(_fit(width, height, *PAGE), _fit(width, height, *PAGE[::-1]))
        if best is None or scale > best[0]:
            best = scale, parts
    parts = best[1] if best else []
    return tuple(tuple(box for i in part for box in blocks[i]) for part in parts)


def _fit(width: float, height: float, page_width: float, page_height: float) -> float:
    return min(page_width / width, page_height / height)


def _blocks(drawn: Sequence[Box], links: Sequence[Edge]) -> list[list[Box]]:
    """Cut where the fewest tensors cross; allow more only while a block is too long."""
    crossing = _crossing(len(drawn), links)
    for allowed in (1, 2, 3, 5, 8, len(drawn)):
        blocks: list[list[Box]] = [[drawn[0]]]
        for box in drawn[1:]:
            if crossing[box.index] <= allowed:
                blocks.append([])
            blocks[-1].append(box)
        if max(map(len, blocks)) <= max(8, len(drawn) // 4):
            break
    return blocks


def _crossing(count: int, links: Sequence[Edge]) -> list[int]:
    """Count the tensors that come from before each box and are read at it or later."""
    last_reader: dict[int, int] = {}
    for link in links:
        last_reader[link.source] = max(last_reader.get(link.source, 0), link.target)
    change = [0] * (count + 1)
    for source, reader in last_reader.items():
        change[source + 1] += 1
        change[min(reader + 1, count)] -= 1
    crossing, now = [], 0
    for step in change[:count]:
        now += step
        crossing.append(now)
    return crossing


def _extent(
    block: Sequence[Box], links: Sequence[Edge], size: Callable[[Box], tuple[float, float]]
) -> tuple[float, float]:
    """Estimate a block: its longest path down and its widest level across."""
    inside = {box.index for box in block}
    depth = dict.fromkeys(inside, 0)
    for link in links:
        if link.source in inside and link.target in inside:
            depth[link.target] = max(depth[link.target], depth[link.source] + 1)
    levels: dict[int, list[tuple[float, float]]] = {}
    for box in block:
        levels.setdefault(depth[box.index], []).append(size(box))
    width = max(sum(w + GAP for w, _ in level) for level in levels.values())
    height = sum(max(h for _, h in level) + LEVEL_GAP for level in levels.values())
    return width, height


def _partition(heights: Sequence[float], count: int) -> list[list[int]]:
    """Split a sequence into at most ``count`` runs whose largest sum is smallest."""
    low, high = max(heights), sum(heights)
    while high - low > 1:
        middle = (low + high) / 2
        low, high = (low, middle) if len(_greedy(heights, middle)) <= count else (middle, high)
    return _greedy(heights, high)


def _greedy(heights: Sequence[float], most: float) -> list[list[int]]:
    parts: list[list[int]] = [[]]
    filled = 0.0
    for index, height in enumerate(heights):
        if parts[-1] and filled + height > most:
            parts.append([])
            filled = 0.0
        parts[-1].append(index)
        filled += height
    return parts
