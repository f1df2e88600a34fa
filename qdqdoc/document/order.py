"""Order and names of operations."""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence


def arrange(reads: Sequence[Collection[str]], writes: Sequence[Collection[str]]) -> list[int]:
    """Return indexes in an order in which operations can run, as close to the given one as can be.

    >>> arrange([{"b"}, {"a"}], [{"c"}, {"b"}])
    [1, 0]

    Operations that wait for themselves are left out:

    >>> arrange([{"b"}, {"c"}], [{"c"}, {"b"}])
    []
    """
    writer = {name: index for index, names in enumerate(writes) for name in names}
    needs = [{writer[name] for name in names if name in writer} for names in reads]
    waiting = [len(need) for need in needs]
    readers: list[list[int]] = [[] for _ in reads]
    for index, need in enumerate(needs):
        for source in need:
            readers[source].append(index)
    ready = [index for index, count in enumerate(waiting) if count == 0]
    heapify(ready)
    order = []
    while ready:
        index = heappop(ready)
        order.append(index)
        for reader in readers[index]:
            waiting[reader] -= 1
            if waiting[reader] == 0:
                heappush(ready, reader)
    return order


def distinct_names(names: Sequence[str], op_types: Sequence[str]) -> list[str]:
    """Return a name of its own for every operation; given names stay where they can.

    >>> distinct_names(["a", "", "a"], ["Add", "Mul", "Add"])
    ['a', 'Mul_1', 'a_2']
    """
    taken = set(names)
    seen: set[str] = set()
    result = []
    for index, (name, op_type) in enumerate(zip(names, op_types, strict=True)):
        if name and name not in seen:
            seen.add(name)
            result.append(name)
            continue
        made = f"{name or op_type}_{index}"
        while made in taken:
            made += "_"
        taken.add(made)
        result.append(made)
    return result
