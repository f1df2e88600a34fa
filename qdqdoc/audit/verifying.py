"""The prediction against the graph that onnxruntime really makes, group by group."""

from __future__ import annotations

import json
import platform
import subprocess
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from qdqdoc.audit.answer import AuditError
from qdqdoc.audit.opening import scopes
from qdqdoc.fuse import Outcome
from qdqdoc.groups import DEQUANTIZE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from qdqdoc.audit.answer import Audit, Row
    from qdqdoc.document import Document, Operation
    from qdqdoc.fuse import Target, Verdict

X86 = frozenset({"x86_64", "AMD64"})
INTEGER = ("QLinear", "QuantizeLinear", "DequantizeLinear", "QGemm", "MatMul", "Integer")
JOINED = "/MatMulAddFusion"
"""What onnxruntime adds to the name of a MatMul that it joins with the Add behind it."""

GEMM = frozenset({"Gemm", "QGemm"})
FLOATS = frozenset({"Conv", "Gemm"})
ACTIVATIONS = frozenset({"Relu", "Clip", "Sigmoid", "Tanh", "LeakyRelu", "HardSigmoid"})
TOGETHER = frozenset({"com.microsoft::FusedConv", "com.microsoft::FusedGemm"})
"""What onnxruntime makes of a float product and the activation behind it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """A group, or an operator's count, on which prediction and onnxruntime differ."""

    node: str
    predicted: str
    found: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """How many groups agree; ``by_count`` of them are known by the count of their operator."""

    version: str
    total: int
    agree: int = 0
    by_count: int = 0
    differences: tuple[Difference, ...] = field(default=())


def verifiable(target: Target) -> None:
    """Complain unless this machine can show what onnxruntime makes for a target."""
    if not target.witnessed:
        raise AuditError(f"--verify: target {target.name} is predicted; it cannot be compared here")
    if platform.machine() not in X86:
        raise AuditError(f"--verify: target {target.name} needs x86-64, not {platform.machine()}")
    if find_spec("onnxruntime") is None:
        raise AuditError("--verify needs onnxruntime: pip install onnxruntime")


def verify(audit: Audit, model: Path) -> Comparison:
    """Let onnxruntime optimize a model, and compare what it makes of each group."""
    verifiable(audit.target)
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "optimized.onnx"
        answer = _optimize(model, made, int8_allowed=audit.target.int8_allowed)
        refused = answer.get("refused", "").replace(folder, "")
        if "invalid" in answer:
            raise AuditError(f"{model}: onnxruntime cannot load it: {refused}")
        graph = None if refused else _read(made)
    if graph is None or audit.refused:
        return _loading(audit, answer["version"], refused)
    return compare(audit, graph, answer["version"])


def _optimize(model: Path, made: Path, *, int8_allowed: bool) -> Mapping[str, str]:
    program = Path(__file__).with_name("optimizing.py")
    command = [sys.executable, str(program), str(model.resolve()), str(made), f"{int8_allowed:d}"]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - our own program
    if ran.returncode:
        last = (ran.stderr.strip().splitlines() or [""])[-1]
        raise AuditError(f"{model}: onnxruntime ended with code {ran.returncode}: {last}")
    answer: Mapping[str, str] = json.loads(ran.stdout.strip().splitlines()[-1])
    return answer


def _read(made: Path) -> Document:
    from qdqdoc.extract import extract  # noqa: PLC0415 - the room is imported without onnx

    return extract(made)


def _loading(audit: Audit, version: str, refused: str) -> Comparison:
    """Compare whether onnxruntime can load what it made."""
    total = len(audit.rows)
    if refused and audit.refused:
        return Comparison(version=version, total=total, agree=total)
    difference = Difference(
        node=audit.model,
        predicted=f"not to load: {audit.refused}" if audit.refused else "to load",
        found=f"does not load: {refused}" if refused else "loads",
    )
    return Comparison(version=version, total=total, differences=(difference,))


