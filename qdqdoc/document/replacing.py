"""Several files written together, all of them or none; archives with the same bytes every time."""

from __future__ import annotations

import io
import os
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING
from zipfile import ZipInfo

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import IO, Any
    from zipfile import ZipFile

    from numpy.typing import NDArray

    Write = Callable[[IO[bytes]], object]
    Complaint = Callable[[Path, str], Exception]

EPOCH = (1980, 1, 1, 0, 0, 0)
"""The date in every archive: a zip cannot go without one, and ours must not tell the time."""


def add_array(archive: ZipFile, key: str, values: NDArray[Any]) -> None:
    """Add a member to an .npz; its bytes depend on its content alone."""
    entry = ZipInfo(f"{key}.npy", EPOCH)
    entry.create_system = 3  # the same on every system
    entry.external_attr = 0o644 << 16
    buffer = io.BytesIO()
    np.save(buffer, values, allow_pickle=False)
    archive.writestr(entry, buffer.getbuffer())


def replace_all(contents: Mapping[Path, Write], complaint: Complaint) -> None:
    """Write new files beside the old ones, then swap; on failure put the old ones back.

    ``complaint`` makes the error of the caller's room from a path and what is wrong with it.
    """
    for path in contents:
        if path.is_dir():
            raise complaint(path, "is a directory, expected a file to write")
        if not path.parent.is_dir():
            raise complaint(path, "there is no such folder to write in")
    with ExitStack() as tidy:
        fresh = {}
        for path, write in contents.items():
            fresh[path] = _beside(path, tidy, complaint)
            with fresh[path].open("wb") as file:
                write(file)
        with ExitStack() as restore:
            for path, new in fresh.items():
                _set_aside(path, tidy, restore, complaint)
                os.replace(new, path)  # noqa: PTH105 - the pair reads better than a method
            restore.pop_all()


def _beside(path: Path, tidy: ExitStack, complaint: Complaint, suffix: str = ".part") -> Path:
    """Make an empty file that is gone in the end, readable as others are."""
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=".qdqdoc-", suffix=suffix)
    except OSError as error:
        raise complaint(path, f"cannot be written: {error.strerror}") from None
    os.close(handle)
    made = Path(name)
    tidy.callback(made.unlink, missing_ok=True)
    umask = os.umask(0)
    os.umask(umask)
    made.chmod(0o666 & ~umask)  # mkstemp keeps others out
    return made


def _set_aside(path: Path, tidy: ExitStack, restore: ExitStack, complaint: Complaint) -> None:
    """Keep the old file, if there is one, until all new ones are in place."""
    if not path.exists():
        restore.callback(path.unlink, missing_ok=True)
        return
    kept = _beside(path, tidy, complaint, ".old")
    os.replace(path, kept)  # noqa: PTH105 - see above
    restore.callback(os.replace, kept, path)
