"""What becomes of a quantized model in onnxruntime, what would change that, and what is odd in it.

`audit` puts together what other rooms know: which groups fuse and why not the others (`fuse`),
how wide sums become (`facts`), what two products of codes do in 16 bits (`calls`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from qdqdoc.audit.activations import activation_findings, lowest_codes, never_negative
from qdqdoc.audit.answer import (
    CODES,
    UNFUSED,
    Audit,
    AuditError,
    Finding,
    Level,
    Row,
    Sums,
    Trial,
)
from qdqdoc.audit.biases import bias_findings
from qdqdoc.audit.checking import check
from qdqdoc.audit.joints import pair_findings, shared_findings, type_findings
from qdqdoc.audit.opening import direct, foreign_versions, named, opened, scopes
from qdqdoc.audit.pairs import saturating_findings
from qdqdoc.audit.remedies import ABOUT, Tries
from qdqdoc.audit.scales import axis_findings, scale_findings
from qdqdoc.audit.weights import sum_findings, sums, unknown_findings, weight_findings
from qdqdoc.facts.accumulators import bound
from qdqdoc.facts.layers import layers
from qdqdoc.fuse import TARGETS, Reason, fuse
from qdqdoc.groups import groups, pattern

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from qdqdoc.audit.opening import Scope
    from qdqdoc.document import Document
    from qdqdoc.fuse import Fusion

__all__ = [
    "ABOUT",
    "CODES",
    "TARGETS",
    "UNFUSED",
    "Audit",
    "AuditError",
    "Finding",
    "Level",
    "Row",
    "Sums",
    "Trial",
    "allowed_words",
    "audit",
]


def audit(
    document: Document,
    target: str = "ort-x86",
    progress: Callable[[int, int], None] = lambda _done, _all: None,
) -> Audit:
    """Return the groups of a model, what onnxruntime makes of them, and what is odd.

    Examples
    --------
    >>> from qdqdoc.audit import audit
    >>> from qdqdoc.document import Document, Graph, Operation
    >>> twice = [
    ...     Operation(name=name, op_type=name, inputs=(one,), outputs=(other,))
    ...     for name, one, other in (("Relu", "x", "y"), ("Tanh", "y", "z"))
    ... ]
    >>> graph = Graph(inputs=("x",), outputs=("z",), operations=tuple(twice))
    >>> found = audit(Document(model_path="floats.onnx", graph=graph), "ort-arm")
    >>> found.rows, found.findings, found.counts
    ((), (), {'Relu': 1, 'Tanh': 1})
    """
    check(document)
    document = named(document)
    fusion = fuse(document, target)  # refuses functions without end before they are opened
    foreign = foreign_versions(document)
    flat = opened(document)
    if document.functions and not foreign:
        fusion = fuse(flat, target)
    tries = Tries(direct(flat), target, fusion)
    if not foreign:
        tries.run(progress)
    views = [_View(scope, fusion) for scope in scopes(flat)]
    found = [*_of_model(fusion, foreign), *(one for view in views for one in view.findings())]
    return Audit(
        model=document.model_path,
        model_sha256=document.model_sha256,
        target=fusion.target,
        rows=tuple(_rows(fusion, views, tries)),
        findings=tuple(sorted(found, key=lambda one: [*Level].index(one.level))),
        trials=tuple(tries.trials),
        counts=fusion.counts,
        refused=fusion.refused,
    )


def allowed_words() -> tuple[str, ...]:
    """Return what `--fail-on` knows: levels, codes, reasons why a group stays, and one for all."""
    return (*Level, *CODES, UNFUSED, *(reason for reason in Reason if reason not in CODES))


class _View:
    """One graph with its groups and layers, each found once."""

    def __init__(self, scope: Scope, fusion: Fusion) -> None:
        self.scope = scope
        self.fusion = fusion
        self.groups = groups(scope.document)
        self.layers = layers(scope.document)
        self.bounds = tuple(bound(layer) for layer in self.layers)

    def findings(self) -> Iterator[Finding]:
        scope, found = self.scope, self.groups
        lowest = lowest_codes(found, never_negative(scope.document, found))
        yield from scale_findings(scope)
        yield from axis_findings(scope)
        yield from type_findings(scope, found)
        yield from shared_findings(scope)
        yield from pair_findings(scope)
        yield from weight_findings(scope, found)
        yield from activation_findings(scope, found, lowest)
        yield from bias_findings(scope, found)
        yield from sum_findings(scope, self.layers, self.bounds)
        yield from unknown_findings(scope, found, self.layers)
        yield from saturating_findings(scope, self.layers, self.fusion, lowest)


def _of_model(fusion: Fusion, foreign: list[str]) -> Iterator[Finding]:
    if fusion.refused:
        yield Finding(code="model-refused", node="", tensor="", words=fusion.refused)
    if foreign:
        words = f"functions import ai.onnx in another version than the model: {', '.join(foreign)}"
        yield Finding(code="remedies-not-tried", node="", tensor="", words=words)


def _rows(fusion: Fusion, views: list[_View], tries: Tries) -> Iterator[Row]:
    known, needs = {}, {}
    for view in views:
        for group in view.groups:
            made = [view.groups[o.source] for o in group.operands if o.source is not None]
            sources = tuple(view.scope.path + one.name for one in made)
            known[view.scope.path + group.name] = pattern(group), group.output, sources
        for one in view.bounds:
            needs[view.scope.path + one.node] = sums(one)
    for verdict in fusion.verdicts:
        unknown: tuple[str, str, tuple[str, ...]] = (verdict.source, verdict.output, ())
        form, output, sources = known.get(verdict.node, unknown)
        yield Row(
            verdict=verdict,
            pattern=form,
            output=output,
            sources=sources,
            sums=needs.get(verdict.node),
            remedies=tuple(tries.found.get(verdict.node, ())),
        )
