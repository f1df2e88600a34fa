"""`qdqdoc guide`: pages for models that nobody prepared, and folders that are not ours."""

from __future__ import annotations

import json
import re
import shutil
import sys
import warnings
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import numpy as np
import onnx
import pytest
from guide_models import blocked, branches, depthwise, hostile, missing, transformer
from onnxruntime.quantization import QuantType, quantize_dynamic

from qdqdoc.cli import main
from qdqdoc.extract import ExtractError, extract
from qdqdoc.guide import GuideError, write_guide
from qdqdoc.guide.folder import RECORD
from qdqdoc.guide.pages import Manual, manual, operators

Maker = Callable[[Path], None]
ROOT = Path(__file__).parent.parent
MODELS = ROOT / "models"
RUNNING_EXAMPLE = "resnet8"
LEAST_LINKS = 100
STEPS: list[tuple[int, int]] = []
"""What the last guide said of its progress."""


class Page(HTMLParser):
    """What a page links to, what it loads, and what it can be linked to by."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.ids: set[str] = set()
        self.scripts = 0
        self.feed(path.read_text("utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.ids.add(found.get("id") or "")
        self.scripts += tag == "script" and not found.get("src")
        target = found.get("href") or found.get("xlink:href")
        if target and tag == "a":
            self.links.append(target)
        elif target or found.get("src"):
            self.loaded.append(target or found.get("src") or "")


def words(page: Path) -> str:
    """Return the text of a page's article, long names in one piece."""
    article = re.search(r"(?s)<article.*?</article>", page.read_text("utf-8"))
    assert article
    joint = r"(</span>)?<wbr\s*/?>(<span class=\"pre\">)?"
    text = re.sub(rf"(?s)<svg.*?</svg>|{joint}", "", article[0])
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", text))


def checked(folder: Path) -> int:
    """Follow every link and everything that is loaded; return how many links there are."""
    pages = {path: Page(path) for path in folder.rglob("*.html")}
    count = 0
    for path, page in pages.items():
        for target in (*page.links, *page.loaded):
            parts = urlsplit(target)
            if parts.scheme in {"http", "https"}:
                assert target in page.links, f"{path.name} asks another host: {target}"
                continue
            if parts.scheme == "data":
                continue
            where = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            assert where.is_file(), f"{path.name}: {target}"
            if parts.fragment and where in pages:
                assert unquote(parts.fragment) in pages[where].ids, f"{path.name}: {target}"
            count += 1
    return count


def copied(name: str) -> Maker:
    def write(path: Path) -> None:
        shutil.copyfile(MODELS / f"{name}.onnx", path)

    return write


def dynamic(path: Path) -> None:
    with warnings.catch_warnings(action="ignore"):
        quantize_dynamic(MODELS / "resnet8.onnx", path, weight_type=QuantType.QUInt8)


