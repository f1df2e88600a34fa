"""What the README shows: its commands, its picture, its sessions and its numbers."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from qdqdoc.annotate import annotate
from qdqdoc.cli import main
from qdqdoc.extract import extract
from qdqdoc.render import render

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text("utf-8")
MODEL = "models/resnet8_int8.onnx"
PICTURE = "picture/resnet8_int8_qdq_architecture"
SVG_LIMIT = 400_000


def picture() -> str:
    return annotate(extract(ROOT / MODEL))


def words(svg: bytes) -> list[str]:
    """Everything that is written in a drawing, in order."""
    texts = ET.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")  # noqa: S314 - our own
    return ["".join(text.itertext()) for text in texts]


def test_the_commands_are_those_that_ci_runs() -> None:
    shown = re.findall(r"^    (pip install .*)$", README, re.MULTILINE)
    ci = (ROOT / ".ci" / "run").read_text("utf-8")
    assert re.findall(r"(?m)^bash -c '(.*)'$", ci) == shown[::-1], "tests come first"
    assert [command.rpartition("&& ")[2] for command in shown] == ["tox -e manual", "tox"]
    assert ci.startswith("#!/usr/bin/env bash\n")
    assert "\nset -euo pipefail\n" in ci


def test_annotate_still_draws_the_picture() -> None:
    assert (ROOT / f"{PICTURE}.dot").read_text("utf-8") == picture()
    assert f"]({PICTURE}.svg)" in README


def test_the_picture_is_the_drawing_of_its_source() -> None:
    # Coordinates may differ from machine to machine, words may not.
    svg = (ROOT / f"{PICTURE}.svg").read_bytes()
    assert len(svg) < SVG_LIMIT
    assert words(svg) == words(render(picture(), "svg"))


def test_the_counts_are_those_of_the_model() -> None:
    document = extract(ROOT / MODEL)
    said = re.search(
        r"with (\d+) nodes, of\s+which (\d+) are QuantizeLinear and (\d+) DequantizeLinear", README
    )
    assert said
    counts = document.op_type_counts
    expected = [len(document.operations), counts["QuantizeLinear"], counts["DequantizeLinear"]]
    assert [int(number) for number in said.groups()] == expected


def sessions() -> list[tuple[str, str]]:
    """Commands after a dollar sign, with what is shown below them."""
    blocks = re.findall(r"^```console\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    parts = [part for block in blocks for part in re.split(r"^\$ ", block, flags=re.MULTILINE)]
    return [(part.partition("\n")[0], part.partition("\n")[2]) for part in parts if part]


def test_the_sessions_say_what_the_readme_shows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "models").mkdir()
    shutil.copy(ROOT / MODEL, tmp_path / MODEL)
    monkeypatch.chdir(tmp_path)
    commands = sessions()
    assert [command.split()[:2] for command, _ in commands] == [
        ["qdqdoc", "guide"],
        ["qdqdoc", "extract"],
        ["qdqdoc", "annotate"],
    ]
    for command, shown in commands:
        with pytest.raises(SystemExit) as left:
            main(shlex.split(command)[1:])
        assert left.value.code == 0
        assert capsys.readouterr().out == shown
    assert json.loads((tmp_path / "resnet8.json").read_text("utf-8"))["summary"]


def test_every_path_that_a_page_names_is_there() -> None:
    for page in ("README.md", "CONTRIBUTING.md"):
        text = (ROOT / page).read_text("utf-8")
        links = re.findall(r"\]\((?!https?:)([^)#]+)\)", text)
        in_table = re.findall(r"^\| ((?:`[\w./]+`(?:, )?)+) \|", text, re.MULTILINE)
        named = [path for cell in in_table for path in re.findall(r"`([^`]+)`", cell)]
        missing = [path for path in (*links, *named) if not (ROOT / path).exists()]
        assert not missing, f"{page}: {missing}"


def test_every_environment_that_contributing_names_exists() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
    tox = (ROOT / "tox.ini").read_text("utf-8")
    shown = set(re.findall(r"`tox -e ([\w-]+)", text))
    assert shown >= set(re.findall(r"^\[testenv:(\w[\w-]*)\]$", tox, re.MULTILINE))
    assert shown <= {"py", *re.findall(r"^\[testenv:([\w-]+)\]$", tox, re.MULTILINE)}
