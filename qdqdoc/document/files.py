"""Documents on disk: the JSON, and beside it the large tensors in an .npz of the same name."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any
from zipfile import ZIP_STORED, BadZipFile, ZipFile

import numpy as np

from qdqdoc.document.elements import item_size
from qdqdoc.document.model import Document, Graph, Tensor
from qdqdoc.document.problems import DocumentError
from qdqdoc.document.reading import loads
from qdqdoc.document.replacing import add_array, replace_all
from qdqdoc.document.writing import dumps

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterator, Mapping
    from zipfile import ZipInfo

HEADER = 1024
"""More bytes than NumPy's header of a flat uint8 array takes."""


def companion(path: Path) -> Path:
    """Return where the large tensors of the JSON file `path` are."""
    if path.is_dir():
        raise DocumentError(["is a directory, expected a JSON file"], str(path))
    if path.suffix == ".npz":
        raise DocumentError(["a document is JSON: give a name that ends in .json"], str(path))
    return path.with_suffix(".npz")


def load(path: str | os.PathLike[str]) -> Document:
    """Read a document, and its large tensors if their file is there."""
    path = Path(path)
    beside = companion(path)
    try:
        document = loads(path.read_bytes().decode("utf-8-sig"))
    except FileNotFoundError:
        raise DocumentError(["no such file"], str(path)) from None
    except UnicodeDecodeError as error:
        note = f"not UTF-8 text (byte {error.start}), expected JSON"
        raise DocumentError([note], str(path)) from None
    except DocumentError as error:
        raise DocumentError(error.problems, str(path)) from None
    return replace(document, data=_read(beside, document)) if beside.is_file() else document


def dump(document: Document, path: str | os.PathLike[str]) -> None:
    """Write a document, and its large tensors beside it: both files, or neither."""
    path = Path(path)
    beside = companion(path)
    text = dumps(document).encode()
    contents: dict[Path, Callable[[IO[bytes]], object]] = {path: lambda file: file.write(text)}
    if document.data:
        contents[beside] = partial(_archive, document.data)
    replace_all(contents, lambda where, note: DocumentError([note], str(where)))


def _archive(data: Mapping[str, bytes], file: IO[bytes]) -> None:
    """Write an .npz whose bytes depend on its content alone."""
    with ZipFile(file, "w", ZIP_STORED) as archive:
        for key in sorted(data):
            add_array(archive, key, np.frombuffer(data[key], dtype=np.uint8))


def _read(path: Path, document: Document) -> dict[str, bytes]:
    """Return the bytes that the document asks for, all that is wrong with them at once."""
    notes: list[str] = []
    data = {}
    limit = path.stat().st_size
    try:
        with ZipFile(path) as archive:
            entries = {entry.filename: entry for entry in archive.infolist()}
            for key, size in _large_tensors(document):
                entry = entries.get(f"{key}.npy")
                try:
                    data[key] = _member(archive, entry, key, min(size, limit))
                except DocumentError as error:
                    notes += error.problems
    except (BadZipFile, EOFError, NotImplementedError, RuntimeError, ValueError) as error:
        raise DocumentError([f"not a sound .npz archive: {error}"], str(path)) from None
    if notes:
        raise DocumentError(notes, str(path))
    return data


def _member(archive: ZipFile, entry: ZipInfo | None, key: str, size: int) -> bytes:
    """Read one tensor; its size is settled before any memory is taken."""
    if entry is None:
        raise DocumentError([f"tensor {key} is missing"])
    if entry.compress_type != ZIP_STORED or not size < entry.file_size <= size + HEADER:
        raise DocumentError([f"tensor {key}: expected {size} bytes, stored without compression"])
    with archive.open(entry) as stream:
        raw = _payload(stream, key, size)
    if sha256(raw).hexdigest() != key:
        raise DocumentError([f"tensor {key}: the bytes do not give this sha256"])
    return raw


def _payload(stream: IO[bytes], key: str, size: int) -> bytes:
    version = np.lib.format.read_magic(stream)
    read = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }.get(version)
    if read is None or read(stream, max_header_size=HEADER) != ((size,), False, np.dtype("u1")):
        raise DocumentError([f"tensor {key}: expected {size} values of uint8"])
    return stream.read(size)


def _large_tensors(document: Document) -> Iterator[tuple[str, int]]:
    """Yield sha256 and size in bytes of what the JSON does not hold."""
    for graph in _graphs(document):
        for tensor in graph.tensors.values():
            if tensor.values is None and tensor.sha256 is not None:
                yield tensor.sha256, _bytes(tensor)
        for operation in graph.operations:
            for value in operation.attributes.values():
                yield from _in_attribute(value)


def _graphs(document: Document) -> Iterator[Graph]:
    pending = [document.graph, *(function.graph for function in document.functions)]
    while pending:
        graph = pending.pop()
        yield graph
        pending += [inner for o in graph.operations for inner in o.graphs.values()]


def _bytes(tensor: Tensor) -> int:
    return (tensor.size or 0) * (item_size(tensor.dtype) or 0)


def _in_attribute(value: Any) -> Iterator[tuple[str, int]]:  # noqa: ANN401 - any JSON value
    for item in value if isinstance(value, list) else [value]:
        held = item.get("tensor") if isinstance(item, dict) else None
        if isinstance(held, dict) and "values" not in held and isinstance(held.get("sha256"), str):
            sizes = tuple(size for size in held.get("shape") or () if isinstance(size, int))
            tensor = Tensor(name="", dtype=str(held.get("dtype")), shape=sizes)
            yield held["sha256"], _bytes(tensor)
