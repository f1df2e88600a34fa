"""Each kernel equals onnxruntime, optimizations off, for every version and type that runs there."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import TYPE_CHECKING

import grids
import numpy as np
import pytest
from peers import (
    READABLE,
    Processor,
    RefusedError,
    Reported,
    processor,
    run_onnxruntime,
)

from qdqdoc.numerics.formats import ONNX_TYPE, Array, type_name
from qdqdoc.operators import OPERATORS
from qdqdoc.registry import Call, Operator, OperatorError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from conftest import Witness

# Types that no kernel of onnxruntime's CPU provider takes.
NO_KERNEL = {"bfloat16", "float4e2m1", "float6e2m3", "float6e3m2", "float8e8m0"}
NEWEST_KERNEL = 25
QDQ = ("QuantizeLinear", "DequantizeLinear")


def no_kernel(operator: Operator, call: Call, result: str) -> bool:
    """Whether onnxruntime is known to have no kernel for a call."""
    types = {name: type_name(value.dtype) for name, value in call.inputs.items()}
    if NO_KERNEL & {*types.values(), result} or (
        operator.name in QDQ and call.opset > NEWEST_KERNEL
    ):
        return True
    if operator.name == "QuantizeLinear":
        return types["x"] == "int32" or call.attributes.get("precision") == ONNX_TYPE["bfloat16"]
    if operator.name == "DequantizeLinear":
        zero = call.inputs.get("x_zero_point")
        return zero is not None and "float8" in types["x"] and bool(zero.astype(np.float32).any())
    first, second = ("x", "w") if operator.name == "QLinearConv" else ("a", "b")
    if (types[first], types[second], result) not in grids.SIGNS:
        return True
    if operator.name == "QLinearConv":
        dilated = max(call.attributes.get("dilations") or [1]) > 1
        return bool(dilated) and call.attributes.get("auto_pad", "").startswith("SAME")
    return call.inputs["a_scale"].size > 1


# Magnitudes at which onnxruntime's unsaturated float8 is a registered difference.
OPEN_BANDS = {"float8e4m3fn": (480, 496), "float8e5m2": (61440, 65536)}


def differs_by_rule(operator: Operator, call: Call, result: str) -> Array:
    """Mark values that a registered difference covers, or that onnxruntime never wrote."""
    if operator.name == "QLinearMatMul":
        return np.array(call.inputs["a"].shape[-1] == 0)
    if operator.name != "QuantizeLinear" or "float8" not in result:
        return np.array(False)
    zero = call.inputs.get("y_zero_point")
    if zero is not None and zero.astype(np.float32).any():
        return np.array(True)
    low, high = OPEN_BANDS.get(result, (0, 0))
    with np.errstate(all="ignore"):
        quotient = np.abs(call.inputs["x"] / call.inputs["y_scale"])
    is_open = call.attributes.get("saturate", 1) == 0
    return np.asarray((low <= quotient) & (quotient < high) & is_open)


def may_saturate(call: Call) -> bool:
    """Whether this processor adds products of the call in 16 bits."""
    if not processor().saturates:
        return False
    types = [value.dtype for value in call.inputs.values() if value.dtype.itemsize == 1]
    return np.dtype(np.uint8) in types and np.dtype(np.int8) in types


def readable(y: Array) -> Array:
    return y if type_name(y.dtype) in READABLE else y.astype(np.float32)


def compare(operator: Operator, calls: Iterable[Call]) -> tuple[int, list[str]]:
    """Compare every value of the calls that run in both; return how many, and what differs."""
    count, different = 0, []
    for call in calls:
        try:
            y = operator.run(call)
        except OperatorError:
            continue  # a type or attribute that this version does not have
        result = type_name(y.dtype)
        try:
            theirs = run_onnxruntime(operator, call, result)
        except RefusedError as error:
            if not no_kernel(operator, call, result):
                different.append(f"{call.name} at opset {call.opset}: refused: {error}")
            continue
        if no_kernel(operator, call, result):
            different.append(f"{call.name} at opset {call.opset}: runs now")
            continue
        known = differs_by_rule(operator, call, result)
        count += y.size - int(np.broadcast_to(known, y.shape).sum())
        ours = readable(y)
        equal = known | (ours == theirs) | (np.isnan(ours) & np.isnan(theirs))
        if ours.shape != theirs.shape or not equal.all():
            wrong = int((~equal).sum())
            different.append(f"{call.name} at opset {call.opset}: {wrong} of {y.size} values")
    return count, different


def check(operator: Operator, calls: Iterable[Call], witness: Witness, what: str) -> int:
    chosen = [*calls]
    count, different = compare(operator, (c for c in chosen if not may_saturate(c)))
    report(f"{operator.name}: {compare(operator, (c for c in chosen if may_saturate(c)))[1]}")
    if processor().known:
        assert not different, different[:10]
    report(f"{operator.name}: {different}")
    if not different:
        witness(f"{operator.name}: onnxruntime, {what}", count)
    return count


def report(said: str) -> None:
    """Tell of differences that belong to the processor, if there are any."""
    if not said.endswith("[]"):
        warnings.warn(f"on this processor: {said}", Reported, stacklevel=3)


pytestmark = pytest.mark.filterwarnings("default::peers.Reported")


@pytest.mark.parametrize("operator", OPERATORS.values(), ids=lambda o: o.name)
def test_vectors_at_every_version(operator: Operator, witness: Witness) -> None:
    opsets = [v.since for v in operator.versions]
    calls = (replace(c, opset=opset) for c in operator.vectors() for opset in {*opsets, 10, 25})
    assert check(operator, calls, witness, "vectors at every version") > 500


@pytest.mark.parametrize(
    "kind", ["int8", "uint8", "int16", "uint16", "int4", "uint4", "int2", "uint2"]
)
@pytest.mark.parametrize("opset", [10, 13, 19, 21, 23, 25])
@pytest.mark.parametrize("float_type", ["float32", "float16"])
def test_ties_of_quantize_linear(kind: str, opset: int, float_type: str, witness: Witness) -> None:
    calls = grids.quantize_ties(kind, float_type, opset)
    check(OPERATORS["", "QuantizeLinear"], calls, witness, "ties and their neighbours")


@pytest.mark.parametrize("kind", ["float8e4m3fn", "float8e4m3fnuz", "float8e5m2", "float8e5m2fnuz"])
def test_dense_sweep_of_float8(kind: str, witness: Witness) -> None:
    bits = np.arange(0, 2**32, 16411, dtype=np.uint32)
    x = bits.view(np.float32)
    call = Call(
        name=f"sweep {kind}",
        inputs={"x": x, "y_scale": np.array(1, np.float32)},
        attributes={"output_dtype": ONNX_TYPE[kind]},
        opset=21,
    )
    assert check(OPERATORS["", "QuantizeLinear"], [call], witness, "sweep of all floats") > 10**5


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("name", ["QLinearConv", "QLinearMatMul"])
def test_ties_of_products(name: str, seed: int, witness: Witness) -> None:
    calls = grids.products(name, seed)
    assert check(OPERATORS["", name], calls, witness, "ties, every product of two codes") > 10**6


def off_by_one(operator: Operator) -> Operator:
    def kernel(**given: Array) -> Array:
        y = operator.kernel(**given)
        return y + np.ones((), y.dtype)

    return replace(operator, kernel=kernel)


@pytest.fixture
def one_call() -> list[Call]:
    return [next(grids.products("QLinearMatMul", seed=2))]


def test_a_wrong_kernel_is_noticed(one_call: list[Call], witness: Witness) -> None:
    with pytest.raises(AssertionError, match="65536 of 65536 values"):
        check(off_by_one(OPERATORS["", "QLinearMatMul"]), one_call, witness, "wrong on purpose")


@pytest.mark.parametrize("machine", [Processor(known=False, saturates=False)])
def test_an_unknown_processor_is_told_of(
    machine: Processor,
    one_call: list[Call],
    witness: Witness,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(globals(), "processor", lambda: machine)
    with pytest.warns(Reported, match="65536 of 65536 values"):
        check(off_by_one(OPERATORS["", "QLinearMatMul"]), one_call, witness, "another processor")


def test_a_saturating_processor_is_told_of(
    witness: Witness, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = Processor(known=True, saturates=True)
    monkeypatch.setitem(globals(), "processor", lambda: machine)
    mixed = [c for c in grids.products("QLinearMatMul", seed=2) if may_saturate(c)]
    wrong = off_by_one(OPERATORS["", "QLinearMatMul"])
    with pytest.warns(Reported, match="values"):
        check(wrong, mixed[:1], witness, "products that saturate")
