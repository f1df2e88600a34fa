"""Law 4: what rounds, clips or narrows stands in qdqdoc/numerics/rounding.py alone.

Three things in the source round, and all are found by their spelling:

* a call of a rounding function (``np.rint``, ``math.floor``, ``x.clip`` and their like),
* ``x.astype(T)``, ``np.asarray(x, T)`` and their like, unless T is wide,
* ``np.float32(x)`` and its like, unless x is a literal.

In the registry likewise, where it is found out by running every vector.

*Wide* are int32, int64 and float64: every code, and every sum that is bounded, fits into them. The
oracle in ``qdqdoc/formula`` has its own rounding, because a witness shares no code with what it
witnesses. In the file of an operator, what its kernel reaches is looked at: the rest chooses inputs
for vectors. Rooms that show numbers may give them a type, in order to spell them. What else there
is stands below, each with its reason.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from qdqdoc.drift.cases import cases

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "qdqdoc"
ROUNDING_ROOMS = ("numerics/rounding.py", "formula/")
SHOWING_ROOMS = ("annotate/", "calls/", "facts/", "pytorch/", "sphinxext/")

FUNCTIONS = {"rint", "round", "around", "round_", "clip", "floor", "ceil", "trunc", "fix"}
MODULES = {"np", "numpy", "math"}
METHODS = {"round", "clip"}
MAKERS = {"array", "asarray", "full", "full_like", "ascontiguousarray", "fromiter"}
WIDE = {"np.int32", "np.int64", "np.float64", "int", "bool", "np.bool_", "np.intp", "object"}
NARROW = {"np.float32", "np.float16", "np.single", "np.half"}

ALLOWED = {
    "conformance/parts.py::storage": "bits become bytes that hold them; values stay",
    "annotate/rows.py::widths": "points on paper",
    "drift/cases.py::_same_array": "both sides of a comparison, to a type that holds them",
    "sphinxext/atlas.py::_f32": "the oracle's rounding, for rules that others have",
    "sphinxext/atlas.py::_f64": "the oracle's rounding, for rules that others have",
    "witnesses.py::_comparable": "defaults of attributes are float32 in the file",
    "document/arrays.py::decode": "stored bytes become codes of the same range",
    "document/arrays.py::encode": "values of a document are brought into the type it names",
    "extract/constants.py::_sign_extended": "bits of one byte move within that byte",
    "extract/constants.py::_typed": "a code was masked to its width just before",
    "extract/roles.py::_plain": "codes become the bytes that store them",
    "execute/rationals.py::quantized": "whole numbers that were held within the range before",
    "facts/layers.py::_bias": "an exact fraction to the nearest code; whether it was one is told",
    "facts/steps.py::steps": "the witness of a kernel's step: another road to the same integer",
    "numerics/formats.py::tensor": "makes vectors and examples, where its callers are checked",
    "numerics/products.py::integer_conv": "exact: the bound on the sums has chosen the type",
    "numerics/products.py::integer_matmul": "exact: the bound on the sums has chosen the type",
    "plan/pairs.py::_places": "exact: the type holds as many numbers as there are",
    "plan/products.py::_exactly": "exact: the bound on the sums has chosen the type",
}


def calls(tree: ast.AST, name: str = "module") -> Iterator[tuple[str, ast.Call]]:
    """Yield each call with the name of the function that it stands in."""
    for node in ast.iter_child_nodes(tree):
        inner = node.name if isinstance(node, ast.FunctionDef) else name
        if isinstance(node, ast.Call):
            yield inner, node
        yield from calls(node, inner)


def reached_by_kernels(module: ast.Module) -> set[str]:
    """Name the functions of an operator's file that run when its kernel runs."""
    known = {node.name: node for node in module.body if isinstance(node, ast.FunctionDef)}
    reached: set[str] = set()
    waiting = {name for name, node in known.items() if is_kernel(node)}
    while waiting:
        reached.add(name := waiting.pop())
        # The decorator is not walked: it names the vectors.
        body = (node for statement in known[name].body for node in ast.walk(statement))
        names = {node.id for node in body if isinstance(node, ast.Name)}
        waiting |= (names & known.keys()) - reached
    return reached


def is_kernel(function: ast.FunctionDef) -> bool:
    return any(ast.unparse(one).startswith("operator(") for one in function.decorator_list)


def by_function(call: ast.Call) -> str:
    """Name the rounding function that is called, if it is one."""
    spelled = ast.unparse(call.func)
    owner, _, name = spelled.rpartition(".")
    if spelled == "round" or (owner in MODULES and name in FUNCTIONS):
        return spelled
    return f".{name}" if owner and owner not in MODULES and name in METHODS else ""