def compare(audit: Audit, graph: Document, version: str) -> Comparison:
    """Compare each verdict with the node of its name, else with what makes its output."""
    theirs = [
        (scope.path, operation)
        for scope in scopes(graph)
        for operation in scope.document.operations
    ]
    finder = _Finder(theirs)
    differences, missing, agree = [], [], 0
    for row in audit.rows:
        verdict = row.verdict
        found = finder.find(row)
        if found is None:
            missing.append(verdict)
        elif _agrees(verdict, found, reads_floats=finder.reads_floats(found)):
            agree += 1
        else:
            told = _kind(found.op_type, found.domain)
            told += " behind a DequantizeLinear" if finder.reads_floats(found) else ""
            differences.append(
                Difference(node=verdict.node, predicted=_predicted(verdict), found=told)
            )
    spare = Counter(_kind(one.op_type, one.domain) for one in finder.rest())
    gone, by_count = _count(missing, spare, differences)
    differences += _counts(audit, theirs)
    return Comparison(
        version=version,
        total=len(audit.rows),
        agree=agree + gone + by_count,
        by_count=by_count,
        differences=tuple(differences),
    )


class _Finder:
    """Finds the node that stands for a group, by its name or by what it makes."""

    def __init__(self, theirs: Sequence[tuple[str, Operation]]) -> None:
        self.theirs = [operation for _, operation in theirs]
        names = Counter(path + one.name for path, one in theirs if one.name)
        self.by_name = {path + one.name: one for path, one in theirs if names[path + one.name] == 1}
        made = [(name, one) for _, one in theirs for name in one.outputs if name]
        outputs = Counter(name for name, _ in made)
        self.by_output = {name: one for name, one in made if outputs[name] == 1}
        self.used: set[int] = set()
        self.floats = {
            name for _, one in theirs if one.op_type == DEQUANTIZE for name in one.outputs
        }

    def reads_floats(self, operation: Operation) -> bool:
        """Tell whether a node reads what a DequantizeLinear makes."""
        return not self.floats.isdisjoint(operation.inputs)

    def find(self, row: Row) -> Operation | None:
        """Return the node of a group's name, or the one that makes its floats or its codes."""
        verdict = row.verdict
        if verdict.source == "Add" and verdict.op_type in GEMM:
            # It was joined with a MatMul before it, whose name stays.
            return next(filter(None, (self.by_name.get(s + JOINED) for s in row.sources)), None)
        named = (self.by_name.get(verdict.node), self.by_name.get(verdict.node + JOINED))
        made = (self.by_output.get(verdict.output), self.by_output.get(row.output))
        for one in named if verdict.outcome is Outcome.REMOVED else (*named, *made):
            if one is not None:
                self.used.add(id(one))
                return one
        return None

    def rest(self) -> list[Operation]:
        """Return the nodes that stand for no group so far."""
        return [one for one in self.theirs if id(one) not in self.used]


def _agrees(verdict: Verdict, found: Operation, *, reads_floats: bool) -> bool:
    """Tell whether it is the operator that was predicted; a float Conv takes a Relu along."""
    kind = _kind(found.op_type, found.domain)
    if verdict.outcome is Outcome.REMOVED or (verdict.outcome is Outcome.DROPPED and reads_floats):
        return False
    taken_along = verdict.outcome is Outcome.STAYS and verdict.op_type in {*FLOATS, *ACTIVATIONS}
    return kind == _kind(verdict.op_type, verdict.domain) or (taken_along and kind in TOGETHER)


def _kind(op_type: str, domain: str) -> str:
    return f"{domain}::{op_type}" if domain not in {"", "ai.onnx"} else op_type


def _predicted(verdict: Verdict) -> str:
    return _kind(verdict.op_type, verdict.domain) or str(verdict.outcome)


def _count(
    missing: Sequence[Verdict], spare: Counter[str], differences: list[Difference]
) -> tuple[int, int]:
    """Match groups whose names are gone with the nodes that are left; tell those without one.

    The first number is of those that are gone as predicted, the second of those that match.
    """
    gone = matched = 0
    for verdict in missing:
        kind = _predicted(verdict)
        if verdict.outcome is Outcome.REMOVED:
            gone += 1
        elif spare[kind]:
            spare[kind] -= 1
            matched += 1
        else:
            differences.append(Difference(node=verdict.node, predicted=kind, found="no such node"))
    return gone, matched


def _counts(audit: Audit, theirs: Sequence[tuple[str, Operation]]) -> list[Difference]:
    """Compare how often each operator of quantization occurs in the whole model."""
    found = Counter(_kind(one.op_type, one.domain) for _, one in theirs)
    kinds = sorted(
        kind for kind in {*found, *audit.counts} if any(part in kind for part in INTEGER)
    )
    return [
        Difference(
            node=f"all {kind}", predicted=str(audit.counts.get(kind, 0)), found=str(found[kind])
        )
        for kind in kinds
        if found[kind] != audit.counts.get(kind, 0)
    ]
