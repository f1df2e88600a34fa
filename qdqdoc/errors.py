"""One base class for what users may meet, so that one handler can answer all of it."""

from __future__ import annotations


class QdqdocError(ValueError):
    """Bad input. The message says where, what was found and what was allowed."""
