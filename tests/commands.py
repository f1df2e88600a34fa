"""The command line, as tests use it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from qdqdoc.cli import main

if TYPE_CHECKING:
    from collections.abc import Callable

    Command = Callable[..., tuple[int, str, str]]


def command(name: str) -> Command:
    """Return a subcommand: exit code, standard output and errors of a call."""

    def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as caught:
            main([name, *map(str, arguments)])
        out, err = capsys.readouterr()
        return int(caught.value.code or 0), out, err

    return run
