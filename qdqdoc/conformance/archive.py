"""The pack as one file: tens of thousands of small ones are no download."""

from __future__ import annotations

import lzma
import tarfile
from pathlib import Path
from tempfile import TemporaryDirectory

NAME = "qdqdoc-conformance.tar.xz"
PRESET = 2
"""Of xz: higher ones take several times as long and save next to nothing on so many copies."""


def archive(folder: Path, path: Path) -> None:
    """Write the files of a folder into a .tar.xz: the same bytes for the same files.

    The file is there when it is whole, never before.

    >>> with TemporaryDirectory() as place:
    ...     kept = Path(place, "pack")
    ...     kept.mkdir()
    ...     _ = Path(kept, "a.bin").write_bytes(b"1")
    ...     archive(kept, Path(place, "one.tar.xz"))
    ...     archive(kept, Path(place, "two.tar.xz"))
    ...     same = Path(place, "one.tar.xz").read_bytes() == Path(place, "two.tar.xz").read_bytes()
    ...     same, tarfile.open(Path(place, "one.tar.xz")).getnames()
    (True, ['pack/a.bin'])
    """
    with TemporaryDirectory(prefix=".", dir=path.parent) as place:
        made = Path(place, path.name)
        with (
            lzma.open(made, "w", preset=PRESET) as stream,
            tarfile.open(fileobj=stream, mode="w") as packed,
        ):
            for file in sorted(p for p in folder.rglob("*") if p.is_file()):
                # Neither owner nor time: they are this machine's.
                entry = tarfile.TarInfo(f"{folder.name}/{file.relative_to(folder).as_posix()}")
                entry.size, entry.mode = file.stat().st_size, 0o644
                with file.open("rb") as content:
                    packed.addfile(entry, content)
        made.replace(path)
