"""What `audit` predicts beside the graph that onnxruntime makes; every form of a model."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from test_audit_cli import INT8, VALIDATOR, run
from test_audit_remedies import forked_with_norm
from test_fuse import KINDS, OPERATORS, WAYS, Maker, unit
from test_fuse_forms import FORMS, base

from qdqdoc.audit import AuditError, audit
from qdqdoc.audit.remedies import FOLD
from qdqdoc.audit.reporting import to_data, to_json
from qdqdoc.audit.text import WIDTH, to_text
from qdqdoc.audit.verifying import Comparison, compare, verify
from qdqdoc.extract import extract
from qdqdoc.fuse import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable

MODELS = Path(__file__).parent.parent / "models"
GROUPS = {
    "resnet8": (0, 0, 0),
    "resnet8_int8": (32, 22, 0),
    "resnet8_int8_folded": (17, 8, 0),
    "resnet8_int8_per_channel": (32, 22, 0),
    "resnet8_int8_qoperator": (1, 1, 0),
    "resnet8_uint8": (32, 0, 0),
    "resnet8_uint8_per_channel": (32, 0, 0),
}
"""How many groups each variant has, and how many stay in floats by default and with int8."""


def test_every_variant_is_in_the_table() -> None:
    assert {path.stem for path in MODELS.glob("*.onnx")} == GROUPS.keys()


@pytest.mark.parametrize("target", ["ort-x86", "ort-x86-int8"])
@pytest.mark.parametrize("name", GROUPS)
def test_onnxruntime_agrees_on_every_group(
    name: str, target: str, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = (MODELS / f"{name}.onnx", "--target", target, "--verify", "--json")
    code, out, err = run(capsys, *arguments)
    total, *unfused = GROUPS[name]
    found = json.loads(out)
    assert (code, err) == (0, "")
    assert found["summary"]["groups"] == total
    assert found["summary"]["unfused"] == unfused[target == "ort-x86-int8"]
    verified = found["verified"]
    assert (verified["agree"], verified["by_count"], verified["differences"]) == (total, 0, [])
    VALIDATOR.validate(found)


def swept(operator: str) -> list[Maker]:
    kinds = [unit(operator, data, weights) for data, weights in KINDS]
    return kinds + [unit(operator, data, "int8", way) for way in WAYS for data in ("uint8", "int8")]


@pytest.mark.parametrize("operator", OPERATORS)
def test_whatever_comes_is_told(operator: str, tmp_path: Path) -> None:
    """4, 8 and 16 bits, float8, forks, clips: no form of a group ends the audit."""
    for m in swept(operator):
        found = audit(extract(m.save(tmp_path)))
        VALIDATOR.validate(to_data(found))
        assert max(map(len, to_text(found).splitlines())) <= WIDTH
        assert found.rows


@pytest.mark.parametrize(
    "operator", ["Conv with bias", "MatMul and Add", "Add a constant", "Split"]
)
@pytest.mark.parametrize("way", WAYS)
def test_verify_agrees_on_small_models(operator: str, way: str, tmp_path: Path) -> None:
    for data in ("uint8", "int8"):
        path = unit(operator, data, "int8", way).save(tmp_path)
        compared = verify(audit(extract(path)), path)
        assert compared.differences == ()
        assert compared.agree == compared.total > 0


@pytest.mark.parametrize("form", FORMS)
def test_verify_agrees_on_other_forms(form: str, tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    for data in ("uint8", "int8"):
        onnx.save(FORMS[form](base(data)), path)
        found = audit(extract(path))
        compared = verify(found, path)
        assert (compared.differences, compared.agree) == ((), 2)
        onnx.save(base(data), path)
        plain = audit(extract(path))
        assert [r.remedies for r in found.rows] == [r.remedies for r in plain.rows]
        assert [r.pattern for r in found.rows] == [r.pattern for r in plain.rows]
        assert sorted(f.code for f in found.findings) == sorted(f.code for f in plain.findings)


def test_nodes_without_names_are_told_apart(tmp_path: Path) -> None:
    model = base("int8")
    named = audit(extract(save(model, tmp_path)))
    for node in model.graph.node:
        node.name = ""
    path = save(model, tmp_path)
    found = audit(extract(path))
    assert len({row.verdict.node for row in found.rows}) == len(found.rows) == 2
    assert [r.verdict.outcome for r in found.rows] == [r.verdict.outcome for r in named.rows]
    assert verify(found, path).differences == ()


def save(model: Any, folder: Path) -> Path:  # noqa: ANN401 - a model
    onnx.save(model, folder / "m.onnx")
    return folder / "m.onnx"


def with_if(folder: Path, *, normed: bool = False) -> Path:
    inner = forked_with_norm("int8", fork=False, normed=normed)
    x = inner.inputs.pop()
    then = helper.make_graph(inner.nodes, "then", [], inner.outputs, inner.stored)
    kind = TensorProto.FLOAT
    other = helper.make_graph(
        [helper.make_node("Relu", [x.name], ["r"], name="relu")],
        "else",
        [],
        [helper.make_tensor_value_info("r", kind, None)],
    )
    choice = helper.make_node("If", ["c"], ["y"], name="if", then_branch=then, else_branch=other)
    graph = helper.make_graph(
        [choice],
        "g",
        [helper.make_tensor_value_info("c", TensorProto.BOOL, []), x],
        [helper.make_tensor_value_info("y", kind, None)],
    )
    return save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10), folder
    )


def test_graphs_inside_nodes_are_audited(tmp_path: Path) -> None:
    path = with_if(tmp_path)
    found = audit(extract(path))
    (row,) = found.rows
    assert row.verdict.node.startswith("if/then_branch/")
    assert row.pattern == "DQ.Conv.Q"
    assert row.sums is not None
    assert any(one.node.startswith("if/then_branch/") for one in found.findings)
    assert verify(found, path).differences == ()


def test_remedies_reach_the_graphs_inside_nodes(tmp_path: Path) -> None:
    found = audit(extract(with_if(tmp_path, normed=True)))
    (row,) = (row for row in found.rows if row.verdict.source == "Conv")
    assert row.remedies == ((FOLD,),)


def test_a_wrong_prediction_is_told(tmp_path: Path) -> None:
    path = unit("Conv with bias", "int8", "int8", "a fork before").save(tmp_path)
    document = extract(path)
    right, other = audit(document), audit(document, "ort-x86-int8")
    assert verify(right, path).differences == ()
    wrong = replace(right, rows=other.rows)
    (told,) = verify(wrong, path).differences
    assert (told.predicted, told.found) == ("QLinearConv", "Conv behind a DequantizeLinear")
    wrong = replace(right, counts={**right.counts, "QLinearConv": 1})
    assert [one.node for one in verify(wrong, path).differences] == ["all QLinearConv"]
    wrong = replace(right, refused="it is said")
    (told,) = verify(wrong, path).differences
    assert (told.predicted, told.found) == ("not to load: it is said", "loads")


@pytest.mark.parametrize("name", [name for name, (total, *_) in GROUPS.items() if total > 1])
def test_a_graph_that_was_not_optimized_differs(name: str) -> None:
    document = extract(MODELS / f"{name}.onnx")
    found = audit(document)
    told = {one.node for one in compare(found, document, "").differences}
    fused = {row.verdict.node for row in found.rows if row.verdict.outcome is not Outcome.STAYS}
    behind = {"resnet8_1/stem_conv_1/BiasAdd_transpose"}  # no DQ stands before it
    assert fused - behind == {node for node in told if not node.startswith("all ")} - behind


def test_what_onnxruntime_refuses_agrees_where_that_was_predicted(tmp_path: Path) -> None:
    m = Maker()
    x = m.pair(m.input(1, 4, 8, 8), "uint4", zero=1)
    m.result(m.pair(m.node("MaxPool", x, kernel_shape=[2, 2]), "uint4", zero=1))
    path = m.save(tmp_path)
    found = audit(extract(path))
    compared = verify(found, path)
    assert isinstance(compared, Comparison)
    assert (compared.agree, compared.total, compared.differences) == (1, 1, ())
    (told,) = verify(replace(found, refused=""), path).differences
    assert told.predicted == "to load"
    assert str(tmp_path) not in told.found


def test_the_exit_code_says_that_onnxruntime_disagrees(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    document = extract(INT8)
    wrong = audit(document, "ort-x86-int8")
    monkeypatch.setattr("qdqdoc.audit.audit", lambda *_: replace(audit(document), rows=wrong.rows))
    code, out, _ = run(capsys, INT8, "--verify")
    assert code == 1
    assert "10 of 32 groups agree" in out


def test_names_from_the_file_command_no_terminal(tmp_path: Path) -> None:
    model = base("int8")
    for node in model.graph.node:
        node.name = f"\x1b[31m{node.name}\nmore\r{'long' * 60}"
    found = audit(extract(save(model, tmp_path)))
    text = to_text(found)
    assert all(line.isprintable() for line in text.splitlines())
    assert max(map(len, text.splitlines())) <= WIDTH


def dynamic(m: Maker) -> None:
    codes, scale, zero = m.node("DynamicQuantizeLinear", m.input(1, 4), outputs=3)
    product = m.node("MatMulInteger", codes, m.store(np.ones((4, 4)), "int8"), zero)
    m.result(m.node("Mul", m.node("Cast", product, to=TensorProto.FLOAT), scale))


def blocked(m: Maker) -> None:
    scale = m.store(np.ones((2, 4), np.float32))
    codes = m.store(np.ones((32, 4)), "uint4")
    weights = m.node("DequantizeLinear", codes, scale, axis=0, block_size=16)
    m.result(m.node("MatMul", m.input(1, 32), weights))


def given_scale(m: Maker) -> None:
    scale = m.input()
    codes = m.node("QuantizeLinear", m.input(1, 4), scale)
    m.result(m.node("Erf", m.node("DequantizeLinear", codes, scale)))


@pytest.mark.parametrize("make", [dynamic, blocked, given_scale])
def test_odd_models(make: Callable[[Maker], None], tmp_path: Path) -> None:
    m = Maker()
    make(m)
    path = m.save(tmp_path)
    found = audit(extract(path))
    assert found.rows or make is dynamic
    codes = {one.code for one in found.findings}
    assert codes & {"sums-unknown", "scales-at-run-time"} or make is dynamic
    VALIDATOR.validate(to_data(found))
    assert verify(found, path).differences == ()


@pytest.mark.parametrize("opset", [10, 13, 19, 25])
def test_old_and_new_versions(opset: int, tmp_path: Path) -> None:
    path = unit("Conv with bias", "uint8", "int8", opset=opset).save(tmp_path)
    found = audit(extract(path))
    assert [row.verdict.op_type for row in found.rows] == ["QLinearConv"]
    assert verify(found, path).differences == ()


@pytest.mark.parametrize(
    ("op_type", "inputs", "message"),
    [
        ("Conv", 1, "(Conv): found 1 inputs, allowed: at least 2"),
        ("DequantizeLinear", 1, "(DequantizeLinear): found 1 inputs, allowed: at least 2"),
        ("Relu", 0, "(Relu): found 0 inputs, allowed: at least 1"),
    ],
)
def test_nodes_that_lack_inputs(op_type: str, inputs: int, message: str, tmp_path: Path) -> None:
    m = Maker()
    x = m.pair(m.input(1, 4), "uint8")
    m.result(m.node(op_type, *[x][:inputs]))
    with pytest.raises(AuditError, match=re.escape(message)):
        audit(extract(m.save(tmp_path)))


@pytest.mark.parametrize("value", [np.nan, np.inf, 0, -1, 1e-45, 3e38])
def test_numbers_that_no_grid_has(value: float, tmp_path: Path) -> None:
    """A scale, a bias or a constant may be anything; the audit and its JSON go on."""
    stored = [t.name for t in unit("Conv with float bias", "uint8", "int8").stored]
    for name in stored:
        m = unit("Conv with float bias", "uint8", "int8")
        (tensor,) = (t for t in m.stored if t.name == name)
        if tensor.data_type != TensorProto.FLOAT:
            continue
        held = onnx.numpy_helper.to_array(tensor)
        tensor.CopyFrom(onnx.numpy_helper.from_array(np.full_like(held, value), name))
        found = audit(extract(m.save(tmp_path)))
        VALIDATOR.validate(json.loads(to_json(found)))
        assert [row.verdict.source for row in found.rows] == ["Conv"]
