"""A manual that was built again is, file by file, the one that a fresh build makes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import small_manual

from qdqdoc.sphinxext import downloads

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

# MyST uses what the next Sphinx will not have.
pytestmark = pytest.mark.filterwarnings("ignore:.*MystReferenceResolver.app")

INDEX = """# Manual

```{toctree}
words
rules
```

See {ref}`the row <values-one>`, {numref}`values`, {term}`grid` and [](rules.md#named).
"""
PAGES = {
    "words": "# Words\n\n```{glossary}\ngrid\n  What codes stand for.\n```\n",
    "rules": """# Rules

```{qdq-table} Table(("name", "value"), (("a", 1), ("b", 2)), keys=("one", "two"))
:caption: Values.
:name: values
```

## Named

## Of no interest

```{eval-rst}
.. py:function:: halve(x)
```
""",
}


def write(folder: Path, **pages: str) -> None:
    (folder / "source").mkdir(parents=True, exist_ok=True)
    for name, text in pages.items():
        (folder / "source" / f"{name}.md").write_text(text, "utf-8")


def files(folder: Path, text: str = INDEX) -> dict[str, bytes]:
    """Build, and return what was written."""
    built = small_manual.build(folder, text, numfig=True, myst_heading_anchors=2)
    assert built.code == 0, built.said
    found = (path for path in (folder / "out").rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}


def edited(page: str, old: str, new: str, text: str = INDEX) -> Callable[[Path], dict[str, bytes]]:
    """Return a change of one page, and of the first one if need be."""
    assert old in PAGES[page]

    def change(folder: Path) -> dict[str, bytes]:
        write(folder, **{page: PAGES[page].replace(old, new)})
        return files(folder, text)

    return change


FIRST = "\n```{qdq-table} Table(('n',), ((1,),))\n:caption: First.\n```\n"
title = edited("rules", "# Rules", "# Laws")
unnamed = edited("rules", "Of no interest", "Of interest")
CHANGES: dict[str, Callable[[Path], dict[str, bytes]]] = {
    "nothing": files,
    "a word of the first page": lambda folder: files(folder, INDEX.replace("See ", "Look at ")),
    "a term": edited("words", "What codes", "What singular codes"),
    "a title": title,
    "a heading that another page names": edited(
        "rules", "## Named", "## Named `so`", INDEX.replace("#named", "#named-so")
    ),
    "a heading that nobody names": unnamed,
    "a function": edited("rules", "halve(x)", "double(x)"),
    "a table before the others": edited("words", "# Words\n", f"# Words\n{FIRST}"),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_what_was_built_again_is_what_is_built_afresh(
    tmp_path: Path, change: Callable[[Path], dict[str, bytes]]
) -> None:
    again, fresh = tmp_path / "again", tmp_path / "fresh"
    write(again, **PAGES)
    first = files(again)
    changed = change(again)
    assert (changed == first) == (change is files)
    write(fresh, **PAGES)
    assert changed == change(fresh)
    write(again, **PAGES)
    assert files(again) == first, "a change that was taken back leaves nothing behind"


def test_a_page_that_nobody_edited_says_that_its_link_leads_nowhere_now(tmp_path: Path) -> None:
    write(tmp_path, **PAGES)
    files(tmp_path)
    write(tmp_path, rules=PAGES["rules"].replace("## Named", "## Renamed"))
    for _ in range(2):
        built = small_manual.build(tmp_path, INDEX, numfig=True, myst_heading_anchors=2)
        assert built.code == 1
        assert "local id not found in doc 'rules': 'named'" in built.said


def test_only_what_another_page_shows_makes_it_anew(tmp_path: Path) -> None:
    write(tmp_path, **PAGES)
    files(tmp_path)
    page = tmp_path / "out" / "words.html"
    before = page.stat().st_mtime_ns
    unnamed(tmp_path)
    assert page.stat().st_mtime_ns == before
    title(tmp_path)
    assert page.stat().st_mtime_ns > before


def test_the_search_finds_what_pages_declare_when_nothing_changed(tmp_path: Path) -> None:
    write(tmp_path, **PAGES)
    for _ in range(2):
        found = files(tmp_path)["out/searchindex.js"].decode()
        assert '"indexentries":{' in found
        assert '"grid":[[' in found
        assert '"halve()":[[' in found


def test_the_pack_is_made_anew_when_a_package_is_another_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Path] = []
    monkeypatch.setattr("qdqdoc.conformance.write", made.append)
    monkeypatch.setattr(
        "qdqdoc.conformance.archive.archive",
        lambda _, path: path.write_text(str(len(made)), "utf-8"),
    )
    pack = tmp_path / "pack"
    for packages, number in (("numpy 1", "1"), ("numpy 1", "1"), ("numpy 2", "2")):
        monkeypatch.setattr(downloads, "installed", lambda packages=packages: packages)
        downloads.write_pack(pack, tmp_path)
        assert pack.read_text("utf-8") == number
