"""Where the errors go: every edit at every node of every line, each result once."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Final

from qdqdoc.formula.edits import edits
from qdqdoc.formula.tree import (
    Call,
    Item,
    Line,
    Name,
    Node,
    canonical,
    children,
    source,
    walk,
    with_children,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_Lines = tuple[Line, ...]

# Scales and zero points, as formulas (s, s_x) and ONNX (x_scale, x_zero_point) call them.
_ROLES: Final = (
    re.compile(r"s(_.*)?|(.*_)?scale"),
    re.compile(r"z(_.*)?|(.*_)?(zero_point|zp)"),
)
_LONGEST: Final = 48


def mutate(
    lines: _Lines, symbols: tuple[str, ...], types: tuple[str, ...]
) -> Iterator[tuple[str, _Lines]]:
    """Yield a label and the lines of every mutant, in a fixed order."""
    seen = {_key(lines)}
    labels: Counter[str] = Counter()
    # A type that nothing is rounded to, such as an integer T, is no alternative to one.
    called = {node.function for node in _nodes(lines) if isinstance(node, Call)}
    types = tuple(name for name in types if name in called)
    relatives = _relatives(lines, symbols)
    for label, mutated in itertools.chain(
        _local(lines, types, relatives), _swapped(lines, relatives)
    ):
        key = _key(mutated)
        if key not in seen:
            seen.add(key)
            labels[label] += 1
            yield f"{label} ({labels[label]})" if labels[label] > 1 else label, mutated


def _nodes(lines: _Lines) -> Iterator[Node]:
    return itertools.chain.from_iterable(walk(line.value) for line in lines)


def _key(lines: _Lines) -> _Lines:
    return tuple(replace(line, value=canonical(line.value)) for line in lines)


def _local(
    lines: _Lines, types: tuple[str, ...], relatives: dict[str, list[str]]
) -> Iterator[tuple[str, _Lines]]:
    """Edit one node."""
    for number, line in enumerate(lines):
        for node, put in _sites(line.value):
            for edit, other in edits(node, types, lambda name: relatives.get(name, [])):
                label = f"line {number + 1}, {line.target}: {edit} in {_shortened(node)}"
                changed = replace(line, value=put(other))
                yield label, (*lines[:number], changed, *lines[number + 1 :])


def _sites(
    node: Node, put: Callable[[Node], Node] = lambda node: node
) -> Iterator[tuple[Node, Callable[[Node], Node]]]:
    """Yield every node with the function that puts another one in its place."""
    yield node, put
    for position, child in enumerate(children(node)):
        yield from _sites(child, partial(_replace_child, node, position, put))


def _replace_child(node: Node, position: int, put: Callable[[Node], Node], other: Node) -> Node:
    below = list(children(node))
    below[position] = other
    return put(with_children(node, tuple(below)))


def _shortened(node: Node) -> str:
    text = source(node)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."


def _relatives(lines: _Lines, symbols: tuple[str, ...]) -> dict[str, list[str]]:
    """Group the scales, and the zero points, that could stand for each other."""
    indexed = {node.name for node in _nodes(lines) if isinstance(node, Item)}
    groups = [
        [name for name in symbols if role.fullmatch(name) and (name in indexed) is with_index]
        for role in _ROLES
        for with_index in (False, True)
    ]
    return {name: [other for other in group if other != name] for group in groups for name in group}


def _swapped(lines: _Lines, relatives: dict[str, list[str]]) -> Iterator[tuple[str, _Lines]]:
    """Swap two scales, or two zero points, wherever they stand."""
    for one, others in relatives.items():
        for two in others:
            if one < two:
                swap = {one: two, two: one}
                mutated = tuple(replace(line, value=_renamed(line.value, swap)) for line in lines)
                yield f"all lines: {one} and {two} swapped", mutated


def _renamed(node: Node, names: dict[str, str]) -> Node:
    node = with_children(node, tuple(_renamed(child, names) for child in children(node)))
    if isinstance(node, Name | Item):
        return replace(node, name=names.get(node.name, node.name))
    return node
