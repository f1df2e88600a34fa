"""Which pages make the book, in which order and how deep, and where its links lead."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from docutils import nodes
from sphinx import addnodes

from qdqdoc.pdf.inline import reference_target

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from sphinx.environment import BuildEnvironment


@dataclass(frozen=True, slots=True)
class Leaf:
    """A page of the book; ``depth`` is the level of its heading, ``part`` the part it opens."""

    docname: str
    depth: int
    part: str = ""


def leaves(env: BuildEnvironment) -> list[Leaf]:
    """Return the pages in reading order: the first one, the parts, then what no list names."""
    root = str(env.config.root_doc)
    seen = {root}
    found = [Leaf(root, 1)]
    for toctree in env.get_doctree(root).findall(addnodes.toctree):
        part = str(toctree.get("caption") or "")
        for docname in toctree["includefiles"]:
            below = list(_below(env, docname, 2, seen))
            if below:
                below[0] = Leaf(docname, 2, part)
                part = ""
            found += below
    orphans = sorted(set(env.found_docs) - seen)
    return [*found, *(Leaf(docname, 2) for docname in orphans)]


def _below(env: BuildEnvironment, docname: str, depth: int, seen: set[str]) -> Iterator[Leaf]:
    if docname in seen:
        return
    seen.add(docname)
    yield Leaf(docname, depth)
    for child in env.toctree_includes.get(docname, ()):
        yield from _below(env, child, depth + 1, seen)


@dataclass
class Places:
    """What links lead to. A heading has one label, whatever names it has."""

    wanted: set[str] = field(default_factory=set)
    homes: dict[str, str] = field(default_factory=dict)
    placed: set[str] = field(default_factory=set)

    def home(self, name: str) -> str:
        """Return the label of a place with that name.

        >>> Places(homes={"page": "page#title"}).home("page")
        'page#title'
        """
        return self.homes.get(name, name)

    def claim(self, name: str) -> str:
        """Return the label that is to be put here, empty if there is no need for one."""
        name = self.home(name)
        if name in self.placed or name not in self.wanted:
            return ""
        self.placed.add(name)
        return name


def places_of(trees: Mapping[str, nodes.document]) -> Places:
    """Return the places that links in the pages of the book lead to."""
    places = Places()
    for docname, tree in trees.items():
        for number, section in enumerate(tree.findall(nodes.section)):
            first, *others = section["ids"]
            names = [f"{docname}#{other}" for other in others] + ([docname] if not number else [])
            places.homes.update(dict.fromkeys(names, f"{docname}#{first}"))
    for docname, tree in trees.items():
        places.wanted.update(places.home(name) for name, _ in links(docname, tree))
    return places


def links(docname: str, tree: nodes.document) -> Iterator[tuple[str, nodes.Element]]:
    """Yield the links of a page that stay in the book, with their nodes."""
    kinds = nodes.reference | nodes.footnote_reference | nodes.citation_reference
    for node in tree.findall(lambda node: isinstance(node, kinds)):
        if isinstance(node, nodes.Element):
            target = reference_target(docname, node)
            if target:
                yield target, node
