"""What an evaluation can complain about."""

from __future__ import annotations

from qdqdoc.errors import QdqdocError


class EvaluateError(QdqdocError):
    """Data that does not fit the model, a folder of another run, or workers that are lost."""
