"""``qdqdoc audit`` as people meet it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
from test_fuse import Maker

from qdqdoc.audit import UNFUSED, audit, verifying
from qdqdoc.audit.reporting import schema, to_json
from qdqdoc.cli import main
from qdqdoc.document import dump
from qdqdoc.extract import extract
from qdqdoc.fuse import Reason

INT8 = Path(__file__).parent.parent / "models" / "resnet8_int8.onnx"
VALIDATOR = jsonschema.Draft202012Validator(schema())


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as caught:
        main(["audit", *(str(argument) for argument in arguments)])
    out, err = capsys.readouterr()
    return int(caught.value.code or 0), out, err


def test_the_text(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, INT8)
    lines = out.splitlines()
    assert (code, err) == (0, "")
    assert max(map(len, lines)) <= 100
    assert lines[0].startswith("resnet8_int8.onnx for ort-x86")
    assert lines[1] == "32 groups: 2 dropped, 8 fused, 22 stays"
    table = lines[4 : 4 + 33]
    assert sum("QLinearConv" in line for line in table) == 4
    assert sum("int8-fork" in line and " floats " in line for line in table) == 7
    assert not any(line != line.rstrip() for line in lines)


def test_the_document_gives_the_same_bytes_as_the_model(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dump(extract(INT8), tmp_path / "net.json")
    for form in ((), ("--json",)):
        outputs = {run(capsys, path, *form)[1] for path in (INT8, INT8, tmp_path / "net.json")}
        assert len(outputs) == 1


def test_json_is_what_the_schema_says(capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = run(capsys, INT8, "--json")
    found = json.loads(out)
    jsonschema.Draft202012Validator.check_schema(schema())
    VALIDATOR.validate(found)
    assert (found["format"], found["format_version"]) == ("qdqdoc-audit", 1)
    assert "/" not in found["model"]
    assert out == to_json(audit(extract(INT8)))
    reasons = {group["reason"] for group in found["groups"]} - {None}
    assert reasons == {Reason.INT8_FORK, Reason.INT8_CONSTANT}
    with pytest.raises(jsonschema.ValidationError):
        VALIDATOR.validate({**found, "more": 1})


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (["error"], 0, ""),
        (["warning"], 1, "qdqdoc: --fail-on warning: 5"),
        (["error", "saturating-pairs"], 1, "qdqdoc: --fail-on saturating-pairs: 5"),
        (["bias-scale-off", "scale-zero"], 0, ""),
        ([UNFUSED], 1, "qdqdoc: --fail-on unfused: 22"),
        (["int8-fork"], 1, "qdqdoc: --fail-on int8-fork: 7"),
        (["note", "note"], 1, "qdqdoc: --fail-on note: 3"),
    ],
)
def test_fail_on(
    words: list[str], code: int, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    given = [part for word in words for part in ("--fail-on", word)]
    got, out, err = run(capsys, INT8, *given)
    assert (got, err.strip()) == (code, told)
    assert out.startswith("resnet8_int8.onnx")


def test_help_has_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "--help")
    assert code == 0
    assert "Example: qdqdoc audit model.onnx --verify --fail-on error" in out


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.onnx").write_bytes(INT8.read_bytes())
    (tmp_path / "text.onnx").write_text("no model", "utf-8")
    dump(extract("net.onnx"), "net.json")
    (tmp_path / "empty.json").write_text("{}", "utf-8")
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["no.onnx"], "no.onnx: no such file"),
        (["no.json"], "no.json: no such file"),
        (["text.onnx"], "text.onnx: "),
        (["empty.json"], "empty.json"),
        (["."], "irectory"),
        (["net.onnx", "--target", "tpu"], "found 'tpu', allowed: ort-x86, ort-x86-int8, ort-arm"),
        (["net.onnx", "--fail-on", "erorr"], "--fail-on: found 'erorr', allowed: error, warning"),
        (["net.onnx", "--target", "ort-arm", "--verify"], "ort-arm is predicted"),
        (["net.json", "--verify"], "net.json: --verify needs the .onnx file"),
    ],
)
@pytest.mark.usefixtures("folder")
def test_bad_input_is_one_line(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = run(capsys, *arguments)
    assert (code, out) == (2, "")
    assert err.startswith("qdqdoc: error: ")
    assert message.lower() in err.lower()
    assert err.count("\n") == 1


def test_verify_without_onnxruntime(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(verifying, "find_spec", lambda _: None)
    code, out, err = run(capsys, INT8, "--verify")
    assert (code, out) == (2, "")
    assert err == "qdqdoc: error: --verify needs onnxruntime: pip install onnxruntime\n"


def test_verify_on_another_machine(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    code, _, err = run(capsys, INT8, "--verify")
    assert (code, err.count("\n")) == (2, 1)
    assert "needs x86-64, not aarch64" in err


@pytest.mark.parametrize("dies", [True, False])
def test_verify_of_a_model_that_onnxruntime_cannot_load(
    *,
    dies: bool,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    m = Maker()
    m.result(m.node("NoSuchOperator", m.pair(m.input(1, 4), "uint8")))
    path = m.save(tmp_path)
    if dies:
        program = tmp_path / "program.py"
        program.write_text("import os\nos.abort()\n", "utf-8")
        monkeypatch.setattr(Path, "with_name", lambda *_: program)
    code, out, err = run(capsys, path, "--verify")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert ("ended with code -6" if dies else "cannot load it") in err


def test_onnxruntime_is_imported_for_verify_alone() -> None:
    program = f"""
import sys
sys.modules["onnxruntime"] = None
from qdqdoc.cli import main
main(["audit", {str(INT8)!r}])
"""
    command = [sys.executable, "-c", program]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - our own program
    assert (ran.returncode, ran.stderr) == (0, "")
    assert "32 groups" in ran.stdout
