"""``qdqdoc run`` as people meet it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from commands import command

from qdqdoc.document import dump
from qdqdoc.extract import extract

RESNET8 = Path(__file__).parent.parent / "models" / "resnet8_int8.onnx"


run = command("run")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.onnx").write_bytes(RESNET8.read_bytes())
    np.save("x.npy", np.zeros((2, 32, 32, 3), np.float32))
    return tmp_path


def test_it_prints_a_line_for_each_output(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "net.onnx", "--input", "image=x.npy", "-o", "t.npz")
    assert (code, err) == (0, "")
    index = json.loads((folder / "t.json").read_text("utf-8"))
    (last,) = (row for row in index["tensors"] if row["name"] == "probabilities")
    assert out.splitlines() == [
        f"probabilities  float32[2, 10]  sha256 {last['sha256']}",
        "wrote t.npz",
        "wrote t.json",
    ]
    assert (index["contract"], index["model"]) == ("qdq", "net.onnx")


def test_the_document_gives_the_same_bytes_as_the_model(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dump(extract("net.onnx"), "net.json")
    for model, output in (("net.onnx", "a.npz"), ("net.json", "b.npz")):
        code, *_ = run(capsys, model, "--input", "image=x.npy", "--contract=qdq", "-o", output)
        assert code == 0
    for ending in ("npz", "json"):
        assert (folder / f"a.{ending}").read_bytes() == (folder / f"b.{ending}").read_bytes()


def test_help_has_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "--help")
    assert code == 0
    example = "Example: qdqdoc run model.onnx --input image=image.npy --contract ort -o trace.npz"
    assert example in " ".join(out.split())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["net.onnx", "-o", "t.npz"], "inputs of net.onnx: 'image' is missing"),
        (["net.onnx", "--input", "imge=x.npy", "-o", "t.npz"], "(nearest: 'image')"),
        (["net.onnx", "--input", "image", "-o", "t.npz"], "allowed: NAME=FILE.npy"),
        (
            ["net.onnx", "--input", "image=x.npy", "--input", "image=x.npy", "-o", "t.npz"],
            "found 'image' twice",
        ),
        (["net.onnx", "--input", "image=no.npy", "-o", "t.npz"], "no.npy: No such file"),
        (["net.onnx", "--input", "image=net.onnx", "-o", "t.npz"], "net.onnx: not an .npy file"),
        (["net.onnx", "--input", "image=.", "-o", "t.npz"], ".: is a directory"),
        (["net.onnx", "--input", "image=short.npy", "-o", "t.npz"], "short.npy: found 16 bytes"),
        (["net.onnx", "--input", "image=object.npy", "-o", "t.npz"], "it holds Python objects"),
        (["net.onnx", "--input", "image=x.npy", "-o", "t.zip"], "give a name that ends so"),
        (["net.onnx", "--input", "image=x.npy", "-o", "no/t.npz"], "there is no such folder"),
        (["net.json", "--input", "image=x.npy", "-o", "net.npz"], "would overwrite what is read"),
        (["net.onnx", "--input", "image=x.npy", "-o", "t.npz", "--contract=q31"], "'q31', which"),
        (["no.onnx", "--input", "image=x.npy", "-o", "t.npz"], "no.onnx: no such file"),
        (["x.npy", "--input", "image=x.npy", "-o", "t.npz"], "x.npy: not an ONNX model"),
    ],
)
def test_wrong_input_is_one_line_and_leaves_nothing(
    arguments: list[str], message: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.save("object.npy", np.array([None]), allow_pickle=True)
    np.save("short.npy", np.zeros((9,), np.float32))
    whole = Path("short.npy").read_bytes()
    Path("short.npy").write_bytes(whole[:-20])
    before = sorted(folder.iterdir())
    code, out, err = run(capsys, *arguments)
    assert (code, out) == (2, "")
    assert err.startswith("qdqdoc: error: ")
    assert message in err
    assert err.count("\n") == 1
    assert sorted(folder.iterdir()) == before


def test_without_a_file_the_outputs_are_the_same(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["net.onnx", "--input", "image=x.npy"]
    for contract in ("qdq", "ort", "exact"):
        before = sorted(folder.iterdir())
        code, out, err = run(capsys, *arguments, "--contract", contract)
        assert (code, err) == (0, "")
        assert sorted(folder.iterdir()) == before
        code, traced, _ = run(capsys, *arguments, "--contract", contract, "-o", f"{contract}.npz")
        assert code == 0
        assert traced.startswith(out)
        assert out.count("sha256") == 1
    code, _, err = run(capsys, "net.onnx", "--input", "picture=x.npy")
    assert code == 2
    assert "picture" in err
