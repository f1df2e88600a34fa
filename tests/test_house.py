"""Who imports whom: the table in CONTRIBUTING.md against every import statement."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "qdqdoc"
HEAD = "| room | from qdqdoc | from outside |"
EVERYONE = {"errors", "__version__", "__file__"}
LATE = re.compile(r"(?P<name>[\w.]+)(?P<late> \(late\))?")


@dataclass(frozen=True)
class Room:
    """A row of the table: what may be imported -> whether inside functions only."""

    inside: Mapping[str, bool]
    outside: Mapping[str, bool]

    def refuses(self, found: Import) -> str:
        """Say what is wrong with an import, or nothing."""
        if found.top == "qdqdoc":
            name, allowed = found.room, self.inside
        else:
            name, allowed = found.module, self.outside
        late = [allowed[n] for n in allowed if name == n or name.startswith(f"{n}.")]
        if not late:
            return f"may not import {found.module}"
        if all(late) and not found.late:
            return f"may import {found.module} late only"
        return ""


class Import(NamedTuple):
    """One module named by an import statement."""

    module: str
    line: int
    late: bool

    @property
    def top(self) -> str:
        return self.module.partition(".")[0]

    @property
    def room(self) -> str:
        return self.module.split(".")[1]


def table(text: str) -> dict[str, Room]:
    lines = text.partition(HEAD)[2].strip().splitlines()[1:]
    rows = takewhile(lambda line: line.startswith("|"), lines)
    cells = ([cell.strip() for cell in row.replace("\\", "").strip("|").split("|")] for row in rows)
    return {name: Room(permits(inside), permits(outside)) for name, inside, outside in cells}


def permits(cell: str) -> dict[str, bool]:
    if cell == "-":
        return {}
    found = [LATE.fullmatch(part.strip()) for part in cell.split(",")]
    assert all(found), f"CONTRIBUTING.md: cannot read {cell!r}"
    return {match["name"]: bool(match["late"]) for match in found if match}


def imports(tree: ast.AST, *, late: bool = False) -> Iterator[Import]:
    """Yield every import below a node, of `import_module("...")` too."""
    for node in ast.iter_child_nodes(tree):
        for module in modules(node):
            yield Import(module, node.lineno, late)  # type: ignore[attr-defined] # has a place
        yield from imports(node, late=late or is_late(node))


def taken(tree: ast.AST) -> Iterator[Import]:
    """Yield what a bare ``import qdqdoc`` is used for."""
    nodes = list(ast.walk(tree))
    named = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    for node in nodes if "qdqdoc" in named else []:
        match node:
            case ast.Attribute(value=ast.Name("qdqdoc"), attr=attribute):
                yield Import(f"qdqdoc.{attribute}", node.lineno, late=False)


def is_late(node: ast.AST) -> bool:
    """Tell whether what stands below runs later than the import of the module, or never."""
    if isinstance(node, ast.If):
        return isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
    return isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)


def modules(node: ast.AST) -> list[str]:
    match node:
        case ast.Import(names=names):
            return [alias.name for alias in names if alias.name != "qdqdoc"]
        case ast.ImportFrom(level=level) if level:
            return ["qdqdoc.?"]  # relative imports hide the room
        case ast.ImportFrom(module="qdqdoc", names=names):
            return [f"qdqdoc.{alias.name}" for alias in names]
        case ast.ImportFrom(module=str(module)):
            return [module]
        case ast.Call(
            func=ast.Name("import_module") | ast.Attribute(attr="import_module"),
            args=[ast.Constant(str(module)), *_],
        ):
            return [module]
    return []


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def complaints(path: Path, source: str, rooms: Mapping[str, Room]) -> list[str]:
    """List what an import of one file breaks, with file and line."""
    where, room = path.relative_to(ROOT), room_of(path)
    if room not in rooms:
        return [f"{where}:1: {room} has no row in CONTRIBUTING.md"]
    found = []
    tree = ast.parse(source)
    for one in (*imports(tree), *taken(tree)):
        if one.top in sys.stdlib_module_names:
            continue
        if one.top == "qdqdoc" and (one.room == room or one.room in EVERYONE):
            sibling = room == "operators" and one.room == room
            wrong = f"an operator may not import another: {one.module}" if sibling else ""
        else:
            wrong = rooms[room].refuses(one)
        if wrong:
            found.append(f"{where}:{one.line}: {room}: {wrong}")
    return found


ROOMS = table((ROOT / "CONTRIBUTING.md").read_text("utf-8"))
SOURCES = sorted(PACKAGE.rglob("*.py"))


def test_every_import_is_in_the_table_of_contributing() -> None:
    found = [c for path in SOURCES for c in complaints(path, path.read_text("utf-8"), ROOMS)]
    assert not found, "\n".join(found)


def test_every_row_of_the_table_is_a_room() -> None:
    rooms = {room_of(path) for path in SOURCES}
    assert set(ROOMS) == rooms


@pytest.mark.parametrize(
    ("file", "source", "complaint"),
    [
        ("document/a.py", "import onnx", ":1: document: may not import onnx"),
        ("document/a.py", "def f():\n    from onnx import x", ":2: document: may not import onnx"),
        (
            "annotate/a.py",
            "if TYPE_CHECKING:\n    import qdqdoc.extract.types",
            ":2: annotate: may not import qdqdoc.extract.types",
        ),
        (
            "operators/ai_onnx/a.py",
            "from qdqdoc.operators.ai_onnx.b import c",
            ":1: operators: an operator may not import another: qdqdoc.operators.ai_onnx.b",
        ),
        ("numerics/a.py", "from qdqdoc import registry", ":1: numerics: may not import qdqdoc.reg"),
        ("numerics/a.py", "import qdqdoc\nqdqdoc.cli", ":2: numerics: may not import qdqdoc.cli"),
        ("numerics/a.py", "from .. import registry", ":1: numerics: may not import qdqdoc.?"),
        ("groups.py", "import_module('sphinx.util')", ":1: groups: may not import sphinx.util"),
        ("render.py", "import pygraphviz", ":1: render: may import pygraphviz late only"),
        ("new/a.py", "", ":1: new has no row in CONTRIBUTING.md"),
    ],
)
def test_what_the_table_does_not_allow_is_named(file: str, source: str, complaint: str) -> None:
    (found,) = complaints(PACKAGE / file, source, ROOMS)
    assert found.startswith(f"{Path('qdqdoc', file)}{complaint}")


def only_importer(module: str) -> set[str]:
    return {
        room_of(path)
        for path in SOURCES
        for one in imports(ast.parse(path.read_text("utf-8")))
        if one.top == module
    }


def test_onnx_is_known_to_few() -> None:
    """Models are read by `extract`; the other rooms put kernels beside onnx's own operators."""
    assert only_importer("onnx") == {"extract", "evaluator", "execute", "witnesses", "__init__"}


