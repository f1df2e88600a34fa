"""The command line: thin, each command in a module that is imported when it is called."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import TYPE_CHECKING

import click

from qdqdoc import __version__
from qdqdoc.errors import QdqdocError

if TYPE_CHECKING:
    from collections.abc import Sequence

FRONT_DOOR = {
    "guide": "Write a guide to an ONNX model: its layers, scales, codes and bytes.",
    "extract": "Read an ONNX model into an operations document (JSON).",
    "annotate": "Draw an operations document as diagrams.",
}

MORE = {
    "audit": "Say which groups a runtime fuses, why not the others, and what is odd.",
    "run": "Run a model and write every tensor of the run.",
    "evaluate": "Compare contracts on a data set.",
    "conformance": "Write the vectors of every operator as files.",
}
COMMANDS = FRONT_DOOR | MORE

EXTRAS = {
    "onnx": "extract",
    "google": "extract",
    "graphviz": "annotate",
    "pygraphviz": "annotate",
    "joblib": "evaluate",
    "dask": "cluster",
    "distributed": "cluster",
}
"""Which extra brings a package that a command may miss."""

INTERRUPTED = 130
"""What shells expect of a program that Ctrl-C ended."""


class _Commands(click.Group):
    """Commands in the order in which people need them, each loaded when it is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's signature
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = import_module(f"qdqdoc.cli.{cmd_name}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click's signature
        """List the commands without importing what they need."""
        for title, commands in (("Commands", FRONT_DOOR), ("More commands", MORE)):
            with formatter.section(title):
                formatter.write_dl(list(commands.items()))


@click.command(
    cls=_Commands,
    epilog="Example: qdqdoc guide model.onnx -o guide --open",
)
@click.version_option(__version__, prog_name="qdqdoc")
def qdqdoc() -> None:
    """Say exactly which numbers come out of a quantized ONNX model."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; bad input is one line on stderr and exit code 2."""
    try:
        code = qdqdoc.main(args=arguments, prog_name="qdqdoc", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(INTERRUPTED)
    except ModuleNotFoundError as error:
        sys.exit(_complain(_missing(error)))
    except QdqdocError as error:
        sys.exit(_complain(str(error)))
    except OSError as error:
        sys.exit(_complain(f"{error.filename or 'file'}: {error.strerror or error}"))
    sys.exit(code if isinstance(code, int) else 0)


def _missing(error: ModuleNotFoundError) -> str:
    """Say which extra brings a missing package; a module of our own that is missing is a bug."""
    package = (error.name or "").partition(".")[0]
    if package not in EXTRAS:
        raise error
    extra = EXTRAS[package]
    return f"{extra} needs {package}: pip install 'qdqdoc[{extra}]'"


def _complain(message: str) -> int:
    click.echo(f"qdqdoc: error: {message}", err=True)
    return 2
