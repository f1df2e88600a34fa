"""Each kernel equals onnxruntime, optimizations off, for every version and type that runs there.

Where onnxruntime has no kernel for the types of a call, by its own registry, it must refuse the
call. Any other refusal, and any other value, is registered with the operator or fails here.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from peers import Processor, RefusedError, Reported, kinds, processor, readable, run_onnxruntime
from tied import TIED, tied

from qdqdoc.operators import OPERATORS
from qdqdoc.registry import UNWRITTEN, Call, Differs, Operator, OperatorError
from qdqdoc.witnesses import has_kernel

if TYPE_CHECKING:
    from collections.abc import Iterable

    from conftest import Witness
    from qdqdoc.numerics.formats import Array


@dataclass
class Compared:
    """What came out of comparing some calls."""

    count: int = 0
    within: int = 0
    furthest: float = 0
    differing: int = 0
    different: list[str] = field(default_factory=list)


def registered(operator: Operator) -> list[Differs]:
    """Differences of onnxruntime that this processor shows."""
    return [
        entry
        for entry in operator.differs
        if entry.peer == "onnxruntime" and entry.processor in {"", *processor().names}
    ]


def compare(operator: Operator, calls: Iterable[Call]) -> Compared:
    """Compare every value of the calls that our kernel takes."""
    found = Compared()
    for call in calls:
        try:
            ours = operator.run(call)
        except OperatorError:
            continue  # a type or attribute that this version does not have
        entries = registered(operator)
        refused = not has_kernel(operator, call, ours)
        refused |= any(entry.theirs is None and bool(entry.covers(call)) for entry in entries)
        try:
            theirs = run_onnxruntime(operator, call, kinds(ours))
        except RefusedError as error:
            if not refused:
                found.different.append(f"{call.name} at opset {call.opset}: refused: {error}")
            continue
        if refused:
            found.different.append(f"{call.name} at opset {call.opset}: runs now")
            continue
        _compare_outputs(found, operator, call, (ours, theirs))
    return found


def _compare_outputs(
    found: Compared, operator: Operator, call: Call, pair: tuple[Any, Any]
) -> None:
    for number, (name, y, theirs) in enumerate(zip(operator.outputs, *pair, strict=True)):
        shown = readable(y)
        if shown.shape != theirs.shape:
            found.different.append(f"{call.name}: {name}: shape {y.shape}, theirs {theirs.shape}")
            continue
        known = _known(operator, call, number, y.shape)
        equal = (shown == theirs) | (np.isnan(shown) & np.isnan(theirs))
        distance = _distance(operator, call, name, (shown, theirs))
        found.differing += int((known & ~equal).sum())
        close = np.zeros(y.shape, bool) if distance is None else distance <= _ulp(operator, name)
        found.within += int((close & ~equal & ~known).sum())
        if distance is not None:
            found.furthest = max(found.furthest, float(distance[close & ~known].max(initial=0)))
        found.count += int((equal & ~known).sum())
        wrong = ~(known | equal | close)
        if wrong.any():
            at = tuple(int(i[0]) for i in np.nonzero(wrong)) if y.ndim else ()
            said = f"{int(wrong.sum())} of {y.size} values; {at}: {shown[at]}, theirs {theirs[at]}"
            found.different.append(f"{call.name} at opset {call.opset}: {name}: {said}")


def _known(operator: Operator, call: Call, output: int, shape: tuple[int, ...]) -> Array:
    mask = np.zeros(shape, bool)
    for entry in registered(operator):
        if entry.theirs is not None and operator.place(entry) == output:
            mask |= np.asarray(entry.covers(call), bool)
    return mask


def _ulp(operator: Operator, output: str) -> float:
    return next(bound.ulp for bound in operator.bounds if bound.output == output)


def _distance(
    operator: Operator, call: Call, output: str, pair: tuple[Array, Array]
) -> Array | None:
    for bound in operator.bounds:
        if bound.output == output:
            ours, theirs = (np.asarray(y, np.float64) for y in pair)
            with np.errstate(all="ignore"):
                return np.where(ours == theirs, 0, np.abs(ours - theirs) / bound.unit(call))
    return None


def check(operator: Operator, since: int, calls: Iterable[Call], witness: Witness) -> int:
    found = compare(operator, calls)
    if processor().known:
        assert not found.different, found.different[:10]
    if found.different:
        said = f"on this processor: {operator.full_name}: {found.different}"
        warnings.warn(said, Reported, stacklevel=2)
    else:
        witness(
            operator.full_name,
            since,
            "onnxruntime",
            found.count,
            within=found.within,
            furthest=found.furthest,
            differing=found.differing,
        )
    return found.count + found.within


pytestmark = pytest.mark.filterwarnings("default::peers.Reported")

VERSIONS = pytest.mark.parametrize(
    ("operator", "since"),
    [(o, v.since) for o in OPERATORS.values() for v in o.versions],
    ids=[f"{o.full_name}-{v.since}" for o in OPERATORS.values() for v in o.versions],
)
NO_KERNEL_YET = 28
"""The version of QuantizeLinear and DequantizeLinear that onnxruntime does not have."""


@VERSIONS
def test_vectors(operator: Operator, since: int, witness: Witness) -> None:
    calls = operator.vectors()
    if not operator.domain:
        calls = (replace(c, opset=since) for c in calls)
    count = check(operator, since, calls, witness)
    assert count > 100 or since == NO_KERNEL_YET or refuses_all(operator)


def refuses_all(operator: Operator) -> bool:
    """Tell whether this processor has no kernel, for any call."""
    refused = [entry.covers for entry in registered(operator) if entry.theirs is None]
    return any(all(covers(call) for call in operator.vectors()) for covers in refused)


@TIED
def test_ties(operator: Operator, since: int, witness: Witness) -> None:
    count = check(operator, since, tied(operator, since), witness)
    assert count > 1000 or refuses_all(operator)


def off_by_one(operator: Operator) -> Operator:
    def kernel(**given: Array) -> Array:
        y: Array = operator.kernel(**given)
        return y + np.ones((), y.dtype)

    return replace(operator, kernel=kernel)


@pytest.fixture
def one_call() -> list[Call]:
    return [next(OPERATORS["", "QLinearMatMul"].ties())]


def test_a_wrong_kernel_is_noticed(one_call: list[Call], witness: Witness) -> None:
    with pytest.raises(AssertionError, match="65536 of 65536 values"):
        check(off_by_one(OPERATORS["", "QLinearMatMul"]), 10, one_call, witness)


def test_an_unknown_processor_is_told_of(
    one_call: list[Call], witness: Witness, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = Processor(known=False, names=())
    monkeypatch.setitem(globals(), "processor", lambda: machine)
    with pytest.warns(Reported, match="65536 of 65536 values"):
        check(off_by_one(OPERATORS["", "QLinearMatMul"]), 10, one_call, witness)


def test_a_difference_that_is_gone_is_noticed(one_call: list[Call], witness: Witness) -> None:
    refused = Differs("onnxruntime", one_call[0], None, "why", "text", lambda _: True)
    operator = replace(OPERATORS["", "QLinearMatMul"], differs=(refused,))
    with pytest.raises(AssertionError, match="runs now"):
        check(operator, 10, one_call, witness)


def test_memory_that_was_never_written_is_not_compared(witness: Witness) -> None:
    operator = OPERATORS["", "QLinearMatMul"]
    calls = [entry.call for entry in operator.differs if entry.theirs == UNWRITTEN]
    assert calls
    assert check(operator, 10, calls, witness) == 0
