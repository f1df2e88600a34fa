"""One tensor of a case: raw bytes as ONNX stores them, a .npy, and what describes both."""

from __future__ import annotations

import io
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import ml_dtypes
import numpy as np

from qdqdoc.numerics.formats import is_integer, type_name

if TYPE_CHECKING:
    from qdqdoc.numerics.formats import Array

_WHOLE_BYTE = 8
_NUMPYS_OWN = 1
"""What ``isbuiltin`` says of NumPy's types; by its kind alone a float8 passes for one of them."""


def bits(array: Array) -> int:
    """Return the width of one value in bits.

    >>> bits(np.zeros(1, ml_dtypes.uint4)), bits(np.zeros(1, np.float16)), bits(np.zeros(1, bool))
    (4, 16, 8)
    """
    if array.dtype.isbuiltin == _NUMPYS_OWN:
        return 8 * array.dtype.itemsize
    limits = ml_dtypes.iinfo if is_integer(array.dtype) else ml_dtypes.finfo
    return int(limits(array.dtype).bits)


def raw(array: Array) -> bytes:
    """Return the bytes of ONNX's ``raw_data``: little-endian, narrow values packed from bit 0.

    >>> raw(np.array([1, -1, 3], ml_dtypes.int4)).hex(), raw(np.array([1, 258], np.int16)).hex()
    ('f103', '01000201')
    """
    stored = storage(array)
    width = bits(array)
    if width >= _WHOLE_BYTE:
        return stored.tobytes()
    each = np.unpackbits(stored.reshape(-1, 1).view(np.uint8), axis=1, bitorder="little")
    return np.packbits(each[:, :width].reshape(-1), bitorder="little").tobytes()


def storage(array: Array) -> Array:
    """Return the values in a type that every reader of .npy knows.

    Integers of less than a byte become bytes of the same value; floats that NumPy has not become
    unsigned integers of the same bits.

    >>> storage(np.array([-8], ml_dtypes.int4)), storage(np.array([1], ml_dtypes.bfloat16))
    (array([-8], dtype=int8), array([16256], dtype=uint16))
    """
    if array.dtype.isbuiltin == _NUMPYS_OWN:
        return array.astype(array.dtype.newbyteorder("<"))
    if is_integer(array.dtype):
        signed = type_name(array.dtype).startswith("int")
        return array.astype(np.int8 if signed else np.uint8)
    width = array.dtype.itemsize
    return (
        np.ascontiguousarray(array).view(f"<u{width}" if width > 1 else "u1").reshape(array.shape)
    )


def npy(array: Array) -> bytes:
    """Return a .npy file."""
    file = io.BytesIO()
    np.save(file, storage(array), allow_pickle=False)
    return file.getvalue()


def plain(value: Any) -> Any:  # noqa: ANN401 - an attribute may be anything
    """Return an attribute as JSON has it: a float that is no number becomes an object.

    >>> plain([0.5, float("-inf")]), plain("NOTSET")
    ([0.5, {'float': '-inf'}], 'NOTSET')
    """
    if isinstance(value, list | tuple):
        return [plain(entry) for entry in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not np.isfinite(value):
        return {"float": str(value)}
    return value


def part(held: dict[str, bytes], stem: str, name: str, array: Array) -> dict[str, Any]:
    """Describe a tensor and its two files, and put their bytes among those that are held."""
    held[f"{stem}.bin"], held[f"{stem}.npy"] = raw(array), npy(array)
    return {
        "name": name,
        "dtype": type_name(array.dtype),
        "shape": list(array.shape),
        "bits": bits(array),
        "bin": {"file": f"{stem}.bin", "sha256": sha256(held[f"{stem}.bin"]).hexdigest()},
        "npy": {
            "file": f"{stem}.npy",
            "sha256": sha256(held[f"{stem}.npy"]).hexdigest(),
            "dtype": storage(array).dtype.str,
        },
    }
