"""Stored tensors: every form in which ONNX packs numbers, as plain bytes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from qdqdoc.document.arrays import decode, encode
from qdqdoc.document.elements import STORAGE, is_float, item_size
from qdqdoc.extract import external
from qdqdoc.extract.errors import ExtractError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

INLINE = 16
"""Tensors of up to so many values stand in the JSON itself."""

NARROW = {
    **dict.fromkeys(("int2", "uint2"), 2),
    **dict.fromkeys(("int4", "uint4", "float4e2m1"), 4),
    **dict.fromkeys(("float6e2m3", "float6e3m2"), 6),
}
"""Types that ONNX packs into less than a byte per value."""


@dataclass(frozen=True)
class Constant:
    """A value that the model holds; ``raw`` is `None` for strings and sparse tensors."""

    dtype: str
    shape: tuple[int, ...]
    raw: bytes | None = None
    texts: tuple[Any, ...] | None = None

    @cached_property
    def sha256(self) -> str | None:
        """Fingerprint of the bytes."""
        return None if self.raw is None else sha256(self.raw).hexdigest()

    @cached_property
    def flat(self) -> NDArray[Any] | None:
        """All numbers in row-major order."""
        return None if self.raw is None else decode(self.raw, self.dtype)

    @property
    def numbers(self) -> tuple[Any, ...] | None:
        """All numbers as Python's, each exact."""
        if self.flat is None or self.dtype.startswith("complex"):
            return None
        kind = float if is_float(self.dtype) else bool if self.dtype == "bool" else int
        return tuple(kind(value) for value in self.flat)

    @cached_property
    def values(self) -> tuple[Any, ...] | None:
        """What stands in the JSON: all values if they are few and lose nothing there."""
        if self.texts is not None:
            return self.texts
        if self.raw is None or prod(self.shape) > INLINE:
            return None
        numbers = self.numbers
        if numbers is None:
            return None
        # A NaN has many bit patterns and one spelling.
        spelled = [one if one == one else math.nan for one in numbers]  # noqa: PLR0124 - so is a NaN told
        return numbers if encode(spelled, self.dtype) == self.raw else None


def dtype_name(data_type: int) -> str:
    """Return the name of an element type, empty where it is unknown.

    >>> dtype_name(TensorProto.FLOAT), dtype_name(TensorProto.INT4)
    ('float32', 'int4')
    """
    known: dict[int, str] = {TensorProto.FLOAT: "float32", TensorProto.DOUBLE: "float64"}
    if data_type in known:
        return known[data_type]
    if data_type == TensorProto.UNDEFINED or data_type not in TensorProto.DataType.values():
        return ""
    return str(TensorProto.DataType.Name(data_type)).lower()


def constant(tensor: TensorProto, folder: Path) -> Constant:
    """Return a stored tensor; external data come from `folder`."""
    dtype, shape = dtype_name(tensor.data_type), tuple(tensor.dims)
    if any(size < 0 for size in shape):
        raise ExtractError(f"tensor {tensor.name!r}: shape {list(shape)} has a negative size")
    if dtype == "string":
        return Constant(dtype, shape, texts=_texts(tensor))
    if dtype not in STORAGE:
        return Constant(dtype, shape)
    packed = _packed_size(dtype, prod(shape))
    if tensor.data_location == TensorProto.EXTERNAL:
        return Constant(dtype, shape, _unpacked(tensor, external.read(tensor, packed, folder)))
    if tensor.HasField("raw_data"):
        _expect(tensor, dtype, "bytes", len(tensor.raw_data), packed)
        return Constant(dtype, shape, _unpacked(tensor, tensor.raw_data))
    return Constant(dtype, shape, _typed(tensor, dtype, packed))


def _packed_size(dtype: str, count: int) -> int:
    bits = NARROW.get(dtype)
    return (count * bits + 7) // 8 if bits else count * (item_size(dtype) or 0)


def _expect(tensor: TensorProto, dtype: str, unit: str, found: int, needed: int) -> None:
    if found != needed:
        raise ExtractError(
            f"tensor {tensor.name!r}: {dtype} of shape {list(tensor.dims)} needs {needed} {unit}, "
            f"found {found}"
        )


def _unpacked(tensor: TensorProto, raw: bytes) -> bytes:
    """Spread values of less than a byte; ONNX's raw bytes of all others are ours."""
    dtype = dtype_name(tensor.data_type)
    if dtype not in NARROW:
        return raw
    whole = TensorProto(dims=tensor.dims, data_type=tensor.data_type, raw_data=raw)
    return _bytes(numpy_helper.to_array(whole), dtype)


def _typed(tensor: TensorProto, dtype: str, packed: int) -> bytes:
    field = getattr(tensor, helper.tensor_dtype_to_field(tensor.data_type))
    count = prod(tensor.dims)
    if dtype in NARROW and len(field) == count:
        # Some writers keep one narrow value per int32, unpacked.
        mask = (1 << NARROW[dtype]) - 1
        codes = np.array([value & mask for value in field], dtype=np.uint8)
        return _sign_extended(codes, dtype)
    needed = packed if dtype in NARROW else count * (2 if dtype.startswith("complex") else 1)
    _expect(tensor, dtype, "values", len(field), needed)
    return _bytes(numpy_helper.to_array(tensor), dtype)


def _bytes(array: NDArray[Any], dtype: str) -> bytes:
    if dtype in NARROW:
        return _sign_extended(array.reshape(-1).view(np.uint8), dtype)
    return encode(array.reshape(-1), dtype)


def _sign_extended(codes: NDArray[np.uint8], dtype: str) -> bytes:
    bits = NARROW[dtype]
    codes = codes & np.uint8((1 << bits) - 1)
    if dtype.startswith("int"):
        half = 1 << (bits - 1)
        return ((codes.astype(np.int8) ^ np.int8(half)) - np.int8(half)).tobytes()
    return codes.tobytes()


def _texts(tensor: TensorProto) -> tuple[Any, ...]:
    if len(tensor.string_data) != prod(tensor.dims):
        _expect(tensor, "string", "texts", len(tensor.string_data), prod(tensor.dims))
    return tuple(text(value) for value in tensor.string_data)


def text(value: bytes) -> str | dict[str, str]:
    """Return text, or ``{"bytes": hexadecimal}`` for what is not UTF-8."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return {"bytes": value.hex()}
