"""What the audit says would fuse a group, made in the file and shown to onnxruntime."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest
from onnx import helper
from test_fuse import Maker, kind, optimized

from qdqdoc.audit import audit
from qdqdoc.audit.folding import fold_batchnorm
from qdqdoc.audit.remedies import FOLD, OPTION, SEPARATE, UINT8, to_uint8
from qdqdoc.audit.separating import separate_quantize
from qdqdoc.extract import extract
from qdqdoc.fuse import fuse

if TYPE_CHECKING:
    from onnx import ModelProto

    from qdqdoc.audit import Audit, Trial

MODELS = Path(__file__).parent.parent / "models"


def trial(found: Audit, *remedies: str) -> Trial:
    (one,) = (t for t in found.trials if t.remedies == remedies)
    return one


def theirs(path: Path, target: str = "ort-x86") -> Counter[str]:
    return Counter(kind(node) for node in optimized(path, target).graph.node)


def with_separate_q(model: ModelProto) -> ModelProto:
    """Give each reader of a DQ a Q, a DQ and parameters of its own; written without the package."""
    nodes = list(model.graph.node)
    stored = {t.name: t for t in model.graph.initializer}
    done = []
    for node in nodes:
        done.append(node)
        if node.op_type != "QuantizeLinear":
            continue
        for dq in [
            n for n in nodes if n.op_type == "DequantizeLinear" and n.input[0] == node.output[0]
        ]:
            readers = [(n, i) for n in nodes for i, x in enumerate(n.input) if x == dq.output[0]]
            for number, (reader, at) in enumerate(readers[1:]):
                mark, grid = f"_own{number}_{dq.name}", []
                for name in node.input[1:]:
                    twin = onnx.TensorProto.FromString(stored[name].SerializeToString())
                    twin.name = name + mark
                    model.graph.initializer.append(twin)
                    grid.append(twin.name)
                codes, made = f"{node.output[0]}{mark}", f"{dq.output[0]}{mark}"
                done.append(
                    helper.make_node("QuantizeLinear", [node.input[0], *grid], [codes], codes)
                )
                done.append(helper.make_node("DequantizeLinear", [codes, *grid], [made], made))
                reader.input[at] = made
    del model.graph.node[:]
    model.graph.node.extend(done)
    return model


@pytest.fixture(scope="module")
def int8() -> Audit:
    return audit(extract(MODELS / "resnet8_int8.onnx"))


def test_the_option(int8: Audit, tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes((MODELS / "resnet8_int8.onnx").read_bytes())
    found, counts = trial(int8, OPTION), theirs(path, "ort-x86-int8")
    assert (found.stays, found.helped, found.spoiled) == (0, 22, 0)
    assert [counts[k] for k in ("Conv", "Mul", "Add")] == [0, 0, 0]


@pytest.mark.parametrize("ending", ["", "_per_channel"])
def test_uint8_activations_are_what_the_uint8_variant_has(ending: str) -> None:
    changed = to_uint8(extract(MODELS / f"resnet8_int8{ending}.onnx"))
    made = audit(extract(MODELS / f"resnet8_uint8{ending}.onnx"))
    found = trial(audit(extract(MODELS / f"resnet8_int8{ending}.onnx")), UINT8)
    assert (found.stays, found.helped) == (len(made.unfused), 22) == (0, 22)
    assert fuse(changed).counts == made.counts


def test_a_q_for_each_reader(int8: Audit, tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    onnx.save(with_separate_q(onnx.load(MODELS / "resnet8_int8.onnx")), path)
    counts = theirs(path)
    helped = [r for r in int8.rows if (SEPARATE,) in r.remedies]
    assert Counter(r.verdict.source for r in helped) == {"Conv": 5}
    assert counts["QLinearConv"] == int8.counts["QLinearConv"] + 5 == 9
    ours = fuse(separate_quantize(extract(MODELS / "resnet8_int8.onnx")))
    for name in ("QLinearConv", "Conv", "Mul", "Add", "QuantizeLinear", "DequantizeLinear"):
        assert ours.counts.get(name, 0) == counts[name], name
    assert ours.counts["com.microsoft::QLinearAdd"] == counts["com.microsoft::QLinearAdd"]


def test_folding_gives_the_groups_of_the_folded_variant(int8: Audit) -> None:
    made = audit(extract(MODELS / "resnet8_int8_folded.onnx"))
    changed = fuse(fold_batchnorm(extract(MODELS / "resnet8_int8.onnx")))
    found = trial(int8, FOLD)
    assert found.stays == len(made.unfused) == 8
    ours = {v.node: (v.outcome, v.reason) for v in changed.verdicts if v.source in {"Conv", "Add"}}
    folded = {
        v.node: (v.outcome, v.reason)
        for v in fuse(extract(MODELS / "resnet8_int8_folded.onnx")).verdicts
    }
    assert ours.items() <= folded.items()
    assert len(ours) == 12


def test_what_is_fused_already_is_not_tried() -> None:
    found = audit(extract(MODELS / "resnet8_uint8.onnx"))
    assert found.trials == ()
    assert all(not row.remedies for row in found.rows)


@pytest.mark.parametrize("target", ["ort-x86-int8", "ort-arm"])
def test_the_option_is_no_remedy_where_it_is_set(target: str) -> None:
    found = audit(extract(MODELS / "resnet8_int8.onnx"), target)
    assert not any(OPTION in one.remedies for one in found.trials)


def norm(m: Maker, x: str) -> str:
    held = [m.store(np.full(4, v, np.float32)) for v in (2, 1, 0, 1)]
    return str(m.node("BatchNormalization", x, *held))


def forked_with_norm(data: str, *, fork: bool = True, normed: bool = True) -> Maker:
    """Make a Conv whose input has a second reader, with a BatchNormalization behind it."""
    m = Maker()
    grid = m.grid(data)
    codes = m.node("QuantizeLinear", m.input(1, 4, 8, 8), *grid)
    x = m.node("DequantizeLinear", codes, *grid)
    made = m.node("Conv", x, m.weights("int8", 4, 4, 1, 1), m.bias(4))
    m.result(m.pair(norm(m, made) if normed else made, data, 0.07))
    if fork:
        m.result(m.node("Erf", x))
    return m


def remedies(found: Audit, source: str) -> set[tuple[str, ...]]:
    (row,) = (r for r in found.rows if r.verdict.source == source)
    return set(row.remedies)


def test_two_remedies_at_once_where_one_is_not_enough(tmp_path: Path) -> None:
    found = audit(extract(forked_with_norm("int8").save(tmp_path)))
    assert remedies(found, "Conv") == {(OPTION, FOLD), (UINT8, FOLD), (SEPARATE, FOLD)}
    alone = audit(extract(forked_with_norm("int8", fork=False).save(tmp_path)))
    assert remedies(alone, "Conv") == {(FOLD,)}
    plain = audit(extract(forked_with_norm("int8", normed=False).save(tmp_path)))
    assert remedies(plain, "Conv") == {(OPTION,), (UINT8,), (SEPARATE,)}


@pytest.mark.parametrize(
    ("data", "fork", "normed", "separate", "target", "fused"),
    [
        ("int8", True, True, False, "ort-x86", False),
        ("int8", True, True, False, "ort-x86-int8", False),
        ("int8", True, True, True, "ort-x86", False),
        ("uint8", True, True, False, "ort-x86", False),
        ("int8", True, False, False, "ort-x86", False),
        ("int8", True, False, False, "ort-x86-int8", True),
        ("uint8", True, False, False, "ort-x86", True),
        ("int8", True, False, True, "ort-x86", True),
    ],
)
def test_onnxruntime_needs_both(
    *, data: str, fork: bool, normed: bool, separate: bool, target: str, fused: bool, tmp_path: Path
) -> None:
    model = forked_with_norm(data, fork=fork, normed=normed).model()
    path = tmp_path / "model.onnx"
    onnx.save(with_separate_q(model) if separate else model, path)
    assert bool(theirs(path, target)["QLinearConv"]) is fused


def test_operators_without_an_integer_form_have_no_remedy(tmp_path: Path) -> None:
    m = Maker()
    m.result(m.pair(m.node("Erf", m.pair(m.input(1, 4), "int8")), "int8"))
    found = audit(extract(m.save(tmp_path)))
    assert [row.remedies for row in found.rows] == [()]
    assert found.trials == ()


def test_a_second_q_is_folded_into_nothing(tmp_path: Path) -> None:
    """Two readers, a varying operand, another order: none of these is a BatchNormalization."""

    def made(change: str) -> Any:  # noqa: ANN401 - a document
        m = Maker()
        conv = m.node("Conv", m.pair(m.input(1, 4, 8, 8), "int8"), m.weights("int8", 4, 4, 1, 1))
        x = m.pair(conv, "int8", 0.07)
        constant = m.weights("int8", 4, 1, 1) if change != "whole" else m.weights("int8", 4, 8, 8)
        other = m.pair(m.input(1, 4, 8, 8), "int8") if change == "varying" else constant
        sides = (other, x) if change == "turned" else (x, other)
        m.result(m.pair(m.node("Div", *sides), "int8", 0.08))
        if change == "read twice":
            m.result(m.node("Erf", x))
        return extract(m.save(tmp_path))

    for change in ("varying", "turned", "read twice", "whole"):
        document = made(change)
        assert fold_batchnorm(document) is document, change
    document = made("")
    folded = fold_batchnorm(document)
    assert [o.op_type for o in folded.operations].count("QuantizeLinear") == 2
    assert "Div" not in {o.op_type for o in folded.operations}
