"""What running a document can complain about."""

from __future__ import annotations

from qdqdoc.errors import QdqdocError


class ExecuteError(QdqdocError):
    """A document that cannot be run, or inputs that do not fit it."""
