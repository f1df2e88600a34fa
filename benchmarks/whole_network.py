"""Time a whole network beside its peers, in turns, in one process; and say where the time goes.

    tox -e bench-network [-- --rounds 9] [--batches 1 64 512] [--model resnet8_int8]

BLAS and onnxruntime run on one thread, and the time of that thread is counted, so that a busy
machine is as busy for all. Each round runs everybody once; the medians are compared. A plan is
first compared with `execute`: speed of something else would mean nothing. Memory is the growth of
a process of its own while it runs, above inputs and outputs. qonnx takes part if it is installed.

Each plan multiplies with BLAS, and once more with PyTorch: those are the plans to which the goals
apply. OpenBLAS may take a new processor for an old one; then ``OPENBLAS_CORETYPE=SkylakeX`` in
front of the command lets it use AVX-512.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from contextlib import suppress
from functools import partial
from itertools import product
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import onnxruntime
from onnx import version_converter
from onnx.reference import ReferenceEvaluator

from qdqdoc.execute import execute
from qdqdoc.extract import extract
from qdqdoc.numerics import int8_products
from qdqdoc.numerics.int8_products import ENGINES, EngineError
from qdqdoc.plan import compile_plan, fields, products

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

MODELS = Path(__file__).parent.parent / "models"
CONTRACTS = ("ort", "qdq", "ort-x86-int8")
SLOW_BATCHES = {"onnx": 64, "qonnx": 1}
"""Larger batches take these too long."""

GOALS = {("onnxruntime", 1): 2.2, ("onnxruntime", 64): 1.6, ("onnxruntime", 512): 1.0}
GOALS |= {("onnx", 1): 1 / 10, ("onnx", 64): 1 / 5, ("qonnx", 1): 1 / 200}
"""So many times as long as a peer may the fastest plan under `ort` take, at most."""

OUTPUTS = 10 * 4
"""Bytes of the outputs of one image."""

TIMES = 20
"""So often does everybody run one image in a turn."""

ROOM = 20
"""Megabytes that a plan may take."""


def images(count: int) -> Any:  # noqa: ANN401 - an array
    """Return noise: every code comes up."""
    return np.random.default_rng(0).random((count, 32, 32, 3), dtype=np.float32)


def session(path: Path, level: str) -> Callable[[Any], Any]:
    """Return onnxruntime's run of a model."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, level)
    made = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return lambda x: made.run(None, {"image": x})


def planned(path: Path, contract: str, engine: str) -> Callable[[Any], Any]:
    """Return our run of a model."""
    plan = compile_plan(extract(path), contract, engine)
    return lambda x: plan.run({"image": x})


def evaluator(path: Path) -> Callable[[Any], Any]:
    """Return the run of onnx's evaluator, which has no DequantizeLinear below opset 19."""
    raised = version_converter.convert_version(onnx.load(path), 21)
    made = ReferenceEvaluator(raised)
    return lambda x: made.run(None, {"image": x})


def qonnx(path: Path) -> Callable[[Any], Any]:
    """Return the run of qonnx, which wants one fixed batch."""
    from qonnx.core.modelwrapper import ModelWrapper  # noqa: PLC0415 - optional
    from qonnx.core.onnx_exec import execute_onnx  # noqa: PLC0415 - optional
    from qonnx.transformation.infer_shapes import InferShapes  # noqa: PLC0415 - optional

    model = ModelWrapper(str(path))
    model.set_tensor_shape("image", [1, 32, 32, 3])
    shaped = model.transform(InferShapes())
    return lambda x: execute_onnx(shaped, {"image": x})


MAKERS: dict[str, Callable[[Path], Callable[[Any], Any]]] = {
    **{
        f"plan, {name}, {engine}": partial(planned, contract=name, engine=engine)
        for engine in ENGINES
        for name in CONTRACTS
    },
    "onnxruntime": partial(session, level="ORT_ENABLE_ALL"),
    "onnxruntime, as written": partial(session, level="ORT_DISABLE_ALL"),
    "onnx": evaluator,
    "qonnx": qonnx,
}


