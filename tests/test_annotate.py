from __future__ import annotations

import re
from pathlib import Path
from time import process_time
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from qdqdoc.annotate import MOST_NODES, AnnotateError, View, annotate
from qdqdoc.annotate.text import TIMES
from qdqdoc.document import Document, Graph, Operation, Quantization, Tensor
from qdqdoc.extract import extract
from qdqdoc.groups import groups, joins
from qdqdoc.render import render

pygraphviz = pytest.importorskip("pygraphviz")

MODELS = Path(__file__).parent.parent / "models"
VIEWS: tuple[View, ...] = ("overview", "graph", "group")
GREEN, PINK, BLUE = "#8fd19e", "#f2a3bd", "#9cc4f2"
A4 = (802.0, 555.0)
SVG = "{http://www.w3.org/2000/svg}"

HOSTILE = (
    'quo"te;colon:port',
    "<script>alert(1)</script>&amp;",
    "line\nbreak\r\x00",
    "12345",
    "слой/Свёртка:0",
    "\\N \\G \\l end\\",
    "long/" + "x" * 334,
    "{|}<p0>",
    "<b>bold</b>",
    "名前/畳み込み",
    "lone \ud800 surrogate",
)


@pytest.fixture(scope="module")
def resnet() -> Document:
    return extract(MODELS / "resnet8_int8.onnx")


@pytest.fixture(scope="module")
def per_channel() -> Document:
    return extract(MODELS / "resnet8_int8_per_channel.onnx")


def parsed(dot: str) -> Any:  # noqa: ANN401 - pygraphviz has no types
    return pygraphviz.AGraph(string=dot)


def svg(dot: str) -> ET.Element:
    return ET.fromstring(render(dot, "svg"))  # noqa: S314 - we drew it


def words(dot: str) -> str:
    return "\n".join(text.text or "" for text in svg(dot).iter(f"{SVG}text"))


def chain(names: tuple[str, ...], op_type: str = "Relu") -> Document:
    """Return a chain of operators, each with its Q and DQ."""
    operations: list[Operation] = []
    before = "x"
    for i, name in enumerate(names):
        made, codes, back = name, f"{name} codes", f"{name} back"
        what = Quantization(
            tensor=codes,
            dtype="int8",
            scale="s",
            zero_point="z",
            scale_values=(0.5 + i,),
            zero_point_values=(-i,),
        )
        operations += [
            Operation(name=name, op_type=op_type, inputs=(before,), outputs=(made,)),
            Operation(
                name=f"{name} Q",
                op_type="QuantizeLinear",
                inputs=(made, "s", "z"),
                outputs=(codes,),
                quantization={"y": what},
            ),
            Operation(
                name=f"{name} DQ",
                op_type="DequantizeLinear",
                inputs=(codes, "s", "z"),
                outputs=(back,),
                quantization={"x": what},
            ),
        ]
        before = back
    tensors = {n: Tensor(name=n, initializer=True) for n in ("s", "z")}
    graph = Graph(inputs=("x",), outputs=(before,), operations=tuple(operations), tensors=tensors)
    return Document(model_path="chain.onnx", graph=graph, opset_imports={"": 21})


def predecessor(document: Document) -> Document:
    """Return what the predecessor's file would tell of a model: its Q and DQ nodes."""
    kept = tuple(
        o for o in document.operations if o.op_type in {"QuantizeLinear", "DequantizeLinear"}
    )
    return Document(
        model_path=document.model_path,
        graph=Graph(operations=kept),
        opset_imports=document.opset_imports,
        declared_counts=document.op_type_counts,
        declared_total=document.total_nodes,
    )


# What stands on the drawings


def test_the_graph_shows_every_node_in_its_colour(resnet: Document) -> None:
    graph = parsed(annotate(resnet, "graph"))
    nodes = [n for n in graph.nodes() if re.fullmatch(r"n\d+", n)]
    labels = [n.attr["label"] for n in nodes]
    assert len(nodes) == 130
    assert sum(GREEN in label for label in labels) == 32
    assert sum(PINK in label for label in labels) == 66
    assert sum(BLUE in label for label in labels) == 32
    stored = {t.name for t in resnet.tensors.values() if t.initializer}
    read = [name for o in resnet.operations for name in o.inputs if name not in stored]
    assert len(graph.edges()) == len(read) + len(resnet.graph.outputs)


def test_scale_and_zero_point_stand_on_each_q_and_dq(resnet: Document) -> None:
    graph = parsed(annotate(resnet, "graph"))
    for index, operation in enumerate(resnet.operations):
        for quantization in operation.quantization.values():
            assert quantization.scale_values is not None
            label = graph.get_node(f"n{index}").attr["label"]
            told = re.search(r"s = ([-0-9.e]+)<.*?z = (-?\d+)<", label)
            assert told is not None
            assert abs(float(told[1]) / quantization.scale_values[0] - 1) < 1e-7
            assert (int(told[2]),) == quantization.zero_point_values


