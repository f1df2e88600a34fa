"""Every one-node case of onnx: the values that onnx states, or a refusal that names the node."""

from __future__ import annotations

import warnings
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from onnx.backend.test.case.node import collect_testcases

from qdqdoc.execute import ExecuteError, execute
from qdqdoc.extract import extract

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

PARTS = 8
REFUSED = (
    "its result is random",
    "of the operators that hold graphs, If, Loop and Scan are run",
    "there is no such operator here",  # Scatter, which opset 11 renamed
    "allowed: tensors",  # a sequence as an input
    "allowed: opset 9 or newer",  # the first Scan
    "found opset 1, allowed: 7 or newer",
)


@cache
def cases() -> list[Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # onnx computes what it expects, infinities too
        return [case for case in collect_testcases(None) if case.model is not None]


def plain(value: Any) -> Any:  # noqa: ANN401 - an array, a sequence, nothing
    return numpy_helper.to_array(value) if isinstance(value, onnx.TensorProto) else value


def equal(case: Any, ours: Any, theirs: Any) -> bool:  # noqa: ANN401 - onnx's class, and arrays
    """Compare as the case itself says: it brings its tolerances along."""
    texts = {ours.dtype.kind, theirs.dtype.kind} <= {*"OUS"}
    if ours.shape != theirs.shape or not (texts or ours.dtype == theirs.dtype):
        return False
    if texts or ours.dtype.kind in "biu":
        return bool((ours == theirs).all())
    wide = complex if ours.dtype.kind == "c" else float
    pair = (ours.astype(wide), theirs.astype(wide))
    return bool(np.allclose(*pair, rtol=case.rtol, atol=case.atol, equal_nan=True))


@pytest.mark.parametrize("part", range(PARTS))
def test_the_values_are_those_that_onnx_states(
    part: int, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    right, refused, wrong = 0, 0, list[str]()
    for case in cases()[part::PARTS]:
        (tmp_path / "m.onnx").write_bytes(case.model.SerializeToString())
        whole = extract(tmp_path / "m.onnx")
        names = [value.name for value in case.model.graph.input]
        for inputs, outputs in case.data_sets:
            given = dict(zip(names, map(plain, inputs), strict=True))
            try:
                trace = execute(whole, given)
            except ExecuteError as error:
                refused += 1
                wrong += [] if str(error).endswith(REFUSED) else [f"{case.name}: {error}"]
                continue
            pairs = zip(whole.graph.outputs, map(plain, outputs), strict=True)
            stated = [(trace[n], v) for n, v in pairs if isinstance(v, np.ndarray | np.generic)]
            wrong += [case.name for pair in stated if not equal(case, *pair)]
            right += bool(stated)
    record_property("qdq and onnx's cases", (right, refused))
    assert not wrong
    assert right > 10 * refused
