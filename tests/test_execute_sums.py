"""Sums of float operators: the exact value rounded once, which onnxruntime's is near."""

from __future__ import annotations

import math
from fractions import Fraction
from functools import partial
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper
from peers import run_model

from qdqdoc.execute import execute
from qdqdoc.execute.sums import summed
from qdqdoc.extract import extract
from qdqdoc.numerics.rounding import f32_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

UNITS = 8
"""So far onnxruntime, which rounds after each of up to 60 additions, may be from the exact value.

The furthest that was seen is 3.9.
"""


def some(*shape: int) -> Any:  # noqa: ANN401 - an array
    """Return floats of very different sizes, so that their order matters."""
    rng = np.random.default_rng([20, *shape])
    return (rng.standard_normal(shape) * 2.0 ** rng.integers(-9, 9, shape)).astype(np.float32)


CASES: dict[str, list[tuple[Any, ...]]] = {
    "Conv": [
        ((2, 4, 7, 6), (6, 4, 3, 2), (6,), {"pads": [1, 0, 2, 1], "strides": [2, 1]}),
        ((1, 4, 9), (6, 2, 3), (6,), {"group": 2, "dilations": [2]}),
        ((1, 4, 5, 5), (4, 1, 3, 3), {"group": 4, "auto_pad": "SAME_UPPER"}),
        ((1, 2, 4, 3, 4), (3, 2, 2, 2, 2), {}),
    ],
    "MatMul": [
        ((5, 7), (7, 3), {}),
        ((2, 1, 5, 7), (3, 7, 2), {}),
        ((7,), (2, 7, 3), {}),
        ((2, 3, 7), (7,), {}),
        ((7,), (7,), {}),
    ],
    "Gemm": [
        ((5, 7), (7, 3), (3,), {"alpha": 0.3, "beta": -1.7}),
        ((7, 5), (3, 7), (5, 1), {"transA": 1, "transB": 1}),
        ((5, 7), (7, 3), {}),
    ],
    "AveragePool": [
        ((1, 2, 7, 6), {"kernel_shape": [3, 2], "pads": [1, 0, 2, 1]}),
        ((1, 2, 7), {"kernel_shape": [3], "pads": [1, 1], "count_include_pad": 1, "strides": [2]}),
        ((1, 2, 6), {"kernel_shape": [3], "strides": [2], "ceil_mode": 1}),
        ((1, 2, 8), {"kernel_shape": [3], "dilations": [2], "pads": [1, 2]}),
        ((1, 2, 5, 5), {"kernel_shape": [2, 2], "auto_pad": "SAME_LOWER"}),
    ],
    "GlobalAveragePool": [((2, 3, 4, 5), {})],
    "ReduceSum": [((2, 3, 4), np.array([0, -1]), {}), ((2, 3), {"keepdims": 0})],
    "ReduceMean": [((2, 3, 4), np.array([1]), {"keepdims": 0}), ((2, 3), {})],
}


Exact = Any
"""An array of fractions."""


