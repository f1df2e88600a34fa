"""The one error of the formula language."""

from __future__ import annotations

from qdqdoc.errors import QdqdocError


class FormulaError(QdqdocError):
    """A formula that cannot be read, or values that it cannot be evaluated with."""
