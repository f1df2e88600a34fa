"""What `audit` answers: a row for each group, findings with numbers, and what was tried."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from qdqdoc.errors import QdqdocError
from qdqdoc.fuse import Outcome

if TYPE_CHECKING:
    from collections.abc import Mapping

    from qdqdoc.fuse import Target, Verdict

Number = int | float | str | list[int] | list[float] | list[str] | list[list[int]]
"""What a finding counts or measures; JSON holds each of them."""


class AuditError(QdqdocError):
    """The audit cannot be made, or not the comparison that was asked for."""


class Level(StrEnum):
    """How much a finding matters."""

    ERROR = "error"
    """Somebody refuses the model, or its numbers are not what they stand for."""
    WARNING = "warning"
    """Some runtime or processor computes other numbers, or accuracy is given away."""
    NOTE = "note"
    """Worth knowing; nothing is wrong."""


E, W, N = Level
CODES: Mapping[str, tuple[Level, str]] = {
    "model-refused": (E, "onnxruntime's own rewriting makes a graph that it cannot load"),
    "scale-zero": (E, "a scale is zero"),
    "scale-not-finite": (E, "a scale is infinite or no number"),
    "scale-negative": (W, "a scale is negative"),
    "scale-subnormal": (W, "a scale is below the normal numbers of its type"),
    "axis-on-rank-1": (E, "a tensor of rank 1 has an axis other than its only one"),
    "axis-out-of-range": (E, "an axis lies beyond the rank"),
    "axis-not-output": (W, "weights have scales along an axis that is not the output channels'"),
    "mixed-types": (W, "int8 and uint8 codes meet in one group"),
    "asymmetric-weights": (W, "weights have a zero point that is not the middle"),
    "dequantize-fan-out": (N, "several readers share a DequantizeLinear"),
    "redundant-pair": (N, "a DequantizeLinear leads straight to a QuantizeLinear that undoes it"),
    "double-rounding": (W, "a DequantizeLinear leads straight to a QuantizeLinear of other grid"),
    "bias-scale-off": (W, "the scale of a bias is not the product of those of data and weights"),
    "bias-beyond-int32": (E, "a bias does not fit int32, or was clipped to it"),
    "bias-headroom": (W, "a bias takes more than half of int32"),
    "accumulator-beyond-int32": (E, "some input makes a sum leave int32"),
    "accumulator-beyond-float32": (N, "some input makes a sum leave what float32 holds exactly"),
    "saturating-pairs": (W, "pairs of products leave int16, which AVX2 without VNNI saturates"),
    "unused-weight-codes": (N, "weights need fewer bits than their type has"),
    "unused-activation-codes": (W, "codes below the zero point, though no value is negative"),
    "scales-at-run-time": (N, "a scale or zero point is known at run time only"),
    "sums-unknown": (N, "the sums of a layer have no bound from the file alone"),
    "remedies-not-tried": (N, "what would fuse the groups was not tried"),
}
"""Every finding there is: its level and what it says."""

UNFUSED = "unfused"
"""What `--fail-on` calls a group that stays in floats, whatever its reason."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """Something to know of one place.

    ``node`` is the group or node, as in the table of groups, ``tensor`` the tensor in question;
    either may be empty. ``numbers`` are what the words are made of.
    """

    code: str
    node: str
    tensor: str
    words: str
    numbers: Mapping[str, Number] = field(default_factory=dict)

    @property
    def level(self) -> Level:
        """How much it matters."""
        return CODES[self.code][0]


@dataclass(frozen=True, kw_only=True, slots=True)
class Sums:
    """What the sums of one layer need: from the stored weights and bias, whatever the input."""

    products: int
    low: int
    high: int
    bits: int
    bits_by_type: int
    exact_in_float32: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One group: what becomes of it, and which remedies would fuse it.

    ``output`` is the tensor that the rest of the model reads: codes where there is a Q.
    ``sources`` are the groups that made what it reads.
    ``remedies`` are the smallest sets that do, each tried on its own; empty where the group is
    fused, and where none of them helps.
    """

    verdict: Verdict
    pattern: str
    output: str = ""
    sources: tuple[str, ...] = ()
    sums: Sums | None = None
    remedies: tuple[tuple[str, ...], ...] = ()

    @property
    def fused(self) -> bool:
        """Whether it no longer computes with floats between its Q and DQ nodes."""
        return self.verdict.outcome is not Outcome.STAYS


@dataclass(frozen=True, kw_only=True, slots=True)
class Trial:
    """A remedy, or several at once, and how many groups stay in floats with it."""

    remedies: tuple[str, ...]
    stays: int
    helped: int
    spoiled: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Audit:
    """The audit of one model for one target."""

    model: str
    model_sha256: str | None
    target: Target
    rows: tuple[Row, ...]
    findings: tuple[Finding, ...]
    trials: tuple[Trial, ...]
    counts: Mapping[str, int]
    refused: str = ""

    @property
    def unfused(self) -> tuple[Row, ...]:
        """The groups that stay in floats."""
        return tuple(row for row in self.rows if not row.fused)

    def hits(self, words: str) -> int:
        """Count what a word of `--fail-on` means: a code, a level, a reason, or `unfused`."""
        if words == UNFUSED:
            return len(self.unfused)
        reasons = sum(row.verdict.reason == words for row in self.rows)
        return reasons + sum(words in {one.code, one.level} for one in self.findings)
