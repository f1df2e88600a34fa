"""The published description of the JSON form."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any


def schema() -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of an operations document."""
    text = files(__package__).joinpath("operations.schema.json").read_text(encoding="utf-8")
    result: dict[str, Any] = json.loads(text)
    return result
