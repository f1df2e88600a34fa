"""What `fuse` answers: a verdict for each node, with its reason in words and as a code."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from qdqdoc.errors import QdqdocError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from qdqdoc.document import Document


class FuseError(QdqdocError):
    """The question has no answer: an unknown target, or a document without its operators."""


class Outcome(StrEnum):
    """What becomes of a node."""

    FUSED = "fused"
    """An integer operator takes its place and that of its Q and DQ nodes."""
    DROPPED = "dropped"
    """It works on the codes themselves; the Q and DQ nodes around it are gone."""
    REMOVED = "removed"
    """It is gone, folded into a constant or into a neighbour."""
    STAYS = "stays"
    """It computes with floats."""


class Reason(StrEnum):
    """Why a node stays as it is."""

    OPERATOR = "operator-without-integer-form"
    VERSION = "operator-version"
    INPUT_NOT_QUANTIZED = "input-not-quantized"
    OUTPUT_NOT_QUANTIZED = "output-not-quantized"
    SEVERAL_CONSUMERS = "several-consumers"
    GRAPH_OUTPUT = "graph-output"
    SHARED_DEQUANTIZE = "dequantize-not-exclusive"
    ACTIVATION = "activation-before-quantize"
    WIDTH = "type-without-kernel"
    INT8_FORK = "int8-fork"
    INT8_CONSTANT = "int8-constant"
    INT8_INPUT = "int8-not-converted"
    TYPES_DIFFER = "types-differ"
    WEIGHT_TYPE = "weight-type"
    BIAS_TYPE = "bias-type"
    BIAS_SCALE = "bias-scale"
    BETA = "beta"
    PARAMETERS_DIFFER = "parameters-differ"
    PARAMETERS_NOT_CONSTANT = "parameters-not-constant"
    PARAMETERS_NOT_SCALAR = "parameters-not-scalar"
    ZERO_POINT_MISSING = "zero-point-missing"
    SCALE_NOT_POSITIVE = "scale-not-positive"
    WEIGHT_FORM = "weight-form"


@dataclass(frozen=True, slots=True)
class Target:
    """An onnxruntime to predict: what its optimizer allows, and who has seen it.

    ``processor`` states what its kernels take from the processor.
    """

    name: str
    int8_allowed: bool
    witnessed: bool
    about: str
    processor: str


X86 = "onnxruntime on x86-64 at ORT_ENABLE_EXTENDED"
VNNI = "QLinearAdd and QLinearSigmoid with FMA; sums of uint8 times int8 without saturation"
"""What processors with VNNI do. With AVX2 alone such sums saturate, with SSE there is no FMA."""

TARGETS: Mapping[str, Target] = {
    target.name: target
    for target in (
        Target("ort-x86", int8_allowed=False, witnessed=True, about=X86, processor=VNNI),
        Target(
            "ort-x86-int8",
            int8_allowed=True,
            witnessed=True,
            about=f"{X86} with session.qdqisint8allowed=1",
            processor=VNNI,
        ),
        Target(
            "ort-arm",
            int8_allowed=True,
            witnessed=False,
            about="onnxruntime on 64-bit ARM at ORT_ENABLE_EXTENDED; predicted, not witnessed here",
            processor="assumed to compute as x86-64 does; not witnessed",
        ),
    )
}
"""The targets by name."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a node stays: the code, and the words with the names in question."""

    reason: Reason
    words: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """What becomes of one node.

    ``node`` is its name in the document, behind the names of the calls around it where it
    stands in a function. ``op_type`` and ``domain`` say what runs in the end. ``reason`` is
    ``None`` unless it stays.
    """

    node: str
    source: str
    outcome: Outcome
    op_type: str
    domain: str
    output: str
    words: str
    reason: Reason | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Fusion:
    """The verdicts in graph order, what runs in the end, and how often each operator does.

    ``counts`` has ``domain::`` before operators that are not of ai.onnx. ``document`` is what
    onnxruntime's optimizer makes of the model: functions are opened, integer operators stand in
    the place of groups; what it folds into constants is still there, as operations before the
    others. Its tensors have the names of the model where they are the model's. ``shifted`` tells
    how much larger the codes of a tensor are than in the model, where int8 became uint8.

    ``refused`` says why onnxruntime cannot load the model after its own rewriting, ``unwritten``
    why ``document`` is not what it would run; both are empty where all is well.
    """

    target: Target
    verdicts: tuple[Verdict, ...]
    counts: Mapping[str, int]
    document: Document
    shifted: Mapping[str, int]
    refused: str = ""
    unwritten: str = ""

    def __getitem__(self, node: str) -> Verdict:
        """Return the verdict on a node by its name."""
        for verdict in self.verdicts:
            if verdict.node == node:
                return verdict
        raise FuseError(f"no verdict on {node!r}: no such node, or no Q or DQ beside it")

    @property
    def outcomes(self) -> dict[Outcome, int]:
        """How many nodes have each outcome."""
        return dict(Counter(verdict.outcome for verdict in self.verdicts))
