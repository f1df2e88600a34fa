"""``qdqdoc run``: a model and its inputs in, every tensor of the run out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from qdqdoc.errors import QdqdocError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qdqdoc.document import Document
    from qdqdoc.execute import Traced

CONTRACT, ENGINE = "qdq", "blas"


@click.command(
    epilog="Example: qdqdoc run model.onnx --input image=image.npy --contract ort -o trace.npz",
    short_help="Run a model and write every tensor of the run.",
)
@click.argument("model", type=click.Path(path_type=Path), metavar="MODEL")
@click.option(
    "--input",
    "inputs",
    multiple=True,
    metavar="NAME=FILE.npy",
    help="What an input of the model is; once for each input.",
)
@click.option(
    "--contract",
    default=CONTRACT,
    show_default=True,
    help="What the numbers are equal to: qdq, the file as written; exact, each group rounded "
    "once; ort, what onnxruntime makes of it (or one of its targets, as ort-x86-int8).",
)
@click.option(
    "--engine",
    default=ENGINE,
    show_default=True,
    metavar="NAME",
    help="What multiplies: blas, or torch, if it is installed. The numbers are the same.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    metavar="OUT.npz",
    help="Write every tensor of the run there, and an index in JSON beside it.",
)
def command(
    model: Path, inputs: tuple[str, ...], contract: str, engine: str, output: Path | None
) -> None:
    """Run MODEL, an ONNX model or its operations document (JSON), under a numeric contract.

    Prints one line for each output of the model: name, type, shape and sha256. With -o it keeps
    every tensor of the run; without, it only computes the outputs, fast, in a memory that does not
    grow with the number of images.
    """
    pairs = _pairs(inputs)
    if output is None:
        _outputs_alone(model, pairs, contract, engine)
    elif engine != ENGINE:
        raise QdqdocError(f"--engine: found {engine} beside -o, allowed: without -o")
    else:
        _traced(model, pairs, contract, output)


def _outputs_alone(model: Path, pairs: dict[str, Path], contract: str, engine: str) -> None:
    """Print the outputs; the plan gives the same bytes as a run node by node."""
    from qdqdoc.execute import Traced, read_array  # noqa: PLC0415 - `--help` needs none of it
    from qdqdoc.plan import compile_plan  # noqa: PLC0415 - the same

    given = {name: read_array(path) for name, path in pairs.items()}
    document = _document(model)
    found = compile_plan(document, contract, engine).run(given)
    for name in document.graph.outputs:
        _tell(Traced(name=name, value=found[name]))


def _tell(tensor: Traced) -> None:
    sizes = ", ".join(map(str, tensor.shape))
    click.echo(f"{tensor.name}  {tensor.dtype}[{sizes}]  sha256 {tensor.sha256}")


def _traced(model: Path, pairs: dict[str, Path], contract: str, output: Path) -> None:
    """Write every tensor."""
    from qdqdoc.execute import execute, index_of, read_array, save  # noqa: PLC0415 - the same

    taken = {path.resolve() for path in (model, model.with_suffix(".npz"), *pairs.values())}
    for path in (output, index_of(output)):
        if path.resolve() in taken:
            raise QdqdocError(f"{path}: writing here would overwrite what is read")
    given = {name: read_array(path) for name, path in pairs.items()}
    trace = execute(_document(model), given, contract)
    written = save(trace, output)
    for name in trace.outputs:
        _tell(trace.by_name[name])
    for path in written:
        click.echo(f"wrote {path}")


def _pairs(inputs: Sequence[str]) -> dict[str, Path]:
    """Split at the last sign: names of tensors may hold it, names of files seldom do."""
    pairs: dict[str, Path] = {}
    for text in inputs:
        name, sign, path = text.rpartition("=")
        if not sign or not name or not path:
            raise QdqdocError(f"--input: found {text!r}, allowed: NAME=FILE.npy")
        if name in pairs:
            raise QdqdocError(f"--input: found {name!r} twice, allowed: once")
        pairs[name] = Path(path)
    return pairs


def _document(path: Path) -> Document:
    if path.suffix.lower() == ".json":
        from qdqdoc.document import load  # noqa: PLC0415 - see above

        return load(path)
    from qdqdoc.extract import extract  # noqa: PLC0415 - JSON is run without onnx where it can be

    return extract(path)
