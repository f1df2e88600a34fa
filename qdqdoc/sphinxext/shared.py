"""What the pages of the HTML show of each other; when it changes, all of them are written anew.

Sphinx writes a page again when that page was read. But each page names its neighbours and lists
all others, and a reference shows the title, the number or the place of what it leads to.
"""

from __future__ import annotations

import json
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sphinx.addnodes import pending_xref

from qdqdoc.sphinxext.page import LAST

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from docutils import nodes
    from sphinx.application import Sphinx
    from sphinx.environment import BuildEnvironment

RECORD = "qdqdoc-shared.json"
"""Beside the trees: what the pages in each folder were written with."""
TARGETS = ("reftarget", "reftargetid")
PRIVATE = frozenset({"index", "cite"})
"""Domains of which pages show nothing, or what is told here one by one."""
WANTED = "qdqdoc-wanted"
"""What a page refers to; Sphinx keeps it with all that is said of a page."""


def want(app: Sphinx, tree: nodes.document) -> None:
    """Note what a page refers to: most headings are named by no other page."""
    found = (node.get(key) for node in tree.findall(pending_xref) for key in TARGETS)
    app.env.metadata[app.env.docname][WANTED] = sorted({name for name in found if name})


def outdated(app: Sphinx, env: BuildEnvironment) -> Iterable[str]:
    """Return all pages if one of them may show what is not so any more.

    What is new was shown by none: who had named it would have been told that it is unknown.
    """
    if app.builder.format != "html":
        return []
    now = facts(env)
    before = _records(app).get(str(app.outdir), {})
    if before.get("pages") == now["pages"] and before.items() <= now.items():
        return []
    return sorted(env.found_docs)


def facts(env: BuildEnvironment) -> dict[str, str]:
    """Return what pages may show of others: names, and digests of what stands behind them."""
    return {name: sha256(_text(held).encode()).hexdigest()[:16] for name, held in _facts(env)}


def _text(held: object) -> str:
    """Return a value as text; the order of a set is another one in each process."""
    return repr(sorted(held) if isinstance(held, set) else held)


def _facts(env: BuildEnvironment) -> Iterator[tuple[str, object]]:
    titles = {page: str(title) for page, title in sorted(env.titles.items())}
    long = {page: str(title) for page, title in sorted(env.longtitles.items())}
    yield "pages", (titles, long, sorted(env.toctree_includes.items()))
    for numbers in (env.toc_fignumbers, env.toc_secnumbers):
        for page, held in numbers.items():
            yield from ((f"{page} {kind}", found) for kind, found in _flat(held))
    yield from _headings(env)
    for domain, data in env.domaindata.items():
        if domain not in PRIVATE:
            for kind, held in data.items():
                if isinstance(held, dict):
                    yield from ((f"{domain} {kind} {name}", found) for name, found in held.items())
    for one in env.domaindata.get("cite", {}).get("citations", ()):
        shown = (one.citation_id, one.bibliography_key, one.formatted_entry.label, one.entry)
        yield f"cite {one.key}", shown


def _headings(env: BuildEnvironment) -> Iterator[tuple[str, object]]:
    wanted = {name for said in env.metadata.values() for name in said.get(WANTED, ())}
    for page, said in env.metadata.items():
        for slug, (_line, *place) in said.get("myst_slugs", {}).items():
            if slug in wanted:
                yield f"{page}#{slug}", place


def _flat(numbers: Mapping[str, Any], stem: str = "") -> Iterator[tuple[str, object]]:
    for name, held in numbers.items():
        if isinstance(held, dict):
            yield from _flat(held, f"{stem}{name} ")
        else:
            yield f"{stem}{name}", held


def _records(app: Sphinx) -> dict[str, dict[str, str]]:
    held: Any = None
    with suppress(OSError, ValueError):  # none yet, or cut off: then all pages are written
        held = json.loads(Path(app.doctreedir, RECORD).read_text("utf-8"))
    return held if isinstance(held, dict) else {}


def note(app: Sphinx, exception: Exception | None) -> None:
    """Write down what the pages were written with, when all of them are there."""
    if exception is None and app.builder.format == "html":
        known = {**_records(app), str(app.outdir): facts(app.env)}
        Path(app.doctreedir, RECORD).write_text(json.dumps(known), "utf-8")


def register(app: Sphinx) -> None:
    """Note what is read, ask when figures have their numbers, and note what is written."""
    app.connect("doctree-read", want)
    app.connect("env-get-updated", outdated, priority=LAST)
    app.connect("build-finished", note)
