"""The audit as plain data: what ``--json`` prints, with a name and a version."""

from __future__ import annotations

import json
from dataclasses import asdict
from importlib.resources import files
from math import isfinite
from typing import TYPE_CHECKING, Any

from qdqdoc.audit.answer import Level

if TYPE_CHECKING:
    from qdqdoc.audit.answer import Audit, Finding, Row
    from qdqdoc.audit.verifying import Comparison

FORMAT, VERSION = "qdqdoc-audit", 1


def schema() -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of an audit.

    >>> schema()["properties"]["format"]["const"]
    'qdqdoc-audit'
    """
    text = files(__package__).joinpath("audit.schema.json").read_text(encoding="utf-8")
    result: dict[str, Any] = json.loads(text)
    return result


def to_data(audit: Audit, compared: Comparison | None = None) -> dict[str, Any]:
    """Return an audit as JSON has it."""
    found = {
        "format": FORMAT,
        "format_version": VERSION,
        "model": audit.model,
        "model_sha256": audit.model_sha256,
        "target": asdict(audit.target),
        "refused": audit.refused,
        "summary": {
            "groups": len(audit.rows),
            "unfused": len(audit.unfused),
            **{f"{level}s": sum(f.level is level for f in audit.findings) for level in Level},
        },
        "operators": dict(audit.counts),
        "groups": [_group(row) for row in audit.rows],
        "trials": [{**asdict(one), "remedies": list(one.remedies)} for one in audit.trials],
        "findings": [_finding(one) for one in audit.findings],
    }
    if compared is not None:
        found["verified"] = {
            "onnxruntime": compared.version,
            "agree": compared.agree,
            "by_count": compared.by_count,
            "differences": [asdict(one) for one in compared.differences],
        }
    return found


def to_json(audit: Audit, compared: Comparison | None = None) -> str:
    """Return an audit as JSON text, the same on every run."""
    return json.dumps(to_data(audit, compared), indent=2, allow_nan=False) + "\n"


def _group(row: Row) -> dict[str, Any]:
    verdict = row.verdict
    kind = f"{verdict.domain}::{verdict.op_type}" if verdict.domain else verdict.op_type
    return {
        "node": verdict.node,
        "operator": verdict.source,
        "pattern": row.pattern,
        "output": row.output,
        "outcome": verdict.outcome,
        "becomes": kind,
        "reason": verdict.reason,
        "words": verdict.words,
        "sums": asdict(row.sums) if row.sums else None,
        "remedies": [list(one) for one in row.remedies],
    }


def _finding(one: Finding) -> dict[str, Any]:
    return {
        "level": one.level,
        "code": one.code,
        "node": one.node,
        "tensor": one.tensor,
        "words": one.words,
        "numbers": {key: _spelled(value) for key, value in one.numbers.items()},
    }


def _spelled(value: Any) -> Any:  # noqa: ANN401 - a number, a text, or lists of them
    """Spell what JSON has no number for."""
    if isinstance(value, list):
        return [_spelled(one) for one in value]
    return str(value) if isinstance(value, float) and not isfinite(value) else value
