"""``qdqdoc audit``: what a runtime makes of a quantized model, and what is odd in it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from qdqdoc.errors import QdqdocError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qdqdoc.audit import Audit
    from qdqdoc.audit.verifying import Comparison
    from qdqdoc.document import Document

HIT = 1
"""Exit code when `--fail-on` is hit, or when onnxruntime disagrees."""


@click.command(
    epilog="Example: qdqdoc audit model.onnx --verify --fail-on error",
    short_help="Say which groups a runtime fuses, why not the others, and what is odd.",
)
@click.argument("model", type=click.Path(path_type=Path), metavar="MODEL")
@click.option(
    "--target",
    default="ort-x86",
    show_default=True,
    help="The onnxruntime that is predicted: ort-x86, ort-x86-int8 or ort-arm.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON (format qdqdoc-audit).")
@click.option(
    "--fail-on",
    multiple=True,
    metavar="CODE|LEVEL",
    help="End with exit code 1 if there is such a finding: error, warning, note, a code as it "
    "is printed, or unfused. Can be given several times.",
)
@click.option(
    "--verify",
    is_flag=True,
    help="Compare the prediction with the graph that onnxruntime makes; exit code 1 if it differs.",
)
def command(model: Path, target: str, as_json: bool, fail_on: tuple[str, ...], verify: bool) -> int:
    """Audit MODEL, an ONNX model or its operations document (JSON).

    For each DQ.op.Q group it says what onnxruntime makes of it, why it stays in floats if it
    does, and what would fuse it: each remedy is tried. Then it lists what is odd in the
    model, with layer, number and reason.
    """
    from qdqdoc.audit import TARGETS, allowed_words  # noqa: PLC0415 - `--help` needs none of it
    from qdqdoc.audit.reporting import to_json  # noqa: PLC0415 - the same
    from qdqdoc.audit.text import to_text  # noqa: PLC0415 - the same

    if target not in TARGETS:
        raise QdqdocError(f"--target: found {target!r}, allowed: {', '.join(TARGETS)}")
    for words in fail_on:
        if words not in allowed_words():
            allowed = ", ".join(allowed_words())
            raise QdqdocError(f"--fail-on: found {words!r}, allowed: {allowed}")
    if verify:
        _check(model, target)
    found = _audit(_document(model), target)
    compared = _compare(found, model) if verify else None
    click.echo((to_json if as_json else to_text)(found, compared), nl=False)
    return _code(found, fail_on, compared)


def _check(model: Path, target: str) -> None:
    """Complain before work starts about what cannot be compared."""
    from qdqdoc.audit import TARGETS  # noqa: PLC0415 - see above
    from qdqdoc.audit.verifying import verifiable  # noqa: PLC0415 - see above

    if model.suffix.lower() == ".json":
        raise QdqdocError(f"{model}: --verify needs the .onnx file, not the operations document")
    verifiable(TARGETS[target])


def _document(path: Path) -> Document:
    if path.suffix.lower() == ".json":
        from qdqdoc.document import load  # noqa: PLC0415 - see above

        return load(path)
    from qdqdoc.extract import extract  # noqa: PLC0415 - JSON is audited without onnx

    return extract(path)


def _audit(document: Document, target: str) -> Audit:
    from qdqdoc.audit import audit  # noqa: PLC0415 - see above

    with click.progressbar(
        length=1, label="remedies", file=sys.stderr, hidden=not sys.stderr.isatty()
    ) as bar:

        def progress(done: int, total: int) -> None:
            bar.length = total
            bar.update(done - bar.pos)

        return audit(document, target, progress)


def _compare(found: Audit, model: Path) -> Comparison:
    from qdqdoc.audit.verifying import verify  # noqa: PLC0415 - see above

    return verify(found, model)


def _code(found: Audit, fail_on: Sequence[str], compared: Comparison | None) -> int:
    """Return the exit code, and say on the standard error what was hit."""
    code = HIT if compared is not None and compared.differences else 0
    for words in dict.fromkeys(fail_on):
        count = found.hits(words)
        if count:
            click.echo(f"qdqdoc: --fail-on {words}: {count}", err=True)
            code = HIT
    return code
