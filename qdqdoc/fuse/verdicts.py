"""From what the optimizer did to what the reader is told."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from qdqdoc.fuse.answer import Outcome, Reason, Refusal, Verdict

if TYPE_CHECKING:
    from qdqdoc.fuse.network import Network, Node
    from qdqdoc.fuse.rewriting import Answer


@dataclass(frozen=True, slots=True)
class Subject:
    """A node of the document that has a Q or DQ beside it, as it was at first."""

    name: str
    op_type: str
    domain: str
    output: str


def subjects(network: Network) -> list[Subject]:
    """Return the nodes with a DQ before or a Q behind them, in graph order."""
    return [
        Subject(node.name, node.op_type, node.domain, next(filter(None, node.outputs), ""))
        for node in network.nodes
        if not (node.quantizes or node.dequantizes or node.is_onnx("Identity"))
        and _is_beside(network, node)
    ]


def _is_beside(network: Network, node: Node) -> bool:
    before = any(
        maker is not None and maker.dequantizes
        for maker in (_maker(network, name) for name in node.inputs)
    )
    return before or any(_feeds_quantize(network, name) for name in node.outputs)


def _maker(network: Network, name: str) -> Node | None:
    maker = network.makers.get(name)
    while maker is not None and maker.is_onnx("Identity"):
        maker = network.makers.get(maker.inputs[0])
    return maker


def _feeds_quantize(network: Network, name: str) -> bool:
    for reader, _ in network.edges(name):
        if reader.quantizes and reader.inputs[0] == name:
            return True
        if reader.is_onnx("Identity") and _feeds_quantize(network, reader.outputs[0]):
            return True
    return False


def verdict(subject: Subject, node: Node | None, answer: Answer | None, path: str) -> Verdict:
    """Put an answer into words."""
    outcome, reason, words = _words(subject, node, answer)
    return Verdict(
        node=path + subject.name,
        source=subject.op_type,
        outcome=outcome,
        op_type=node.op_type if node else "",
        domain=node.domain if node else "",
        output=subject.output,
        words=words,
        reason=reason,
    )


def _words(
    subject: Subject, node: Node | None, answer: Answer | None
) -> tuple[Outcome, Reason | None, str]:
    if node is None:
        words = "is gone: folded into a constant, merged with an equal node, or without effect"
        return Outcome.REMOVED, None, words
    if isinstance(answer, Refusal):
        return Outcome.STAYS, answer.reason, answer.words
    if answer is Outcome.DROPPED:
        return Outcome.DROPPED, None, f"{subject.op_type} works on the codes"
    return Outcome.FUSED, None, f"{subject.op_type} becomes {node.op_type}"
