"""What extraction refuses."""

from __future__ import annotations

from qdqdoc.errors import QdqdocError


class ExtractError(QdqdocError):
    """A file that is no model, or a model that contradicts itself."""
