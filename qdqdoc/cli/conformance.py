"""``qdqdoc conformance``: the vectors of every operator as files."""

from __future__ import annotations

import sys
from pathlib import Path

import click


@click.command(
    epilog="Example: qdqdoc conformance -o pack",
    short_help="Write the vectors of every operator as files.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="A new or an empty folder.",
)
@click.option(
    "--check",
    "pack",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Read a pack instead, and say whether it is whole.",
)
def command(output: Path | None, pack: Path | None) -> None:
    """Write the vectors of every operator as files, for programs in any language.

    One folder for each operator, version and case, with a manifest.json that describes every
    part: raw little-endian bytes, the same as .npy, and the sha256 of both. Calls that an
    implementation must reject are among them.
    """
    from qdqdoc.conformance import check, write  # noqa: PLC0415 - `--help` needs none of it

    if (output is None) == (pack is None):
        raise click.UsageError("found both or neither of --output and --check, allowed: one")

    with click.progressbar(
        length=1, label="cases", file=sys.stderr, hidden=not sys.stderr.isatty()
    ) as bar:

        def progress(done: int, total: int) -> None:
            bar.length = total
            bar.update(done - bar.pos)

        count = write(output, progress) if output else check(pack or Path(), progress)
    said = f"wrote {count} cases to {output}" if output else f"{pack}: {count} cases, all whole"
    click.echo(said)