@pytest.fixture(scope="module")
def guides(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Make the guide of a model once."""
    folder = tmp_path_factory.mktemp("guides")
    makers: dict[str, Maker] = {
        "depthwise": depthwise,
        "transformer": transformer,
        "blocked": blocked,
        "branches": branches,
        "hostile": hostile,
        "float": copied("resnet8"),
        "qoperator": copied("resnet8_int8_qoperator"),
        "dynamic": dynamic,
    }

    def make(name: str) -> Path:
        model, made = folder / f"{name}.onnx", folder / name
        if not made.exists():
            makers[name](model)
            STEPS.clear()
            write_guide(model, made, progress=lambda *step: STEPS.append(step))
        return made

    return make


NAMES = (
    "depthwise",
    "transformer",
    "blocked",
    "branches",
    "hostile",
    "float",
    "qoperator",
    "dynamic",
)


@pytest.mark.parametrize("name", NAMES)
def test_a_guide_is_whole_and_asks_nobody(guides: Callable[[str], Path], name: str) -> None:
    folder = guides(name)
    assert checked(folder) > LEAST_LINKS
    texts = {path: words(path) for path in folder.rglob("*.html") if "<article" in path.read_text()}
    assert f"{name}.onnx" in texts[folder / "index.html"]
    if name not in {"float", "qoperator", "dynamic"}:
        assert not [path for path, text in texts.items() if RUNNING_EXAMPLE in about(path, text)]
    assert not list(folder.rglob(".buildinfo"))


def about(path: Path, text: str) -> str:
    """Leave out the page of sources: papers may name the network of the running example."""
    return "" if path.name == "bibliography.html" else text


@pytest.mark.parametrize(
    ("name", "page", "said"),
    [
        ("depthwise", "trace", "numbers drawn evenly between"),
        ("depthwise", "joins", "Places in this model where branches meet: 1"),
        ("depthwise", "pytorch", "torch.ao.nn.quantized.Conv2d"),
        ("transformer", "joins", "the branches are multiplied"),
        ("transformer", "pytorch", "a product of two activations"),
        ("transformer", "dataflow", "batch×4×8×8"),
        ("blocked", "joins", "so this page does not apply to it"),
        ("blocked", "parameters", "blocked"),
        ("branches", "dataflow", "Not in the table are the 4 nodes"),
        ("hostile", "trace", "The model was not run, so there is no trace : node"),
        ("float", "parameters", "No tensor of this model is quantized"),
        ("float", "pytorch", "PyTorch leaves it in float"),
        ("float", "qdq-and-qlinear", "has neither QuantizeLinear nor DequantizeLinear"),
        ("qoperator", "qdq-and-qlinear", "QOperator"),
        ("dynamic", "index", "scales of activations are made at run time"),
        ("dynamic", "dataflow", "ConvInteger"),
        ("dynamic", "trace", "int32"),
    ],
)
def test_a_section_says_what_it_can(
    guides: Callable[[str], Path], name: str, page: str, said: str
) -> None:
    text = words(guides(name) / "guide" / f"{page}.html")
    assert said in re.sub(r"\s+([:.,])", r" \1", text) or said in text


def test_names_of_a_model_are_text(guides: Callable[[str], Path]) -> None:
    folder = guides("hostile")
    plain = Page(guides("blocked") / "guide" / "dataflow.html").scripts
    assert Page(folder / "guide" / "dataflow.html").scripts == plain
    assert "&lt;script&gt;" in (folder / "guide" / "dataflow.html").read_text("utf-8")


def test_the_numbers_are_those_of_the_model(guides: Callable[[str], Path]) -> None:
    folder = guides("depthwise")
    model = onnx.load(folder.with_suffix(".onnx"))
    held = {t.name: onnx.numpy_helper.to_array(t) for t in model.graph.initializer}
    nodes = [n for n in model.graph.node if n.op_type == "QuantizeLinear"]
    shown = words(folder / "guide" / "parameters.html").split()
    assert {str(np.float32(held[n.input[1]])) for n in nodes} <= set(shown)
    assert f" nodes # {len(model.graph.node)} " in words(folder / "guide" / "index.html")


def test_what_a_guide_holds_is_recorded(guides: Callable[[str], Path]) -> None:
    folder = guides("blocked")
    content = json.loads((folder / RECORD).read_text("utf-8"))
    found = sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())
    assert content["files"] == found
    assert content["model_sha256"] == extract(folder.with_suffix(".onnx")).model_sha256


def test_the_second_guide_replaces_the_first(guides: Callable[[str], Path], tmp_path: Path) -> None:
    model, folder = tmp_path / "blocked.onnx", tmp_path / "guide"
    shutil.copytree(guides("blocked"), folder)
    first = {p: p.read_bytes() for p in folder.rglob("*.html")}
    model.write_bytes(guides("blocked").with_suffix(".onnx").read_bytes())
    (folder / "index.html").write_text("old")
    write_guide(model, folder)
    assert {p: p.read_bytes() for p in folder.rglob("*.html")} == first
    assert sorted(p.name for p in tmp_path.iterdir()) == ["blocked.onnx", "guide"]
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(GuideError, match=r"found notes.txt, which no guide has brought"):
        write_guide(model, folder)
    assert (folder / "notes.txt").read_text() == "mine"


def test_folders_and_models_that_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = tmp_path / "m.onnx"
    blocked(model)
    strange, file = tmp_path / "strange", tmp_path / "file"
    strange.mkdir()
    (strange / RECORD).write_text("[]")
    file.write_text("")
    lost = tmp_path / "lost.onnx"
    missing(lost)
    cases = [
        (model, strange, "found guide.json and no guide, allowed: a new or empty folder"),
        (model, file, "found a file, allowed"),
        (model, tmp_path, "and no guide, allowed"),
        (tmp_path / "none.onnx", tmp_path / "new", "none.onnx"),
        (file, tmp_path / "new", "file"),
        (lost, tmp_path / "new", "no such file beside the model"),
    ]
    for given, folder, said in cases:
        with pytest.raises(SystemExit) as left:
            main(["guide", str(given), "-o", str(folder)])
        assert left.value.code == 2
        complaint = capsys.readouterr().err
        assert said in complaint
        assert complaint.count("\n") == 1
    assert not (tmp_path / "new").exists()
    assert not list(tmp_path.glob(".qdqdoc-*"))


def test_a_page_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("odd")

    model = tmp_path / "m.onnx"
    blocked(model)
    monkeypatch.setattr("qdqdoc.facts.dataflow", broken)
    with pytest.raises(GuideError, match=r"m\.onnx: guide/dataflow\.md:\d+: ERROR: .*odd"):
        write_guide(model, tmp_path / "guide")
    assert [p.name for p in tmp_path.iterdir()] == ["m.onnx"]


def test_it_says_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in [n for n in sys.modules if n.startswith(("qdqdoc.guide", "qdqdoc.sphinxext"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "sphinx.application", None)
    monkeypatch.setitem(sys.modules, "sphinx", None)
    with pytest.raises(SystemExit) as left:
        main(["guide", "m.onnx", "-o", str(tmp_path / "guide")])
    assert left.value.code == 2
    said = "qdqdoc: error: guide needs sphinx: pip install 'qdqdoc[manual]'\n"
    assert capsys.readouterr().err == said


def test_progress_is_told_to_the_end(guides: Callable[[str], Path]) -> None:
    guides("blocked")
    steps = STEPS
    assert steps[-1][0] == steps[-1][1] == len(steps)
    assert [done for done, _ in steps] == list(range(1, len(steps) + 1))


def test_it_is_quiet_in_a_pipe(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = tmp_path / "m.onnx"
    blocked(model)
    with pytest.raises(SystemExit) as left:
        main(["guide", str(model), "-o", str(tmp_path / "guide")])
    assert not left.value.code
    said = capsys.readouterr()
    assert said.err == ""
    assert said.out == f"wrote {tmp_path / 'guide' / 'index.html'}\n"


def test_what_the_guide_refers_to_comes_with_it() -> None:
    pages = manual()
    assert pages.home == ROOT
    chapters = pages.chapters()
    assert {"reading", "qlinear_conv", "qlinear_matmul"} <= set(chapters)
    assert len(chapters) < len(pages.texts) / 2, "a guide is not the whole manual"
    for page in pages.guide:
        named = [
            name for name in pages.named(page) if not name.startswith(("guide/", "operators/"))
        ]
        assert set(named) <= {*chapters, "glossary", "bibliography"}


def test_references_are_read_as_sphinx_reads_them(tmp_path: Path) -> None:
    (tmp_path / "conf.py").touch()
    guide = tmp_path / "source" / "guide"
    guide.mkdir(parents=True)
    (guide / "index.md").write_text("# G\n\n{ref}`far` {ref}`text <near>` {doc}`/other` {doc}`b`\n")
    (guide / "b.md").write_text("# B\n")
    (guide.parent / "one.md").write_text("(far)=\n# One\n\n(near)=\n## Near\n\n{doc}`two`\n")
    (guide.parent / "two.md").write_text("# Two\n")
    (guide.parent / "other.md").write_text("# Other\n")
    pages = Manual(tmp_path)
    assert [*pages.named("guide/index")] == ["one", "one", "other", "guide/b"]
    assert pages.chapters() == ["one", "other"]
    assert pages.labels["near"] == "Near"


def test_operators_of_the_model_have_their_pages() -> None:
    pages = manual()
    found = operators(extract(MODELS / "resnet8_int8_qoperator.onnx"), pages)
    assert {"com.microsoft::QLinearAdd", "QLinearConv", "QuantizeLinear"} <= set(found)
    assert "com.microsoft::QAttention" not in found


def test_a_model_that_extract_refuses_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(b"no model")
    with pytest.raises(ExtractError):
        write_guide(path, tmp_path / "guide")
