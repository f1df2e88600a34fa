"""What the guide says of contracts and fusions, counted again."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest
from onnx import ValueInfoProto
from optimized import optimized
from test_fuse import Maker, unit

from qdqdoc import facts
from qdqdoc.document import Document, Graph
from qdqdoc.execute import execute
from qdqdoc.extract import extract
from qdqdoc.fuse import Outcome

if TYPE_CHECKING:
    from qdqdoc.tables import Table

MODELS = Path(__file__).parent.parent / "models"
INT8 = MODELS / "resnet8_int8.onnx"


def cells(table: Table, row: int) -> dict[str, Any]:
    return dict(zip(table.columns, table.rows[row], strict=True))


@pytest.mark.parametrize("name", ["resnet8_int8", "resnet8_int8_folded", "resnet8_uint8"])
def test_looking_changes_what_onnxruntime_makes(name: str, tmp_path: Path) -> None:
    document = extract(MODELS / f"{name}.onnx")
    said = facts.observed_table(document)
    quantizing = [o.outputs[0] for o in document.operations if o.op_type == "QuantizeLinear"]
    everything = [n for o in document.operations for n in o.outputs if n]
    for row, names in enumerate(((), quantizing, everything)):
        model = onnx.load(MODELS / f"{name}.onnx")
        known = {value.name for value in model.graph.output}
        model.graph.output.extend(ValueInfoProto(name=n) for n in names if n not in known)
        path = tmp_path / f"shown{row}.onnx"
        path.write_bytes(model.SerializeToString())
        made = optimized(path, "ort-x86", tmp_path)
        counts = Counter(node.op_type for node in made.graph.node)
        kinds = ("QLinear", "QGemm", "MatMulInteger")
        integer = sum(count for kind, count in counts.items() if kind.startswith(kinds))
        assert said.rows[row][1] == integer, (said.rows[row], counts)
    assert said.rows[2][1] == 0 < int(str(said.rows[0][1]))


def test_the_table_of_groups_says_what_fuse_says() -> None:
    document = extract(INT8)
    found = facts.fusion(document)
    assert not isinstance(found, str)
    table = facts.fusion_table(document, found)
    assert len(table.rows) == len(found.verdicts)
    staying = [row for row in table.rows if row[2] == "floats"]
    assert len(staying) == found.outcomes[Outcome.STAYS]
    assert all(row[4] and row[6] for row in staying)
    assert {getattr(row[5], "text", "") for row in staying} <= set(document.tensors)


def test_types_before_and_after() -> None:
    table = facts.computation_table(extract(MODELS / "resnet8_uint8.onnx"))
    rows = {(row[0], getattr(row[1], "text", "")): row[2:] for row in table.rows}
    assert rows["qdq", "Conv"] == ("float32, float32, float32 → float32", 9)
    assert rows["ort-x86", "QLinearConv"] == ("uint8, int8, int32 → uint8", 9)
    assert ("ort-x86", "Conv") not in rows


@pytest.mark.parametrize("name", ["resnet8_int8", "resnet8_uint8_per_channel"])
def test_agreement_is_counted(name: str) -> None:
    document, held = extract(MODELS / f"{name}.onnx"), facts.images()
    assert held is not None
    found = facts.compared(document, held)
    assert not found.left_out
    images = {document.graph.inputs[0]: held.x[:3]}
    left, right = execute(document, images, "qdq"), execute(document, images, "ort-x86-int8")
    differing = 0
    for tensor in left.tensors:
        if tensor.dtype in {"int8", "uint8"} and tensor.name in right.by_name:
            differing += int((tensor.value != right[tensor.name]).sum())
    rows = [cells(facts.matrix_table(found), k) for k in range(len(facts.matrix_table(found).rows))]
    (row,) = (r for r in rows if (r["One"].text, r["The other"].text) == ("qdq", "ort-x86-int8"))
    assert row["That differ"] == differing
    assert row["Codes"] > 10**5
    layers = facts.layers_table(found)
    assert len(layers.columns) == 2 + len(found.differing)


def test_a_model_that_cannot_be_followed_says_why(tmp_path: Path) -> None:
    m = Maker()
    m.result(m.node("Erf", m.pair(m.input(1, 4), "uint8")))
    found = facts.compared(extract(m.save(tmp_path)))
    assert [name for name, _ in found.left_out] == ["exact"]
    assert "Erf" in str(facts.left_out_table(found).rows[0][1])
    path = unit("MaxPool", "uint4", "uint4").save(tmp_path)
    found = facts.compared(extract(path))
    assert {"ort-x86", "ort-x86-int8"} <= {name for name, _ in found.left_out}
    partial = Document(model_path="m.onnx", graph=Graph(), declared_total=2)
    assert "fuse needs all" in str(facts.fusion(partial))
    assert not facts.computation_table(partial).rows


def test_the_manifest_has_every_contract_of_every_quantized_model() -> None:
    manifest = json.loads((MODELS / "MANIFEST.json").read_text("utf-8"))
    for path in MODELS.glob("resnet8_*int8*.onnx"):
        right = facts.right_table(manifest, path.name)
        names = [getattr(row[0], "text", "") for row in right.rows]
        assert names == ["qdq", "exact", "ort-x86", "ort-x86-int8"]
        assert all(300 < int(str(row[1])) <= int(str(row[2])) for row in right.rows)
        assert len(facts.recorded_table(manifest, path.name).rows) == 6
    assert not facts.right_table(None, "x").rows


def test_histograms_have_a_strip_for_each_tensor_of_codes() -> None:
    document, held = extract(INT8), facts.images()
    run = facts.run(document, held)
    assert run.trace is not None
    figure = facts.histograms(document, run.trace)
    assert figure is not None
    strips: Any = figure.axes[0].images[0].get_array()
    shown = np.ma.filled(strips, 0)
    assert shown.shape == (32, 256)
    assert np.allclose(shown.sum(axis=1), 1)
    floats = extract(MODELS / "resnet8.onnx")
    assert facts.histograms(floats, execute(floats, {"image": held.x[:1]} if held else {})) is None
