"""Run every quantized model on all held-out images under every contract; record what came out.

    tox -e models-contracts            compare with MANIFEST.json
    tox -e models-contracts -- --write record it there

The numbers are those of qdqdoc itself: the same on every machine, so they are compared exactly.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import digits

from qdqdoc.evaluate import Evaluation, evaluate
from qdqdoc.extract import extract

MODELS = Path(__file__).parent
MANIFEST = MODELS / "MANIFEST.json"
CONTRACTS = ("qdq", "exact", "ort-x86", "ort-x86-int8")
BATCH = 20


def measured(path: Path, jobs: int) -> dict[str, Any]:
    """Return what is recorded of one model."""
    data = digits.load()
    document = extract(path)
    (name,) = document.graph.inputs
    inputs, labels = {name: data.images[data.test]}, data.labels[data.test]
    found = evaluate(document, inputs, labels, CONTRACTS, batch=BATCH, jobs=jobs)
    return {"right": _right(found), "agreement": _agreement(found)}


def _right(found: Evaluation) -> dict[str, dict[str, int | None]]:
    scores = (found.score(contract) for contract in CONTRACTS)
    return {one.contract: {"correct": one.right, "total": one.images} for one in scores}


def _agreement(found: Evaluation) -> list[dict[str, Any]]:
    return [
        {
            "contracts": list(one.contracts),
            "classes_changed": one.changed,
            "images_equal_in_every_layer": one.equal,
            "codes": sum(layer.values for layer in one.layers),
            "codes_that_differ": sum(layer.differing for layer in one.layers),
            "largest_difference_in_steps": max(layer.largest for layer in one.layers),
        }
        for one in found.counts.agreements
    ]


def main() -> int:
    """Compare, or write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--jobs", type=int, default=2)
    asked = parser.parse_args()
    manifest = json.loads(MANIFEST.read_text("utf-8"))
    stale = []
    for name, entry in manifest["files"].items():
        if "int8" not in name:
            continue
        found = measured(MODELS / name, asked.jobs)
        print(name, found["right"], flush=True)
        if entry.get("contracts") != found:
            stale.append(name)
            entry["contracts"] = found
    if asked.write:
        text = json.dumps(manifest, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
        MANIFEST.write_text(text, "utf-8")
        return 0
    for name in stale:
        print(f"{name}: MANIFEST.json says otherwise", file=sys.stderr)
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
