"""Number formats: ONNX's element types as NumPy dtypes, and what each can hold."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any

import ml_dtypes
import numpy as np
from numpy.typing import DTypeLike, NDArray

Array = NDArray[Any]

_ELEMENT_TYPES = {
    "float32": (1, np.float32),
    "uint8": (2, np.uint8),
    "int8": (3, np.int8),
    "uint16": (4, np.uint16),
    "int16": (5, np.int16),
    "int32": (6, np.int32),
    "int64": (7, np.int64),
    "bool": (9, np.bool_),
    "float16": (10, np.float16),
    "uint32": (12, np.uint32),
    "bfloat16": (16, ml_dtypes.bfloat16),
    "float8e4m3fn": (17, ml_dtypes.float8_e4m3fn),
    "float8e4m3fnuz": (18, ml_dtypes.float8_e4m3fnuz),
    "float8e5m2": (19, ml_dtypes.float8_e5m2),
    "float8e5m2fnuz": (20, ml_dtypes.float8_e5m2fnuz),
    "uint4": (21, ml_dtypes.uint4),
    "int4": (22, ml_dtypes.int4),
    "float4e2m1": (23, ml_dtypes.float4_e2m1fn),
    "float8e8m0": (24, ml_dtypes.float8_e8m0fnu),
    "uint2": (25, ml_dtypes.uint2),
    "int2": (26, ml_dtypes.int2),
    "float6e2m3": (27, ml_dtypes.float6_e2m3fn),
    "float6e3m2": (28, ml_dtypes.float6_e3m2fn),
}

DTYPES = MappingProxyType({name: np.dtype(t) for name, (_, t) in _ELEMENT_TYPES.items()})
"""ONNX element type -> NumPy dtype, for every type of a quantized operator."""

ONNX_TYPE = MappingProxyType({name: number for name, (number, _) in _ELEMENT_TYPES.items()})
"""ONNX element type -> its number in ``TensorProto.DataType`` (``output_dtype``, ``precision``)."""

_NAMES = {dtype: name for name, dtype in DTYPES.items()}
_BY_NUMBER = {number: name for name, number in ONNX_TYPE.items()}


def tensor(kind: str, values: object) -> Array:
    """Make an array of an ONNX element type.

    >>> tensor("int4", [1, -8])
    array([1, -8], dtype=int4)
    """
    return np.array(values, DTYPES[kind])


def type_name(dtype: DTypeLike) -> str:
    """ONNX's name of a dtype; NumPy's own where no quantized operator uses it.

    >>> type_name(np.int8), type_name(ml_dtypes.float8_e5m2), type_name(np.complex64)
    ('int8', 'float8e5m2', 'complex64')
    """
    dtype = np.dtype(dtype)
    return _NAMES.get(dtype) or dtype.name


def type_of_number(number: int) -> str | None:
    """Name of an element type given by its ``TensorProto.DataType``; ``None`` if unknown.

    >>> type_of_number(3), type_of_number(22), type_of_number(99)
    ('int8', 'int4', None)
    """
    return _BY_NUMBER.get(number)


def is_integer(dtype: DTypeLike) -> bool:
    """Whether the type holds integers.

    >>> is_integer(ml_dtypes.int4), is_integer(ml_dtypes.float4_e2m1fn)
    (True, False)
    """
    return "int" in type_name(dtype)


def integer_range(dtype: DTypeLike) -> tuple[int, int]:
    """Return the rails of an integer type: its lowest and its highest code.

    >>> integer_range(np.int8), integer_range(ml_dtypes.uint2)
    ((-128, 127), (0, 3))
    """
    limits = ml_dtypes.iinfo(np.dtype(dtype))  # type: ignore[no-untyped-call]  # it has no types
    return int(limits.min), int(limits.max)


def largest_finite(dtype: DTypeLike) -> float:
    """Return the rail of a float type: the largest finite value.

    >>> largest_finite(ml_dtypes.float8_e4m3fn), largest_finite(ml_dtypes.float4_e2m1fn)
    (448.0, 6.0)
    """
    limits = ml_dtypes.finfo(np.dtype(dtype))  # type: ignore[no-untyped-call]  # it has no types
    return float(limits.max)
