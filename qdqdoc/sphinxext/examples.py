"""The gate: every example that the manual shows was executed and gave what it says.

Shown prompts are counted in the HTML that was written, executed ones by the runner. So an
example that nobody runs, such as ``>>>`` in a plain Python fence, fails the build.
"""

from __future__ import annotations

import doctest
import io
import json
import re
import sys
from contextlib import redirect_stdout, suppress
from html.parser import HTMLParser
from importlib import import_module
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from docutils import nodes
from sphinx import addnodes
from sphinx.util import logging

from qdqdoc.sphinxext.page import COMPUTED
from qdqdoc.sphinxext.values import EXECUTED

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from sphinx.application import Sphinx

logger = logging.getLogger(__name__)

PROMPT = ">>> "
RUNS = frozenset({"python", "python3", "py", "py3", "pycon", "ipython", "console", "shell"})
RUNS |= {"bash", "sh", "shell-session", "default", "doctest"}
"""Languages of blocks that a reader takes for something that was run."""
LOOKS = re.compile(r"\s*(?:\$ |>>> |In \[\d+\]|(?:from|import) \w|pip install )")
SHORT = 60


class Count(NamedTuple):
    """How many prompts were executed, and how many of them failed."""

    executed: int = 0
    failed: int = 0

    def plus(self, other: Count) -> Count:
        """Add two counts."""
        return Count(self.executed + other.executed, self.failed + other.failed)


def check_examples(app: Sphinx, exception: Exception | None) -> None:
    """Compare what is shown with what was executed."""
    if exception is not None or app.builder.format != "html" or not app.config.qdqdoc_examples:
        return
    memory = _Memory(app)
    found = {docname: memory.checked(docname) for docname in sorted(app.env.found_docs)}
    memory.keep(found)
    total = Count()
    for page in found.values():
        total = total.plus(page.ran)
    said = f"{sum(page.shown for page in found.values())} shown, {total.executed} executed"
    said += f", {total.failed} failed"
    logger.info("examples: %s", said)
    wrong = [
        f"{docname}: {page.shown} shown, {page.ran.executed} executed"
        for docname, page in found.items()
        if page.shown != page.ran.executed
    ]
    wrong += [f"nobody runs {docname}: {t!r}" for docname, page in found.items() for t in page.idle]
    if wrong or total.failed or not total.executed:
        logger.error("examples: %s", "; ".join([said, *wrong]))
        app.statuscode = 1


class Checked(NamedTuple):
    """What one page shows, and what of it was executed."""

    shown: int
    ran: Count
    idle: tuple[str, ...] = ()

    @property
    def clean(self) -> bool:
        """Whether there is nothing to say of the page."""
        return self.shown == self.ran.executed and not self.ran.failed and not self.idle


class _Memory:
    """Pages in which all was well, as long as neither what was read nor what was written changes.

    A page is read anew whenever the package or the model changes, so its examples run anew, too.
    """

    def __init__(self, app: Sphinx) -> None:
        self.app = app
        self.path = Path(app.doctreedir, "qdqdoc-examples.json")
        self.known: dict[str, list[int]] = {}
        with suppress(OSError, ValueError):  # none yet, or cut off: then every page is checked
            self.known = json.loads(self.path.read_text("utf-8"))

    def checked(self, docname: str) -> Checked:
        """Check a page, or remember what was found."""
        held = self.known.get(docname)
        if held is not None and held[:2] == self._stamps(docname):
            return Checked(held[2], Count(held[2]))
        tree = self.app.env.get_doctree(docname)
        shown = shown_in(_output(self.app, docname))
        return Checked(shown, execute(self.app, docname), tuple(idle(tree)))

    def _stamps(self, docname: str) -> list[int]:
        read = Path(self.app.doctreedir, f"{docname}.doctree")
        return [path.stat().st_mtime_ns for path in (read, _output(self.app, docname))]

    def keep(self, found: Mapping[str, Checked]) -> None:
        """Write down the pages of which there is nothing to say."""
        clean = {k: [*self._stamps(k), page.shown] for k, page in found.items() if page.clean}
        self.path.write_text(json.dumps(clean), "utf-8")


def _output(app: Sphinx, docname: str) -> Path:
    path = Path(app.outdir, app.builder.get_target_uri(docname).partition("#")[0])
    return path / "index.html" if path.is_dir() else path


class _Text(HTMLParser):
    """The text of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.parts: list[str] = []

    def handle_data(self, data: str) -> None:
        """Keep text; highlighting may have cut a prompt in two."""
        self.parts.append(data)


def shown_in(path: Path) -> int:
    """Count the prompts that a reader of a written page sees."""
    parser = _Text()
    parser.feed(path.read_text(encoding="utf-8"))
    return "".join(parser.parts).count(PROMPT)


def prompts(tree: nodes.Element) -> int:
    """Count the prompts that a reader of a page sees, be it in HTML or in PDF."""
    return sum(block.astext().count(PROMPT) for block in tree.findall(nodes.FixedTextElement))


def idle(tree: nodes.Element) -> Iterator[str]:
    """Yield the beginning of each block that looks like code or a console, and that nobody ran.

    Its marks are a language that runs, a prompt, or a dollar sign. What was computed is a quotation
    of a file; an example is no block of this kind.
    """
    for block in tree.findall(nodes.literal_block):
        text = block.astext()
        if not block.get(COMPUTED) and (block.get("language") in RUNS or LOOKS.match(text)):
            yield text[:SHORT]


def execute(app: Sphinx, docname: str) -> Count:
    """Run the examples of a page; those that made their own output have run already."""
    total = Count()
    blocks = list(app.env.get_doctree(docname).findall(nodes.doctest_block))
    for owner, group in groupby(blocks, key=_owner):
        examples = list(group)
        done = sum(block.get(EXECUTED, 0) for block in examples)
        texts = [block.astext() for block in examples if EXECUTED not in block]
        total = total.plus(Count(done)).plus(_run(docname, owner, texts))
    return total


def _owner(node: nodes.Node) -> str:
    """Return the name of the function or class whose docstring holds an example."""
    while node.parent is not None:
        node = node.parent
        if isinstance(node, addnodes.desc):
            signature = cast("nodes.Element", node[0])
            return f"{signature.get('module', '')}:{signature.get('fullname', '')}"
    return ""


def _run(docname: str, owner: str, texts: list[str]) -> Count:
    if not texts:
        return Count()
    # The blank line ends the output expected by the last example of each block.
    text = "\n\n".join(texts) + "\n"
    test = doctest.DocTestParser().get_doctest(text, _globals(owner), owner or docname, docname, 0)
    runner = doctest.DocTestRunner(verbose=False)
    said = io.StringIO()
    with redirect_stdout(io.StringIO()):
        result = runner.run(test, out=said.write)
    if result.failed:
        logger.error("example of %s:\n%s", owner or docname, said.getvalue(), location=docname)
    return Count(result.attempted, result.failed)


def _globals(owner: str) -> dict[str, Any]:
    """Return the names that an example may use: those of the module it is written in."""
    module, _, name = owner.partition(":")
    if not module:
        return {}
    found: Any = import_module(module)
    for part in name.split("."):
        found = getattr(found, part)
    home = sys.modules[getattr(found, "__module__", None) or module]
    return dict(vars(home))


def register(app: Sphinx) -> None:
    """Check after all pages are written."""
    app.connect("build-finished", check_examples, priority=900)
