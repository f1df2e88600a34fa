"""The operations document: what is written is what is read, and wrong text is told apart."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import jsonschema
import numpy as np
import pytest

from qdqdoc.document import (
    Document,
    DocumentError,
    Function,
    Graph,
    Operation,
    Quantization,
    Tensor,
    dumps,
    exact,
    loads,
    schema,
    shortest,
)
from qdqdoc.document.arrays import encode

if TYPE_CHECKING:
    from collections.abc import Callable

# ruff: noqa: ANN401 - JSON values are of any type

TENTH = exact(0.1, "float32")
CODES = np.arange(40, dtype=np.int8)
DIGEST = sha256(CODES.tobytes()).hexdigest()

VALIDATOR = jsonschema.Draft202012Validator(schema())


def constant(name: str, dtype: str, *values: float, **more: Any) -> Tensor:
    raw = encode(values, dtype)
    return Tensor(
        name=name,
        dtype=dtype,
        shape=(len(values),),
        initializer=True,
        sha256=sha256(raw).hexdigest(),
        values=values,
        **more,
    )


def quantize(**more: Any) -> Operation:
    fields: dict[str, Any] = {
        "name": "q",
        "op_type": "QuantizeLinear",
        "inputs": ("x", "s", "z"),
        "outputs": ("y",),
        "scales": {"s": TENTH},
        "zero_points": {"z": 3},
        "quantization": {
            "y": Quantization(
                tensor="y",
                dtype="int8",
                scale="s",
                zero_point="z",
                scale_values=(TENTH,),
                zero_point_values=(3,),
            )
        },
    }
    return Operation(**{**fields, **more})


def document(**more: Any) -> Document:
    tensors = [
        Tensor(name="x", dtype="float32", shape=("N", None, 5)),
        constant("s", "float32", TENTH, role="scale"),
        constant("z", "int8", 3, role="zero_point"),
        Tensor(name="y", dtype="int8", shape=("N", None, 5)),
        Tensor(name="w", dtype="int8", shape=(5, 8), initializer=True, bits=7, sha256=DIGEST),
    ]
    fields: dict[str, Any] = {
        "model_path": "m.onnx",
        "opset_imports": {"": 13},
        "graph": Graph(
            name="main",
            inputs=("x",),
            outputs=("y",),
            operations=(quantize(),),
            tensors={tensor.name: tensor for tensor in tensors},
        ),
        "data": {DIGEST: CODES.tobytes()},
    }
    return Document(**{**fields, **more})


def nested() -> Document:
    inner = Graph(
        outputs=("t",),
        operations=(quantize(name="inner", outputs=("t",), quantization={}),),
        tensors={"t": Tensor(name="t")},
    )
    branch = Operation(
        name="if", op_type="If", inputs=("x",), outputs=("o",), graphs={"then_branch": inner}
    )
    main = document().graph
    graph = replace(
        main,
        operations=(*main.operations, branch),
        tensors={**main.tensors, "o": Tensor(name="o")},
    )
    body = Graph(
        inputs=("a",),
        outputs=("b",),
        operations=(Operation(name="f", op_type="Relu", inputs=("a",), outputs=("b",)),),
        tensors={"a": Tensor(name="a"), "b": Tensor(name="b")},
    )
    function = Function(domain="local", name="F", graph=body, opset_imports={"": 17})
    return document(graph=graph, functions=(function,))


def with_attributes(**attributes: Any) -> Document:
    return document(graph=replace(document().graph, operations=(quantize(attributes=attributes),)))


DOCUMENTS = {
    "plain": document(),
    "nested": nested(),
    "empty": Document(model_path="", graph=Graph()),
    "partial": document(declared_counts={"Conv": 2, "QuantizeLinear": 1}, declared_total=3),
    "attributes": with_attributes(
        axis=1, alpha=0.1, one=1.0, text="Infinity", ints=[1, -2], bound=-math.inf, list=[math.inf]
    ),
    "run time": document(
        graph=replace(
            document().graph,
            operations=(
                quantize(
                    scales={},
                    zero_points={},
                    quantization={"y": Quantization(tensor="y", dtype="", scale="s")},
                ),
            ),
        )
    ),
}


@pytest.mark.parametrize("made", DOCUMENTS.values(), ids=list(DOCUMENTS))
def test_what_is_written_is_read_and_valid(made: Document) -> None:
    text = dumps(made)
    assert loads(text) == made
    assert dumps(loads(text)) == text
    assert text.endswith("}\n")
    VALIDATOR.validate(json.loads(text))


def test_the_keys_of_the_predecessor_are_there() -> None:
    value = json.loads(dumps(document()))
    assert value["opset_version"] == 13
    assert value["summary"] == {
        "total_nodes": 1,
        "qlinear_nodes": 1,
        "quantize_linear": 1,
        "dequantize_linear": 0,
        "op_type_counts": {"QuantizeLinear": 1},
    }
    (operation,) = value["operations"]
    assert operation["scales"] == {"s": 0.1}
    assert operation["zero_points"] == {"z": 3}


def test_nested_graphs_and_functions_count() -> None:
    assert nested().op_type_counts == {"If": 1, "QuantizeLinear": 2, "Relu": 1}
    assert nested().total_nodes == 4
    assert DOCUMENTS["partial"].total_nodes == 3
    assert DOCUMENTS["partial"].qlinear_nodes == 1


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_every_change_of_one_ulp_is_visible(dtype: str) -> None:
    kind: Any = np.dtype(dtype).type
    for value in (0.1, 1 / 3, 0.05175781, 4.170418, 6e-5):
        here = kind(value)
        spelled = {repr(shortest(float(v), dtype)) for v in (here, np.nextafter(here, kind(9)))}
        assert len(spelled) == 2
        assert repr(shortest(float(here), dtype)) in {str(here), repr(float(str(here)))}
        assert exact(shortest(float(here), dtype), dtype) == float(here)


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan, -0.0, -0.25, 1e-45, 3.4028235e38])
def test_unusual_scales_survive(value: float) -> None:
    number = exact(value, "float32")
    graph = document().graph
    tensors = {**graph.tensors, "s": constant("s", "float32", number)}
    item = replace(graph.operations[0].quantization["y"], scale_values=(number,))
    operation = quantize(scales={"s": number}, quantization={"y": item})
    made = document(graph=replace(graph, operations=(operation,), tensors=tensors))
    read = loads(dumps(made)).operations[0]
    assert repr(read.scales["s"]) == repr(number)
    assert repr(read.quantization["y"].scale_values) == repr((number,))
    VALIDATOR.validate(json.loads(dumps(made)))


def test_numbers_are_inferred_by_the_type_of_the_scale() -> None:
    half = exact(0.1, "float16")
    graph = document().graph
    tensors = {**graph.tensors, "s": constant("s", "float16", half)}
    operation = quantize(scales={"s": half}, quantization={})
    made = document(graph=replace(graph, operations=(operation,), tensors=tensors))
    assert '"scales": {"s": 0.1}' in dumps(made)
    assert loads(dumps(made)) == made


def test_names_of_all_scripts_and_signs_survive() -> None:
    name = "слой;1:0 \"q'\\\n{}"
    tensors = {name: Tensor(name=name)}
    made = Document(model_path="m", graph=Graph(inputs=(name,), outputs=(name,), tensors=tensors))
    assert loads(dumps(made)) == made
    assert "слой" in dumps(made)


def test_long_lists_of_numbers_fill_their_lines() -> None:
    lines = dumps(with_attributes(ints=list(range(1000)))).splitlines()
    assert max(map(len, lines)) <= 100
    assert len(lines) < 200


# ---------------------------------------------------------------- what is wrong, and where


def damaged(damage: Callable[[dict[str, Any]], object]) -> str:
    value = json.loads(dumps(nested()))
    damage(value)
    return json.dumps(value)


def put(value: Any, *path: Any) -> Callable[[dict[str, Any]], None]:
    def damage(document: dict[str, Any]) -> None:
        place: Any = document
        for key in path[:-1]:
            place = place[key]
        if value is ...:
            del place[path[-1]]
        else:
            place[path[-1]] = value

    return damage


SHAPES = {
    "operations[0].op_type: is missing": put(..., "operations", 0, "op_type"),
    "operations[0].name: found the number 3, expected a text": put(3, "operations", 0, "name"),
    "operations[0].inputs[1]: found null": put(None, "operations", 0, "inputs", 1),
    "operations[0].inputs: found the text 'x', expected a list": put(
        "x", "operations", 0, "inputs"
    ),
    "operations[0].scales['s']: found the text 'much'": put("much", "operations", 0, "scales", "s"),
    "operations[0].attributes: found a list": put([], "operations", 0, "attributes"),
    "operations: found an object, expected a list": put({}, "operations"),
    "operations[1]: found true, expected an object": put(True, "operations", 1),
    "operations[0].quantisation: unknown key (nearest: 'quantization')": put(
        {}, "operations", 0, "quantisation"
    ),
    "operations[0].quantization['y'].granularity: found the text 'per_row'": put(
        "per_row", "operations", 0, "quantization", "y", "granularity"
    ),
    "tensors[0].role: found the text 'scales', expected one of": put(
        "scales", "tensors", 0, "role"
    ),
    "tensors[0].shape[0]: found the number -1": put(-1, "tensors", 0, "shape", 0),
    "tensors[1].sha256: found the text 'abc'": put("abc", "tensors", 1, "sha256"),
    "tensors[0].initializer: found the number 1": put(1, "tensors", 0, "initializer"),
    "functions[0].graph: is missing": put(..., "functions", 0, "graph"),
    "operations[1].graphs['then_branch'].operations[0].outputs: is missing": put(
        ..., "operations", 1, "graphs", "then_branch", "operations", 0, "outputs"
    ),
    "summary.total_nodes: found the number -3": put(-3, "summary", "total_nodes"),
    "opset_imports['']: found the number 1.5": put(1.5, "opset_imports", ""),
    "model_path: '/home/me/m.onnx' is a path": put("/home/me/m.onnx", "model_path"),
    "model_sha256: found": put("A" * 64, "model_sha256"),
}


@pytest.mark.parametrize("problem", SHAPES)
def test_schema_and_loads_agree_on_wrong_shapes(problem: str) -> None:
    text = damaged(SHAPES[problem])
    assert not VALIDATOR.is_valid(json.loads(text))
    with pytest.raises(DocumentError) as caught:
        loads(text)
    assert any(note.startswith(problem) for note in caught.value.problems), caught.value.problems


# A schema looks at one place at a time: what holds between places, only `loads` can see.
MEANINGS = {
    "operations[0].inputs[0]: tensor 'xx' is not defined (nearest: 'x')": put(
        "xx", "operations", 0, "inputs", 0
    ),
    "outputs[0]: tensor 'yy' is not defined (nearest: 'y')": put("yy", "outputs", 0),
    "operations[1].outputs[0]: tensor 'y' is made before": put("y", "operations", 1, "outputs", 0),
    "operations[1].name: 'q' is the name of another one": put("q", "operations", 1, "name"),
    "operations[0].inputs[0]: tensor 'o' is made only by operations[1]": put(
        "o", "operations", 0, "inputs", 0
    ),
    "operations[0]: wait for each other, a cycle": put("y", "operations", 0, "inputs", 0),
    "operations[0].quantization['y'].scale: 'sc' is neither": put(
        "sc", "operations", 0, "quantization", "y", "scale"
    ),
    "operations[0].scales['s']: differs from the values": put(0.2, "operations", 0, "scales", "s"),
    "operations[0].scales['f']: is neither": put({"f": 1}, "operations", 0, "scales"),
    "tensors['s'].values: do not give the sha256": put([0.2], "tensors", 1, "values"),
    "tensors['s'].values: found 2, the shape has 1": put([0.1, 0.1], "tensors", 1, "values"),
    "tensors['z'].values: not all of them are int8": put([300], "tensors", 2, "values"),
    "tensors[1].values[0]: found the number 1e+300": put([1e300], "tensors", 1, "values"),
    "tensors[1].name: 'x' is listed before": put("x", "tensors", 1, "name"),
    "summary.total_nodes: 7 is not what the operations give: 4": put(7, "summary", "total_nodes"),
    "opset_version: 14 is not opset_imports['']: 13": put(14, "opset_version"),
    "operations[1].graphs['then_branch'].operations[0].inputs[2]: tensor 'q' is not defined": put(
        "q", "operations", 1, "graphs", "then_branch", "operations", 0, "inputs", 2
    ),
    "functions[0].graph.operations[0].inputs[0]: tensor 'x' is not defined": put(
        "x", "functions", 0, "graph", "operations", 0, "inputs", 0
    ),
    "operations[0].outputs: tensor 'y' is not listed in tensors": put("v", "tensors", 3, "name"),
}


@pytest.mark.parametrize("problem", MEANINGS)
def test_contradictions_are_found_where_they_are(problem: str) -> None:
    text = damaged(MEANINGS[problem])
    VALIDATOR.validate(json.loads(text))
    with pytest.raises(DocumentError) as caught:
        loads(text)
    assert any(note.startswith(problem) for note in caught.value.problems), caught.value.problems


def test_all_problems_come_at_once() -> None:
    def damage(value: dict[str, Any]) -> None:
        value["producer"] = 1
        value["operations"][0]["inputs"] = ["xx", "s", "z"]
        value["outputs"] = ["nowhere"]

    with pytest.raises(DocumentError) as caught:
        loads(damaged(damage))
    assert len(caught.value.problems) == 3
    assert str(caught.value).startswith("3 problems\n  producer: found the number 1")


def test_a_thousand_problems_are_counted_not_shown() -> None:
    with pytest.raises(DocumentError) as caught:
        loads(damaged(put(list(range(1000)), "operations", 0, "inputs")))
    assert len(caught.value.problems) > 1000
    assert len(str(caught.value).splitlines()) == 22


def test_keys_of_others_are_passed_over() -> None:
    assert loads(damaged(put({"any": 1}, "operations", 0, "x-note"))) == nested()


@pytest.mark.parametrize("number", ["1e400", "-1e400", "1" * 400])
def test_huge_numbers_are_refused(number: str) -> None:
    text = dumps(document()).replace('"scales": {"s": 0.1}', f'"scales": {{"s": {number}}}')
    with pytest.raises(DocumentError, match=r"operations\[0\].scales\['s'\]: found the number"):
        loads(text)


def test_half_a_surrogate_is_refused() -> None:
    text = dumps(document()).replace('"producer": ""', '"producer": "\\ud800"')
    with pytest.raises(DocumentError, match="surrogate"):
        loads(text)


def test_deep_attributes_are_refused_or_read() -> None:
    for depth in (10, 200, 900, 5000):
        deep = "[" * depth + "]" * depth
        text = dumps(document()).replace('"attributes": {}', f'"attributes": {{"a": {deep}}}')
        try:
            loads(text)
        except DocumentError as error:
            assert "nested too deeply" in str(error)  # noqa: PT017 - both ends are right
