"""The value of a tensor as a NumPy array, checked against its fingerprint."""

from __future__ import annotations

from hashlib import sha256
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np

from qdqdoc.document.elements import STORAGE, item_size
from qdqdoc.document.problems import DocumentError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from qdqdoc.document.model import Document, Tensor

ML_DTYPES = {
    "bfloat16": "bfloat16",
    "float8e4m3fn": "float8_e4m3fn",
    "float8e4m3fnuz": "float8_e4m3fnuz",
    "float8e5m2": "float8_e5m2",
    "float8e5m2fnuz": "float8_e5m2fnuz",
    "float8e8m0": "float8_e8m0fnu",
    "float6e2m3": "float6_e2m3fn",
    "float6e3m2": "float6_e3m2fn",
    "float4e2m1": "float4_e2m1fn",
    "int2": "int2",
    "uint2": "uint2",
    "int4": "int4",
    "uint4": "uint4",
}


def array(document: Document, tensor: Tensor | str) -> NDArray[Any]:
    """Return the constant `tensor`, or the constant of the main graph that has this name."""
    if isinstance(tensor, str):
        if tensor not in document.tensors:
            raise DocumentError([f"tensor {tensor!r} is not in the document"])
        tensor = document.tensors[tensor]
    shape = [size for size in tensor.shape or () if isinstance(size, int)]
    if tensor.shape is None or len(shape) < len(tensor.shape):
        raise DocumentError([f"tensor {tensor.name!r} has no fixed shape: it is no constant"])
    return _flat_value(document, tensor).reshape(shape)


def _flat_value(document: Document, tensor: Tensor) -> NDArray[Any]:
    if tensor.values is not None and tensor.dtype == "string":
        return np.array(tensor.values, dtype=object)
    if tensor.values is not None:
        return decode(encode(tensor.values, tensor.dtype), tensor.dtype)
    if tensor.sha256 is None:
        raise DocumentError([f"tensor {tensor.name!r} has no value in the document"])
    raw = document.data.get(tensor.sha256)
    if raw is None:
        raise DocumentError(
            [f"tensor {tensor.name!r}: its bytes are not here (load the .json beside its .npz)"]
        )
    if sha256(raw).hexdigest() != tensor.sha256:
        raise DocumentError([f"tensor {tensor.name!r}: its bytes do not give its sha256"])
    if tensor.dtype not in STORAGE or len(raw) != (tensor.size or 0) * (
        item_size(tensor.dtype) or 0
    ):
        raise DocumentError([f"tensor {tensor.name!r}: {len(raw)} bytes do not fill its shape"])
    return decode(raw, tensor.dtype)


def decode(raw: bytes, dtype: str) -> NDArray[Any]:
    """Return raw bytes (little-endian, one value per byte below eight bits) as values."""
    stored = np.frombuffer(raw, dtype=STORAGE[dtype])
    if dtype not in ML_DTYPES:
        return stored
    kind = _ml_dtype(dtype)
    return stored.astype(kind) if "int" in dtype else stored.view(kind)


def encode(values: Sequence[Any] | NDArray[Any], dtype: str) -> bytes:
    """Return values as raw bytes, the inverse of `decode`."""
    if dtype not in ML_DTYPES:
        return np.asarray(values, dtype=STORAGE[dtype]).tobytes()
    if "int" in dtype:
        return np.asarray(values).astype(_ml_dtype(dtype)).astype(STORAGE[dtype]).tobytes()
    return np.asarray(values, dtype=_ml_dtype(dtype)).view(STORAGE[dtype]).tobytes()


def _ml_dtype(dtype: str) -> np.dtype[Any]:
    # Imported here: who reads a document of common types needs NumPy alone.
    kind: np.dtype[Any] = np.dtype(getattr(import_module("ml_dtypes"), ML_DTYPES[dtype]))
    return kind