def test_sphinx_is_known_to_those_who_make_pages() -> None:
    assert only_importer("sphinx") | only_importer("docutils") == {"sphinxext", "guide", "pdf"}


def run(source: str) -> str:
    command = [sys.executable, "-c", source]
    done = subprocess.run(  # noqa: S603 - the command stands in these tests
        command, capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert not done.returncode, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize(
    ("module", "cost"),
    [
        ("qdqdoc.operators", {"numpy", "ml_dtypes"}),
        ("qdqdoc.formula", set()),
        ("qdqdoc.document", {"numpy"}),
        ("qdqdoc.annotate", {"numpy"}),
        ("qdqdoc.cli", {"click"}),
    ],
)
def test_importing_a_room_costs_this_alone(module: str, cost: set[str]) -> None:
    loaded = run(
        f"import sys; before = set(sys.modules); import {module};"
        "print(*sorted({m.partition('.')[0] for m in sys.modules.keys() - before}))"
    )
    outside = {name for name in loaded.split() if not name.startswith("_")}
    assert outside - sys.stdlib_module_names == {"qdqdoc", *cost}


def test_a_document_is_drawn_where_onnx_is_not_installed(tmp_path: Path) -> None:
    from qdqdoc.document import dump  # noqa: PLC0415 - the drawing below stands alone
    from qdqdoc.extract import extract  # noqa: PLC0415 - the same

    operations = tmp_path / "operations.json"
    dump(extract(ROOT / "models" / "resnet8_int8.onnx"), operations)
    dot = run(
        "import sys; sys.modules['onnx'] = None;"
        "from qdqdoc.annotate import annotate; from qdqdoc.document import load;"
        f"print(annotate(load({str(operations)!r})))"
    )
    assert "QuantizeLinear" in dot