def contenders(path: Path) -> Iterator[tuple[str, Callable[[Any], Any]]]:
    """Make everybody that is here."""
    for name, make in MAKERS.items():
        try:
            yield name, make(path)
        except (ImportError, EngineError) as error:
            print(f"{name}: left out: {error}")


def check(path: Path) -> None:
    """Compare each plan with `execute`."""
    x, document = images(5), extract(path)
    for contract, engine in product(CONTRACTS, present(ENGINES)):
        trace = execute(document, {"image": x}, contract)
        plan = compile_plan(document, contract, engine)
        for name, value in plan.run({"image": x}).items():
            if value.tobytes() != trace[name].tobytes():
                sys.exit(f"{contract}, {engine}: the plan's {name} is not that of `execute`")


def present(engines: Iterable[str]) -> Iterator[str]:
    """Leave out engines that are not installed."""
    for engine in engines:
        with suppress(EngineError):
            int8_products.int8_product(engine)
            yield engine


def medians(found: dict[str, Callable[[Any], Any]], x: Any, rounds: int) -> dict[str, float]:  # noqa: ANN401 - an array
    """Run all in turns; return the median milliseconds of each for one image.

    Small batches are run several times in a turn: the others have emptied the caches.
    """
    taken: dict[str, list[float]] = {name: [] for name in found}
    times = TIMES if len(x) == 1 else 1
    for number in range(rounds + 1):
        for name, run in found.items():
            run(x)
            start = time.thread_time()
            for _ in range(times):
                run(x)
            spent = (time.thread_time() - start) / times
            if number:  # in the first round everybody prepares
                taken[name].append(spent / len(x) * 1e3)
    return {name: statistics.median(several) for name, several in taken.items()}


def speeds(path: Path, batches: list[int], rounds: int) -> int:
    """Print the table of times; return how many goals were missed."""
    everybody = dict(contenders(path))
    missed = 0
    print(f"\n{path.stem}, milliseconds per image; × is the time of the plan `ort` by this one's\n")
    plans = {engine: f"plan, ort, {engine}" for engine in present(ENGINES)}
    print(f"{'':<28}{'batch':>6}{'ms':>10}" + "".join(f"{'× ' + c:>10}" for c in plans))
    for batch in batches:
        these = {n: r for n, r in everybody.items() if batch <= SLOW_BATCHES.get(n, batch)}
        found = medians(these, images(batch), rounds)
        fastest = min(found[name] for name in plans.values())
        for name, spent in found.items():
            ratios = "".join(f"{found[plan] / spent:>10.3f}" for plan in plans.values())
            goal = GOALS.get((name, batch))
            late = goal is not None and fastest > goal * spent
            missed += late
            note = "" if goal is None else f"   goal {goal:.3g}{', missed' if late else ''}"
            print(f"{name:<28}{batch:>6}{spent:>10.3f}{ratios}{note}")
    return missed


def memory(path: Path, batches: list[int]) -> int:
    """Print the growth of a process for each; return how many plans take too much."""
    print("\nmegabytes above inputs and outputs\n")
    print(f"{'':<28}" + "".join(f"{batch:>10}" for batch in batches))
    over = 0
    for name in [name for name, _ in contenders(path) if name != "qonnx"]:
        row = []
        for batch in batches:
            if batch > SLOW_BATCHES.get(name, batch):
                row.append("–")
                continue
            asked = [sys.executable, __file__, "--model", path.stem, "--grow", name]
            asked += ["--batches", str(batch)]
            done = subprocess.run(asked, capture_output=True, check=True)  # noqa: S603 - this file
            row.append(done.stdout.decode().split()[-1])
            over += name.startswith("plan") and float(row[-1]) > ROOM
        print(f"{name:<28}" + "".join(f"{one:>10}" for one in row))
    return over


def growth(path: Path, name: str, batch: int) -> float:
    """Return by how many megabytes this process grows while it runs a batch, outputs left out."""
    run, x = MAKERS[name](path), images(batch)
    Path("/proc/self/clear_refs").write_text("5", "utf-8")  # Linux then counts the peak anew
    before = peak()
    run(x)
    return (peak() - before) / 1024 - batch * OUTPUTS / 2**20


