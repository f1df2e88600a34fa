"""A book that is there already is kept while nothing that it is made of has changed.

It is made of trees, of what Sphinx knows of all pages, of settings, fonts, pictures and the lines
of its cover, and by the modules that were loaded when it was done. All of them are compared, and
the file itself.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from sphinx.application import ENV_PICKLE_FILENAME

from qdqdoc.pdf.compiling import TEMPLATE, date, fonts_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from sphinx.builders import Builder

RECORD = "qdqdoc-pdf.json"
"""Beside the trees: what the last book was made of."""


class Heard(logging.Handler):
    """Tells whether something was said against a book; it is to be said again each time."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.anything = False

    def emit(self, record: logging.LogRecord) -> None:
        """Note that there was a warning."""
        del record
        self.anything = True

    def __enter__(self) -> Self:
        """Begin to listen."""
        logging.getLogger("sphinx").addHandler(self)
        return self

    def __exit__(self, *problem: object) -> None:
        """Listen no longer."""
        logging.getLogger("sphinx").removeHandler(self)


class Keeper:
    """Compares a book that is to be made with the last one."""

    def __init__(self, builder: Builder, path: Path, cover: Iterable[object]) -> None:
        self.path = path
        self.record = Path(builder.doctreedir, RECORD)
        whole = sha256()
        for name, content in _parts(builder, cover):
            whole.update(f"{name} {len(content)}\n".encode() + content)
        self.made_of = whole.hexdigest()

    def current(self) -> bool:
        """Tell whether the book that is there is the one that would be made."""
        known: Any = None
        with suppress(OSError, ValueError):  # none yet, or cut off: then it is made
            known = json.loads(self.record.read_text("utf-8"))
        return (
            isinstance(known, dict)
            and known.get("of") == self.made_of
            and known.get("book") == _digest(self.path)
            and all(_stamp(name) == stamp for name, stamp in known["by"].items())
        )

    def note(self) -> None:
        """Write down what the book was made of, and by what."""
        files = {str(getattr(module, "__file__", None) or "") for module in sys.modules.values()}
        known = {
            "of": self.made_of,
            "book": _digest(self.path),
            "by": {name: _stamp(name) for name in sorted(files)},
        }
        self.record.write_text(json.dumps(known), "utf-8")


def _parts(builder: Builder, cover: Iterable[object]) -> Iterator[tuple[str, bytes]]:
    """Yield all that a book is made of: a name, and what it holds."""
    env, trees = builder.env, Path(builder.doctreedir)
    yield "pages", _bytes(trees / ENV_PICKLE_FILENAME)
    for page in sorted(env.found_docs):
        yield page, _bytes(trees / f"{page}.doctree")
    for name in sorted(env.images):
        yield name, _bytes(builder.srcdir / name)
    yield "conf.py", _bytes(builder.confdir / "conf.py")
    for setting in sorted(builder.config, key=lambda setting: setting.name):
        yield setting.name, _written(setting.value).encode()
    yield "tags", repr(sorted(builder.tags)).encode()
    yield "cover", repr([*cover]).encode()
    yield "date", str(date(os.environ)).encode()
    yield "Python", sys.version.encode()
    yield "template", _bytes(TEMPLATE)
    for package in builder.config.pdf_fonts:
        for path in sorted(fonts_of(package).rglob("*")):
            yield f"{package} {path.name}", _bytes(path)


def _written(value: object) -> str:
    """Return a setting as text; the order of a set is another one in each process."""
    if isinstance(value, set | frozenset):
        return repr(sorted(map(repr, value)))
    return repr(value)


def _bytes(path: Path) -> bytes:
    return path.read_bytes() if path.is_file() else b"nothing"


def _digest(path: Path) -> str:
    return sha256(path.read_bytes()).hexdigest() if path.is_file() else ""


def _stamp(name: str) -> list[int] | None:
    """Return when a file was changed, and its size."""
    try:
        found = os.stat(name)  # noqa: PTH116 - thousands of files
    except OSError:
        return None
    return [found.st_mtime_ns, found.st_size]
