"""What older processors compute is understood: other recipes give their bits, on every vector.

These run with ``--processor Haswell`` or ``Nehalem`` alone, see ``tox -e isa``. The differences of
the ledger say where values are others; here it is shown which ones they are.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from peers import RefusedError, kinds, processor, readable, run_onnxruntime

from qdqdoc.calls.level4 import is_int8, keeps_floats
from qdqdoc.calls.saturation import pair_sums, saturates
from qdqdoc.numerics.elementary import without_fma
from qdqdoc.numerics.rounding import divide, multiply, requantize, round_to_grid, wrap32
from qdqdoc.operators import OPERATORS
from qdqdoc.registry import Call
from qdqdoc.registry.matrices import per_column, per_row

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qdqdoc.numerics.formats import Array
    from qdqdoc.registry import Operator


@pytest.fixture
def saturating() -> None:
    if "saturating" not in processor().names:
        pytest.skip("runs with --processor Haswell")


@pytest.fixture
def nehalem() -> None:
    if "without FMA" not in processor().names:
        pytest.skip("runs with --processor Nehalem")


def theirs(operator: Operator, call: Call) -> list[Array] | None:
    """Run a call in onnxruntime; nothing comes of one that it refuses."""
    try:
        return run_onnxruntime(operator, call, kinds(operator.run(call)))
    except RefusedError:
        return None


def mixed_calls(operator: Operator, opset: int = 10) -> Iterator[Call]:
    """Yield the vectors that multiply uint8 by int8, and longer products."""
    for call in operator.vectors():
        a, b = factors(call)
        if a.dtype == np.uint8 and b.dtype == np.int8 and a.size:
            yield replace(call, opset=opset)
    first = next(c for c in operator.vectors() if _types(c) == ("uint8", "int8"))
    names = [name for name in first.inputs if name in {"A", "B", "a", "b"}]
    rng = np.random.default_rng(5)
    for inner in (1, 2, 3, 15, 16, 17, 64, 383, 384, 385, 1000):
        for rows, columns in ((1, 3), (7, 5), (40, 33)):
            shapes = (rows, inner), (inner, columns)
            ranges = ((0, 256, shapes[0], np.uint8), (-128, 128, shapes[1], np.int8))
            codes: list[Array] = [rng.integers(*given) for given in ranges]  # type: ignore[misc]  # of one type each
            inputs: dict[str, Array] = {**first.inputs, **dict(zip(names, codes, strict=True))}
            if "y_scale" in inputs:
                # onnxruntime has no kernel for another type; few sums leave this grid.
                inputs["y_zero_point"] = np.array(100, np.uint8)
                inputs["y_scale"] = np.array(25 * inner**0.5, np.float32)
            yield Call(name=f"{shapes}", inputs=inputs, opset=opset)


def _types(call: Call) -> tuple[str, str]:
    a, b = factors(call)
    return a.dtype.name, b.dtype.name


def factors(call: Call) -> tuple[Array, Array]:
    named = {name.lower(): value for name, value in call.inputs.items()}
    return named["a"], named["b"]


def accumulators(call: Call) -> Array:
    """Sum pairs of raw codes in int16, the pairs exactly; then take away what zero points bring."""
    a, b = factors(call)
    if a.ndim == 1 or b.ndim == 1:
        sides = a.reshape(-1, a.shape[-1]) if a.ndim == 1 else a, b[:, None] if b.ndim == 1 else b
        pair = dict(zip("ab", sides, strict=True))
        inputs = {k: v for k, v in call.inputs.items() if k.lower() not in pair}
        full = accumulators(replace(call, inputs={**inputs, **pair}))
        return full.reshape(call_shape(a, b))
    zero_a = per_row("", "a_zero_point", call.inputs.get("a_zero_point"), a).astype(np.int64)
    zero_b = per_column("", "b_zero_point", call.inputs.get("b_zero_point"), b).astype(np.int64)
    sums = pair_sums(a, b).astype(np.int64)
    sums -= a.astype(np.int64).sum(-1, keepdims=True) * zero_b
    sums -= zero_a * b.astype(np.int64).sum(-2, keepdims=True)
    return wrap32(sums + a.shape[-1] * zero_a * zero_b)


def call_shape(a: Array, b: Array) -> tuple[int, ...]:
    return np.asarray(np.matmul(np.zeros(a.shape), np.zeros(b.shape))).shape


@pytest.mark.usefixtures("saturating")
def test_pairs_explain_matmul_integer() -> None:
    operator, other = OPERATORS["", "MatMulInteger"], 0
    for call in mixed_calls(operator):
        found = theirs(operator, call)
        if found is None:
            continue
        np.testing.assert_array_equal(found[0], accumulators(call), call.name)
        other += int((found[0] != operator.run(call)[0]).sum())
    assert other > 1000


@pytest.mark.usefixtures("saturating")
@pytest.mark.parametrize("opset", [10, 21])
def test_pairs_explain_qlinear_matmul(opset: int) -> None:
    operator, other = OPERATORS["", "QLinearMatMul"], 0
    for call in mixed_calls(operator, opset):
        found, inputs = theirs(operator, call), call.inputs
        if found is None:
            continue
        scales = multiply(inputs["a_scale"], inputs["b_scale"])
        multiplier = divide(scales, inputs["y_scale"], np.float32)
        zero = inputs["y_zero_point"]
        expected = requantize(accumulators(call), multiplier, zero, zero.dtype)
        np.testing.assert_array_equal(found[0], expected, call.name)
        other += int((found[0] != operator.run(call)[0]).sum())
    assert other > 100


@pytest.mark.usefixtures("saturating")
def test_pairs_explain_qgemm() -> None:
    """The bias is of the accumulator's type, so it can bring what saturation takes away."""
    operator, other = OPERATORS["com.microsoft", "QGemm"], 0
    for call in operator.vectors():
        a, b = factors(call)
        a = a.T if call.attributes.get("transA") else a
        b = b.T if call.attributes.get("transB") else b
        found = theirs(operator, call)
        if found is None or not saturates(a, b).any():
            continue
        lost = pair_sums(a, b) - np.matmul(a.astype(np.float64), b.astype(np.float64))
        bias = call.inputs.get("C", np.zeros((), np.int32)) + lost.astype(np.int32)
        changed = replace(call, inputs={**call.inputs, "C": bias})
        np.testing.assert_array_equal(found[0], operator.run(changed)[0], call.name)
        other += int((found[0] != operator.run(call)[0]).sum())
    assert other > 10


