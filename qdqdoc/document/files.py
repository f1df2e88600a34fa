"""Documents on disk: the JSON, and beside it the large tensors in an .npz of the same name."""

from __future__ import annotations

import io
import os
import tempfile
from contextlib import ExitStack, suppress
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any
from zipfile import ZIP_STORED, BadZipFile, ZipFile, ZipInfo

import numpy as np

from qdqdoc.document.elements import item_size
from qdqdoc.document.model import Document, Graph, Tensor
from qdqdoc.document.problems import DocumentError
from qdqdoc.document.reading import loads
from qdqdoc.document.writing import dumps

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

EPOCH = (1980, 1, 1, 0, 0, 0)
"""The date in every archive: a zip cannot go without one, and ours must not tell the time."""

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
    contents = {path: dumps(document).encode()}
    if document.data:
        contents[beside] = _archive(document.data)
    _replace_all(contents)


def _archive(data: Mapping[str, bytes]) -> bytes:
    """Return an .npz whose bytes depend on its content alone."""
    buffer = io.BytesIO()
    with ZipFile(buffer, "w", ZIP_STORED) as archive:
        for key in sorted(data):
            entry = ZipInfo(f"{key}.npy", EPOCH)
            entry.create_system = 3  # the same on every system
            entry.external_attr = 0o644 << 16
            flat = io.BytesIO()
            np.save(flat, np.frombuffer(data[key], dtype=np.uint8), allow_pickle=False)
            archive.writestr(entry, flat.getbuffer())
    return buffer.getvalue()


def _replace_all(contents: Mapping[Path, bytes]) -> None:
    """Write new files beside the old ones, then swap; on failure put the old ones back."""
    for path in contents:
        if path.is_dir():
            raise DocumentError(["is a directory, expected a file to write"], str(path))
        if not path.parent.is_dir():
            raise DocumentError(["there is no such folder to write in"], str(path))
    with ExitStack() as undo:
        fresh = {path: _temporary(path, content, undo) for path, content in contents.items()}
        with ExitStack() as restore:
            for path, new in fresh.items():
                _set_aside(path, undo, restore)
                os.replace(new, path)  # noqa: PTH105 - the pair reads better than a method
            restore.pop_all()


def _temporary(path: Path, content: bytes, undo: ExitStack) -> str:
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=".qdqdoc-", suffix=".part")
    except OSError as error:
        raise DocumentError([f"cannot be written: {error.strerror}"], str(path)) from None
    undo.callback(_remove, name)
    with os.fdopen(handle, "wb") as file:
        file.write(content)
    umask = os.umask(0)
    os.umask(umask)
    os.chmod(name, 0o666 & ~umask)  # noqa: PTH101 - mkstemp keeps others out
    return name


def _set_aside(path: Path, undo: ExitStack, restore: ExitStack) -> None:
    """Keep the old file, if there is one, until all new ones are in place."""
    if not path.exists():
        restore.callback(_remove, path)
        return
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".qdqdoc-", suffix=".old")
    os.close(handle)
    undo.callback(_remove, name)
    os.replace(path, name)  # noqa: PTH105 - see above
    restore.callback(os.replace, name, path)


def _remove(path: str | Path) -> None:
    with suppress(FileNotFoundError):
        os.unlink(path)  # noqa: PTH108 - text or Path


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
