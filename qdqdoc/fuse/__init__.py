"""Which groups of a quantized network onnxruntime computes in integers, and why not the others.

A DQ.op.Q group is computed in floats unless the optimizer puts an integer operator in its
place. This follows the optimizer pass by pass, on a graph that can be changed.

Not followed yet: Transposes that are moved or cancelled, the new scales where two different pairs
of QuantizeLinear and DequantizeLinear are joined, and what is folded into a float Conv before its
weights are quantized. Networks that hold these may be predicted wrongly.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from qdqdoc.fuse.answer import (
    TARGETS,
    FuseError,
    Fusion,
    Outcome,
    Reason,
    Refusal,
    Target,
    Verdict,
)
from qdqdoc.fuse.cleaning import (
    fold_constants,
    make_gemm,
    merge_equal,
    remove_double_pairs,
    remove_identities,
)
from qdqdoc.fuse.clips import remove_clips
from qdqdoc.fuse.network import Network, network
from qdqdoc.fuse.preparing import (
    complete_transposes,
    propagate,
    quantize_weights_and_biases,
    unique_dequantize,
)
from qdqdoc.fuse.rewriting import Answer, convert_to_uint8, fuse_groups, remove_pairs
from qdqdoc.fuse.verdicts import Subject, subjects, verdict
from qdqdoc.groups import partial

if TYPE_CHECKING:
    from qdqdoc.document import Document, Graph

__all__ = [
    "TARGETS",
    "FuseError",
    "Fusion",
    "Outcome",
    "Reason",
    "Refusal",
    "Target",
    "Verdict",
    "fuse",
]

ROUNDS = 10
"""How often onnxruntime repeats a level at most."""

FIRST_LEVEL = (
    remove_identities,
    remove_double_pairs,
    merge_equal,
    fold_constants,
    make_gemm,
    propagate,
    quantize_weights_and_biases,
    unique_dequantize,
    complete_transposes,
    remove_pairs,
)


def fuse(document: Document, target: str = "ort-x86") -> Fusion:
    """Return what becomes of each node that has a Q or DQ beside it.

    Examples
    --------
    >>> from qdqdoc.document import Document, Graph
    >>> from qdqdoc.fuse import fuse
    >>> fuse(Document(model_path="empty.onnx", graph=Graph()), "ort-arm").target.witnessed
    False
    >>> fuse(Document(model_path="empty.onnx", graph=Graph()), "tpu")
    Traceback (most recent call last):
    ...
    qdqdoc.fuse.answer.FuseError: no target 'tpu': there are ort-x86, ort-x86-int8, ort-arm
    """
    if target not in TARGETS:
        raise FuseError(f"no target {target!r}: there are {', '.join(TARGETS)}")
    if partial(document):
        raise FuseError(f"{document.model_path}: holds its Q and DQ nodes alone; fuse needs all")
    return _Fuser(document, TARGETS[target]).fusion()


class _Fuser:
    """Follows the optimizer through a graph and the graphs inside it."""

    def __init__(self, document: Document, target: Target) -> None:
        self.document = document
        self.target = target
        self.counts: Counter[str] = Counter()
        self.verdicts: list[Verdict] = []
        self.refused = ""

    def fusion(self) -> Fusion:
        self._graph(self.document.graph, None, "")
        counts = dict(sorted(self.counts.items()))
        return Fusion(
            target=self.target, verdicts=tuple(self.verdicts), counts=counts, refused=self.refused
        )

    def _graph(self, graph: Graph, outer: Network | None, path: str) -> None:
        found = network(self.document, graph, outer)
        asked = subjects(found)
        unique_dequantize(found)
        for _ in range(ROUNDS):
            if not sum(change(found) for change in FIRST_LEVEL):
                break
        answers = self._second_level(found)
        self._tell(found, asked, answers, path)
        for node in found.nodes:
            for name, inner in node.graphs.items():
                self._graph(inner, found, f"{path}{node.name}/{name}/")

    def _second_level(self, found: Network) -> dict[int, Answer]:
        answers: dict[int, Answer] = {}
        allowed = self.target.int8_allowed
        for _ in range(ROUNDS):
            changed = remove_clips(found) | remove_pairs(found)
            if not allowed:
                changed |= convert_to_uint8(found)
            changed |= fuse_groups(found, answers, int8_allowed=allowed)
            changed |= remove_pairs(found)
            if not changed:
                break
        self.refused = self.refused or found.refused
        return answers

    def _tell(
        self, found: Network, asked: list[Subject], answers: dict[int, Answer], path: str
    ) -> None:
        self.counts.update(
            f"{node.domain}::{node.op_type}" if node.domain else node.op_type
            for node in found.nodes
        )
        last = {name: node for node in found.nodes for name, _ in node.replaces}
        for subject in asked:
            node = last.get(subject.name)
            answer = answers.get(id(node)) if node else None
            self.verdicts.append(verdict(subject, node, answer, path))
