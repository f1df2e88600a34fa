from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from qdqdoc.cli import main
from qdqdoc.cli.annotate import command
from qdqdoc.document import Document, dump
from qdqdoc.extract import extract

ROOT = Path(__file__).parent.parent
MODEL = ROOT / "models" / "resnet8_int8.onnx"
NAMES = [f"resnet8_int8_qdq_architecture.{ending}" for ending in ("dot", "png", "svg")]


@pytest.fixture(scope="module")
def model() -> Document:
    return extract(MODEL)


@pytest.fixture
def document(tmp_path: Path, model: Document) -> Path:
    path = tmp_path / "ops.json"
    dump(model, path)
    return path


def annotate(*arguments: object) -> Result:
    return CliRunner().invoke(command, [str(a) for a in arguments])


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def fails(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    with pytest.raises(SystemExit) as caught:
        main(["annotate", *map(str, arguments)])
    assert caught.value.code == 2
    told = capsys.readouterr()
    assert told.out == ""
    return told.err


def test_it_writes_three_files_and_counts(tmp_path: Path, document: Path) -> None:
    folder = tmp_path / "new" / "diagrams"
    result = annotate("--operations-json", document, "--output-dir", folder)
    assert result.exit_code == 0
    lines = result.output.splitlines()
    assert lines[:3] == ["Found 98 QDQ nodes", "QuantizeLinear: 32", "DequantizeLinear: 66"]
    assert lines[3:] == [str(folder / NAMES[i]) for i in (0, 2, 1)]
    assert names(folder) == NAMES
    assert (folder / NAMES[1]).read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("view", ["overview", "graph"])
def test_views_share_the_names(tmp_path: Path, document: Path, view: str) -> None:
    result = annotate(document, "--view", view, "--output-dir", tmp_path / "out")
    assert result.exit_code == 0
    dot = (tmp_path / "out" / NAMES[0]).read_text(encoding="utf-8")
    assert f'id="qdq-{view}"' in dot


def test_a_model_is_drawn_beside_itself(tmp_path: Path) -> None:
    path = tmp_path / MODEL.name
    path.write_bytes(MODEL.read_bytes())
    assert annotate(path).exit_code == 0
    assert names(tmp_path) == [MODEL.name, *NAMES]


def test_one_group_is_drawn_by_name(document: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        annotate(document, "--view", "group", "--group", "resnet8_1/stem_conv_1/BiasAdd").exit_code
        == 0
    )
    assert "'stem' (nearest" not in fails(capsys, document, "--view", "group", "--group", "stem")


def without_onnx(path: Path) -> subprocess.CompletedProcess[str]:
    script = (
        "import sys; sys.modules['onnx'] = None\n"
        f"from qdqdoc.cli import main; main(['annotate', {str(path)!r}])"
    )
    return subprocess.run(  # noqa: S603 - our own interpreter
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )


def test_json_is_drawn_where_onnx_is_not_installed(document: Path) -> None:
    done = without_onnx(document)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("Found 98 QDQ nodes\n")


def test_a_model_without_onnx_is_one_line() -> None:
    done = without_onnx(MODEL)
    said = "qdqdoc: error: extract needs onnx: pip install 'qdqdoc[extract]'\n"
    assert (done.returncode, done.stderr) == (2, said)


@pytest.mark.parametrize("module", ["graphviz", "pygraphviz"])
def test_a_missing_package_is_named(
    document: Path,
    module: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    before = names(document.parent)
    told = fails(capsys, document)
    needs = "annotate needs graphviz and pygraphviz: pip install 'qdqdoc[annotate]'"
    assert told == f"qdqdoc: error: {needs}\n"
    assert names(document.parent) == before


@pytest.mark.parametrize(
    "content",
    [b"", b"\x08\x08\x12\x00", b'{"operations": [', b'{"weights": 1}', b"[1, 2]", b"null"],
)
def test_a_wrong_file_is_told_in_one_line(
    tmp_path: Path, content: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "wrong.json"
    path.write_bytes(content)
    told = fails(capsys, path, "--output-dir", tmp_path / "out")
    assert told.count("\n") == 1
    assert "wrong.json" in told
    assert names(tmp_path) == ["wrong.json"]


def test_a_missing_file_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = fails(capsys, tmp_path / "none.json")
    assert told.startswith(f"qdqdoc: error: {tmp_path / 'none.json'}: ")
    assert "no such file" in told.lower()
    assert told.count("\n") == 1


def test_an_output_that_is_a_file_is_told(
    document: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "is a file" in fails(capsys, document, "--output-dir", document)


def test_a_failed_drawing_leaves_nothing(
    document: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QDQDOC_DOT", "/nonexistent/dot")
    before = names(document.parent)
    assert "/nonexistent/dot" in fails(capsys, document)
    assert names(document.parent) == before


def test_a_failed_move_leaves_everything_as_it_was(
    document: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (document.parent / NAMES[0]).write_text("older", encoding="utf-8")
    (document.parent / NAMES[1]).mkdir()
    before = names(document.parent)
    fails(capsys, document)
    assert names(document.parent) == before
    assert (document.parent / NAMES[0]).read_text(encoding="utf-8") == "older"


@pytest.mark.parametrize("model_path", ["../../up.onnx", "/abs/up.onnx", "C:\\x\\up.onnx"])
def test_a_model_path_cannot_lead_elsewhere(tmp_path: Path, model_path: str) -> None:
    path = tmp_path / "ops.json"
    summary = {"total_nodes": 0, "op_type_counts": {}}
    told = {"model_path": model_path, "opset_version": 15, "operations": [], "summary": summary}
    path.write_text(json.dumps(told), encoding="utf-8")
    assert annotate(path, "--output-dir", tmp_path / "out").exit_code == 0
    assert names(tmp_path / "out")[0] == "up_qdq_architecture.dot"


def test_the_files_obey_the_umask(document: Path) -> None:
    before = os.umask(0o027)
    try:
        annotate(document)
    finally:
        os.umask(before)
    assert (document.parent / NAMES[0]).stat().st_mode & 0o777 == 0o640


def test_the_help_has_an_example() -> None:
    assert "Example: qdqdoc annotate" in annotate("--help").output
    assert annotate().exit_code == 2
    assert annotate("a.json", "--operations-json", "b.json").exit_code == 2
