"""The numeric contracts: every run names the one that it follows."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

from qdqdoc.document.problems import nearest
from qdqdoc.execute.errors import ExecuteError

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, kw_only=True)
class Contract:
    """What the numbers of a run are equal to; ``ready`` tells whether `execute` follows it."""

    name: str
    meaning: str
    ready: bool = False


_ALL = (
    Contract(
        name="qdq",
        meaning="the file as written: every node in its own type; sums of float operators "
        "rounded once",
        ready=True,
    ),
    Contract(name="exact", meaning="the rational value of each DQ.op.Q group, rounded once"),
    Contract(name="ort", meaning="the graph after onnxruntime's fusions, with integer kernels"),
    Contract(name="q31", meaning="integers alone: a 32-bit multiplier, a shift, one rounding"),
    Contract(name="gemmlowp", meaning="integers alone: two roundings"),
)

CONTRACTS: Mapping[str, Contract] = MappingProxyType({one.name: one for one in _ALL})
"""Every contract by its name, those that are planned included."""

READY = tuple(one.name for one in _ALL if one.ready)
"""Names of the contracts that `execute` follows."""


def contract_named(name: str) -> Contract:
    """Return the contract of this name, if it can be followed.

    >>> contract_named("qdq").ready
    True
    >>> contract_named("ort")
    Traceback (most recent call last):
    ...
    qdqdoc.execute.errors.ExecuteError: contract: found 'ort', which is not there yet; allowed: qdq
    """
    allowed = ", ".join(READY)
    if name not in CONTRACTS:
        note = nearest(name, CONTRACTS)
        raise ExecuteError(f"contract: found {name!r}{note}; allowed: {allowed}")
    if not CONTRACTS[name].ready:
        raise ExecuteError(f"contract: found {name!r}, which is not there yet; allowed: {allowed}")
    return CONTRACTS[name]
