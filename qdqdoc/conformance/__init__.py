"""The vectors of every operator as files, for people without Python.

One folder for each operator, version and case, and a ``manifest.json`` that describes every part:
raw little-endian bytes as ONNX stores them, the same values as ``.npy``, and the sha256 of both.
Cases that the specification forbids are there too, with no outputs: an implementation must reject
them. The same bytes on every run, and on every machine.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qdqdoc import __version__
from qdqdoc.conformance.cases import Case, cases
from qdqdoc.conformance.checking import (
    FLOOR,
    FORMAT,
    MANIFEST,
    SCHEMA,
    SUMS,
    ConformanceError,
    check,
    sums,
)
from qdqdoc.conformance.parts import part, plain

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "FLOOR",
    "FORMAT",
    "MANIFEST",
    "SCHEMA",
    "SUMS",
    "Case",
    "ConformanceError",
    "cases",
    "check",
    "contents",
    "frame",
    "schema",
    "write",
]


def schema() -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of a manifest."""
    text = files(__package__).joinpath(SCHEMA).read_text(encoding="utf-8")
    result: dict[str, Any] = json.loads(text)
    return result


def write(folder: Path, progress: Callable[[int, int], None] | None = None) -> int:
    """Write the pack into a new or empty folder; return the number of cases.

    ``progress`` is told how many cases are written, of how many. Either the whole pack is there
    in the end, or nothing is.

    Raises
    ------
    ConformanceError
        If the folder holds anything already, or there are fewer than :data:`FLOOR` cases.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConformanceError(f"{folder}: found something, allowed: a new or an empty folder")
    every = [*cases()]
    if len(every) < FLOOR:
        raise ConformanceError(f"found {len(every)} cases, allowed: {FLOOR} or more")
    folder.parent.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        entries = []
        for number, case in enumerate(every, 1):
            entry, held = contents(case)
            entries.append(entry)
            _write_all(made / case.path, held)
            if progress is not None:
                progress(number, len(every))
        _write_all(made, frame(entries))
        made.chmod(0o755)
        if folder.exists():
            folder.rmdir()
        made.replace(folder)
    except BaseException:
        shutil.rmtree(made, ignore_errors=True)
        raise
    return len(every)


def frame(entries: list[dict[str, Any]]) -> dict[str, bytes]:
    """Return the files beside the cases: the manifest, its schema, and the sha256 of both."""
    manifest = {
        "format": FORMAT,
        "schema": SCHEMA,
        "made_by": f"qdqdoc {__version__}",
        "case_count": len(entries),
        "cases": entries,
    }
    held = {MANIFEST: _json(manifest), SCHEMA: _json(schema())}
    return {**held, SUMS: sums(held)}


def _json(content: object) -> bytes:
    text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False)
    return f"{text}\n".encode()


def _write_all(folder: Path, held: dict[str, bytes]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in held.items():
        (folder / name).write_bytes(content)


def contents(case: Case) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Return what the manifest says of a case, and the files of its folder."""
    held: dict[str, bytes] = {}
    entry: dict[str, Any] = {
        "path": case.path,
        "domain": case.operator.domain or "ai.onnx",
        "operator": case.operator.name,
        "since_version": case.since,
        "opset": case.opset,
        "expect": "rejection" if case.rejection else "values",
        "contract": "qdq",
        "attributes": {name: plain(value) for name, value in case.call.attributes.items()},
        "inputs": [part(held, f"input_{k}", name, a) for k, (name, a) in enumerate(case.inputs)],
    }
    if case.rejection:
        entry["rejection"] = case.rejection
    else:
        outputs = [part(held, f"output_{k}", name, a) for k, (name, a) in enumerate(case.outputs)]
        entry["outputs"] = outputs
        for bound, unit in case.bounds():
            output = next(output for output in outputs if output["name"] == bound.output)
            stem = f"{output['npy']['file'].removesuffix('.npy')}_unit"
            measure = part(held, stem, "unit", unit)
            output["bound"] = {"ulp": bound.ulp, "why": bound.why, "unit": measure}
    return entry, held
