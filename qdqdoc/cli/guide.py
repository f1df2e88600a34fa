"""``qdqdoc guide``: a model in, its architecture guide out."""

from __future__ import annotations

import sys
import webbrowser
from pathlib import Path

import click

from qdqdoc.errors import QdqdocError

OWN = "qdqdoc"


@click.command(
    epilog="Example: qdqdoc guide model.onnx -o guide --open",
    short_help="Write a guide to an ONNX model: its layers, scales, codes and bytes.",
)
@click.argument("model", type=click.Path(path_type=Path), metavar="MODEL.onnx")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    metavar="DIR",
    required=True,
    help="A new or empty folder, or one with an older guide, which is replaced.",
)
@click.option("--pdf", is_flag=True, help="Write the guide as guide.pdf, too.")
@click.option("--open", "show", is_flag=True, help="Look at it in the browser.")
def command(model: Path, output: Path, pdf: bool, show: bool) -> None:
    """Write a guide to MODEL.onnx: pages of HTML on what is in it, begun at DIR/index.html.

    How data flows, where branches meet, every scale and zero point, types and bytes, one run with
    what came out of each layer, and the rules behind the numbers. Nothing is asked of the network.
    """
    try:
        from qdqdoc.guide import write_guide  # noqa: PLC0415 - `--help` needs none of it
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package == OWN:
            raise
        raise QdqdocError(f"guide needs {package}: pip install 'qdqdoc[manual]'") from None
    with click.progressbar(
        length=1, label="pages", file=sys.stderr, hidden=not sys.stderr.isatty()
    ) as bar:

        def progress(done: int, total: int) -> None:
            bar.length = total
            bar.update(done - bar.pos)

        written = write_guide(model, output, pdf=pdf, progress=progress)
    for path in written:
        click.echo(f"wrote {output / path.name}")
    if show:
        webbrowser.open(written[0].as_uri())
