"""What is no model, or a damaged one, is refused in one line; nothing else ever escapes."""

from __future__ import annotations

import gzip
import pickle
import random
import resource
from pathlib import Path
from typing import Any

import pytest
from onnx import ModelProto, helper

from qdqdoc.document import dumps, loads
from qdqdoc.errors import QdqdocError
from qdqdoc.extract import ExtractError, extract

# ruff: noqa: ANN401 - attributes and initializers are of any type

RESNET8 = Path(__file__).parent.parent / "models" / "resnet8_int8.onnx"
CONTENT = RESNET8.read_bytes()

FILES = {
    "is empty": b"",
    "no complete protobuf": CONTENT[:-1000],
    "found a gzip archive": gzip.compress(CONTENT),
    "found a Python pickle": pickle.dumps({"weights": [1, 2]}),
    "found a zip archive": b"PK\x03\x04" + b"\0" * 30,
    "found JSON text": b'{"format": "qdqdoc.operations"}',
    "found text": "некоторый текст\n".encode(),
    "a protobuf without a graph": ModelProto(ir_version=8, producer_name="p\0").SerializeToString(),
}


@pytest.mark.parametrize("message", FILES)
def test_files_of_another_kind(message: str, tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(FILES[message])
    with pytest.raises(ExtractError, match=message) as caught:
        extract(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_no_file_and_a_directory(tmp_path: Path) -> None:
    with pytest.raises(ExtractError, match="no such file"):
        extract(tmp_path / "absent.onnx")
    with pytest.raises(ExtractError, match="is a directory"):
        extract(tmp_path)


def refused(nodes: list[Any], outputs: tuple[str, ...] = ("y",), **more: Any) -> ModelProto:
    read, made = (
        [helper.make_tensor_value_info(name, 1, None) for name in names] for names in ("x", outputs)
    )
    return helper.make_model(helper.make_graph(nodes, "main", read, made), **more)


def relu(source: str, target: str, name: str = "") -> Any:
    return helper.make_node("Relu", [source], [target], name=name)


BROKEN = {
    "waits for itself: a cycle": refused([relu("y", "a"), relu("a", "y")]),
    "two nodes make the tensor 'y'": refused([relu("x", "y"), relu("x", "y")]),
    r"inputs\[0\]: tensor 'xs' is not defined": refused([relu("xs", "y")]),
    r"outputs\[0\]: tensor 'yy' is not defined \(nearest: 'y'\)": refused(
        [relu("x", "y")], ("yy",)
    ),
    r"outputs\[0\]: tensor 'x' is made before": refused([relu("", "x")], ("x",)),
    "version -1 is negative": refused(
        [relu("x", "y")], opset_imports=[helper.make_opsetid("", -1)]
    ),
}


@pytest.mark.parametrize("message", BROKEN)
def test_models_that_contradict_themselves(message: str, tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(BROKEN[message].SerializeToString())
    with pytest.raises(ExtractError, match=message):
        extract(path)


def test_no_operator_set_and_names_that_are_no_text(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    made = refused([relu("x", "y", "NAME")])
    path.write_bytes(made.SerializeToString().replace(b"NAME", b"N\xffME"))
    with pytest.raises(ExtractError, match="is not UTF-8"):
        extract(path)
    del made.opset_import[:]
    path.write_bytes(made.SerializeToString())
    with pytest.raises(ExtractError, match="imports no operator set"):
        extract(path)


def flipped(generator: random.Random) -> bytes:
    """Return the model with a few bits turned, mostly where its structure is."""
    content = bytearray(CONTENT)
    for _ in range(generator.choice((1, 1, 2, 8))):
        near = generator.randrange(min(40_000, len(content)))
        position = generator.choice((near, generator.randrange(len(content))))
        content[position] ^= 1 << generator.randrange(8)
    return bytes(content)


@pytest.mark.parametrize("seed", range(3))
def test_damaged_models_give_a_document_or_one_error(seed: int, tmp_path: Path) -> None:
    generator = random.Random(seed)  # noqa: S311 - no secret
    path = tmp_path / "m.onnx"
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for turn in range(40):
        whole = turn % 3
        path.write_bytes(
            flipped(generator) if whole else CONTENT[: generator.randrange(len(CONTENT))]
        )
        try:
            document = extract(path)
        except QdqdocError as error:
            assert "\n" not in str(error)  # noqa: PT017 - both ends are right
        else:
            text = dumps(document)
            assert dumps(loads(text)) == text
    kibibytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert kibibytes < 200_000


@pytest.mark.parametrize("seed", range(4))
def test_damaged_json_gives_a_document_or_one_error(seed: int) -> None:
    generator = random.Random(seed)  # noqa: S311 - no secret
    text = dumps(extract(RESNET8))
    for turn in range(25):
        position = generator.randrange(len(text))
        if turn % 3 == 0:
            damaged = text[:position]
        else:
            damaged = text[:position] + chr(generator.randrange(128)) + text[position + 1 :]
        try:
            loads(damaged)
        except QdqdocError as error:
            assert str(error)  # noqa: PT017 - both ends are right
