"""Which groups of a quantized network onnxruntime computes in integers, and why not the others.

A DQ.op.Q group is computed in floats unless the optimizer puts an integer operator in its
place. This follows the optimizer pass by pass, on a graph that can be changed.

Not followed: Transposes that are moved or cancelled, and what is folded into a float Conv before
its weights are quantized. Networks that hold these may be predicted wrongly.
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
    join_reshapes,
    make_gemm,
    merge_equal,
    remove_double_pairs,
    remove_identities,
)
from qdqdoc.fuse.clips import remove_clips
from qdqdoc.fuse.lowering import lowered, lowered_graph
from qdqdoc.fuse.needs import lacking
from qdqdoc.fuse.opening import opened
from qdqdoc.fuse.operands import quantize_weights_and_biases
from qdqdoc.fuse.preparing import complete_transposes, propagate, unique_dequantize
from qdqdoc.fuse.rewriting import Answer, convert_to_uint8, fuse_groups, remove_pairs
from qdqdoc.fuse.verdicts import Subject, subjects, verdict
from qdqdoc.groups import partial

if TYPE_CHECKING:
    from qdqdoc.document import Document, Graph
    from qdqdoc.fuse.network import Network, Node

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
    join_reshapes,
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
    complaint = lacking(document)
    if complaint:
        raise FuseError(complaint)
    return _Fuser(document, TARGETS[target]).fusion()


class _Fuser:
    """Follows the optimizer through a graph and the graphs inside it."""

    def __init__(self, document: Document, target: Target) -> None:
        self.document = document
        self.target = target
        self.counts: Counter[str] = Counter()
        self.verdicts: list[Verdict] = []
        self.shifted: dict[str, int] = {}
        self.refused = ""
        self.unwritten = ""

    def fusion(self) -> Fusion:
        found = opened(self.document, self.document.graph)
        graph = self._graph(found, self.document.graph, "")
        made = lowered(self.document, graph, found.data)
        return Fusion(
            target=self.target,
            verdicts=tuple(self.verdicts),
            counts=dict(sorted(self.counts.items())),
            document=made,
            shifted={k: v for k, v in self.shifted.items() if k in made.tensors},
            refused=self.refused,
            unwritten=self.unwritten,
        )

    def _graph(self, found: Network, like: Graph, path: str) -> Graph:
        asked = subjects(found)
        unique_dequantize(found)
        for _ in range(ROUNDS):
            if not sum(change(found) for change in FIRST_LEVEL):
                break
        answers = self._second_level(found)
        self._tell(found, asked, answers, path)
        bodies = {id(node): self._bodies(found, node, path) for node in found.nodes if node.graphs}
        for node in (*found.folded, *found.nodes):
            if node.opset != self.document.opset_imports.get(node.domain, node.opset):
                self.unwritten = f"{node.name}: is of opset {node.opset}, unlike the model"
        self.unwritten = self.unwritten or found.unwritten
        return lowered_graph(found, like, bodies)

    def _bodies(self, found: Network, node: Node, path: str) -> dict[str, Graph]:
        return {
            name: self._graph(
                opened(self.document, graph, found, node), graph, f"{path}{node.name}/{name}/"
            )
            for name, graph in node.graphs.items()
        }

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
        self.shifted |= found.shifted
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
