"""Traces on disk: the values in an .npz, and beside it an index in JSON."""

from __future__ import annotations

import io
import json
import os
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote
from zipfile import ZIP_STORED, ZipFile, ZipInfo

import numpy as np

from qdqdoc.document.arrays import encode
from qdqdoc.document.elements import STORAGE
from qdqdoc.execute.errors import ExecuteError

if TYPE_CHECKING:
    from qdqdoc.execute.trace import Trace, Traced
    from qdqdoc.numerics.formats import Array

EPOCH = (1980, 1, 1, 0, 0, 0)
"""The date in every archive: a zip cannot go without one, and ours must not tell the time."""


def member(name: str) -> str:
    """Return the key of a tensor in the .npz; no key is a path, and no two names share one.

    >>> member("../loop/body[0]/y"), member("conv1")
    ('..%2Floop%2Fbody%5B0%5D%2Fy', 'conv1')
    """
    return quote(name, safe="")


def index_of(path: Path) -> Path:
    """Return where the index of an .npz is.

    >>> index_of(Path("trace.npz")).name
    'trace.json'
    """
    if path.suffix != ".npz":
        raise ExecuteError(f"{path}: a trace is written as .npz: give a name that ends so")
    return path.with_suffix(".json")


def save(trace: Trace, path: str | os.PathLike[str]) -> tuple[Path, Path]:
    """Write the values and the index, both or neither; the same trace gives the same bytes.

    What NumPy has no type for is written as its codes; the index names the type.

    Returns
    -------
    The two files that were written.
    """
    path = Path(path)
    beside = index_of(path)
    for target in (path, beside):
        if target.is_dir():
            raise ExecuteError(f"{target}: is a directory, expected a file to write")
    if not path.parent.is_dir():
        raise ExecuteError(f"{path}: there is no such folder to write in")
    text = json.dumps(_keyed(trace), indent=1, ensure_ascii=False) + "\n"
    with ExitStack() as tidy:
        values = _temporary(path, tidy)
        with ZipFile(values, "w", ZIP_STORED) as archive:
            for tensor in trace.tensors:
                _add(archive, tensor)
        index = _temporary(beside, tidy)
        index.write_text(text, encoding="utf-8")
        _move({values: path, index: beside}, tidy)
    return path, beside


def _keyed(trace: Trace) -> dict[str, object]:
    index = trace.index()
    for row in index["tensors"]:
        row["key"] = member(row["name"])
    return index


def stored(tensor: Traced) -> Array:
    """Return a value in a type that NumPy writes without help."""
    if tensor.dtype == "string":
        texts = [str(item) for item in tensor.value.ravel()]
        return np.array(["", *texts])[1:].reshape(tensor.shape)  # texts, even if there is none
    if tensor.dtype not in STORAGE:
        raise ExecuteError(f"tensor {tensor.name!r}: {tensor.dtype} cannot be written")
    flat = np.frombuffer(encode(tensor.value, tensor.dtype), STORAGE[tensor.dtype])
    return flat.reshape(tensor.shape)


def _add(archive: ZipFile, tensor: Traced) -> None:
    entry = ZipInfo(f"{member(tensor.name)}.npy", EPOCH)
    entry.create_system = 3  # the same on every system
    entry.external_attr = 0o644 << 16
    buffer = io.BytesIO()
    np.save(buffer, stored(tensor), allow_pickle=False)
    archive.writestr(entry, buffer.getbuffer())


def _temporary(target: Path, tidy: ExitStack) -> Path:
    """Return a file beside the target that is gone in the end, readable as others are."""
    try:
        handle, name = tempfile.mkstemp(dir=target.parent, prefix=".qdqdoc-", suffix=".part")
    except OSError as error:
        raise ExecuteError(f"{target}: cannot be written: {error.strerror}") from None
    os.close(handle)
    path = Path(name)
    tidy.callback(path.unlink, missing_ok=True)
    umask = os.umask(0)
    os.umask(umask)
    path.chmod(0o666 & ~umask)
    return path


def _move(places: dict[Path, Path], tidy: ExitStack) -> None:
    """Move every file to its place; on failure put the old ones back."""
    with ExitStack() as restore:
        for new, target in places.items():
            if target.exists():
                kept = _temporary(target, tidy)
                target.replace(kept)
                restore.callback(kept.replace, target)
            else:
                restore.callback(target.unlink, missing_ok=True)
            new.replace(target)
        restore.pop_all()
