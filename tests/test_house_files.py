"""What holds for every file of the repository, and what the package that is installed holds."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parent.parent
MOST_LINES = 400
ENVIRONMENTS = ("lint", "types", "doctest", "py")
MADE = re.compile(r"(^|/)(\.(?!ci/|gitignore)|build/|dist/|__pycache__/)")
LEGAL = {"LICENSE"}

# Spelled in pieces: this file, too, is looked at.
MACHINE_PATHS = re.compile(r"(?<![\w.:/~-])/(?:" + "work|root|opt|tmp" + r")/\w")
REGISTRIES = re.compile("|".join(("py" + r"pi\.org", "python" + "hosted", "conda" + r"\.anaconda")))
DIAGRAMS = {".dot", ".svg", ".json"}


def files() -> Iterator[Path]:
    """Yield what git would commit; everything but caches where there is no git."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    try:
        listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)  # noqa: S603
    except (OSError, subprocess.CalledProcessError):
        found = (p for p in ROOT.rglob("*") if not MADE.search(p.relative_to(ROOT).as_posix()))
    else:
        found = (ROOT / name for name in listed.stdout.splitlines())
    yield from sorted(path for path in found if path.is_file())


def texts() -> Iterator[tuple[str, str]]:
    for path in files():
        try:
            yield path.relative_to(ROOT).as_posix(), path.read_text("utf-8")
        except UnicodeDecodeError:
            continue


def test_no_file_is_longer_than_a_person_reads() -> None:
    written = ((name, text) for name, text in texts() if Path(name).suffix not in DIAGRAMS)
    long = {name: len(text.splitlines()) for name, text in written if name not in LEGAL}
    assert not {name: lines for name, lines in long.items() if lines > MOST_LINES}


@pytest.mark.parametrize("pattern", [MACHINE_PATHS, REGISTRIES], ids=["machine", "registry"])
def test_no_file_names_a_machine(pattern: re.Pattern[str]) -> None:
    found = [
        f"{name}:{number}: {line.strip()[:80]}"
        for name, text in texts()
        if not name.startswith("tests/")  # they make up paths
        for number, line in enumerate(text.splitlines(), 1)
        if pattern.search(line)
    ]
    assert not found, "\n".join(found)


def test_nothing_is_left_to_do() -> None:
    left = re.compile(r"\b(?:" + "TO" + "DO|FIX" + "ME|X" + r"XX)\b")
    assert not [name for name, text in texts() if name not in LEGAL and left.search(text)]


def test_the_package_holds_what_it_reads() -> None:
    data = {
        path.relative_to(ROOT).as_posix()
        for path in files()
        if path.is_relative_to(ROOT / "qdqdoc") and path.suffix != ".py"
    }
    assert {"qdqdoc/py.typed", "qdqdoc/document/operations.schema.json"} <= data
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]
    packed = ["qdqdoc", "source"]
    assert wheel["only-include"] == packed, "hatchling then packs every file that git knows"


def test_constraints_are_exact_and_hold_every_requirement() -> None:
    text = (ROOT / "constraints.txt").read_text("utf-8")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    assert all(re.match(r"[a-z0-9-]+==[\w.]+( ; .+)?$", line) for line in lines)
    locked = {line.partition("==")[0] for line in lines}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    extras = project["project"]["optional-dependencies"].values()
    wanted = [
        *project["project"]["dependencies"],
        *project["build-system"]["requires"],
        *(requirement for extra in extras for requirement in extra),
        *("tox", "ruff", "mypy", "types-jsonschema"),
    ]
    names = {re.split(r"[^\w-]", one)[0].lower().replace("_", "-") for one in wanted}
    assert names - {"qdqdoc"} <= locked


def test_the_build_backend_is_locked_for_each_environment() -> None:
    tox = (ROOT / "tox.ini").read_text("utf-8")
    assert tox.count("PIP_CONSTRAINT = {tox_root}{/}constraints.txt") == len(("testenv", ".pkg"))
    assert f"env_list = {', '.join(ENVIRONMENTS)}" in tox
