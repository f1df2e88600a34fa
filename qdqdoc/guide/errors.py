"""What the guide refuses."""

from __future__ import annotations

from qdqdoc.errors import QdqdocError


class GuideError(QdqdocError):
    """A folder that is not ours to replace, or pages that could not be made."""
