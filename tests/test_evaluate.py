"""What an evaluation counts, against the same counted here, value by value."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest
from ml_dtypes import float8_e4m3fn
from onnx import parser

from qdqdoc.evaluate import MANY, EvaluateError, dumps, evaluate, report, working
from qdqdoc.evaluate.counting import Run, classes_of, compare, ordinals
from qdqdoc.evaluate.following import Follower, follow
from qdqdoc.evaluate.layers import Code, codes_of
from qdqdoc.execute import ExecuteError, execute
from qdqdoc.extract import extract
from qdqdoc.fuse import fuse

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from qdqdoc.document import Document
    from qdqdoc.evaluate.answer import Agreement
    from qdqdoc.numerics.formats import Array

MODELS = Path(__file__).parent.parent / "models"
CONTRACTS = ("qdq", "ort", "ort-x86-int8")


def data(count: int) -> tuple[Array, Array]:
    """Return that many images, most of them blurred with noise, and their labels."""
    with np.load(MODELS / "test_images.npz") as held:
        x, y = held["x"], held["y"]
    chosen = np.arange(count) % len(x)
    noise = np.random.default_rng(4).normal(0, 0.1, (count, *x.shape[1:]))
    noise[: len(x)] = 0
    return (x[chosen] + noise).astype(np.float32), y[chosen]


def model(name: str = "resnet8_int8") -> Document:
    return extract(MODELS / f"{name}.onnx")


@pytest.mark.parametrize("name", ["resnet8_int8", "resnet8_uint8_per_channel"])
def test_every_count_is_what_two_runs_give(name: str) -> None:
    document, (x, y) = model(name), data(14)
    found = evaluate(document, {"image": x}, y, CONTRACTS, batch=4)
    traces = {contract: execute(document, {"image": x}, contract) for contract in CONTRACTS}
    classes = {name: trace["probabilities"].argmax(axis=1) for name, trace in traces.items()}
    for contract in CONTRACTS:
        assert found.score(contract).images == len(x)
        assert found.score(contract).right == sum(classes[contract] == y)
    assert len(found.counts.agreements) == 3
    for first, second in itertools.combinations(CONTRACTS, 2):
        agreement = found.agreement(first, second)
        untouched = set(range(len(x)))
        assert [layer.tensor for layer in agreement.layers] == [
            code.tensor for code in codes_of(document)
        ]
        for layer in agreement.layers:
            moved = codes(document, traces, second, layer.tensor) - codes(
                document, traces, first, layer.tensor
            )
            steps = Counter(step for step in moved.ravel().tolist() if step)
            touched = {index for index, image in enumerate(moved) if image.any()}
            assert layer.values == moved.size
            assert layer.differing == sum(steps.values())
            assert layer.largest == max(map(abs, steps), default=0)
            assert layer.steps == steps
            assert layer.images == len(touched)
            assert layer.first == len(touched & untouched)
            untouched -= touched
        assert agreement.equal == len(untouched)
        changed = np.flatnonzero(classes[first] != classes[second])
        assert (agreement.changed, list(agreement.examples)) == (len(changed), list(changed[:10]))
        (output,) = agreement.outputs
        moved = traces[first]["probabilities"] - traces[second]["probabilities"].astype(float)
        assert output.images == np.count_nonzero(moved.any(axis=1))
        assert output.largest == np.abs(moved).max()
    assert any(layer.differing for layer in found.agreement("qdq", "ort").layers)


def codes(document: Document, traces: Mapping[str, Any], contract: str, name: str) -> Array:
    """Return codes as the file has them; onnxruntime may add to them."""
    target = {"ort": "ort-x86"}.get(contract, contract)
    shift = 0 if contract == "qdq" else fuse(document, target).shifted.get(name, 0)
    return np.asarray(traces[contract][name].astype(int) - shift)


def test_int8_and_the_uint8_that_onnxruntime_makes_of_it_are_compared() -> None:
    document, (x, _) = model(), data(2)
    shifted = fuse(document, "ort-x86").shifted
    found = evaluate(document, {"image": x}, None, ["qdq", "ort"])
    layers = found.agreement("qdq", "ort").layers
    moved = [layer for layer in layers if layer.tensor in shifted]
    assert moved
    assert all(layer.largest <= 1 for layer in moved)


def test_the_same_bytes_for_any_number_of_processes() -> None:
    document, (x, y) = model(), data(13)
    alone = evaluate(document, {"image": x}, y, CONTRACTS[:2], batch=3)
    beside = evaluate(document, {"image": x}, y, CONTRACTS[:2], batch=3, jobs=2)
    assert dumps(alone) == dumps(beside)
    assert report(alone) == report(beside)


def stepped(
    moves: Callable[[Array], Array], name: str = ""
) -> Callable[[Document, str, str], Follower]:
    """Return a stand-in for `follow` whose second contract changes one tensor."""

    def follower(document: Document, contract: str, engine: str) -> Follower:
        held = follow(document, "qdq", engine)

        def run(inputs: Mapping[str, Array], wanted: Sequence[str]) -> Mapping[str, Array]:
            values = dict(held.run(inputs, wanted))
            if contract != "qdq":
                changed = name or codes_of(document)[20].tensor
                values[changed] = moves(values[changed])
            return values

        return replace(held, contract=contract, run=run)

    return follower


def test_the_ends_of_the_histogram_hold_what_is_further(monkeypatch: pytest.MonkeyPatch) -> None:
    def moves(codes: Array) -> Array:
        moved = codes.astype(np.int64)
        if len(codes) > 1:  # the first batch alone
            moved[1, 0, 0, :4] += [1, MANY, MANY + 90, -MANY - 1]
        return moved

    monkeypatch.setattr(working, "follow", stepped(moves))
    x, y = data(4)
    found = evaluate(model(), {"image": x}, y, ["qdq", "ort"], batch=3).agreement("qdq", "ort")
    layer = found.layers[20]
    assert layer.steps == {-MANY: 1, 1: 1, MANY: 2}
    assert (layer.differing, layer.largest, layer.images, layer.first) == (4, MANY + 90, 1, 1)
    assert (found.first, found.equal) == (layer, 3)


def test_images_whose_class_changes_are_counted_and_the_first_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def moves(scores: Array) -> Array:
        scores = scores.copy()
        scores[1:] = np.roll(scores[1:], 1, axis=1)
        return scores

    monkeypatch.setattr(working, "follow", stepped(moves, "probabilities"))
    x, y = data(18)
    found = evaluate(model(), {"image": x}, y, ["qdq", "ort"], batch=6)
    agreement = found.agreement("qdq", "ort")
    changed = [index for index in range(18) if index % 6]
    assert (agreement.changed, agreement.examples) == (len(changed), tuple(changed[:10]))
    assert (agreement.outputs[0].images, agreement.equal) == (len(changed), 18)
    assert "images whose class changes: 15 (number 1, 2, 3, 4, 5, 7, 8, 9, 10, 11, ...)" in report(
        found
    )


def compared(left: Any, right: Any, *, images: int, varies: bool | None = None) -> Agreement:  # noqa: ANN401 - arrays by name
    """Compare made-up tensors; those of floats are outputs."""
    runs = [
        Run(contract=name, values=values, shifts={}, classes=None)
        for name, values in (("left", left), ("right", right))
    ]
    codes = [Code(tensor=name, layer=name, pattern="", varies=varies) for name in "ab"]
    return compare(runs[0], runs[1], codes, ["y"], start=0, images=images)


def test_an_image_counts_first_where_it_differs_first() -> None:
    left = {"a": np.zeros((3, 2), np.uint8), "b": np.zeros((3, 1), np.uint8)}
    right = {
        "a": np.array([[0, 0], [0, 1], [0, 0]], np.uint8),
        "b": np.array([[0], [5], [7]], np.uint8),
    }
    found = compared(left, right, images=3)
    assert [(one.images, one.first) for one in found.layers] == [(1, 1), (2, 1)]
    assert (found.equal, found.changed, found.examples) == (1, None, ())


def test_a_tensor_without_an_axis_of_images_is_counted_as_a_whole() -> None:
    left, right = {"a": np.array([3, 0], np.int8)}, {"a": np.array([4, 0], np.int8)}
    found = compared(left, right, images=2, varies=False)
    (layer,) = found.layers
    assert found.absent == ("b",)
    assert (layer.differing, layer.images, layer.first, found.equal) == (1, None, None, 2)


def test_a_tensor_of_two_shapes_cannot_be_compared() -> None:
    with pytest.raises(EvaluateError, match=r"found shape \[2\] under left and \[3\] under right"):
        compared({"a": np.zeros(2, np.int8)}, {"a": np.zeros(3, np.int8)}, images=2)


def test_outputs_that_are_no_numbers_are_apart_from_numbers_alone() -> None:
    left = {"y": np.array([[np.nan, 1], [np.nan, 2]], np.float32)}
    right = {"y": np.array([[np.nan, 1.5], [0, 2]], np.float32)}
    (output,) = compared(left, right, images=2).outputs
    assert (output.images, output.largest) == (2, np.inf)
    (output,) = compared(left, left, images=2).outputs
    assert (output.images, output.largest) == (0, 0)


def test_codes_of_a_float_are_counted_along_their_grid() -> None:
    grid = np.array([-448, -0.0, 0, 2**-9, 448, np.nan], float8_e4m3fn)
    found = ordinals(grid)
    assert found[1] == found[2] == found[3] - 1
    assert found[4] - found[0] == 2 * (0x7E)
    assert found[5] == found[4] + 1


@pytest.mark.parametrize("shape", [(3,), (2, 4), (3, 2, 2), (3, 1)])
def test_what_has_no_axis_of_classes_has_no_classes(shape: tuple[int, ...]) -> None:
    assert classes_of(np.zeros(shape, np.float32), images=3) is None


def test_a_contract_alone_is_compared_with_nothing() -> None:
    x, _ = data(3)
    found = evaluate(model(), {"image": x})
    assert (found.score("qdq").right, found.counts.agreements) == (None, ())
    assert json.loads(dumps(found))["settings"]["labels"] is None


TWO = """
<ir_version: 9, opset_import: ["" : 19]>
two (float[2, k] a, float[2, k] b) => (float[2, k] sum, float[2, k] y)
<float s = {0.5}, int8 z = {0}> {
  sum = Add(a, b)
  q = QuantizeLinear(sum, s, z)
  y = DequantizeLinear(q, s, z)
}
"""


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Document:
    path = tmp_path_factory.mktemp("two") / "two.onnx"
    onnx.save(parser.parse_model(TWO), path)
    return extract(path)


def test_a_model_may_have_several_inputs_and_fix_the_batch(two: Document) -> None:
    a = np.array([[1, 2], [5, 1], [0, 0], [3, 9]], np.float32)
    b = np.zeros((4, 2), np.float32)
    found = evaluate(two, {"a": a, "b": b}, np.array([1, 0, 0, 1]), classes="y")
    assert (found.settings.batch, found.score("qdq").right) == (2, 4)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"batch": 3}, r"batch: found 3, allowed: 2, which two\.onnx fixes"),
        ({"batch": 0}, "batch: found 0, allowed: 1 or more"),
        ({"inputs": {"a": 4}}, r"inputs of two\.onnx: 'b' is missing"),
        ({"inputs": {"a": 4, "c": 4}}, "found 'c'"),
        ({"inputs": {"a": 4, "b": 2}}, "found 4 in 'a', 2 in 'b' images"),
        ({"inputs": {"a": 3, "b": 3}}, "found 3 images, allowed: a multiple of 2"),
        ({"inputs": {"a": 0, "b": 0}}, "found no images"),
        ({"labels": np.zeros(3, int)}, "labels: found 3, needed: 4"),
        ({"labels": np.zeros(4)}, r"labels: found float64\[4\], allowed: integers"),
        ({"labels": np.array([0, 1, -1, 0])}, "labels: found -1, allowed: classes from 0 on"),
        ({"labels": np.array([0, 1, 2, 0])}, "labels: found 2, allowed: 0 to 1"),
        ({"classes": None}, "has 2 outputs; say which one holds the classes: 'sum', 'y'"),
        ({"classes": "z"}, "classes: found 'z', allowed: 'sum', 'y'"),
        ({"contracts": ["qdq", "qdq"]}, "contracts: found 'qdq' twice"),
        ({"contracts": []}, "contracts: found none"),
        ({"contracts": ["qdp"]}, r"contract: found 'qdp' \(nearest: 'qdq'\)"),
        ({"jobs": 2, "cluster": "a:1"}, "jobs: found 2 beside a cluster"),
    ],
)
def test_what_does_not_fit_is_said_in_one_line(
    change: dict[str, Any], message: str, two: Document
) -> None:
    given = {"labels": np.zeros(4, int), "contracts": ["qdq"], "classes": "y", **change}
    sizes = given.pop("inputs", {"a": 4, "b": 4})
    inputs = {name: np.zeros((count, 2), np.float32) for name, count in sizes.items()}
    with pytest.raises((EvaluateError, ExecuteError), match=message) as caught:
        evaluate(two, inputs, **given)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("jobs", [1, 2])
def test_what_a_worker_complains_of_is_said_in_one_line(jobs: int, two: Document) -> None:
    inputs = {name: np.zeros((6, 2), np.float32) for name in "ab"}
    labels = np.array([0, 0, 0, 0, 9, 0])
    with pytest.raises(EvaluateError, match="labels: found 9, allowed: 0 to 1") as caught:
        evaluate(two, inputs, labels, classes="y", jobs=jobs)
    assert "\n" not in str(caught.value)
