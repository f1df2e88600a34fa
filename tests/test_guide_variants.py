"""The guide of each committed variant: its own numbers, and none of the running example's."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from qdqdoc.guide import write_guide

MODELS = Path(__file__).parents[1] / "models"
RUNNING_EXAMPLE = "resnet8_int8"
VARIANTS = sorted({path.stem for path in MODELS.glob("*.onnx")} - {RUNNING_EXAMPLE})
COMPARING = "guide/index.html"
"""The page with the accuracy of all variants, the running example among them."""


def text_of(page: Path) -> str:
    """Return the words of a page, those that may be broken over lines in one piece."""
    html = re.sub(r"(?s)<(script|style).*?</\1>", "", page.read_text("utf-8"))
    joint = r"(</span>)?<wbr\s*/?>(<span class=\"pre\">)?"
    return re.sub(r"<[^>]+>", " ", re.sub(joint, "", html))


def scales(name: str) -> set[str]:
    """Read every scale straight from the file."""
    graph = onnx.load(MODELS / f"{name}.onnx").graph
    values = {i.name: numpy_helper.to_array(i) for i in graph.initializer}
    named = [name for node in graph.node for name in node.input if name.endswith("_scale")]
    return {str(np.float32(value)) for name in named for value in values[name].ravel()}


def single(name: str) -> set[str]:
    """Read the scales of all QuantizeLinear nodes: a table shows each by itself."""
    graph = onnx.load(MODELS / f"{name}.onnx").graph
    values = {i.name: numpy_helper.to_array(i) for i in graph.initializer}
    quantizers = [n for n in graph.node if n.op_type == "QuantizeLinear"]
    return {str(np.float32(values[n.input[1]].ravel()[0])) for n in quantizers}


def test_some_scales_are_those_of_one_model_alone() -> None:
    others = [name for name in VARIANTS if scales(RUNNING_EXAMPLE) - scales(name)]
    assert {"resnet8", "resnet8_int8_folded"} <= set(others)


@pytest.mark.parametrize("name", VARIANTS)
def test_a_variant_has_its_own_numbers_alone(name: str, tmp_path: Path) -> None:
    write_guide(MODELS / f"{name}.onnx", tmp_path / "guide")
    pages = {
        page.relative_to(tmp_path / "guide").as_posix(): text_of(page)
        for page in (tmp_path / "guide").rglob("*.html")
    }
    shown = {word.strip(",;:") for text in pages.values() for word in text.split()}
    assert single(name) <= shown
    assert not (scales(RUNNING_EXAMPLE) - scales(name)) & shown
    signed = re.search(r"\bint8 → int8\b", re.sub(r"\s+", " ", pages["guide/dataflow.html"]))
    assert bool(signed) == name.startswith(RUNNING_EXAMPLE), "uint8 has the scales of int8"
    named = [page for page, text in pages.items() if f"{RUNNING_EXAMPLE}.onnx" in text]
    assert named == [COMPARING]
    assert f"{name}.onnx" in pages["index.html"]
