"""D4 and D6: the whole manual read once, what was typed in it, and which examples it shows."""

from __future__ import annotations

import io
import re
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from sphinx.application import Sphinx
from sphinx.util.docutils import docutils_namespace

from qdqdoc.errors import QdqdocError
from qdqdoc.sphinxext import examples, numerals

COLOUR = re.compile(r"\x1b\[[\d;]*m")


@dataclass
class Read:
    """What was counted on the pages of the manual."""

    pages: int = 0
    texts: int = 0
    computed: int = 0
    typed: list[str] = field(default_factory=list)
    shown: int = 0
    executed: int = 0
    failed: int = 0
    idle: list[str] = field(default_factory=list)


def read(home: Path) -> Read:
    """Have Sphinx read the whole manual, and count.

    Raises
    ------
    QdqdocError
        If the manual cannot be read without a warning.
    """
    said = io.StringIO()
    with TemporaryDirectory() as place, docutils_namespace():
        out, trees = Path(place, "out"), Path(place, "doctrees")
        app = Sphinx(home / "source", home, out, trees, "dummy", status=None, warning=said)
        app.build()
        found = _counted(app)
    heard = [line for line in COLOUR.sub("", said.getvalue()).splitlines() if line.strip()]
    # What was typed is counted, and listed by the caller.
    others = [line for line in heard if "found the typed numeral" not in line]
    if others:
        raise QdqdocError(f"the manual cannot be read: {others[0].replace(f'{home}/', '')}")
    return found


def _counted(app: Sphinx) -> Read:
    found = Read()
    for page in sorted(app.env.found_docs):
        tree = app.env.get_doctree(page)
        found.pages += 1
        texts, computed = numerals.counted(tree)
        found.texts += texts
        found.computed += computed
        found.typed += [f"{page}: {one.numeral} in {one.text!r}" for one in numerals.typed(tree)]
        found.shown += examples.prompts(tree)
        count = examples.execute(app, page)
        found.executed += count.executed
        found.failed += count.failed
        found.idle += [f"{page}: {block!r}" for block in examples.idle(tree)]
    return found
