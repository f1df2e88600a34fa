"""`qdqdoc annotate`: an operations document (or a model) becomes DOT, SVG and PNG."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from qdqdoc.document.model import QDQ
from qdqdoc.errors import QdqdocError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import IO

    from qdqdoc.document import Document

SUFFIX = "_qdq_architecture"
FORMATS = ("svg", "png")
LONGEST_STEM = 150


@click.command(
    epilog="Example: qdqdoc annotate model_operations.json --output-dir diagrams",
)
@click.argument("source", required=False, type=click.Path(path_type=Path))
@click.option(
    "--operations-json",
    type=click.Path(path_type=Path),
    help="The operations document to draw; the same as SOURCE.",
)
@click.option(
    "--output-dir",
    type=click.Path(path_type=Path),
    help="Where to write, made if it is missing. Default: beside the input.",
)
@click.option(
    "--view",
    type=click.Choice(["overview", "graph", "group"]),
    default="overview",
    show_default=True,
    help="overview: the network on one page; graph: every node; group: one operation.",
)
@click.option("--group", help="The name of the operation that view group shows.")
def command(
    source: Path | None,
    operations_json: Path | None,
    output_dir: Path | None,
    view: str,
    group: str | None,
) -> None:
    """Draw SOURCE: an operations document (JSON) or an ONNX model.

    Writes MODEL_qdq_architecture.dot, .svg and .png, whatever the view: a second view into
    the same directory replaces the first.
    """
    path = _input(source, operations_json)
    document = _document(path)
    pictures = _pictures(document, view, group)
    folder = output_dir if output_dir is not None else path.parent
    written = _write(folder, f"{_stem(document.model_path)}{SUFFIX}", pictures)
    click.echo(f"Found {document.qlinear_nodes} QDQ nodes")
    for op_type in QDQ:
        click.echo(f"{op_type}: {document.op_type_counts.get(op_type, 0)}")
    for file in written:
        click.echo(str(file))


def _input(source: Path | None, operations_json: Path | None) -> Path:
    if source is not None and operations_json is not None:
        raise click.UsageError("give SOURCE or --operations-json, not both")
    path = source if source is not None else operations_json
    if path is None:
        raise click.UsageError("give the operations document: SOURCE or --operations-json")
    return path


def _document(path: Path) -> Document:
    if path.suffix.lower() != ".onnx":
        from qdqdoc.document import load  # noqa: PLC0415 - `--help` needs none of it

        return load(path)
    from qdqdoc.extract import extract  # noqa: PLC0415 - JSON is drawn without onnx

    return extract(path)


def _pictures(document: Document, view: str, group: str | None) -> Mapping[str, bytes]:
    """Draw everything before anything is written."""
    from qdqdoc.annotate import annotate  # noqa: PLC0415 - `--help` needs none of it
    from qdqdoc.render import render  # noqa: PLC0415 - the same

    dot = annotate(document, view, group=group)  # type: ignore[arg-type] # click checked the view
    return {"dot": dot.encode(), **{fmt: render(dot, fmt) for fmt in FORMATS}}  # type: ignore[arg-type]


def _stem(model_path: str) -> str:
    r"""Return a file name's stem that stays in its directory on every system.

    >>> _stem("../../etc/net.onnx"), _stem("C:\\CON:x.onnx"), _stem("..")
    ('net', 'CON_x', 'model')
    """
    name = model_path.replace("\\", "/").rsplit("/", 1)[-1]
    stem = re.sub(r"[^\w.+=@-]", "_", name.removesuffix(".onnx")).strip(". ")
    return stem[:LONGEST_STEM] or "model"


def _write(folder: Path, stem: str, contents: Mapping[str, bytes]) -> list[Path]:
    """Write all files or none."""
    from qdqdoc.document.replacing import replace_all  # noqa: PLC0415 - `--help` needs none of it

    if folder.exists() and not folder.is_dir():
        raise QdqdocError(f"{folder}: is a file, --output-dir must be a directory")
    folder.mkdir(parents=True, exist_ok=True)
    targets = {folder / f"{stem}.{ending}": content for ending, content in contents.items()}
    replace_all(
        {target: partial(_put, content) for target, content in targets.items()},
        lambda where, note: QdqdocError(f"{where}: {note}"),
    )
    return [*targets]


def _put(content: bytes, file: IO[bytes]) -> None:
    file.write(content)
