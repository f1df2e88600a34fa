"""Traces on disk: the values in an .npz, and beside it an index in JSON."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING
from urllib.parse import quote
from zipfile import ZIP_STORED, ZipFile

import numpy as np

from qdqdoc.document.arrays import encode
from qdqdoc.document.elements import STORAGE
from qdqdoc.document.replacing import add_array, replace_all
from qdqdoc.execute.errors import ExecuteError

if TYPE_CHECKING:
    import os

    from qdqdoc.execute.trace import Trace, Traced
    from qdqdoc.numerics.formats import Array


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
    text = json.dumps(_keyed(trace), indent=1, ensure_ascii=False) + "\n"
    replace_all(
        {path: partial(_archive, trace), beside: lambda file: file.write(text.encode())},
        lambda where, note: ExecuteError(f"{where}: {note}"),
    )
    return path, beside


def _archive(trace: Trace, file: IO[bytes]) -> None:
    with ZipFile(file, "w", ZIP_STORED) as archive:
        for tensor in trace.tensors:
            add_array(archive, member(tensor.name), stored(tensor))


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
