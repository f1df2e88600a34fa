"""D3: a stored value that is another one shows on a page, and pages that hide one are told of."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from small_manual import build

from qdqdoc.document import Document, array, dumps
from qdqdoc.extract import extract
from qdqdoc.score.nudging import changed, nudges, stepped, with_values
from qdqdoc.sphinxext.rereading import seen

ROOT = Path(__file__).parent.parent
MODEL = ROOT / "models" / "resnet8_int8.onnx"
PER_CHANNEL = ROOT / "models" / "resnet8_int8_per_channel.onnx"
WEIGHTS = "dense_1/Cast/ReadVariableOp:0_quantized"
EACH = 25
"""Of so many tensors one is nudged in the file itself."""


def without_hash(document: Document) -> str:
    # How many bits the stored values need may change with any of them.
    tensors = {name: replace(t, bits=None) for name, t in document.tensors.items()}
    graph = replace(document.graph, tensors=tensors)
    return dumps(replace(document, model_sha256=None, model_path="", graph=graph))


@pytest.mark.parametrize("model", [MODEL, PER_CHANNEL], ids=lambda path: path.stem)
def test_a_nudged_document_is_that_of_the_nudged_file(model: Path, tmp_path: Path) -> None:
    document = extract(model)
    names = [tensor.name for tensor in document.tensors.values() if tensor.initializer]
    for name in names[::EACH]:
        proto = onnx.load(model)
        (held,) = [one for one in proto.graph.initializer if one.name == name]
        values = numpy_helper.to_array(held).copy()
        values.flat[-1] = stepped(values.flat[-1])
        held.CopyFrom(numpy_helper.from_array(values, name))
        onnx.save(proto, tmp_path / "nudged.onnx")
        other = extract(tmp_path / "nudged.onnx")
        assert np.array_equal(array(other, name), values)
        expected = with_values(document, document.tensors[name], values)
        assert without_hash(other) == without_hash(expected) != without_hash(document), name


def test_every_stored_value_is_nudged() -> None:
    document = extract(MODEL)
    every = [*nudges(document)]
    stored = Counter(tensor.role for tensor in document.tensors.values() if tensor.sha256)
    made = Counter(nudge.kind for nudge in every)
    assert made["scale"] == stored["scale"] == 64
    assert made["zero point"] == stored["zero_point"] == 64
    assert made["weight"] + made["bias"] + made["constant"] == 35
    assert made["attribute"] > 100
    assert len({(nudge.kind, nudge.place) for nudge in every}) == len(every)
    per_channel = Counter(nudge.kind for nudge in nudges(extract(PER_CHANNEL)))
    assert per_channel["scale"] > 2 * made["scale"], "each of several scales"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (np.float32(1), np.nextafter(np.float32(1), np.float32(2))),
        (np.float16(-1), np.float16(-0.9995)),
        (np.int8(127), np.int8(126)),
        (np.uint8(0), np.uint8(1)),
        (np.bool_(True), np.bool_(False)),
    ],
    ids=str,
)
def test_a_step_is_the_smallest(value: Any, expected: Any) -> None:  # noqa: ANN401 - of any type
    assert stepped(value) == expected
    assert stepped(value).dtype == value.dtype


def test_attributes_change_wherever_they_hold_something() -> None:
    held = {"a": [1, {"b": "x"}], "c": True}
    assert [place for place, _ in changed(held)] == [".a[0]", ".a[1].b", ".c"]
    assert all(other != held for _, other in changed(held))


def pages(home: Path, shown: str) -> Path:
    (home / "source" / "guide").mkdir(parents=True)
    (home / "conf.py").write_text('extensions = ["myst_parser", "qdqdoc.sphinxext"]\n')
    page = f"# Stored\n\n```{{qdq-table}} {shown}\n```\n"
    (home / "source" / "guide" / "stored.md").write_text(page)
    return home


def test_what_no_page_shows_is_told(tmp_path: Path) -> None:
    document = extract(MODEL)
    some = {nudge.kind: nudge for nudge in nudges(document)}
    assert len(some) == 6
    hiding = pages(tmp_path / "hiding", "facts.all_quantizations(document)")
    found = {one.kind: visible for one, visible in seen(hiding, document, some.values())}
    hidden = dict.fromkeys(("attribute", "weight", "bias", "constant"), False)
    assert found == {"scale": True, "zero point": True} | hidden
    showing = pages(tmp_path / "showing", "facts.stored_table(document)")
    found = {one.kind: visible for one, visible in seen(showing, document, some.values())}
    assert found == dict.fromkeys(some, True) | {"attribute": False}


def test_a_real_build_agrees(tmp_path: Path) -> None:
    """The page, built as HTML from a file with one weight nudged, is another page."""
    proto = onnx.load(MODEL)
    (held,) = [
        i
        for i in proto.graph.initializer
        if i.name.endswith("dense_1/Cast/ReadVariableOp:0_quantized")
    ]
    values = numpy_helper.to_array(held).copy()
    values.flat[300] = stepped(values.flat[300])
    held.CopyFrom(numpy_helper.from_array(values, held.name))
    onnx.save(proto, tmp_path / MODEL.name)
    text = (ROOT / "source" / "guide" / "stored.md").read_text("utf-8")
    before, after = (
        build(tmp_path, text, qdqdoc_model=str(model)).words.splitlines()
        for model in (MODEL, tmp_path / MODEL.name)
    )
    different = [pair for pair in zip(before, after, strict=True) if pair[0] != pair[1]]
    assert len(different) == 1, different
