"""Where a guide is put: a new or empty folder, or one that holds a guide and nothing else."""

from __future__ import annotations

import json
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qdqdoc.guide.errors import GuideError

if TYPE_CHECKING:
    from collections.abc import Iterator

RECORD = "guide.json"
"""The file by which a guide is known: it lists all others."""
FORMAT = "qdqdoc.guide"
FORMAT_VERSION = 1
ALLOWED = "allowed: a new or empty folder, or one with a guide that qdqdoc wrote"


def expect_ours(folder: Path) -> None:
    """Refuse a folder that holds anything but a guide.

    Raises
    ------
    GuideError
        In one line that names what was found.
    """
    if not folder.exists():
        return
    if not folder.is_dir():
        raise GuideError(f"{folder}: found a file, {ALLOWED}")
    found = sorted(_files(folder))
    if not found:
        return
    known = _recorded(folder / RECORD)
    if known is None:
        raise GuideError(f"{folder}: found {found[0]} and no guide, {ALLOWED}")
    strange = [name for name in found if name not in known]
    if strange:
        raise GuideError(f"{folder}: found {strange[0]}, which no guide has brought, {ALLOWED}")


def record(folder: Path, about: dict[str, Any]) -> None:
    """Write down which files a guide has, and what it is about."""
    files = sorted({*_files(folder), RECORD})
    content = {"format": FORMAT, "format_version": FORMAT_VERSION, **about, "files": files}
    text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
    (folder / RECORD).write_text(text, encoding="utf-8")


def _files(folder: Path) -> Iterator[str]:
    """Yield whatever is no folder, links among it."""
    for path in folder.rglob("*"):
        if not path.is_dir() or path.is_symlink():
            yield path.relative_to(folder).as_posix()


def _recorded(path: Path) -> set[str] | None:
    try:
        content = json.loads(path.read_text("utf-8"))
        ours = content["format"] == FORMAT
        return {str(name) for name in content["files"]} if ours else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


@contextmanager
def workshop(folder: Path) -> Iterator[Path]:
    """Yield a temporary folder beside the one to be written, so that moving is one step."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(
        dir=folder.parent, prefix=".qdqdoc-", ignore_cleanup_errors=True
    ) as made:
        yield Path(made)


def move(made: Path, folder: Path) -> None:
    """Put a finished guide in its place; the one that was there goes when the new one stands."""
    kept = made.with_name("before")
    if folder.exists():
        folder.replace(kept)
    try:
        made.replace(folder)
    except BaseException:
        if kept.exists():
            kept.replace(folder)
        raise
    shutil.rmtree(kept, ignore_errors=True)
