"""Contract ort, every tensor, on a thousand images: ours against onnxruntime's optimized graph.

    tox -e bench-contracts -- [--images 1000] [MODEL …]

Half of the images are uniform noise, half are smooth; both come from a seed. Prints one row for
each model and target: tensors, values, how many differ, and of those how many a float Conv made.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from optimized import INT8, compare
from peers import processor

if TYPE_CHECKING:
    from qdqdoc.numerics.formats import Array

ROOT = Path(__file__).parent.parent
BATCH = 50
SIZE = 32


def images(count: int) -> Array:
    """Return noise, and blobs: noise on a coarse grid, spread out."""
    rng = np.random.default_rng(2026)
    noise = rng.uniform(0, 1, (count - count // 2, SIZE, SIZE, 3))
    coarse = rng.uniform(0, 1, (count // 2, 4, 4, 3))
    smooth = coarse.repeat(SIZE // 4, 1).repeat(SIZE // 4, 2)
    for axis in (1, 2):
        smooth = np.mean([np.roll(smooth, shift, axis) for shift in range(-4, 5)], axis=0)
    return np.concatenate([noise, smooth]).astype(np.float32)


def row(model: Path, target: str, given: Array) -> str:
    """Compare one model under one target."""
    found: Counter[str] = Counter()
    steps, started = 0, time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        for start in range(0, len(given), BATCH):
            feeds = {"image": given[start : start + BATCH]}
            seen = compare(model, target, feeds, Path(folder))
            if seen.lacking:
                raise SystemExit(f"{model.stem} {target}: we lack {seen.lacking}")
            found["tensors"] = seen.tensors
            found["values"] += seen.values
            steps = max(steps, seen.steps)
            for _, op_type, count in seen.differing:
                found["Conv" if op_type == "Conv" else "others"] += count
    seconds = time.perf_counter() - started
    return (
        f"{model.stem:26} {target:13} {found['tensors']:7} {found['values']:12,} "
        f"{found['Conv']:12,} {found['others']:9,} {steps:5} {seconds:6.0f} s"
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("models", nargs="*", type=Path)
    asked = parser.parse_args()
    paths = asked.models or sorted((ROOT / "models").glob("resnet8_*.onnx"))
    given = images(asked.images)
    print(f"{len(given)} images; processor: {', '.join(processor().names)}")
    print(f"{'model':26} {'target':13} tensors       values   float Conv    others steps   time")
    for path in paths:
        for target in ("ort-x86", INT8):
            print(row(path, target, given), flush=True)


if __name__ == "__main__":
    main()
