"""``qdqdoc extract``: an ONNX model in, an operations document out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from qdqdoc.document import DocumentError, companion, dump
from qdqdoc.extract import extract

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qdqdoc.document import Document


@click.command(
    epilog="Example: qdqdoc extract model.onnx -o build/model.json",
    short_help="Read an ONNX model into an operations document (JSON).",
)
@click.argument("model", type=click.Path(path_type=Path), metavar="MODEL.onnx")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    metavar="OUT.json",
    help="Where to write.  [default: <model>_operations.json beside the model]",
)
def command(model: Path, output: Path | None) -> None:
    """Read an ONNX model into an operations document (JSON).

    The document holds every node and every tensor of the model. Tensors of more than a few
    values stand beside it, in a file of the same name that ends in .npz.
    """
    document = extract(model)
    output = output or model.with_name(f"{model.stem}_operations.json")
    written = [output, companion(output)]
    if any(path.resolve() == model.resolve() for path in written):
        raise DocumentError(["writing here would overwrite the model"], str(model))
    dump(document, output)
    for line in _summary(document):
        click.echo(line)
    for path in written if document.data else written[:1]:
        click.echo(f"wrote {path}")


def _summary(document: Document) -> Iterator[str]:
    """Yield a table: all nodes, Q, DQ, then each operator type."""
    counts = document.op_type_counts
    rows = {
        "total nodes": document.total_nodes,
        "QuantizeLinear": counts.pop("QuantizeLinear", 0),
        "DequantizeLinear": counts.pop("DequantizeLinear", 0),
        **counts,
    }
    width = max(map(len, rows))
    digits = len(str(document.total_nodes))
    for name, count in rows.items():
        yield f"{name:<{width}}  {count:>{digits}}"
