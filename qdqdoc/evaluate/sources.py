"""Data sets on disk: looked at through a map of the file, so that memory holds one batch."""

from __future__ import annotations

import shutil
import zipfile
import zlib
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from tokenize import TokenError
from typing import TYPE_CHECKING

from numpy.lib import format as npy

from qdqdoc.document.arrays import encode
from qdqdoc.document.elements import STORAGE
from qdqdoc.document.problems import nearest
from qdqdoc.evaluate.errors import EvaluateError
from qdqdoc.execute.trace import kind_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from zipfile import ZipFile, ZipInfo

    from qdqdoc.numerics.formats import Array

BLOCK = 2**22
"""So many bytes are read at a time for a fingerprint."""


@contextmanager
def opened(text: str) -> Iterator[Array]:
    """Map a ``FILE.npy``, or an array of a ``FILE.npz`` named by ``FILE.npz:KEY``.

    An array of an archive is unpacked into a temporary file first. The key may be left out where
    there is only one.

    Raises
    ------
    EvaluateError
        For a file of another kind, and one that is shorter or longer than it says.
    """
    path, key = split(text)
    if path.is_dir():
        raise EvaluateError(f"{path}: is a directory, expected an .npy file")
    if not path.is_file():
        raise EvaluateError(f"{path}: no such file")
    if path.suffix.lower() != ".npz":
        yield _mapped(path, str(path))
        return
    with TemporaryDirectory(prefix="qdqdoc-") as folder:
        unpacked = Path(folder, "array.npy")
        _unpack(path, key, unpacked)
        yield _mapped(unpacked, text)


def split(text: str) -> tuple[Path, str]:
    """Split a file and the key of an array in it, at the first sign that follows ``.npz``.

    >>> split("a.npz:b:c")[1], split("c:x.npy")[1]
    ('b:c', '')
    """
    stem, sign, key = text.partition(".npz:")
    return (Path(f"{stem}.npz"), key) if sign else (Path(text), "")


def _mapped(path: Path, where: str) -> Array:
    try:
        # Nothing of the file is read beside its header, and objects are refused.
        found = npy.open_memmap(path, mode="r")
        size = path.stat().st_size - found.offset
    except (EOFError, SyntaxError, ValueError, OverflowError, TokenError) as error:
        reason = " ".join(str(error).split())
        raise EvaluateError(f"{where}: not an .npy file of numbers: {reason}") from None
    if size != found.nbytes:
        raise EvaluateError(f"{where}: found {size} bytes of values, needed: {found.nbytes}")
    return found


def _unpack(path: Path, key: str, target: Path) -> None:
    """Write one array of an archive to a file, if there is room for it."""
    try:
        with zipfile.ZipFile(path) as archive:
            entry = _entry(archive, key, path)
            free = shutil.disk_usage(target.parent).free
            if entry.file_size > free:
                raise EvaluateError(
                    f"{path}: {entry.filename} unpacks to {entry.file_size} bytes, "
                    f"free for temporary files: {free}"
                )
            with archive.open(entry) as packed, target.open("wb") as file:
                shutil.copyfileobj(packed, file, BLOCK)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise EvaluateError(f"{path}: not a sound .npz archive: {error}") from None


def _entry(archive: ZipFile, key: str, path: Path) -> ZipInfo:
    found = {item.filename.removesuffix(".npy"): item for item in archive.infolist()}
    chosen = next(iter(found)) if not key and len(found) == 1 else key
    if chosen not in found:
        asked = f"{key!r}{nearest(key, found)}" if key else "no key"
        allowed = ", ".join(f"{path}:{name}" for name in found) or "none, it is empty"
        raise EvaluateError(f"{path}: found {asked}, allowed: {allowed}")
    return found[chosen]


def fingerprint(values: Array) -> str:
    """Return the sha256 of the values as raw little-endian bytes, read block by block.

    >>> import numpy as np
    >>> fingerprint(np.array([1, 2], ">i2")) == sha256(bytes([1, 0, 2, 0])).hexdigest()
    True
    """
    digest = sha256()
    rows = max(1, BLOCK // max(values[:1].nbytes, 1))
    for start in range(0, len(values), rows):
        block = values[start : start + rows]
        kind = kind_of(block)
        digest.update(encode(block, kind) if kind in STORAGE else block.tobytes())
    return digest.hexdigest()
