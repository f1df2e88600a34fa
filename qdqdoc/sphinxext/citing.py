"""How to cite the manual: made from the metadata of the package."""

from __future__ import annotations

import tomllib
from importlib.metadata import PackageNotFoundError, metadata
from pathlib import Path

import qdqdoc


def about() -> dict[str, str]:
    """Return name, version, author, licence and summary; from a checkout that is not installed too.

    Raises
    ------
    PackageNotFoundError
        If the package is neither installed nor in its checkout.
    """
    try:
        held = metadata("qdqdoc")
    except PackageNotFoundError:
        return _from_checkout()
    # Only a distribution that is this very version speaks for it.
    if held["Version"] != qdqdoc.__version__:
        return _from_checkout()
    return {
        "name": held["Name"],
        "version": held["Version"],
        "author": held["Author"],
        "licence": held["License-Expression"],
        "summary": held["Summary"],
    }


def _from_checkout() -> dict[str, str]:
    path = Path(qdqdoc.__file__).parents[1] / "pyproject.toml"
    if not path.is_file():
        raise PackageNotFoundError("qdqdoc")
    project = tomllib.loads(path.read_text("utf-8"))["project"]
    return {
        "name": project["name"],
        "version": qdqdoc.__version__,
        "author": " and ".join(one["name"] for one in project["authors"]),
        "licence": project["license"],
        "summary": project["description"],
    }


def _title() -> str:
    held = about()
    return f"{held['name']}: {held['summary'].partition(':')[0].removeprefix('The ').rstrip('.')}"


def sentence() -> str:
    """Return the citation as a sentence."""
    held = about()
    return f"{held['author']}: {_title()}. Version {held['version']}, licence {held['licence']}."


def bibtex() -> str:
    """Return the citation as an entry of a bibliography."""
    held = about()
    fields = {
        "title": _title(),
        "author": f"{{{held['author']}}}",
        "version": held["version"],
        "note": f"Licence {held['licence']}",
    }
    lines = (f"  {name} = {{{value}}}," for name, value in fields.items())
    return "\n".join((f"@software{{{held['name']},", *lines, "}"))
