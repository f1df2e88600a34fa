"""``qdqdoc evaluate``: a model and a data set in, what each contract makes of it out."""

from __future__ import annotations

import sys
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from qdqdoc.errors import QdqdocError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from qdqdoc.document import Document

CONTRACTS = "qdq"


@click.command(
    epilog="Example: qdqdoc evaluate model.onnx --inputs images.npy --labels labels.npy "
    "--contracts qdq,ort -o result",
    short_help="Compare contracts on a data set.",
)
@click.argument("model", type=click.Path(path_type=Path), metavar="MODEL")
@click.option(
    "--inputs",
    "inputs",
    multiple=True,
    required=True,
    metavar="[NAME=]FILE",
    help="The images: an .npy, or FILE.npz:KEY; once for each input of the model, by name.",
)
@click.option("--labels", metavar="FILE", help="The class of each image, in a file of integers.")
@click.option(
    "--contracts",
    default=CONTRACTS,
    show_default=True,
    metavar="NAME[,NAME...]",
    help="What the numbers are equal to; qdq is the file as written.",
)
@click.option(
    "--classes", metavar="OUTPUT", help="The output whose largest value is the class, of several."
)
@click.option(
    "--engine",
    default="blas",
    show_default=True,
    metavar="NAME",
    help="What multiplies: blas, or torch, if it is installed. The numbers are the same.",
)
@click.option("--batch", type=int, metavar="N", help="So many images at a time.")
@click.option(
    "--jobs",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    metavar="N",
    help="So many processes.",
)
@click.option(
    "--cluster", metavar="ADDRESS", help="The scheduler of a Dask cluster, tcp://HOST:PORT."
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    help="Where to keep what is done; a run that was killed continues there.",
)
@click.option(
    "--json",
    "json_file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Where to write the result, with every layer.",
)
def command(
    model: Path,
    inputs: tuple[str, ...],
    labels: str | None,
    contracts: str,
    classes: str | None,
    engine: str,
    batch: int | None,
    jobs: int,
    cluster: str | None,
    output: Path | None,
    json_file: Path | None,
) -> None:
    """Run MODEL, an ONNX model or its operations document (JSON), on a data set.

    Prints how many images each contract puts into the right class, and for each pair of contracts
    which layers differ, in how many values and by how many steps, and where images differ first.
    The result is the same for any number of processes.
    """
    from qdqdoc.evaluate import (  # noqa: PLC0415 - `--help` needs none of it
        RESULT,
        dumps,
        evaluate,
        opened,
        report,
        split,
        write,
    )

    document = _document(model)
    files = _files(document, inputs)
    texts = [*files.values(), *([labels] if labels is not None else [])]
    read = (split(text)[0] for text in texts)
    _expect_free(json_file, {model, model.with_suffix(".npz"), *read})
    with ExitStack() as stack:
        given = {name: stack.enter_context(opened(file)) for name, file in files.items()}
        truth = stack.enter_context(opened(labels)) if labels is not None else None
        found = evaluate(
            document,
            given,
            truth,
            contracts.split(","),
            batch=batch,
            classes=classes,
            engine=engine,
            jobs=jobs,
            cluster=cluster,
            folder=output,
            progress=stack.enter_context(_bar()),
            note=lambda text: click.echo(text, err=True),
        )
    click.echo(report(found), nl=False)
    places = [*([output / RESULT] if output else []), *([json_file] if json_file else [])]
    for path in places:
        write(path, dumps(found))
        click.echo(f"wrote {path}")


def _expect_free(target: Path | None, read: set[Path]) -> None:
    """Refuse, before any work, a place where nothing can be written or something is read."""
    if target is None:
        return
    if target.is_dir():
        raise QdqdocError(f"{target}: is a directory, expected a file to write")
    if not target.parent.is_dir():
        raise QdqdocError(f"{target}: there is no such folder to write in")
    if target.resolve() in {path.resolve() for path in read}:
        raise QdqdocError(f"{target}: writing here would overwrite what is read")


def _files(document: Document, texts: Sequence[str]) -> dict[str, str]:
    """Tell which file is which input; the name may go where there is only one."""
    names = document.graph.inputs
    files: dict[str, str] = {}
    for text in texts:
        ends = [end for end, sign in enumerate(text) if sign == "=" and text[:end] in names]
        if not ends and len(names) != 1:
            allowed = ", ".join(f"{name}=FILE" for name in names) or "none"
            raise QdqdocError(f"--inputs: found {text!r}, allowed: {allowed}")
        name, file = (text[: ends[0]], text[ends[0] + 1 :]) if ends else (names[0], text)
        if name in files:
            raise QdqdocError(f"--inputs: found {name!r} twice, allowed: once")
        files[name] = file
    return files


@contextmanager
def _bar() -> Iterator[Callable[[int, int], None]]:
    """Show on a terminal how many images are done; say nothing in a pipe."""
    if not sys.stderr.isatty():
        yield lambda *_: None
        return
    with ExitStack() as stack:
        bars: list[Any] = []

        def progress(done: int, images: int) -> None:
            if not bars:
                bar = click.progressbar(
                    length=images, label="images", show_pos=True, file=sys.stderr
                )
                bars.append(stack.enter_context(bar))
            bars[0].update(done - bars[0].pos)

        yield progress


def _document(path: Path) -> Document:
    if path.suffix.lower() == ".json":
        from qdqdoc.document import load  # noqa: PLC0415 - see above

        return load(path)
    from qdqdoc.extract import extract  # noqa: PLC0415 - JSON is run without onnx where it can be

    return extract(path)
