"""Values in running text, and Python blocks that are executed while the page is read."""

from __future__ import annotations

import ast
import io
import re
import sys
from contextlib import contextmanager, redirect_stdout
from typing import TYPE_CHECKING, Any, ClassVar

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.util.docutils import SphinxRole

from qdqdoc.sphinxext.page import PageDirective, computed, evaluate, report
from qdqdoc.sphinxext.scope import PageError, scope
from qdqdoc.sphinxext.tabular import content
from qdqdoc.tables import Code, Quoted

if TYPE_CHECKING:
    from collections.abc import Iterator

EXECUTED = "qdq-executed"
"""Attribute of an example that was executed while its page was read: how many prompts."""

OPTION = re.compile(r":[\w-]+:(?: |$)")

PROMPTS = (">>> ", "... ")


class ValueRole(SphinxRole):
    """``{qdq}`expression```: the value, in code type if it is `Code`."""

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        """Return the value as text, never as markup."""
        try:
            shown = content(evaluate(self.env, self.text))
            return computed([nodes.inline("", "", *shown)]), []
        except Exception as error:  # noqa: BLE001 - an expression may raise anything
            return [report(self.env, self.get_location(), f"qdq `{self.text}`", error)], []


class QuotedRole(SphinxRole):
    """``{quoted}`3847```: what somebody else printed, as it stood there."""

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        """Return the text, marked."""
        return content(Quoted(self.text)), []


class WhenDirective(PageDirective):
    """``{qdq-when} expression``: the content, only if the expression is true."""

    computes = False
    has_content = True
    option_spec: ClassVar[dict[str, Any]] = {}

    def show(self) -> list[nodes.Node]:
        """Parse the content, or leave it out."""
        # MyST takes options for content where a directive has none.
        if self.content and OPTION.match(self.content[0]):
            raise PageError(f"found {self.content[0]!r}, allowed: no options")
        return self.parse_content_to_nodes() if self.evaluate(self.arguments[0]) else []


class TextDirective(PageDirective):
    """``{qdq-text} expression``: text of several lines, as it is, such as an entry to copy."""

    option_spec: ClassVar[dict[str, Any]] = {"language": directives.unchanged_required}

    def show(self) -> list[nodes.Node]:
        """Return the text in a block."""
        text = str(self.evaluate(self.arguments[0]))
        block = nodes.literal_block(text, text, language=self.options.get("language", "text"))
        self.set_source_info(block)
        return [block]


class ExecDirective(PageDirective):
    """``{qdq-exec}``: Python that prepares the page's namespace and shows nothing."""

    required_arguments = 0
    has_content = True
    option_spec: ClassVar[dict[str, Any]] = {}

    @property
    def asked(self) -> str:
        """The text that is shown in an error."""
        return f"{self.name} {'; '.join(self.content)}"

    def show(self) -> list[nodes.Node]:
        """Execute the content."""
        code = compile("\n".join(self.content), self.get_location(), "exec")
        exec(code, scope(self.env))  # noqa: S102 - the page's own text, as is conf.py
        return []


class RunDirective(ExecDirective):
    """``{qdq-run}``: Python, shown as in a session with the output that it really gave.

    An error that is the point of the example is named: ``:raises: OperatorError``.
    """

    option_spec: ClassVar[dict[str, Any]] = {"raises": directives.unchanged_required}

    def show(self) -> list[nodes.Node]:
        """Execute statement by statement."""
        lines = list(self.content)
        names = scope(self.env)
        shown: list[str] = []
        statements = ast.parse("\n".join(lines)).body
        if not statements:
            raise PageError("there is nothing to run")
        raised = ""
        for statement, source in zip(statements, _sources(statements, lines), strict=True):
            marks = [PROMPTS[0]] + [PROMPTS[1]] * (len(source) - 1)
            shown += [(mark + line).rstrip() for mark, line in zip(marks, source, strict=True)]
            output, raised = self.output(statement, names)
            shown += output
        expected = self.options.get("raises", "")
        if raised != expected:
            raise PageError(f"the example raised {raised or 'nothing'}, not {expected}")
        text = "\n".join(shown)
        block = nodes.doctest_block(text, text, language="pycon")
        block[EXECUTED] = len(statements)
        self.set_source_info(block)
        return [block]

    def output(self, statement: ast.stmt, names: dict[str, Any]) -> tuple[list[str], str]:
        """Execute one statement as the interpreter does and return the lines it wrote."""
        code = compile(ast.Interactive([statement]), self.get_location(), "single")
        written, raised = io.StringIO(), ""
        with redirect_stdout(written), _echo():
            try:
                exec(code, names)  # noqa: S102 - the page's own text
            except Exception as error:
                raised = type(error).__name__
                if raised != self.options.get("raises"):
                    raise
                print(f"Traceback (most recent call last):\n    ...\n{raised}: {error}")  # noqa: T201
        return written.getvalue().splitlines(), raised


def _sources(statements: list[ast.stmt], lines: list[str]) -> Iterator[list[str]]:
    """Yield the lines of each statement, with the comments before it."""
    start = 0
    for statement in statements:
        end = statement.end_lineno or statement.lineno
        if end <= start:
            raise PageError(f"write one statement per line: {lines[end - 1]}")
        yield [line for line in lines[start:end] if line.strip()]
        start = end


@contextmanager
def _echo() -> Iterator[None]:
    """Print the value of an expression, without keeping it in ``builtins._``."""

    def display(value: object) -> None:
        if value is not None:
            print(value.text if isinstance(value, Code) else repr(value))  # noqa: T201

    before, sys.displayhook = sys.displayhook, display
    try:
        yield
    finally:
        sys.displayhook = before
