"""The same pages, pointed at another model, are that model's guide."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

ROOT = Path(__file__).parent.parent
RUNNING_EXAMPLE = "resnet8_int8"


def text_of(page: Path) -> str:
    """Return the words of a page, those that may be broken over lines in one piece."""
    html = re.sub(r"(?s)<(script|style).*?</\1>|<wbr\s*/?>", "", page.read_text("utf-8"))
    return re.sub(r"<[^>]+>", " ", html)


def scales(name: str) -> set[str]:
    """Read the scales of all QuantizeLinear nodes straight from the file."""
    graph = onnx.load(ROOT / "models" / f"{name}.onnx").graph
    values = {i.name: numpy_helper.to_array(i) for i in graph.initializer}
    quantizers = [n for n in graph.node if n.op_type == "QuantizeLinear"]
    return {str(np.float32(values[n.input[1]].ravel()[0])) for n in quantizers}


@pytest.mark.parametrize("name", ["resnet8_uint8", "resnet8_int8_folded"])
def test_the_guide_of_a_variant_has_its_numbers(name: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "sphinx", "-c", ".", "-n", "-W", "--keep-going", "-q"]
    command += ["-D", f"qdqdoc_model=models/{name}.onnx", "-d", str(tmp_path / "cache")]
    done = subprocess.run(  # noqa: S603 - our own interpreter
        [*command, "source", str(tmp_path / "html")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    pages = [text_of(page) for page in (tmp_path / "html").rglob("*.html")]
    assert not [page for page in pages if f"{RUNNING_EXAMPLE}.onnx" in page]
    parameters = text_of(tmp_path / "html" / "guide" / "parameters.html")
    shown = set(parameters.split())
    assert scales(name) <= shown
    assert not (scales(RUNNING_EXAMPLE) - scales(name)) & shown
    flow = text_of(tmp_path / "html" / "guide" / "dataflow.html")
    codes = "uint8" if name == "resnet8_uint8" else "int8"
    assert f"{codes} → {codes}" in re.sub(r"\s+", " ", flow)
