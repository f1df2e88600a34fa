from __future__ import annotations

from time import process_time

import pytest

from qdqdoc.document import Document, Graph, Operation, Quantization, Tensor
from qdqdoc.groups import Group, groups, joins, partial, pattern


def q(source: str, made: str, name: str = "", scale: str = "s") -> Operation:
    what = Quantization(tensor=made, dtype="int8", scale=scale, zero_point="z")
    inputs = (source, scale, "z")
    return Operation(
        name=name or f"q_{made}",
        op_type="QuantizeLinear",
        inputs=inputs,
        outputs=(made,),
        quantization={"y": what},
    )


def dq(codes: str, made: str, name: str = "", scale: str = "s") -> Operation:
    what = Quantization(tensor=codes, dtype="int8", scale=scale, zero_point="z")
    inputs = (codes, scale, "z")
    return Operation(
        name=name or f"dq_{made}",
        op_type="DequantizeLinear",
        inputs=inputs,
        outputs=(made,),
        quantization={"x": what},
    )


def op(op_type: str, inputs: str, made: str, name: str = "") -> Operation:
    outputs = tuple(made.split())
    return Operation(name=name, op_type=op_type, inputs=tuple(inputs.split()), outputs=outputs)


def network(
    *operations: Operation, inputs: str = "x", outputs: str = "y", stored: str = "w"
) -> Document:
    names = ("s", "z", *stored.split())
    tensors = {n: Tensor(name=n, dtype="float32", initializer=True) for n in names}
    graph = Graph(
        inputs=tuple(inputs.split()),
        outputs=tuple(outputs.split()),
        operations=operations,
        tensors=tensors,
    )
    return Document(model_path="m.onnx", graph=graph, opset_imports={"": 21})


def patterns(document: Document) -> list[str]:
    return [pattern(group) for group in groups(document)]


def named(document: Document, name: str) -> Group:
    return next(group for group in groups(document) if group.name == name)


def test_a_convolution_is_one_group_with_its_operands_by_role() -> None:
    document = network(
        q("x", "xq"),
        dq("xq", "xf"),
        dq("w", "wf"),
        dq("b", "bf"),
        op("Conv", "xf wf bf", "c", "conv"),
        q("c", "cq"),
        dq("cq", "y"),
        stored="w b",
    )
    assert patterns(document) == ["Q", "DQ.Conv.Q", "DQ"]
    conv = named(document, "conv")
    assert [operand.role for operand in conv.operands] == ["activation", "weight", "bias"]
    assert [operand.codes for operand in conv.operands] == ["xq", "w", "b"]
    assert [operand.source for operand in conv.operands] == [0, None, None]
    assert conv.quantize is not None
    assert conv.result is not None
    assert (conv.quantize.name, conv.result.tensor, conv.output) == ("q_cq", "cq", "cq")


def test_the_documents_word_on_a_role_counts_more_than_the_position() -> None:
    document = network(dq("b", "bf"), op("Add", "x bf", "y", "add"), stored="b")
    bias = Tensor(name="b", dtype="int32", initializer=True, role="bias")
    tensors = {**document.tensors, "b": bias}
    graph = Graph(inputs=("x",), outputs=("y",), operations=document.operations, tensors=tensors)
    told = Document(model_path="m", graph=graph)
    assert [o.role for o in named(document, "add").operands] == ["activation", "constant"]
    assert [o.role for o in named(told, "add").operands] == ["activation", "bias"]


def test_one_dequantize_may_feed_several_groups() -> None:
    document = network(
        q("x", "xq"),
        dq("xq", "xf"),
        op("Relu", "xf", "r", "relu"),
        op("Sigmoid", "xf", "s1", "sigmoid"),
        op("Add", "r s1", "y", "add"),
    )
    assert patterns(document) == ["Q", "DQ.Relu", "DQ.Sigmoid", "Add"]
    both = named(document, "relu").operands + named(document, "sigmoid").operands
    assert both[0].dequantize is both[1].dequantize


def test_identities_are_seen_through_wherever_they_stand() -> None:
    document = network(
        op("Identity", "x", "x2"),
        q("x2", "xq"),
        op("Identity", "xq", "xi"),
        dq("xi", "xf"),
        op("Identity", "xf", "xg"),
        op("Relu", "xg", "r", "relu"),
        op("Identity", "r", "ri"),
        q("ri", "rq"),
        dq("rq", "rf"),
        op("Identity", "rf", "y"),
    )
    assert patterns(document) == ["Q", "DQ.Relu.Q", "DQ"]
    operand = named(document, "relu").operands[0]
    assert (operand.tensor, operand.codes, operand.origin, operand.source) == ("xg", "xi", "xq", 0)


def test_a_dequantize_behind_a_constant_node_is_a_stored_operand() -> None:
    document = network(
        op("Constant", "", "k"), dq("k", "kf"), op("MatMul", "x kf", "y", "dense"), stored=""
    )
    assert patterns(document) == ["DQ.MatMul"]
    assert [o.role for o in groups(document)[0].operands] == ["activation", "weight"]


def test_weights_that_are_quantized_from_float_are_stored() -> None:
    document = network(q("w", "wq"), dq("wq", "wf"), op("Conv", "x wf", "y", "conv"))
    first, conv = groups(document)
    assert (pattern(first), first.kind, first.stored) == ("Q", "quantize", True)
    assert conv.operands[1].role == "weight"
    assert not conv.stored