def test_edges_tell_type_and_shape(resnet: Document) -> None:
    labels = _labels(annotate(resnet, "graph"), "edges")
    assert all(re.search("float32|int8|int32", label) for label in labels)
    flows = _labels(annotate(resnet), "edges")
    assert any(
        "int8 → float32" in flow and f"{TIMES}16{TIMES}32{TIMES}32" in flow for flow in flows
    )


def test_per_channel_scales_are_counted_and_ranged(per_channel: Document) -> None:
    assert "16 scales along axis 0" in words(annotate(per_channel, "graph"))
    assert f"16{TIMES} axis 0" in words(annotate(per_channel))


def test_the_overview_has_every_group_once(resnet: Document) -> None:
    drawn = re.findall(r'id="qdq-g(\d+)"', annotate(resnet))
    expected = [g.index for g in groups(resnet)]
    assert sorted(map(int, drawn)) == expected
    assert len(expected) == 33


def test_the_overview_counts_nodes_and_parameters(resnet: Document) -> None:
    text = words(annotate(resnet))
    for word in ("130", "QuantizeLinear", "32", "DequantizeLinear", "66", "10 weights int8"):
        assert word in text
    assert "initializers" in text


def test_a_join_shows_the_scales_of_both_branches(resnet: Document) -> None:
    dot = annotate(resnet)
    for join in joins(resnet):
        label = next(text for text in _labels(dot) if f'id="qdq-g{join.group.index}"' in text)
        for operand in join.operands:
            assert operand.quantization is not None
            assert operand.quantization.scale_values is not None
            told = [float(number) for number in re.findall(r"s ([0-9.e-]+)<", label)]
            assert any(
                abs(number / operand.quantization.scale_values[0] - 1) < 1e-7 for number in told
            )
            assert f"from {operand.source}<" in label


def _labels(dot: str, kind: str = "nodes") -> list[str]:
    graph = parsed(dot)
    return [item.attr["label"] or "" for item in getattr(graph, kind)()]


@pytest.mark.parametrize(
    "model",
    ["resnet8_int8", "resnet8_int8_qoperator", "resnet8_uint8", "resnet8_int8_per_channel"],
)
def test_the_overview_is_legible_on_one_page(model: str) -> None:
    picture = svg(annotate(extract(MODELS / f"{model}.onnx")))
    _, _, width, height = map(float, picture.attrib["viewBox"].split())
    scale = max(
        min(A4[0] / width, A4[1] / height),
        min(A4[1] / width, A4[0] / height),
    )
    smallest = min(float(text.attrib["font-size"]) for text in picture.iter(f"{SVG}text"))
    assert smallest * scale >= 6.0


def test_a_group_shows_its_nodes_and_neighbours(resnet: Document) -> None:
    join = joins(resnet)[1].group
    dot = annotate(resnet, "group", group=join.name)
    text = words(dot)
    assert text.count("DequantizeLinear") == 2
    assert text.count("QuantizeLinear") == 1
    assert len(parsed(dot).nodes()) == 4 + 2 + 2


def test_a_group_is_found_by_its_q_and_dq_too(resnet: Document) -> None:
    group = joins(resnet)[0].group
    assert group.quantize is not None
    by_operator = annotate(resnet, "group", group=group.name)
    assert annotate(resnet, "group", group=group.quantize.name) == by_operator


def test_few_scales_are_listed_and_many_ranged(per_channel: Document) -> None:
    convs = [g for g in groups(per_channel) if g.operation.op_type == "Conv"]
    assert (
        len(re.findall(r"0\.00\d+", words(annotate(per_channel, "group", group=convs[0].name))))
        >= 16
    )
    assert " … " in words(annotate(per_channel, "group", group=convs[-1].name))


# Names and links


@pytest.mark.parametrize("view", VIEWS)
def test_no_name_can_break_a_drawing(view: View) -> None:
    document = chain(HOSTILE, op_type='<Op>&"')
    dot = annotate(document, view, group=HOSTILE[1])
    drawn = render(dot, "svg").decode()
    assert "<script" not in drawn
    assert "<b>" not in drawn
    assert '<Op>&"' in words(dot)
    graph = parsed(dot)
    assert all(re.fullmatch(r"[a-z]+[0-9_]*", node) for node in graph.nodes())
    if view == "graph":
        assert len(graph.nodes()) == 3 * len(HOSTILE) + 2


def test_long_names_are_shortened_and_kept_in_the_tooltip() -> None:
    long = HOSTILE[6]
    drawn = annotate(chain((long,)), "graph")
    assert long not in words(drawn)
    assert long in render(drawn, "svg").decode()


def test_backslashes_stay_as_they_are() -> None:
    drawn = render(annotate(chain(("\\N \\G",)), "graph"), "svg").decode()
    assert "\\N \\G</text>" in drawn
    assert 'xlink:title="Relu \\N \\G: \\N \\G"' in drawn