def by_type(call: ast.Call) -> str:
    """Say to which type a call brings a value, if that may round it."""
    spelled = ast.unparse(call.func)
    owner, _, name = spelled.rpartition(".")
    if name == "astype" or (owner in MODULES and name in MAKERS):
        return narrowing(call, first=name == "astype")
    if spelled == "tensor":
        return "" if literal(call.args[1]) else spelled
    if spelled in NARROW or (owner == "ml_dtypes" and name not in {"finfo", "iinfo"}):
        return "" if not call.args or literal(call.args[0]) else spelled
    return ""


def narrowing(call: ast.Call, *, first: bool) -> str:
    """Say to which type a call casts, if that may be narrower than what it casts."""
    by_name = [keyword.value for keyword in call.keywords if keyword.arg == "dtype"]
    target = (by_name or call.args[0 if first else 1 :])[:1]
    if not target or ast.unparse(target[0]) in WIDE or (not first and literal(call.args[0])):
        return ""
    return f"{ast.unparse(call.func).rpartition('.')[2]} to {ast.unparse(target[0])}"


def literal(node: ast.expr) -> bool:
    try:
        ast.literal_eval(node)
    except ValueError:
        return False
    else:
        return True


def found_in(path: Path, source: str) -> Iterator[tuple[str, str]]:
    """Yield file::function and a complaint for everything that rounds in a file."""
    file = path.relative_to(PACKAGE).as_posix()
    if file.startswith(ROUNDING_ROOMS):
        return
    module = ast.parse(source)
    reached = reached_by_kernels(module) if file.startswith("operators/") else None
    if file.startswith("registry/"):
        reached = reached_by_vectors()[file]
    for function, call in calls(module):
        casts = not file.startswith(SHOWING_ROOMS)
        how = by_function(call) or (by_type(call) if casts else "")
        if how and (reached is None or function in reached):
            yield f"{file}::{function}", f"qdqdoc/{file}:{call.lineno}: {how} (in {function})"


@cache
def reached_by_vectors() -> Mapping[str, set[str]]:
    """Name the functions that some vector, or some refused call, comes through, by their file."""
    found: dict[str, set[str]] = defaultdict(set)
    for code in frozenset().union(*(case.touched for case in cases())):
        found[Path(code.co_filename).relative_to(PACKAGE).as_posix()].add(code.co_name)
    return found


def everything() -> Iterator[tuple[str, str]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        yield from found_in(path, path.read_text("utf-8"))


def test_rounding_stands_in_one_file() -> None:
    found = [complaint for key, complaint in everything() if key not in ALLOWED]
    assert not found, "\n".join(found)


def test_no_exception_outlives_its_reason() -> None:
    assert set(ALLOWED) == {key for key, _ in everything()} & set(ALLOWED)


@pytest.mark.parametrize(
    ("source", "complaint"),
    [
        ("np.rint(x)", "np.rint"),
        ("np.clip(x, 0, 255)", "np.clip"),
        ("math.floor(x)", "math.floor"),
        ("round(x)", "round"),
        ("x.round()", ".round"),
        ("x.astype(np.int8)", "astype to np.int8"),
        ("x.astype(dtype=kind)", "astype to kind"),
        ("np.asarray(x, np.float32)", "asarray to np.float32"),
        ("np.float32(x)", "np.float32"),
        ("ml_dtypes.bfloat16(x)", "ml_dtypes.bfloat16"),
    ],
)
def test_what_rounds_is_seen(source: str, complaint: str) -> None:
    ((_, found),) = found_in(PACKAGE / "numerics" / "a.py", f"def kernel(x):\n    {source}")
    assert found == f"qdqdoc/numerics/a.py:2: {complaint} (in kernel)"


@pytest.mark.parametrize(
    "source",
    [
        "x.astype(np.int64)",
        "np.float32([0.5, -1])",
        "np.array(x)",
        "np.array([1, 2], np.int8)",
        "rule.round_trip(x)",
    ],
)
def test_what_does_not_round_is_left_alone(source: str) -> None:
    assert not list(found_in(PACKAGE / "numerics" / "a.py", f"def kernel(x):\n    {source}"))


def test_in_an_operator_what_the_kernel_reaches_is_seen() -> None:
    source = """
def vectors():
    yield x.astype(np.int8)

def helper(x):
    return np.rint(x)

@operator(name="A", vectors=vectors)
def a(x):
    return helper(x)
"""
    ((key, _),) = found_in(PACKAGE / "operators" / "a.py", source)
    assert key == "operators/a.py::helper"
