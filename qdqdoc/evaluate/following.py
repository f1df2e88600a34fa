"""The seam to what runs a document under a contract."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from qdqdoc.execute.contracts import contract_named
from qdqdoc.execute.exact import refuse_inexact
from qdqdoc.fuse import fuse
from qdqdoc.plan import compile_plan

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from qdqdoc.document import Document
    from qdqdoc.numerics.formats import Array

    Runs = Callable[[Mapping[str, Array], Sequence[str]], Mapping[str, Array]]


@dataclass(frozen=True, kw_only=True)
class Follower:
    """A document that is ready to be run under a contract.

    ``run`` takes the inputs of a batch and the names of the tensors that are wanted; it returns
    those that there are. ``shifts`` tells which codes are larger than in the file, and by how much.
    """

    contract: str
    run: Runs
    shifts: Mapping[str, int]


def follow(document: Document, contract: str, engine: str = "blas") -> Follower:
    """Make a document ready for a contract; the engine is what multiplies.

    >>> from qdqdoc.document import Document, Graph
    >>> follow(Document(model_path="empty.onnx", graph=Graph()), "ort").shifts
    {}
    """
    named = contract_named(contract)
    plan = compile_plan(document, contract, engine)
    if named.name == "exact":
        refuse_inexact(document)
    shifts = fuse(document, named.target).shifted if named.target else {}
    kept = set(plan.kept)

    def run(inputs: Mapping[str, Array], wanted: Sequence[str]) -> Mapping[str, Array]:
        return plan.run(inputs, [name for name in wanted if name in kept])

    return Follower(contract=contract, run=run, shifts=shifts)