def seen(
    position: Sequence[int], size: Sequence[int], kernel: Sequence[int], given: dict[str, Any]
) -> Iterator[tuple[tuple[int, ...], tuple[int, ...]]]:
    """Yield what one window sees of the image: places in the window and in the image."""
    ones = [1] * len(size)
    strides, dilations = given.get("strides", ones), given.get("dilations", ones)
    odd = {"SAME_UPPER": 0, "SAME_LOWER": 1}.get(given.get("auto_pad", ""))
    begins = given.get("pads", [0] * len(size))[: len(size)]
    if odd is not None:  # at stride 1, without dilations
        begins = [(k - 1 + odd) // 2 for k in kernel]
    starts = [p * s - b for p, s, b in zip(position, strides, begins, strict=True)]
    for tap in np.ndindex(*kernel):
        at = tuple(a + t * d for a, t, d in zip(starts, tap, dilations, strict=True))
        if all(0 <= place < n for place, n in zip(at, size, strict=True)):
            yield tap, at


def convolved(shape: Sequence[int], given: dict[str, Any], *arrays: Exact) -> Exact:
    x, w, *bias = arrays
    y = np.empty(shape, object)
    for image, channel, *position in np.ndindex(*shape):
        first = channel // (w.shape[0] // given.get("group", 1)) * w.shape[1]
        total = bias[0][channel] if bias else 0
        for tap, at in seen(position, x.shape[2:], w.shape[2:], given):
            inputs = x[(image, slice(first, first + w.shape[1]), *at)]
            total += inputs @ w[(channel, slice(None), *tap)]
        y[(image, channel, *position)] = total
    return y


def averaged(shape: Sequence[int], given: dict[str, Any], x: Exact) -> Exact:
    y = np.empty(shape, object)
    kernel = given["kernel_shape"]
    for image, channel, *position in np.ndindex(*shape):
        taken = [at for _, at in seen(position, x.shape[2:], kernel, given)]
        count = math.prod(kernel) if given.get("count_include_pad") else len(taken)
        total = sum(x[(image, channel, *at)] for at in taken)
        y[(image, channel, *position)] = total / count
    return y


def multiplied(_: Sequence[int], given: dict[str, Any], *arrays: Exact) -> Exact:
    a, b, *c = arrays
    left, right = a.T if given.get("transA") else a, b.T if given.get("transB") else b
    alpha, beta = (Fraction(float(np.float32(given.get(k, 1)))) for k in ("alpha", "beta"))
    return alpha * (left @ right) + (beta * c[0] if c else 0)


def reduced(_: Sequence[int], given: dict[str, Any], x: Exact, *axes: Exact, mean: bool) -> Exact:
    chosen = tuple(int(axis) % x.ndim for axis in axes[0]) if axes else tuple(range(x.ndim))
    count = math.prod(x.shape[axis] for axis in chosen) if mean else 1
    return np.asarray(x.sum(axis=chosen, keepdims=bool(given.get("keepdims", 1))) / count)


EXACT: dict[str, Callable[..., Exact]] = {
    "Conv": convolved,
    "MatMul": lambda _, __, a, b: np.asarray(a @ b),
    "Gemm": multiplied,
    "AveragePool": averaged,
    "GlobalAveragePool": lambda shape, _, x: reduced(shape, {}, x, np.array([2, 3]), mean=True),
    "ReduceSum": partial(reduced, mean=False),
    "ReduceMean": partial(reduced, mean=True),
}
"""The definitions again, slow and in fractions: shape of the result, attributes, inputs."""


def fractions(values: Any) -> Exact:  # noqa: ANN401 - an array, of floats or integers
    return np.vectorize(lambda v: Fraction(float(v)), otypes=[object])(values)


@pytest.mark.parametrize(
    ("op_type", "case"), [(name, case) for name, cases in CASES.items() for case in cases]
)
def test_each_sum_is_exact_and_onnxruntimes_is_near(
    op_type: str, case: tuple[Any, ...], tmp_path: Path
) -> None:
    *shapes, attributes = case
    inputs = {f"i{n}": some(*s) if isinstance(s, tuple) else s for n, s in enumerate(shapes)}
    made = helper.make_node(op_type, list(inputs), ["y"], name="sum", **attributes)
    start = helper.make_tensor_value_info("i0", TensorProto.FLOAT, shapes[0])
    end = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    stored = [numpy_helper.from_array(v, k) for k, v in inputs.items() if k != "i0"]
    graph = helper.make_graph([made], "g", [start], [end], stored)
    imports = [helper.make_opsetid("", 19 if op_type != "ReduceMean" else 18)]
    model = helper.make_model(graph, opset_imports=imports, ir_version=9)
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    y = execute(extract(tmp_path / "m.onnx"), {"i0": inputs["i0"]})["y"]
    (theirs,) = run_model(model, {"i0": inputs["i0"]})
    assert (y.dtype, y.shape) == (theirs.dtype, theirs.shape)

    values = [fractions(value) for value in inputs.values()]
    exact = EXACT[op_type](y.shape, attributes, *values)
    rounded = np.vectorize(f32_of, otypes=[np.float32])(exact)
    assert y.tobytes() == rounded.tobytes()

    # A unit is what rounding may add to the sum of all sizes; both depend on their order alone.
    pairs = zip(inputs.values(), values, strict=True)
    sizes = [exactly if v.dtype == np.int64 else abs(exactly) for v, exactly in pairs]
    unsigned = {k: abs(v) if isinstance(v, float) else v for k, v in attributes.items()}
    unit = EXACT[op_type](y.shape, unsigned, *sizes) * Fraction(1, 2**24)
    furthest = np.max(np.abs(fractions(theirs) - exact) / unit)
    assert furthest <= UNITS


def test_each_sum_is_the_exact_one_rounded_once() -> None:
    left, right, addend = (some(*shape).astype(np.float64) for shape in ((4, 9), (9, 5), (5,)))
    found = summed(left, right, addend=addend, divisor=7.0)
    for row, column in product(range(4), range(5)):
        terms = zip(left[row], right[:, column], strict=True)
        exact = sum(Fraction(a) * Fraction(b) for a, b in terms) + Fraction(addend[column])
        assert found[row, column] == f32_of(exact / 7)


def test_a_tie_that_float64_cannot_see_is_decided_by_the_exact_sum() -> None:
    tie, least = 2.0**24 + 1, 2.0**-60
    right = np.ones((2, 1))
    for last, answer in ((least, 2**24 + 2), (0.0, 2**24), (-least, 2**24)):
        assert summed(np.array([[tie, last]]), right)[0, 0] == answer


@pytest.mark.parametrize("terms", [[np.inf, 1], [np.inf, -np.inf], [np.nan, 1], [3e38, 3e38]])
def test_what_is_no_number_follows_ieee(terms: list[float]) -> None:
    with np.errstate(all="ignore"):
        (found,) = summed(np.array([terms]), np.ones((2, 1))).ravel()
        assert np.array_equal(found, np.float32(sum(terms)), equal_nan=True)


def test_shorter_types_are_rounded_once_too() -> None:
    # 2049 is a tie of float16; with a little more it is not, and float32 does not see that.
    terms = np.array([[2049.0, 2.0**-20]])
    assert summed(terms, np.ones((2, 1)), kind=np.float16)[0, 0] == 2050


def test_sums_of_nothing() -> None:
    assert summed(np.ones((2, 0)), np.ones((0, 3)), addend=1.5).tolist() == [[1.5] * 3] * 2
