"""The numeric contracts: every run names the one that it follows."""

from __future__ import annotations

from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING

from qdqdoc.document.problems import nearest
from qdqdoc.execute.errors import ExecuteError
from qdqdoc.fuse import TARGETS, FuseError, fuse

if TYPE_CHECKING:
    from collections.abc import Mapping

    from qdqdoc.document import Document


@dataclass(frozen=True, kw_only=True)
class Contract:
    """What the numbers of a run are equal to; ``ready`` tells whether `execute` follows it.

    ``target`` is the onnxruntime whose fusions are followed, see `qdqdoc.fuse`; empty for none.
    """

    name: str
    meaning: str
    ready: bool = False
    target: str = ""


_ALL = (
    Contract(
        name="qdq",
        meaning="the file as written: every node in its own type; sums of float operators "
        "rounded once",
        ready=True,
    ),
    Contract(
        name="exact",
        meaning="the rational value of each DQ.op.Q group, rounded once, ties to even",
        ready=True,
    ),
    Contract(
        name="ort",
        meaning="the graph after onnxruntime's fusions, with integer kernels; what is not fused "
        "as under qdq",
        ready=True,
        target="ort-x86",
    ),
    Contract(name="q31", meaning="integers alone: a 32-bit multiplier, a shift, one rounding"),
    Contract(name="gemmlowp", meaning="integers alone: two roundings"),
)

CONTRACTS: Mapping[str, Contract] = MappingProxyType({one.name: one for one in _ALL})
"""Every contract by its name, those that are planned included."""

READY = (*(one.name for one in _ALL if one.ready), *TARGETS)
"""What `execute` follows: contracts by their names, ``ort`` also by the name of a target."""


def contract_named(name: str) -> Contract:
    """Return the contract of this name, if it can be followed; targets name ``ort``.

    >>> contract_named("qdq").ready
    True
    >>> contract_named("ort-x86-int8").name, contract_named("ort-x86-int8").target
    ('ort', 'ort-x86-int8')
    >>> contract_named("q31")
    Traceback (most recent call last):
    ...
    qdqdoc.execute.errors.ExecuteError: contract: found 'q31', which is not there yet; \
allowed: qdq, exact, ort, ort-x86, ort-x86-int8, ort-arm
    """
    allowed = ", ".join(READY)
    if name in TARGETS:
        return replace(CONTRACTS["ort"], target=name)
    if name not in CONTRACTS:
        note = nearest(name, READY)
        raise ExecuteError(f"contract: found {name!r}{note}; allowed: {allowed}")
    if not CONTRACTS[name].ready:
        raise ExecuteError(f"contract: found {name!r}, which is not there yet; allowed: {allowed}")
    return CONTRACTS[name]


def followed(document: Document, contract: Contract) -> Document:
    """Return the document that is run: under ``ort`` the one that onnxruntime makes of it.

    Raises
    ------
    ExecuteError
        For a model that onnxruntime cannot load, or whose rewriting is not known.
    """
    if not contract.target:
        return document
    try:
        fusion = fuse(document, contract.target)
    except FuseError as error:
        raise ExecuteError(str(error)) from error
    for reason in filter(None, (fusion.refused, fusion.unwritten)):
        raise ExecuteError(f"contract {contract.target}: {reason}")
    return fusion.document
