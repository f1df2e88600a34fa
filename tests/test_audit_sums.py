"""Findings of the audit in weights, biases and sums; every number counted again."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - pytest reads the annotations

import numpy as np
import pytest
from layer import CHANNELS, Layer, floats, found, only
from test_fuse import Maker

from qdqdoc.audit import audit
from qdqdoc.audit.biases import ulps
from qdqdoc.extract import extract


@pytest.mark.parametrize(
    ("kind", "zeros", "off"),
    [
        ("int8", [0, 0, 0, 0], []),
        ("int8", [0, 3, 0, -5], [3, -5]),
        ("uint8", [128] * 4, []),
        ("uint8", [128, 7, 128, 128], [7]),
    ],
)
def test_asymmetric_weights(kind: str, zeros: list[int], off: list[int], tmp_path: Path) -> None:
    codes = np.tile(np.array([0, 1, 2, 127]), (CHANNELS, 1))
    path = Layer(
        kind=kind, codes=codes, w_scale=[0.5] * 4, b_scale=0.025, w_zero=zeros, w_axis=0
    ).save(tmp_path)
    if not off:
        assert not found(path, "asymmetric-weights")
        return
    one = only(path, "asymmetric-weights")
    assert one.numbers == {"count": len(off), "of": 4, "lowest": min(off), "highest": max(off)}


def test_the_scale_of_a_bias(tmp_path: Path) -> None:
    weights = floats([0.25, 0.1, 0.3, 0.7])
    product = np.float32(0.05) * weights
    moved = product.copy()
    moved[2] = np.nextafter(np.nextafter(moved[2], np.float32(1)), np.float32(1))
    moved[1] = np.nextafter(moved[1], np.float32(0))
    held = {"w_scale": weights, "w_axis": 0, "w_zero": [0] * 4, "bias": [1, 2, 3, 4], "b_axis": 0}
    assert not found(Layer(**held, b_scale=product).save(tmp_path), "bias-scale-off")  # type: ignore[arg-type] # fields of several types
    one = only(Layer(**held, b_scale=moved).save(tmp_path), "bias-scale-off")  # type: ignore[arg-type] # the same
    assert (one.numbers["channels"], one.numbers["of"], one.numbers["channel"]) == (2, 4, 2)
    assert one.numbers["ulp"] == 2
    assert (one.numbers["scale"], one.numbers["product"]) == (float(moved[2]), float(product[2]))


def test_ulps_count_the_numbers_between() -> None:
    rng = np.random.default_rng(3)
    for start in (np.float32(1), np.float32(-(2.0**-149)), np.float32(0.3)):
        at, steps = start, int(rng.integers(1, 40))
        for _ in range(steps):
            at = np.nextafter(at, np.float32(np.inf))
        assert ulps(float(start), float(at)) == steps
        assert ulps(float(at), float(start)) == -steps


@pytest.mark.parametrize(
    ("bias", "code"),
    [
        (2**31 - 1, "bias-beyond-int32"),
        (-(2**31), "bias-beyond-int32"),
        (2**31 - 2, "bias-headroom"),
        (-(2**30), "bias-headroom"),
        (2**30 - 1, ""),
    ],
)
def test_large_biases(bias: int, code: str, tmp_path: Path) -> None:
    path = Layer(bias=[0, bias, 5, 6]).save(tmp_path)
    told = [f for f in audit(extract(path)).findings if f.code in {"bias-headroom", *BEYOND}]
    assert [one.code for one in told if one.code != BEYOND[1]] == ([code] if code else [])
    if code:
        assert only(path, code).numbers["furthest"] == bias
    overflows = [one for one in told if one.code == BEYOND[1]]
    # The other values of the layer make a sum of at most 254 times 254 on each side.
    reach = max(bias + 254 * 130, 0), min(bias - 254 * 127, 0)
    assert bool(overflows) is (reach[0] > 2**31 - 1 or reach[1] < -(2**31))


BEYOND = ("bias-beyond-int32", "accumulator-beyond-int32")


def test_a_float_bias_beyond_int32(tmp_path: Path) -> None:
    """Counted in steps of the product of both scales, it does not fit."""
    for value, beyond in ((1.0, True), (1e-4, False)):
        m = Maker()
        x = m.pair(m.input(1, 4, 2, 2), "uint8", 1e-5, 0)
        stored = m.store(np.full((4, 4, 1, 1), 127), "int8")
        w = m.node("DequantizeLinear", stored, m.store(np.float32(1e-5)), m.store(0, "int8"))
        made = m.node("Conv", x, w, m.store(np.full(4, value, np.float32)))
        m.result(m.pair(made, "uint8"))
        odd = found(m.save(tmp_path), "bias-beyond-int32")
        assert bool(odd) is beyond
        if beyond:
            steps = odd[0].numbers["furthest"]
            assert isinstance(steps, int)
            wanted = value / (float(np.float32(1e-5)) ** 2)
            assert abs(steps - wanted) < 1


@pytest.mark.parametrize(("depth", "count"), [(16, 0), (600, 1), (70_000, 2)])
def test_accumulators(depth: int, count: int, tmp_path: Path) -> None:
    weights = np.full((depth, 2), 127)
    weights[0] = -127
    m = Maker()
    stored = m.store(weights, "int8")
    w = m.node("DequantizeLinear", stored, m.store(np.float32(0.5)), m.store(0, "int8"))
    m.result(m.pair(m.node("MatMul", m.pair(m.input(1, depth), "uint8", zero=0), w), "uint8"))
    path = m.save(tmp_path)
    high = 255 * 127 * (depth - 1)
    told = {f.code for f in audit(extract(path)).findings if f.code.startswith("accumulator")}
    expected = {"accumulator-beyond-float32"} if high > 2**24 else set()
    expected |= {"accumulator-beyond-int32"} if high >= 2**31 else set()
    assert told == expected
    assert len(told) == count
    (row,) = (row for row in audit(extract(path)).rows if row.sums)
    assert row.sums is not None
    assert (row.sums.products, row.sums.low, row.sums.high) == (depth, -255 * 127, high)
    assert row.sums.bits == high.bit_length() + 1


@pytest.mark.parametrize(
    ("low", "high", "bits"), [(-128, 127, 8), (-64, 63, 7), (-65, 3, 8), (-7, 7, 4), (0, 0, 1)]
)
def test_unused_weight_codes(low: int, high: int, bits: int, tmp_path: Path) -> None:
    codes = np.tile(np.array([low, 0, high, 0]), (CHANNELS, 1))
    path = Layer(codes=codes).save(tmp_path)
    if bits == 8:
        assert not found(path, "unused-weight-codes")
        return
    one = only(path, "unused-weight-codes")
    assert one.numbers == {
        "lowest": low,
        "highest": high,
        "bits": bits,
        "type_bits": 8,
        "codes": len({low, 0, high}),
    }
    assert -(2 ** (bits - 1)) <= low <= high < 2 ** (bits - 1)


@pytest.mark.parametrize(
    ("after", "kind", "zero", "unused"),
    [
        ("Relu", "int8", 0, 128),
        ("Relu", "int8", -128, 0),
        ("Relu", "uint8", 0, 0),
        ("Relu", "uint8", 10, 10),
        ("Sigmoid", "int8", 0, 128),
        ("Tanh", "int8", 0, 0),
        ("", "int8", 0, 0),
    ],
)
def test_unused_activation_codes(
    after: str, kind: str, zero: int, unused: int, tmp_path: Path
) -> None:
    layer = Layer(data=kind, after=after, out_zero=zero)
    odd = found(layer.save(tmp_path), "unused-activation-codes")
    assert [one.numbers["unused"] for one in odd] == ([unused] if unused else [])


def test_values_stay_positive_on_the_way(tmp_path: Path) -> None:
    for first, second in (("Relu", 2), ("Erf", 0)):
        m = Maker()
        x = m.pair(m.node(first, m.input(1, 4, 8, 8)), "int8", zero=0)
        m.result(m.pair(m.node("MaxPool", x, kernel_shape=[2, 2]), "int8", zero=0))
        assert len(found(m.save(tmp_path), "unused-activation-codes")) == second
