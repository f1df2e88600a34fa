"""Tensor data in files of their own: read only from the folder of the model."""

from __future__ import annotations

from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import TYPE_CHECKING

from qdqdoc.extract.errors import ExtractError

if TYPE_CHECKING:
    from onnx import TensorProto


def read(tensor: TensorProto, size: int, folder: Path) -> bytes:
    """Return the `size` bytes of a tensor whose data are not in the model."""
    entries = {entry.key: entry.value for entry in tensor.external_data}
    where = f"tensor {tensor.name!r}: external data {entries.get('location', '')!r}"
    path = _inside(entries.get("location", ""), folder, where)
    offset = _number(entries.get("offset", "0"), f"{where}: offset")
    available = path.stat().st_size - offset
    length = _number(entries.get("length", str(max(available, 0))), f"{where}: length")
    if length != size:
        raise ExtractError(f"{where}: {length} bytes, the shape needs {size}")
    if available < length:
        raise ExtractError(f"{where}: the file ends {length - available} bytes too early")
    with path.open("rb") as stream:
        stream.seek(offset)
        return stream.read(length)


def _inside(location: str, folder: Path, where: str) -> Path:
    """Return the file, unless its name leads anywhere but into the folder of the model.

    A model is somebody else's: without this, one could make us publish any file.
    """
    parts = PurePosixPath(location.replace("\\", "/")).parts
    absolute = location.startswith(("/", "\\")) or PureWindowsPath(location).drive
    if not parts or absolute or ".." in parts or "\0" in location:
        raise ExtractError(f"{where}: expected a file in the folder of the model")
    path = folder / location
    if not path.resolve().is_relative_to(folder.resolve()):
        raise ExtractError(f"{where}: is a link that leaves the folder of the model")
    if not path.is_file():
        raise ExtractError(f"{where}: no such file beside the model")
    return path


def _number(text: str, where: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 20):  # noqa: PLR2004 - 64 bits
        raise ExtractError(f"{where}: found {text!r}, expected a number of bytes")
    return int(text)
