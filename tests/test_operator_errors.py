"""Bad input: one clear error that names operator, parameter, found and allowed."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from qdqdoc import operators
from qdqdoc.errors import QdqdocError
from qdqdoc.numerics.formats import ONNX_TYPE, tensor
from qdqdoc.numerics.products import AccumulatorOverflowError
from qdqdoc.operators import OPERATORS, dequantize_linear, qlinear_conv, qlinear_matmul
from qdqdoc.operators import quantize_linear as quantize
from qdqdoc.registry import OperatorError

X = tensor("float32", np.ones((2, 3, 7)))
CODES = tensor("int8", np.ones((2, 3, 7)))
ONE = tensor("float32", 1)

QUANTIZE: list[tuple[dict[str, Any], str]] = [
    ({"x": None}, "x: found nothing, allowed: a tensor of float32"),
    ({"x": np.float64(1)}, "x: found float64, allowed: float32 or float16 or bfloat16 or int32"),
    ({"x": np.complex64(1)}, "x: found complex64"),
    ({"y_scale": np.float64(1)}, "y_scale: found float64"),
    ({"y_zero_point": np.int32(1)}, "y_zero_point: found int32"),
    ({"y_zero_point": tensor("int4", 1), "opset": 13}, "y_zero_point: found int4, allowed: int8"),
    ({"opset": 9}, "opset: found 9, allowed: 10 or newer"),
    ({"axis": 3, "y_scale": np.ones(7, "f")}, "axis: found 3, allowed: -3 to 2"),
    ({"axis": -4, "y_scale": np.ones(7, "f")}, "axis: found -4, allowed: -3 to 2"),
    ({"y_scale": np.ones(4, "f")}, "y_scale: found shape (4,), allowed: shape () or (3,)"),
    ({"y_scale": np.ones((2, 3, 3), "f")}, "block_size: found 0, allowed: a positive number"),
    ({"block_size": -1}, "block_size: found -1"),
    ({"block_size": 3}, "y_scale: found shape (), allowed: rank 3"),
    (
        {"y_scale": np.ones((2, 3, 3), "f"), "block_size": 2, "axis": 2},
        "y_scale: found shape (2, 3, 3), allowed: shape () or (2, 3, 4)",
    ),
    (
        {"y_scale": np.ones(3, "f"), "y_zero_point": np.zeros(2, "b")},
        "y_zero_point: found shape (2,), allowed: the shape of y_scale, (3,)",
    ),
    (
        {"y_zero_point": np.int8(1), "output_dtype": ONNX_TYPE["uint8"]},
        "output_dtype: found uint8, allowed: the type of y_zero_point, int8",
    ),
    ({"output_dtype": 99}, "output_dtype: found 99, allowed: 0, "),
    ({"output_dtype": ONNX_TYPE["int2"], "opset": 21}, "output_dtype: found 26"),
    ({"precision": ONNX_TYPE["int8"]}, "precision: found 3, allowed: 0, 1 (float32)"),
    ({"block_size": 2, "opset": 13}, "block_size: found 2, allowed: opset 21 or newer"),
    ({"y_scale": np.ones(3, "f"), "opset": 10}, "y_scale: found shape (3,), allowed: one value"),
    ({"typo": 1}, "got an unexpected keyword argument 'typo'"),
    ({"x": tensor("float16", 1), "opset": 21}, "y_scale: found float32, allowed: the type of x"),
]


@pytest.mark.parametrize(("change", "said"), QUANTIZE)
def test_quantize_linear(change: dict[str, Any], said: str) -> None:
    with pytest.raises(OperatorError, match=re.escape(said)) as error:
        quantize(**{"x": X, "y_scale": ONE, **change})
    assert str(error.value).startswith("QuantizeLinear: ")


DEQUANTIZE: list[tuple[dict[str, Any], str]] = [
    ({"x": X}, "x: found float32, allowed: int8 or uint8 or int32"),
    ({"x_scale": None}, "x_scale: found nothing"),
    ({"x_zero_point": np.uint8(1)}, "x_zero_point: found uint8, allowed: the type of x, int8"),
    ({"x_scale": tensor("float8e8m0", 1)}, "output_dtype: found 0 with a scale of float8e8m0"),
    ({"output_dtype": ONNX_TYPE["int8"]}, "output_dtype: found 3, allowed: 0, 1 (float32)"),
    ({"x_scale": np.ones(7, "f")}, "x_scale: found shape (7,), allowed: shape () or (3,)"),
    ({"x": CODES[0, 0], "x_scale": np.ones(7, "f")}, "axis: found 1, allowed: -1 to 0"),
    ({"x": tensor("int2", [1]), "opset": 24}, "x: found int2"),
]


@pytest.mark.parametrize(("change", "said"), DEQUANTIZE)
def test_dequantize_linear(change: dict[str, Any], said: str) -> None:
    with pytest.raises(OperatorError, match=re.escape(said)):
        dequantize_linear(**{"x": CODES, "x_scale": ONE, **change})


W = tensor("int8", np.ones((4, 3, 2)))
ZERO = tensor("int8", 0)
CONV: list[tuple[dict[str, Any], str]] = [
    ({"w": None}, "w: found nothing"),
    ({"w": W[0]}, "w: found shape (3, 2), allowed: the rank of x"),
    ({"x": CODES[0]}, "w: found shape (4, 3, 2)"),
    ({"group": 2}, "group: found 2"),
    ({"group": 0}, "group: found 0"),
    ({"strides": [0]}, "strides: found [0], allowed: 1 positive numbers"),
    ({"strides": [1, 1]}, "strides: found [1, 1]"),
    ({"dilations": [-1]}, "dilations: found [-1]"),
    ({"pads": [1]}, "pads: found [1], allowed: 2 numbers of 0 or more"),
    ({"pads": [-1, 0]}, "pads: found [-1, 0]"),
    ({"auto_pad": "SAME"}, "auto_pad: found 'SAME', allowed: NOTSET or SAME_UPPER"),
    ({"kernel_shape": [3]}, "kernel_shape: found [3], allowed: [2], the shape of w"),
    ({"dilations": [7]}, "x: found 7 padded values along axis 2, allowed: at least 8"),
    ({"x_scale": np.ones(3, "f")}, "x_scale: found shape (3,), allowed: one value"),
    ({"w_scale": np.ones(3, "f")}, "w_scale: found shape (3,), allowed: one value or (4,)"),
    ({"w_zero_point": np.zeros(4, "b")}, "w_zero_point: found shape (4,)"),
    ({"B": np.zeros(3, "i")}, "B: found shape (3,), allowed: (4,)"),
    ({"B": np.zeros(4, "b")}, "B: found int8, allowed: int32"),
    ({"y_zero_point": np.int16(0)}, "y_zero_point: found int16, allowed: int8 or uint8"),
]


@pytest.mark.parametrize(("change", "said"), CONV)
def test_qlinear_conv(change: dict[str, Any], said: str) -> None:
    given = {"x": CODES, "x_scale": ONE, "x_zero_point": ZERO, "w": W, "w_scale": ONE}
    given |= {"w_zero_point": ZERO, "y_scale": ONE, "y_zero_point": ZERO}
    with pytest.raises(OperatorError, match=re.escape(said)):
        qlinear_conv(**{**given, **change})


MATMUL: list[tuple[dict[str, Any], str]] = [
    ({"b": W}, "b: found shape (4, 3, 2), allowed: a shape that a of shape (2, 3, 7) multiplies"),
    ({"b": np.int8(1)}, "b: found shape ()"),
    ({"a": np.int8(1)}, "b: found shape (7, 5)"),
    ({"b": np.ones((5, 7, 4), np.int8)}, "b: found shape (5, 7, 4)"),
    ({"a_scale": np.ones(7, "f")}, "a_scale: found shape (7,), allowed: (), (3,) or (2, 3, 1)"),
    ({"b_scale": np.ones(7, "f")}, "b_scale: found shape (7,), allowed: (), (5,) or (1, 5)"),
    ({"y_scale": np.ones(3, "f")}, "y_scale: found shape (3,), allowed: one value"),
    ({"a": tensor("float8e5m2", np.ones((2, 7))), "opset": 10}, "a: found float8e5m2"),
]


@pytest.mark.parametrize(("change", "said"), MATMUL)
def test_qlinear_matmul(change: dict[str, Any], said: str) -> None:
    given = {"a": CODES, "a_scale": ONE, "a_zero_point": ZERO, "b": np.ones((7, 5), np.int8)}
    given |= {"b_scale": ONE, "b_zero_point": ZERO, "y_scale": ONE, "y_zero_point": ZERO}
    with pytest.raises(OperatorError, match=re.escape(said)):
        qlinear_matmul(**{**given, **change})


def test_overflow_raises_when_asked() -> None:
    row = np.full((1, 34000), 255, np.uint8)
    given = [row, ONE, np.uint8(0), row.T, ONE, np.uint8(0), ONE, np.uint8(0)]
    assert qlinear_matmul(*given).shape == (1, 1)
    with pytest.raises(AccumulatorOverflowError, match="2210850000 leaves int32"):
        qlinear_matmul(*given, overflow="raise")


def test_every_error_is_one_line_of_the_common_class() -> None:
    assert issubclass(OperatorError, QdqdocError)
    with pytest.raises(OperatorError) as error:
        quantize(X, np.ones(99, np.float32))
    assert "\n" not in str(error.value)


def test_kernels_are_exported_under_their_names() -> None:
    for entry in OPERATORS.values():
        if not entry.domain:
            assert getattr(operators, entry.kernel.__name__) is entry.kernel
            assert entry.kernel.__name__ in operators.__all__
    with pytest.raises(AttributeError, match="no_such_kernel"):
        _ = operators.no_such_kernel