def test_an_operator_on_constants_alone_is_a_stored_group() -> None:
    document = network(dq("w", "wf"), op("Neg", "wf", "n", "neg"), op("Add", "x n", "y", "add"))
    assert named(document, "neg").stored
    assert [o.role for o in named(document, "add").operands] == ["activation", "constant"]


def test_a_join_is_where_two_activations_meet() -> None:
    document = network(
        q("x", "xq"),
        dq("xq", "xf"),
        op("Relu", "xf", "r", "relu"),
        q("r", "rq"),
        dq("rq", "rf"),
        op("Add", "xf rf", "y", "add"),
    )
    (join,) = joins(document)
    assert join.group.name == "add"
    assert [operand.codes for operand in join.operands] == ["xq", "rq"]
    assert [operand.source for operand in join.operands] == [0, 1]


def test_a_computed_shape_is_no_branch() -> None:
    document = network(
        op("Shape", "x", "n", "shape"), op("Reshape", "x n", "y", "reshape"), stored=""
    )
    tensors = {"n": Tensor(name="n", dtype="int64", shape=(4,))}
    graph = Graph(inputs=("x",), outputs=("y",), operations=document.operations, tensors=tensors)
    assert joins(Document(model_path="m", graph=graph)) == ()


def test_operators_without_q_or_dq_and_without_names_are_groups_too() -> None:
    document = network(op("Relu", "x", "r"), op("Softmax", "r", "y"), stored="")
    assert patterns(document) == ["Relu", "Softmax"]
    assert [group.name for group in groups(document)] == ["r", "y"]
    assert groups(document)[1].operands[0].source == 0


def test_a_missing_q_leaves_an_open_group() -> None:
    document = network(q("x", "xq"), dq("xq", "xf"), op("Relu", "xf", "y", "relu"))
    assert patterns(document) == ["Q", "DQ.Relu"]
    assert named(document, "relu").result is None


def test_requantization_and_a_second_q_are_groups_of_their_own() -> None:
    document = network(
        op("Relu", "x", "r", "relu"),
        q("r", "a"),
        q("r", "b", "second"),
        dq("a", "af"),
        q("af", "y", "again"),
        outputs="y b",
    )
    assert patterns(document) == ["Relu.Q", "Q", "DQ.Q"]
    assert named(document, "second").operands[0].source == 0
    assert named(document, "again").operands[0].codes == "a"


def test_integers_may_pass_through_an_operator_between_q_and_dq() -> None:
    document = network(
        q("x", "xq"), op("MaxPool", "xq", "p", "pool"), dq("p", "pf"), op("Relu", "pf", "y")
    )
    assert patterns(document) == ["Q", "MaxPool", "DQ.Relu"]
    pool = named(document, "pool").operands[0]
    assert (pool.codes, pool.dequantize, pool.source) == ("xq", None, 0)
    assert pool.quantization is not None
    assert groups(document)[2].operands[0].source == 1


def test_integer_operators_bring_their_own_quantization() -> None:
    what = {
        "x": Quantization(tensor="xq", dtype="int8", scale="s", zero_point="z"),
        "w": Quantization(tensor="w", dtype="int8", scale="s", zero_point="z"),
        "y": Quantization(tensor="y", dtype="int8", scale="s", zero_point="z"),
    }
    conv = Operation(
        name="conv",
        op_type="QLinearConv",
        inputs=("xq", "s", "z", "w", "s", "z", "s", "z"),
        outputs=("y",),
        quantization=what,
    )
    document = network(q("x", "xq"), conv)
    group = named(document, "conv")
    assert [o.tensor for o in group.operands] == ["xq", "w"]
    assert group.result == what["y"]


def test_a_dequantize_that_is_output_and_operand_is_both() -> None:
    document = network(q("x", "xq"), dq("xq", "xf"), op("Relu", "xf", "y", "relu"), outputs="xf y")
    assert patterns(document) == ["Q", "DQ", "DQ.Relu"]


def test_a_nested_graph_reads_from_outside() -> None:
    inner = Graph(operations=(op("Neg", "xf", "n"),), outputs=("n",))
    branch = Operation(
        name="if", op_type="If", inputs=("c",), outputs=("y",), graphs={"then_branch": inner}
    )
    document = network(q("x", "xq"), dq("xq", "xf"), branch, inputs="x c")
    assert patterns(document) == ["Q", "DQ.If"]
    assert [o.tensor for o in named(document, "if").operands] == ["c", "xf"]


def test_a_file_with_q_and_dq_alone_keeps_its_pairs() -> None:
    operations = (dq("wq", "wf"), q("conv_out", "cq"), dq("cq", "cf"))
    graph = Graph(inputs=("wq", "conv_out"), outputs=("wf", "cf"), operations=operations)
    document = Document(model_path="m.onnx", graph=graph, declared_total=9)
    assert partial(document)
    stored, quantized, pair = groups(document)
    assert (stored.stored, quantized.stored) == (True, False)
    assert pair.operands[0].source == quantized.index


@pytest.mark.parametrize("empty", [(), (op("Identity", "x", "y"),)])
def test_nothing_gives_no_groups(empty: tuple[Operation, ...]) -> None:
    assert groups(network(*empty)) == ()


def test_ten_thousand_nodes_take_a_moment() -> None:
    operations: list[Operation] = []
    for i in range(3400):
        operations += [
            q(f"x{i}", f"q{i}"),
            dq(f"q{i}", f"f{i}"),
            op("Relu", f"f{i}", f"x{i + 1}", f"relu{i}"),
        ]
    document = network(*operations, inputs="x0", outputs="x3400")
    before = process_time()
    assert len(groups(document)) == 3401
    assert process_time() - before < 2
