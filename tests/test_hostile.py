"""Models and files that somebody made to do harm: each is answered in one line, soon."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import numpy as np
import onnx
import pytest
from onnx import parser

from qdqdoc.execute import ExecuteError, execute, read_array
from qdqdoc.extract import extract
from qdqdoc.fuse import FuseError, fuse

if TYPE_CHECKING:
    from pathlib import Path

IDLE = """
<ir_version: 9, opset_import: ["" : 18]>
g (int64 most, bool on, float[2] x) => (float[2] y) {
  y = Loop(most, on, x) <body = idle (int64 i, bool go, float[2] v) => (bool go, float[2] v) {}>
}
"""


def test_a_loop_that_makes_nothing_meets_the_limit(tmp_path: Path) -> None:
    path = tmp_path / "idle.onnx"
    onnx.save(parser.parse_model(IDLE), path)
    given = {"most": np.array(2**62), "on": np.array(True), "x": np.zeros(2, np.float32)}
    with pytest.raises(ExecuteError, match="allowed: 1000000"):
        execute(extract(path), given, limit=10**6)


@pytest.mark.parametrize(
    "header",
    [
        "{'descr': '<f4', 'fortran_order': False, 'shape': (-2, -2), }",
        f"{{'descr': '<f4', 'fortran_order': False, 'shape': (0, {2**62}, 8), }}",
        f"{{'descr': '<f4', 'fortran_order': False, 'shape': (0, {2**70}), }}",
        f"{{'descr': '|u1', 'fortran_order': False, 'shape': {(1,) * 70}, }}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (2, ",
        "(((",
    ],
)
def test_an_array_that_lies_about_its_shape(header: str, tmp_path: Path) -> None:
    text = header.encode().ljust(118) + b"\n"
    size = 16 if "-2" in header else int("'|u1'" in header)
    (tmp_path / "x.npy").write_bytes(
        b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + bytes(size)
    )
    with pytest.raises(ExecuteError, match=r"x\.npy: "):
        read_array(tmp_path / "x.npy")


def test_functions_that_double_are_not_opened_for_ever(tmp_path: Path) -> None:
    functions = [
        f'<domain: "local", opset_import: ["" : 18, "local" : 1]>\n'
        f"f{k} (a) => (c) {{ b = local.f{k + 1}(a)\n c = local.f{k + 1}(b) }}"
        for k in range(40)
    ]
    functions.append('<domain: "local", opset_import: ["" : 18]>\nf40 (a) => (b) { b = Relu(a) }')
    head = '<ir_version: 9, opset_import: ["" : 18, "local" : 1]>\n'
    main = "g (float[n] x) => (float[n] y) { y = local.f0(x) }\n"
    path = tmp_path / "doubling.onnx"
    path.write_bytes(parser.parse_model(head + main + "\n".join(functions)).SerializeToString())
    with pytest.raises(FuseError, match="more than 10000 calls of functions"):
        fuse(extract(path), "ort-x86")
