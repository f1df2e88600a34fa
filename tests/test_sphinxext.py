"""The manual's roles and directives, on projects of one page."""

from __future__ import annotations

import gc
import os
import re
import sys
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import pytest
import small_manual
from small_manual import Built

from qdqdoc.document import Document, Graph, Operation, Tensor, dump

if TYPE_CHECKING:
    from pathlib import Path

HOSTILE = '<script>alert("{1/0}")</script>'
ALL_GOOD = 0


Build = Callable[..., Built]


@pytest.fixture
def build(tmp_path: Path) -> Build:
    """Build a page with `-W`, in the same folder each time."""
    return partial(small_manual.build, tmp_path)


@pytest.fixture
def hostile(tmp_path: Path) -> str:
    """A model whose names try to be markup."""
    operation = Operation(name=HOSTILE, op_type="Relu", inputs=("x",), outputs=(HOSTILE,))
    tensors = {name: Tensor(name=name, dtype="float32", shape=(1,)) for name in ("x", HOSTILE)}
    graph = Graph(inputs=("x",), outputs=(HOSTILE,), operations=(operation,), tensors=tensors)
    path = tmp_path / "hostile.json"
    dump(Document(model_path="hostile.onnx", graph=graph, opset_imports={"": 15}), path)
    return str(path)


def test_values_tables_choices_and_runs_show_what_python_computes(build: Build) -> None:
    built = build("""# Page

```{qdq-exec}
third = np.float32(1) / 3
table = Table(("name", "value"), ((Code("a/b"), third), ("none", None)), keys=("one", "two"))
```

It is {qdq}`third`, {qdq}`Code("conv/w")`.

```{qdq-table} table
:caption: Of {qdq}`third`.
:name: values
```

See {ref}`the row <values-one>`.

```{qdq-when} third > 1
hidden
```

```{qdq-when} third < 1
chosen
```

```{qdq-run}
# twice
for k in range(2):
    print(third * k)
quantize_linear(third, third, np.int8(7))
```
""")
    assert built.code == ALL_GOOD, built.said
    text = re.sub(r"<[^>]+>", "", built.html)
    assert "It is 0.33333334, conv/w." in text
    assert "Of 0.33333334." in text
    assert '<tr class="row-even" id="values-one">' in built.html
    assert 'href="#values-one"' in built.html
    assert "chosen" in text
    assert "hidden" not in text
    assert "... for k in range(2):" in text
    assert "0.33333334\n&gt;&gt;&gt; quantize_linear" in text
    assert "array(8, dtype=int8)" in text


def test_an_error_names_page_line_and_expression_each_time(build: Build) -> None:
    page = "# Page\n\nGood {qdq}`1 + 1`.\n\nBad {qdq}`1 / 0`.\n"
    for _ in range(2):
        built = build(page)
        assert built.code == 1
        assert re.search(r"index\.md:5: ERROR: qdq `1 / 0`: ZeroDivisionError", built.said)


@pytest.mark.parametrize(
    ("directive", "complaint"),
    [
        ("```{qdq-table} 7\n```", "index.md:3: ERROR: qdq-table 7: PageError: expected a Table"),
        ("```{qdq-run}\n1 / 0\n```", "ZeroDivisionError"),
        ("```{qdq-run}\n:raises: OperatorError\n1\n```", "raised nothing, not OperatorError"),
        ("```{qdq-diagram} map\n```", "'map' is not one of overview, graph, group"),
        ("```{qdq-formula} QLinearConv other\n```", "has no formula 'other': convolution"),
        ("```{qdq-operator} Conv\n```", "Conv is not a registered operator"),
        ("```{qdq-plot} 1\n:colour: red\n```", "Unknown option"),
    ],
)
def test_a_wrong_directive_fails_the_build_each_time(
    build: Build, directive: str, complaint: str
) -> None:
    for _ in range(2):
        built = build(f"# Page\n\n{directive}\n")
        assert built.code == 1
        assert complaint in built.said


