"""Documents on disk: two files that belong together, checked before they are believed."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from qdqdoc.document import Document, DocumentError, Graph, Tensor, array, dump, dumps, load, loads
from qdqdoc.document.arrays import decode, encode
from qdqdoc.document.elements import STORAGE, needed_bits

if TYPE_CHECKING:
    from pathlib import Path

# ruff: noqa: ANN401 - JSON values are of any type

CODES = np.arange(40, dtype=np.int8)
DIGEST = sha256(CODES.tobytes()).hexdigest()


def sample() -> Document:
    tensors = [
        Tensor(name="x", dtype="float32", shape=("N", None, 5)),
        Tensor(name="s", dtype="float32", shape=(1,), initializer=True, values=(0.5,)),
        Tensor(name="w", dtype="int8", shape=(5, 8), initializer=True, bits=7, sha256=DIGEST),
    ]
    graph = Graph(inputs=("x",), outputs=("x",), tensors={t.name: t for t in tensors})
    return Document(model_path="слой.onnx", graph=graph, data={DIGEST: CODES.tobytes()})


def test_files_are_a_pair_and_bytes_repeat(tmp_path: Path) -> None:
    path = tmp_path / "m.json"
    dump(sample(), path)
    first = [path.read_bytes(), path.with_suffix(".npz").read_bytes()]
    dump(load(path), path)
    assert [path.read_bytes(), path.with_suffix(".npz").read_bytes()] == first
    assert sorted(p.name for p in tmp_path.iterdir()) == ["m.json", "m.npz"]
    held = np.load(path.with_suffix(".npz"))
    assert held.files == [DIGEST]
    assert held[DIGEST].dtype == np.uint8
    held.close()
    assert np.array_equal(array(load(path), "w"), CODES.reshape(5, 8))


def test_without_its_companion_a_document_still_loads(tmp_path: Path) -> None:
    path = tmp_path / "m.json"
    dump(sample(), path)
    path.with_suffix(".npz").unlink()
    read = load(path)
    assert read == sample()
    assert array(read, "s").tolist() == [0.5]
    with pytest.raises(DocumentError, match="'w': its bytes are not here"):
        array(read, "w")
    with pytest.raises(DocumentError, match="'x' has no fixed shape"):
        array(read, "x")
    with pytest.raises(DocumentError, match="'nowhere' is not in the document"):
        array(read, "nowhere")


def damaged_archive(path: Path, how: str) -> None:
    beside = path.with_suffix(".npz")
    content = beside.read_bytes()
    start = content.index(CODES.tobytes()[:20])
    if how == "bytes":
        beside.write_bytes(content[:start] + b"\xff" + content[start + 1 :])
    elif how == "truncated":
        beside.write_bytes(content[:-30])
    elif how == "garbage":
        beside.write_bytes(b"nothing")
    elif how == "other":
        np.savez(beside, allow_pickle=True, other=CODES)
    elif how == "compressed":
        np.savez_compressed(beside, allow_pickle=True, **{DIGEST: CODES.view(np.uint8)})
    elif how == "longer":
        np.savez(beside, allow_pickle=True, **{DIGEST: np.zeros(5000, np.uint8)})
    else:
        np.savez(beside, allow_pickle=True, **{DIGEST: CODES})


@pytest.mark.parametrize(
    "how", ["bytes", "truncated", "garbage", "other", "compressed", "longer", "type"]
)
def test_a_damaged_companion_is_one_clear_line(tmp_path: Path, how: str) -> None:
    path = tmp_path / "m.json"
    dump(sample(), path)
    damaged_archive(path, how)
    with pytest.raises(DocumentError, match=r"m\.npz: ") as caught:
        load(path)
    assert "\n" not in str(caught.value)


def test_a_size_that_is_a_lie_takes_no_memory(tmp_path: Path) -> None:
    path = tmp_path / "m.json"
    dump(sample(), path)
    path.write_text(path.read_text().replace('"shape": [5, 8]', '"shape": [1099511627776, 8]'))
    with pytest.raises(DocumentError, match=r"m\.npz: tensor"):
        load(path)


OTHER_TEXTS = {
    "": "the file is empty",
    "  \n": "the file is empty",
    "{": "not JSON",
    "[1]": "found a list at the top",
    "3": "found the number 3 at the top",
    "{}": "JSON of another kind: no key 'format'",
    '{"a": 1}': "JSON of another kind: no key 'format'",
    '{"format": "other"}': "format: found the text 'other'",
    '{"format": "qdqdoc.operations"}': "format_version: found null",
    '{"format": "qdqdoc.operations", "format_version": true}': "format_version: found true",
    '{"format": "qdqdoc.operations", "format_version": 2}': "format_version: 2 is newer",
    '{"a": 1, "a": 2}': "the key 'a' occurs twice",
    '{"a": NaN}': "not JSON: NaN stands bare",
    "[" * 100_000: "nested too deeply",
    '{"a":' * 100_000: "nested too deeply",
    "9" * 10_000: "not JSON that can be read",
}


@pytest.mark.parametrize(("text", "message"), OTHER_TEXTS.items(), ids=range(len(OTHER_TEXTS)))
def test_other_texts_are_refused_in_one_line(text: str, message: str) -> None:
    with pytest.raises(DocumentError) as caught:
        loads(text)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "is empty"), (b"\xff\xfe\x00", "not UTF-8"), (b"PK\x03\x04\x80", "not UTF-8")],
)
def test_files_of_another_kind(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "m.json"
    path.write_bytes(content)
    with pytest.raises(DocumentError, match=message) as caught:
        load(path)
    assert str(caught.value).startswith(str(path))


def test_a_directory_and_nothing(tmp_path: Path) -> None:
    with pytest.raises(DocumentError, match="is a directory"):
        load(tmp_path)
    with pytest.raises(DocumentError, match="no such file"):
        load(tmp_path / "absent.json")
    with pytest.raises(DocumentError, match="no such folder"):
        dump(sample(), tmp_path / "absent" / "m.json")
    with pytest.raises(DocumentError, match=r"ends in \.json"):
        dump(sample(), tmp_path / "m.npz")


def test_a_byte_order_mark_does_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "m.json"
    path.write_text(dumps(sample()), encoding="utf-8-sig")
    assert load(path) == sample()


def test_both_files_or_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import os  # noqa: PLC0415 - the module whose function fails here

    path = tmp_path / "m.json"
    path.write_text("old")
    path.with_suffix(".npz").write_text("old too")
    whole = os.replace

    def fails(source: Any, target: Any) -> None:
        if str(target).endswith(".npz") and str(source).endswith(".part"):
            raise OSError(28, "No space left on device", str(target))
        whole(source, target)

    monkeypatch.setattr(os, "replace", fails)
    with pytest.raises(OSError, match="No space"):
        dump(sample(), path)
    assert path.read_text() == "old"
    assert path.with_suffix(".npz").read_text() == "old too"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["m.json", "m.npz"]


@pytest.mark.parametrize("dtype", [d for d in STORAGE if d not in {"float8e8m0", "bool"}])
def test_every_element_type_goes_both_ways(dtype: str) -> None:
    values = [0, 1] if dtype.startswith("uint") else [0, 1, -1]
    held = decode(encode(values, dtype), dtype)
    assert [complex(value) for value in held] == values


@pytest.mark.parametrize(
    ("dtype", "value", "raw"),
    [
        ("int4", -1, b"\xff"),
        ("int2", -2, b"\xfe"),
        ("uint4", 15, b"\x0f"),
        ("float4e2m1", 6, b"\x07"),
    ],
)
def test_narrow_types_take_a_byte_each(dtype: str, value: float, raw: bytes) -> None:
    assert encode([value], dtype) == raw


def test_bits_are_those_that_the_values_need() -> None:
    signed = {4: [-8, 7], 5: [-9, 7], 8: [-127, 127], 1: [0]}
    for bits, values in signed.items():
        assert needed_bits(np.array(values, np.int32)) == bits
    assert needed_bits(np.array([0, 3], np.uint8)) == 2
    assert needed_bits(np.array([], np.int8)) == 1
