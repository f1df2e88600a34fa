"""The gate: every example that the manual shows was executed and gave what it says.

Shown prompts are counted in the HTML that was written, executed ones by the runner. So an
example that nobody runs, such as ``>>>`` in a plain Python fence, fails the build.
"""

from __future__ import annotations

import doctest
import io
import re
import sys
from contextlib import redirect_stdout
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
    from collections.abc import Iterator

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
    shown = {docname: shown_in(_output(app, docname)) for docname in sorted(app.env.found_docs)}
    counts = {docname: execute(app, docname) for docname in shown}
    total = Count()
    for count in counts.values():
        total = total.plus(count)
    said = f"{sum(shown.values())} shown, {total.executed} executed, {total.failed} failed"
    logger.info("examples: %s", said)
    trees = {docname: app.env.get_doctree(docname) for docname in shown}
    unrun = [f"{docname}: {text!r}" for docname, tree in trees.items() for text in idle(tree)]
    wrong = [
        f"{docname}: {shown[docname]} shown, {counts[docname].executed} executed"
        for docname in shown
        if shown[docname] != counts[docname].executed
    ]
    wrong += [f"nobody runs {text}" for text in unrun]
    if wrong or total.failed or not total.executed:
        logger.error("examples: %s", "; ".join([said, *wrong]))
        app.statuscode = 1


def _output(app: Sphinx, docname: str) -> Path:
    return Path(app.outdir, app.builder.get_target_uri(docname).partition("#")[0])


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
    path = path / "index.html" if path.is_dir() else path
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