def test_names_of_a_model_are_text_wherever_they_stand(build: Build, hostile: str) -> None:
    built = build(
        """# Page

{qdq}`document.operations[0].name` {qdq}`Code(document.operations[0].name)`

```{qdq-table} Table(("n",), ((Code(document.operations[0].name),), (document.graph.outputs[0],)))
:caption: {qdq}`document.graph.outputs[0]`
```

```{qdq-diagram} graph
:caption: {qdq}`Code(document.graph.outputs[0])`
```

```{qdq-diagram} group
:group: document.operations[0].name
:alt: <script>
```
""",
        qdqdoc_model=hostile,
    )
    assert built.code == ALL_GOOD, built.said
    assert built.html.count("<svg") == 2
    assert "<script>alert" not in built.html
    assert "&lt;script&gt;alert" in built.html


def test_a_plot_has_the_colours_of_the_page_and_ids_of_its_own(build: Build) -> None:
    built = build("""# Page

```{qdq-exec}
from matplotlib.figure import Figure
figure = Figure()
figure.subplots().plot([1, 2], [3, 4])
```

```{qdq-plot} figure
:alt: A line.
```

```{qdq-plot} figure
```
""")
    assert built.code == ALL_GOOD, built.said
    assert "currentColor" in built.html
    assert 'aria-label="A line."' in built.html
    identities = re.findall(r'\bid="(qdq-[^"]+)"', built.html)
    assert len(identities) == len(set(identities)) > 0


def test_a_formula_can_be_referred_to(build: Build) -> None:
    built = build("# Page\n\n```{qdq-formula} QLinearConv\n```\n\nSee {eq}`qlinear-conv`.\n")
    assert built.code == ALL_GOOD, built.said
    assert "<math" in built.html
    assert 'href="#equation-qlinear-conv"' in built.html


RUN = "# Page\n\n```{qdq-run}\n1 + 1\n```\n"


@pytest.mark.parametrize(
    ("more", "complaint"),
    [
        ("", ""),
        ("```python\n>>> 2 + 2\n4\n```\n", "index: 2 shown, 1 executed"),
        ("```{eval-rst}\n.. autofunction:: wrong.wrong\n```\n", "2 shown, 2 executed, 1 failed"),
    ],
    ids=["all executed", "nobody runs a plain fence", "a docstring is wrong"],
)
def test_examples_shown_are_examples_executed(
    build: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, more: str, complaint: str
) -> None:
    (tmp_path / "wrong.py").write_text('def wrong():\n    """Be.\n\n    >>> 1\n    2\n    """\n')
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "wrong", raising=False)
    built = build(f"{RUN}\n{more}", qdqdoc_examples=True)
    assert built.code == bool(complaint), built.said
    assert complaint in built.said


def test_a_manual_without_examples_fails(build: Build) -> None:
    built = build("# Page\n", qdqdoc_examples=True)
    assert built.code == 1
    assert "0 shown, 0 executed" in built.said


def test_another_model_makes_the_page_anew(build: Build, hostile: str) -> None:
    page = "# Page\n\n```{qdq-when} 'document' in dir()\nyes {qdq}`document.model_path`\n```\n"
    assert "hostile.onnx" not in build(page).html
    assert "hostile.onnx" in build(page, qdqdoc_model=hostile).html


def test_a_quotation_is_marked_and_no_markup(build: Build) -> None:
    built = build("# T\n\nIt said {quoted}`<b>3847</b>`.\n")
    assert built.code == ALL_GOOD, built.said
    assert '<span class="quoted">&lt;b&gt;3847&lt;/b&gt;</span>' in built.html


def test_text_of_several_lines_is_shown_as_it_is(build: Build) -> None:
    built = build('# T\n\n```{qdq-text} "a {\\n  <b>\\n}"\n```\n')
    assert built.code == ALL_GOOD, built.said
    assert "a {\n  &lt;b&gt;\n}" in built.html
    broken = build("# T\n\n```{qdq-text} nothing\n```\n")
    assert "index.md:3" in broken.said
    assert "NameError" in broken.said


def test_a_rule_of_pytorch_that_does_not_exist_fails(build: Build) -> None:
    built = build("# T\n\n```{qdq-torch-rule} fbgemm\n```\n")
    assert built.code == ALL_GOOD, built.said
    broken = build("# T\n\n```{qdq-torch-rule} gemm\n```\n")
    assert "'gemm' is no rule: per tensor" in broken.said