@pytest.mark.parametrize("view", VIEWS)
def test_links_and_ids_are_where_the_manual_needs_them(view: View) -> None:
    document = chain(("a", "b"))
    dot = annotate(document, view, group="b", prefix="fig1", link=lambda o: f'#"{o.name}<')
    drawn = svg(dot)
    links = {a.get("{http://www.w3.org/1999/xlink}href") for a in drawn.iter(f"{SVG}a")}
    assert '#"b<' in links
    ids = [e.attrib["id"] for e in drawn.iter() if "id" in e.attrib]
    own = [i for i in ids if not re.fullmatch(r"(a_)?edge\d+(-label)?", i)]
    assert len(own) == len(set(own))
    assert all(i.startswith(("fig1-", "a_fig1-")) for i in own)


def test_there_are_no_generated_names_in_titles(resnet: Document) -> None:
    titles = [t.text for t in svg(annotate(resnet)).iter(f"{SVG}title")]
    assert titles == ["qdqdoc"]


# Odd documents


@pytest.mark.parametrize("view", VIEWS)
def test_the_same_document_gives_the_same_text(resnet: Document, view: View) -> None:
    name = groups(resnet)[3].name
    again = extract(MODELS / "resnet8_int8.onnx")
    assert annotate(resnet, view, group=name) == annotate(again, view, group=name)


def test_the_predecessors_file_is_drawn_in_both_views(resnet: Document) -> None:
    document = predecessor(resnet)
    overview, graph = annotate(document), annotate(document, "graph")
    text = words(overview)
    assert "130" in text
    assert "Conv" in text
    assert overview.count('style="dashed"') == 32
    labels = _labels(graph)
    assert sum("operator not told" in label for label in labels) == 32
    assert sum(PINK in label for label in labels) == 66
    assert "32 zero" not in text


@pytest.mark.parametrize("view", ["overview", "graph"])
def test_an_empty_document_is_drawn(view: View) -> None:
    assert svg(annotate(Document(model_path="", graph=Graph()), view)) is not None


@pytest.mark.parametrize("view", VIEWS)
def test_nested_graphs_are_told(view: View) -> None:
    inner = Graph(operations=(Operation(name="n", op_type="Neg", inputs=("x",), outputs=("m",)),))
    branch = Operation(
        name="if", op_type="If", inputs=("c",), outputs=("y",), graphs={"then_branch": inner}
    )
    graph = Graph(inputs=("c", "x"), outputs=("y",), operations=(branch,))
    document = Document(model_path="m.onnx", graph=graph)
    assert "If (1 nodes inside)" in words(annotate(document, view, group="if"))


def test_scales_that_are_known_at_run_time_only_are_told() -> None:
    what = Quantization(tensor="q", dtype="", scale="s", zero_point="z")
    operation = Operation(
        name="Q",
        op_type="QuantizeLinear",
        inputs=("x", "s", "z"),
        outputs=("q",),
        quantization={"y": what},
    )
    graph = Graph(inputs=("x", "s", "z"), outputs=("q",), operations=(operation,))
    assert "s = at run time" in words(annotate(Document(model_path="m", graph=graph), "graph"))


def test_a_network_of_ten_thousand_nodes_has_an_overview() -> None:
    document = chain(tuple(f"n{i}" for i in range(3334)))
    before = process_time()
    drawn = render(annotate(document), "svg").decode()
    assert process_time() - before < 10
    assert "Drawn: the first 1,200 of 3,33" in drawn


def test_a_graph_that_would_take_minutes_is_refused() -> None:
    document = chain(tuple(f"n{i}" for i in range(MOST_NODES // 3 + 1)))
    with pytest.raises(AnnotateError, match=r"up to 1,500 nodes, this model has 1,503; .*overview"):
        annotate(document, "graph")


def test_what_cannot_be_drawn_is_told(resnet: Document) -> None:
    with pytest.raises(AnnotateError, match="needs the name"):
        annotate(resnet, "group")
    with pytest.raises(AnnotateError, match=r"named 'nothing like it'$"):
        annotate(resnet, "group", group="nothing like it")
    with pytest.raises(AnnotateError, match="not one of overview, graph, group"):
        annotate(resnet, "map")  # type: ignore[arg-type]


def test_text_has_contrast_on_every_box(resnet: Document) -> None:
    drawn = annotate(resnet) + annotate(resnet, "graph")
    pairs = set(re.findall(r'bgcolor="(#\w{6})"[^>]*><font color="(#\w{6})"', drawn))
    assert len(pairs) >= 6
    assert all(_contrast(ground, ink) >= 4.5 for ground, ink in pairs)
    line = "#7a7f87"
    assert min(_contrast(line, "#ffffff"), _contrast(line, "#131416")) >= 3


def _contrast(one: str, other: str) -> float:
    low, high = sorted((_luminance(one), _luminance(other)))
    return (high + 0.05) / (low + 0.05)


def _luminance(colour: str) -> float:
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
