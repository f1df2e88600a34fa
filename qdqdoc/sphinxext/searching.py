"""The search index of a build in which little changed: it is that of a fresh build.

Sphinx reads the index of the build before, but not the terms and names that pages declare, and
does not forget a word that stands nowhere any more. The order of pages follows who was read first.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from sphinx.util.index_entries import split_index_msg

if TYPE_CHECKING:
    from sphinx.application import Sphinx
    from sphinx.environment import BuildEnvironment

SILENT = frozenset({"no-search", "nosearch"})
"""Marks a page that the search does not find."""

Entry = tuple[str, str, str]


def in_order(app: Sphinx, env: BuildEnvironment) -> list[str]:
    """Bring the pages into one order, whichever was read last or by which process."""
    del app
    env.all_docs = dict(sorted(env.all_docs.items()))
    return []


def complete(app: Sphinx) -> list[tuple[str, dict[str, object], str]]:
    """Complete the search index before it is written; no page is added."""
    indexer = getattr(app.builder, "indexer", None)
    if indexer is not None:
        # Sphinx offers no other way to them.
        indexer._index_entries.clear()  # noqa: SLF001
        indexer._index_entries.update((page, declared(app.env, page)) for page in app.env.all_docs)  # noqa: SLF001
        for words in (indexer._mapping, indexer._title_mapping):  # noqa: SLF001
            for word in [word for word, pages in words.items() if not pages]:
                del words[word]
    return []


def declared(env: BuildEnvironment, page: str) -> list[Entry]:
    """Return what a page declares: name, place, and whether that is its main one."""
    found: set[Entry] = set()
    if not SILENT & env.metadata.get(page, {}).keys():
        for kind, value, place, main, _key in env.domains.index_domain.entries.get(page, ()):
            with suppress(ValueError):  # Sphinx has complained of it
                found.update((name, place or "", main) for name in split_index_msg(kind, value))
    return sorted(found)


def register(app: Sphinx) -> None:
    """Connect both with Sphinx."""
    app.connect("env-updated", in_order)
    app.connect("html-collect-pages", complete)
