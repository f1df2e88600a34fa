"""D1: which mutants of the kernels, and of what they are made of, the examples and vectors kill."""

from __future__ import annotations

import os
import resource
import signal
import sys
import warnings
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import get_context
from typing import TYPE_CHECKING

from qdqdoc.drift.cases import cases, examples, modules, touching
from qdqdoc.drift.mutants import mutants

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import CodeType, FrameType

    from qdqdoc.drift.cases import Case, Example
    from qdqdoc.drift.mutants import Mutant

SECONDS = 20
"""A mutant that runs longer hangs, and is noticed by that."""
MEMORY = 6 * 2**30
"""A mutant that asks for more, in bytes, is noticed by that."""


@dataclass
class Score:
    """Mutants of one module: how many, by what they were killed, and which are alive."""

    module: str
    total: int = 0
    by_examples: int = 0
    by_vectors: int = 0
    alive: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Bench:
    """Everything that mutants are tried on."""

    cases: list[Case]
    examples: list[Example]

    def touched(self) -> frozenset[CodeType]:
        """Code of every function that some case comes through."""
        return frozenset().union(*(case.touched for case in self.cases))


_bench: Bench | None = None


def score(names: Iterable[str], done: Callable[[Score], None]) -> list[Score]:
    """Try the mutants of the named modules, or of all; ``done`` is told of each that is ready."""
    global _bench  # noqa: PLW0603 - the processes inherit it: code objects cannot be sent
    only = {*names}
    _bench = Bench(cases(only), examples(only))
    wanted = only or {module.__name__ for module in modules()}
    known = [m.__name__ for m in modules() if m.__name__ in wanted]
    found = []
    workers = os.cpu_count() or 1
    with ProcessPoolExecutor(workers, mp_context=get_context("fork")) as pool:
        for one in pool.map(_module, known, chunksize=1):
            done(one)
            found.append(one)
    return [one for one in found if one.total]


def _module(name: str) -> Score:
    assert _bench is not None  # noqa: S101 - set before the processes were made
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    warnings.simplefilter("ignore")
    found = Score(name)
    for mutant in mutants(sys.modules[name], _bench.touched()):
        found.total += 1
        code = mutant.original.__code__
        if _killed(mutant, touching(_bench.examples, code)):
            found.by_examples += 1
        elif _killed(mutant, touching(_bench.cases, code)):
            found.by_vectors += 1
        else:
            found.alive.append(mutant.label)
    return found


class _TooLongError(Exception):
    """A mutant hangs."""


def _stop(signum: int, frame: FrameType | None) -> None:  # noqa: ARG001 - the form of a handler
    raise _TooLongError


def _killed(mutant: Mutant, these: list[Case | Example]) -> bool:
    signal.signal(signal.SIGALRM, _stop)
    signal.alarm(SECONDS)
    try:
        with mutant.in_place():
            return any(case.notices() for case in these)
    except BaseException:  # noqa: BLE001 - whatever it does, it is noticed
        return True
    finally:
        signal.alarm(0)