def test_boxes_lead_to_rows_and_rows_to_boxes(build: Build, hostile: str) -> None:
    built = build(
        """# Page

```{qdq-diagram} overview
:name: picture
```

```{qdq-table} facts.dataflow(document)
:name: guide-dataflow-table
:picture: picture
```

| one | two |
|---|---|
| a | b |
| a | c |
""",
        qdqdoc_model=hostile,
    )
    assert built.code == ALL_GOOD, built.said
    page = built.html.replace("&#45;", "-")
    assert 'xlink:href="#guide-dataflow-table-group-0"' in page
    assert 'id="picture-g0"' in page
    assert 'href="#picture-g0" title="Show it in the diagram"' in page
    rows = re.findall(r'<tr class="[^"]*" id="([^"]*)">', page)
    assert rows == ["guide-dataflow-table-group-0", "page-a", "page-a-2"]
    assert re.findall(r'qdq-row-link" href="#([^"]*)"', page) == rows


def test_boxes_lead_nowhere_where_there_are_no_rows(build: Build, hostile: str) -> None:
    built = build("# Page\n\n```{qdq-diagram} overview\n```\n", qdqdoc_model=hostile)
    assert built.code == ALL_GOOD, built.said
    assert "xlink:title" in built.html
    assert "xlink:href" not in built.html


def test_a_page_is_kept_without_what_sphinx_knows_of_the_others(
    build: Build, tmp_path: Path
) -> None:
    built = build("# T\n\n```{eval-rst}\n.. py:function:: halve(x)\n```\n")
    assert built.code == ALL_GOOD, built.said
    kept = (tmp_path / "doctrees" / "index.doctree").read_bytes()
    assert b"desc_signature" in kept
    assert b"BuildEnvironment" not in kept


def test_another_package_and_every_page_is_read_anew(
    build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = "# Page\n\n{qdq}`__import__('os').environ['COUNTED']` times.\n"
    monkeypatch.setenv("COUNTED", "8")
    assert "8 times" in re.sub(r"<[^>]+>", "", build(page).html)
    monkeypatch.setenv("COUNTED", "9")
    assert "8 times" in re.sub(r"<[^>]+>", "", build(page).html), "nothing changed, nothing is read"
    monkeypatch.setattr("qdqdoc.sphinxext.installed", lambda: "a newer numpy")
    assert "9 times" in re.sub(r"<[^>]+>", "", build(page).html)


def test_python_is_left_as_it_was_found(build: Build) -> None:
    before = gc.get_threshold()
    assert build("# Page\n").code == ALL_GOOD
    assert build("# Page\n\n{qdq}`gone`\n").code == 1
    assert gc.get_threshold() == before
    page = "# Page\n\n{qdq}`__import__('gc').get_threshold()[0] > 50000`\n"
    assert "True" in build(page).words, "while it builds, it looks less often"


@pytest.mark.parametrize("name", ["MANIFEST.json", "test_images.npz", "hostile.npz"])
def test_a_page_is_stale_when_what_stands_beside_the_model_changes(
    build: Build, hostile: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    beside = tmp_path / name
    beside.write_text("{}", "utf-8")
    document = Document(model_path="hostile.onnx", graph=Graph(), opset_imports={"": 15})
    monkeypatch.setattr("qdqdoc.sphinxext.scope.load", lambda _: document)
    page = "# Page\n\n{qdq}`__import__('os').environ['COUNTED']` times.\n"
    for counted, shown in (("8", "8 times"), ("9", "8 times")):
        monkeypatch.setenv("COUNTED", counted)
        assert shown in build(page, qdqdoc_model=hostile).words
    later = beside.stat().st_mtime_ns + 10**10
    os.utime(beside, ns=(later, later))
    assert "9 times" in build(page, qdqdoc_model=hostile).words


def test_a_page_is_stale_when_a_record_changes(build: Build, tmp_path: Path) -> None:
    build("# Page\n\n{qdq}`1`\n")
    kept = (tmp_path / "doctrees" / "environment.pickle").read_bytes()
    for record in ("score.json", "recorded.json", "operations.schema.json", "rounding.py"):
        assert record.encode() in kept, record