@pytest.mark.usefixtures("nehalem")
def test_rounded_products_explain_qlinear_add() -> None:
    operator, other = OPERATORS["com.microsoft", "QLinearAdd"], 0
    for call in (*operator.vectors(), *operator.ties()):
        found = theirs(operator, call)
        if found is None:
            continue
        expected = add_without_fma(call.inputs)
        ours = operator.run(call)[0]
        # Sums beyond int32 have an entry of their own.
        inside = np.broadcast_to(np.abs(expected[1]) < 2**31, ours.shape)
        np.testing.assert_array_equal(found[0][inside], expected[0][inside], call.name)
        other += int((found[0] != ours)[inside].sum())
    assert other > 1000


def add_without_fma(inputs: Any) -> tuple[Array, Array]:  # noqa: ANN401 - inputs of a call
    """Return the codes and the float32 sums of an addition that rounds each product."""
    none = np.zeros((), inputs["A"].dtype)
    with np.errstate(all="ignore"):
        ratios = [divide(inputs[f"{k}_scale"], inputs["C_scale"], np.float32) for k in "AB"]
        zeros = [inputs.get(f"{k}_zero_point", none) for k in "ABC"]
        moved = [multiply(ratio, zero) for ratio, zero in zip(ratios, zeros, strict=False)]
        constant = zeros[2].astype(np.float32) - (moved[0] + moved[1])
        first, last = (multiply(inputs[k], ratio) for k, ratio in zip("AB", ratios, strict=True))
        shapes = inputs["A"].shape, inputs["B"].shape
        common = max(1, min(map(len, shapes)))
        axes = zip(*(((1, *shape)[-common:])[::-1] for shape in shapes), strict=True)
        lengths = next((pair for pair in axes if pair != (1, 1)), (1, 1))
        if lengths[0] > 1 and lengths[1] == 1:
            first, last = last, first
        total = (first + constant) + last
    return round_to_grid(total, none, none.dtype), total


@pytest.mark.usefixtures("nehalem")
@pytest.mark.parametrize("name", ["QLinearSigmoid", "DynamicQuantizeLSTM"])
def test_rounded_products_explain_the_functions(name: str) -> None:
    """With products that are rounded in the two polynomials alone, all values are theirs."""
    operator, other = OPERATORS["com.microsoft", name], 0
    covered = [entry for entry in operator.differs if entry.processor != "without FMA"]
    for call in operator.vectors():
        found = theirs(operator, call)
        if found is None:
            continue
        ours = operator.run(call)
        with without_fma():
            expected = operator.run(call)
        for place, (one, two, known) in enumerate(zip(expected, found, ours, strict=True)):
            entries = [e for e in covered if e.theirs is not None and operator.place(e) == place]
            if any(np.any(entry.covers(call)) for entry in entries):
                continue
            bounds = [b for b in operator.bounds if b.output == operator.outputs[place]]
            allowed = bounds[0].ulp * bounds[0].unit(call) if bounds else np.zeros(())
            off = np.abs(readable(one).astype(np.float64) - two)
            assert not (off > allowed).any(), call.name
            other += int((readable(known) != two).sum())
    assert other > 10


@pytest.mark.usefixtures("nehalem")
def test_activations_stay_floats_at_level_4() -> None:
    operator, seen = OPERATORS["com.microsoft", "MatMulNBits"], 0
    for call in operator.vectors():
        if not is_int8(call) or keeps_floats(call):
            continue
        floats = replace(call, attributes={**call.attributes, "accuracy_level": 0})
        found = theirs(operator, call)
        assert found is not None, call.name
        bound, ours = operator.bounds[0], operator.run(floats)[0].astype(np.float64)
        with np.errstate(all="ignore"):
            equal = (ours == found[0]) | (np.isnan(ours) & np.isnan(found[0]))
            off = np.where(equal, 0, np.abs(ours - found[0]))
        assert not (off > bound.ulp * bound.unit(floats)).any(), call.name
        seen += found[0].size
    assert seen > 100