def peak() -> int:
    """Return the largest size that this process has had, in kilobytes."""
    status = Path("/proc/self/status").read_text("utf-8")
    return int(status.partition("VmHWM:")[2].split()[0])


class Stopwatch:
    """Counts the time that parts of a plan take, by kind."""

    def __init__(self) -> None:
        self.spent: defaultdict[str, float] = defaultdict(float)

    def timed(self, kind: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return the function with a clock around it."""

        def run(*given: Any, **named: Any) -> Any:  # noqa: ANN401 - passed on
            start = time.thread_time()
            result = function(*given, **named)
            self.spent[kind] += time.thread_time() - start
            return result

        return run

    def ready(self, kind: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return what makes something ready with a clock around that, not around itself."""
        return lambda *given: self.timed(kind, function(*given))

    def numpy(self) -> Any:  # noqa: ANN401 - stands for NumPy
        """Return NumPy with clocks around what copies and multiplies."""
        return SimpleNamespace(
            **vars(np)
            | {
                "copyto": self.timed("windows", np.copyto),
                "matmul": self.timed("products", np.matmul),
            }
        )


def profile(path: Path, contract: str, engine: str, count: int) -> None:
    """Print where the time of a plan goes, by kind of step."""
    watch = Stopwatch()
    plan, x = compile_plan(extract(path), contract, engine), images(count)
    if plan.product is not None:
        plan.product = watch.ready("products", plan.product)
    replaced = {"np": watch.numpy(), "looking_up": watch.ready("tables", fields.looking_up)}
    kept = {name: vars(products)[name] for name in replaced}
    vars(products).update(replaced)
    plan.run({"image": x})
    (program,) = plan._programs.values()  # noqa: SLF001 - the steps themselves are timed
    for stage in (program.head, program.tail):
        for key, bound in stage._bound.items():  # noqa: SLF001 - the same
            kinds = [type(step).__name__ for step in stage.steps]
            pairs = zip(kinds, bound, strict=True)
            stage._bound[key] = [watch.timed(kind, step) for kind, step in pairs]  # noqa: SLF001 - the same
    watch.spent.clear()
    start = time.thread_time()
    plan.run({"image": x})
    whole = time.thread_time() - start
    vars(products).update(kept)
    spent = watch.spent
    inner = sum(spent[kind] for kind in ("windows", "products", "tables"))
    rest = spent["Requantize"] + spent["Certified"] - inner
    rows = {
        f"products ({engine})": spent["products"],
        "windows (copies)": spent["windows"],
        "operands, padded": spent["tables"],
        "rounding, certificates": rest,
        "pairs": spent["Pair"],
        "quantizing the input": spent["Quantize"],
        "shares": spent["Shares"],
        "as documented": spent["Run"],
    }
    rows["all else"] = whole - sum(rows.values())
    print(f"\nwhere the time goes: {contract}, {engine}, batch {count}\n")
    for name, seconds in rows.items():
        print(f"{name:<36}{seconds / count * 1e6:>8.1f} µs per image{seconds / whole:>8.1%}")


def main() -> int:
    """Print tables; the exit code tells whether a goal was missed."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--model", default="resnet8_int8")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 64, 512])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--grow", metavar="NAME", help="measure memory only: of this one")
    given = parser.parse_args()
    if os.environ.get("OPENBLAS_NUM_THREADS") != "1":
        parser.error("set OPENBLAS_NUM_THREADS=1, as `tox -e bench-network` does: one thread")
    path = MODELS / f"{given.model}.onnx"
    if given.grow:
        print(f"{growth(path, given.grow, given.batches[0]):.1f}")
        return 0
    check(path)
    missed = speeds(path, given.batches, given.rounds)
    missed += memory(path, given.batches)
    for contract, engine in product(CONTRACTS[:2], present(ENGINES)):
        profile(path, contract, engine, 64)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
