"""Examples are tests: those of README and CONTRIBUTING run, and every run is counted.

Doctest is green where it finds nothing. So ``--least-examples N`` counts what was executed,
compares it with the prompts that a reader sees, and fails below N.
"""

from __future__ import annotations

import doctest
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import pytest
from sybil import Document, Sybil
from sybil.integration.pytest import SybilItem
from sybil.parsers.markdown import PythonCodeBlockParser

from qdqdoc import registry

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGES = ("README.md", "CONTRIBUTING.md")
PROMPT = {".py": re.compile(r"(?m)^\s*>>> "), ".md": re.compile(r"(?m)^>>> ")}
"""In a page an indented prompt belongs to a file that is shown; the page says how it is run."""
EXECUTED = pytest.StashKey[int]()
PAGE_MODULE = "page_under_test"


class Page(Document):
    """A page whose code blocks run in a module, as the file of an operator does."""

    def __init__(self, text: str, path: str) -> None:
        super().__init__(text, path)
        module = ModuleType(PAGE_MODULE)
        self.namespace = vars(module)
        self.namespace["page"] = module


def enter(namespace: dict[str, object]) -> None:
    """Let the page's module be found, and remember which operators there are."""
    sys.modules[PAGE_MODULE] = namespace["page"]  # type: ignore[assignment] # made by Page
    namespace["before"] = dict(registry.OPERATORS)


def leave(namespace: dict[str, object]) -> None:
    """Forget the page's module and the operators that it registered."""
    del sys.modules[PAGE_MODULE]
    for key in registry.OPERATORS.keys() - namespace["before"]:  # type: ignore[operator] # a dict
        del registry._operators[key]  # noqa: SLF001 - nobody else takes an operator back


pytest_collect_file = Sybil(
    parsers=[PythonCodeBlockParser()],
    patterns=list(PAGES),
    document_types={".md": Page},
    setup=enter,
    teardown=leave,
).pytest()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Take the floor from the command line."""
    parser.addoption(
        "--least-examples",
        type=int,
        metavar="N",
        help="fail unless all examples shown are executed, and at least N of them",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Begin to count."""
    config.stash[EXECUTED] = 0


def pytest_runtest_call(item: pytest.Item) -> None:
    """Count the examples of an item that is about to run."""
    item.config.stash[EXECUTED] += _examples(item)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Turn the run red if examples were left out."""
    least = session.config.getoption("least_examples")
    executed = session.config.stash[EXECUTED]
    if least is not None and (executed != _shown(session.config) or executed < least):
        session.exitstatus = session.exitstatus or pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Print the count."""
    least = config.getoption("least_examples")
    if least is not None:
        executed, shown = config.stash[EXECUTED], _shown(config)
        terminalreporter.write_line(f"examples: {executed} executed, {shown} shown, floor {least}")


def _examples(item: pytest.Item) -> int:
    if isinstance(item, SybilItem):
        return isinstance(item.example.region.parsed, doctest.Example)
    if isinstance(item, pytest.DoctestItem):
        return sum(not example.options.get(doctest.SKIP) for example in item.dtest.examples)
    return 0


def _shown(config: pytest.Config) -> int:
    return sum(len(PROMPT[path.suffix].findall(path.read_text("utf-8"))) for path in _files(config))


def _files(config: pytest.Config) -> Iterator[Path]:
    for argument in config.args:
        path = Path(config.invocation_params.dir, argument.partition("::")[0])
        yield from path.rglob("*.py") if path.is_dir() else [path]
