"""``qdqdoc extract`` as people meet it."""

from __future__ import annotations

import builtins
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from qdqdoc.cli import COMMANDS, FRONT_DOOR, main
from qdqdoc.document import load

# ruff: noqa: ANN401 - attributes and initializers are of any type

RESNET8 = Path(__file__).parent.parent / "models" / "resnet8_int8.onnx"


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as caught:
        main([str(argument) for argument in arguments])
    out, err = capsys.readouterr()
    return int(caught.value.code or 0), out, err


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "net.onnx"
    path.write_bytes(RESNET8.read_bytes())
    return path


def test_it_writes_beside_the_model_and_says_so(
    model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = run(capsys, "extract", model)
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[:3] == ["total nodes       130", "QuantizeLinear     32", "DequantizeLinear   66"]
    assert "Conv                9" in lines
    written = model.with_name("net_operations.json")
    assert lines[-2:] == [f"wrote {written}", f"wrote {written.with_suffix('.npz')}"]
    assert load(written).total_nodes == 130


def test_output_goes_where_it_is_wanted(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, _ = run(capsys, "extract", model, "-o", tmp_path / "my.json")
    assert code == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["my.json", "my.npz", "net.onnx"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["absent.onnx"], "absent.onnx: no such file"),
        (["."], ".: is a directory, expected an ONNX file"),
        (["net.onnx", "-o", "net.onnx"], "net.onnx: writing here would overwrite the model"),
        (["net.onnx", "-o", "no/my.json"], "there is no such folder to write in"),
        (["net.onnx", "-o", "."], ".: is a directory"),
        (["net.onnx", "-o", "my.npz"], "give a name that ends in .json"),
    ],
)
def test_wrong_input_is_one_line_and_leaves_nothing(
    arguments: list[str],
    message: str,
    model: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(model.parent)
    code, out, err = run(capsys, "extract", *arguments)
    assert (code, out) == (2, "")
    assert err.startswith("qdqdoc: error: ")
    assert message in err
    assert err.count("\n") == 1
    assert [path.name for path in model.parent.iterdir()] == ["net.onnx"]


@pytest.mark.parametrize("arguments", [[], ["extract"], ["extrac"], ["extract", "--colour", "x"]])
def test_wrong_usage_exits_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run(capsys, *arguments)
    assert code == 2
    assert "Usage: qdqdoc" in err


def test_help_has_examples(capsys: pytest.CaptureFixture[str]) -> None:
    for command in COMMANDS:
        code, out, _ = run(capsys, command, "--help")
        assert code == 0
        assert f"Example: qdqdoc {command}" in " ".join(out.split()), command
    _, out, _ = run(capsys, "--help")
    assert f"Example: qdqdoc {next(iter(FRONT_DOOR))}" in out
    said = " ".join(out.split())
    assert all(f"{name} {line}" in said for name, line in COMMANDS.items())


def test_a_missing_package_is_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = builtins.__import__

    def without_onnx(name: str, *arguments: Any, **more: Any) -> Any:
        if name.partition(".")[0] == "onnx":
            raise ModuleNotFoundError("No module named 'onnx'", name="onnx")
        return whole(name, *arguments, **more)

    for name in [
        name for name in sys.modules if name.startswith(("qdqdoc.extract", "qdqdoc.cli."))
    ]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(builtins, "__import__", without_onnx)
    code, _, err = run(capsys, "extract", "m.onnx")
    assert (code, err) == (
        2,
        "qdqdoc: error: extract needs onnx: pip install 'qdqdoc[extract]'\n",
    )


def test_ctrl_c_is_quiet(
    model: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "read_bytes", interrupted)
    code, out, err = run(capsys, "extract", model)
    assert (code, out, err.strip()) == (130, "", "")


def test_a_closed_pipe_is_quiet(model: Path) -> None:
    program = "from qdqdoc.cli import main; main()"
    command = [sys.executable, "-c", program, "extract", str(model)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:  # noqa: S603 - our own program
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""


def test_documents_need_no_onnx() -> None:
    imports = "import sys, qdqdoc.document, qdqdoc.cli"
    program = f"{imports}; print({{'onnx', 'jsonschema', 'ml_dtypes'}} & set(sys.modules))"
    done = subprocess.run(  # noqa: S603 - our own program
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "set()"
