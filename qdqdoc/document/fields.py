"""Readers of JSON values: each notes what is wrong, and goes on with something of the right kind.

Going on is what lets `loads` report every problem of a file instead of the first.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from qdqdoc.document.elements import SPELLINGS, exact
from qdqdoc.document.problems import nearest

# ruff: noqa: ANN401 - JSON values are of any type until they are read

T = TypeVar("T")
Read = Callable[[Any, str, list[str]], T]

REQUIRED: Any = object()
"""Marks a key that must be there."""

LOWEST, HIGHEST = -(1 << 63), (1 << 64) - 1
"""What int64 and uint64 hold together."""

NOTES = "x-"
"""Keys that begin so belong to whoever wrote them; they are passed over."""


@dataclass(frozen=True, slots=True)
class Field(Generic[T]):
    """How the value of a key is read, and what holds where the key is absent."""

    read: Read[T]
    default: Any = REQUIRED


Fields = Mapping[str, Field[Any]]


def kind(value: Any) -> str:
    """Name a JSON value as a person would."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict | list):
        return "an object" if isinstance(value, dict) else "a list"
    return f"the {'text' if isinstance(value, str) else 'number'} {_short(value)}"


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."  # noqa: PLR2004 - a line has room for this


def _refuse(value: Any, path: str, notes: list[str], allowed: str) -> None:
    notes.append(f"{path}: found {kind(value)}, expected {allowed}")


def text(value: Any, path: str, notes: list[str]) -> str:
    """Read a text of valid Unicode."""
    if not isinstance(value, str):
        _refuse(value, path, notes, "a text")
        return ""
    if any("\ud800" <= character <= "\udfff" for character in value):
        notes.append(f"{path}: half of a surrogate pair is no Unicode text")
        return ""
    return value


def whole(value: Any, path: str, notes: list[str]) -> int:
    """Read an integer of 64 bits."""
    if isinstance(value, bool) or not isinstance(value, int) or not LOWEST <= value <= HIGHEST:
        _refuse(value, path, notes, "an integer of 64 bits")
        return 0
    return value


def natural(value: Any, path: str, notes: list[str]) -> int:
    """Read an integer that is not negative."""
    number = whole(value, path, notes)
    if number < 0:
        _refuse(value, path, notes, "an integer of 0 or more")
    return max(number, 0)


def flag(value: Any, path: str, notes: list[str]) -> bool:
    """Read true or false."""
    if not isinstance(value, bool):
        _refuse(value, path, notes, "true or false")
        return False
    return value


def digest(value: Any, path: str, notes: list[str]) -> str:
    """Read a sha256 in lower-case hexadecimal."""
    if not isinstance(value, str) or not re.fullmatch(r"[0-9a-f]{64}", value):
        _refuse(value, path, notes, "a sha256: 64 digits of 0-9 and a-f")
        return ""
    return value


def anything(value: Any, path: str, notes: list[str]) -> Any:  # noqa: ARG001 - a Read
    """Read any JSON value."""
    return value


def real(dtype: str) -> Read[float]:
    """Read a number of this element type, or a word for one that JSON lacks."""

    def read(value: Any, path: str, notes: list[str]) -> float:
        if isinstance(value, str) and value in SPELLINGS:
            return SPELLINGS[value]
        if isinstance(value, bool) or not isinstance(value, int | float) or abs(value) >= 1 << 1023:
            _refuse(value, path, notes, f"a number or one of {', '.join(SPELLINGS)}")
            return 0.0
        number = exact(value, dtype)
        if math.isinf(number):
            _refuse(value, path, notes, f"a number that {dtype} can hold")
        return number

    return read


def code(dtype: str) -> Read[int | float]:
    """Read an integer, or a number where the codes are small floats."""
    as_real = real(dtype)

    def read(value: Any, path: str, notes: list[str]) -> int | float:
        if isinstance(value, int):
            return whole(value, path, notes)
        return as_real(value, path, notes)

    return read


def one_of(*words: str) -> Read[Any]:
    """Read one of these words."""

    def read(value: Any, path: str, notes: list[str]) -> str:
        if value not in words:
            _refuse(value, path, notes, f"one of {', '.join(words)}")
            return words[0]
        return str(value)

    return read


def optional(item: Read[T]) -> Read[T | None]:
    """Read null or an item."""
    return lambda value, path, notes: None if value is None else item(value, path, notes)


def list_of(item: Read[T]) -> Read[tuple[T, ...]]:
    """Read a list of items."""

    def read(value: Any, path: str, notes: list[str]) -> tuple[T, ...]:
        if not isinstance(value, list):
            _refuse(value, path, notes, "a list")
            return ()
        return tuple(item(one, f"{path}[{i}]", notes) for i, one in enumerate(value))

    return read


def one_or_list(item: Read[T]) -> Read[T | list[T]]:
    """Read an item or a list of items."""
    several = list_of(item)

    def read(value: Any, path: str, notes: list[str]) -> T | list[T]:
        if isinstance(value, list):
            return list(several(value, path, notes))
        return item(value, path, notes)

    return read


def map_of(item: Callable[[str], Read[T]]) -> Read[dict[str, T]]:
    """Read an object whose keys are names; `item` gives the reader for each name."""

    def read(value: Any, path: str, notes: list[str]) -> dict[str, T]:
        if not isinstance(value, dict):
            _refuse(value, path, notes, "an object")
            return {}
        return {
            text(key, f"{path}, key", notes): item(key)(one, f"{path}[{key!r}]", notes)
            for key, one in value.items()
        }

    return read


def record(
    value: Any, path: str, notes: list[str], fields: Fields, *, strict: bool = True
) -> dict[str, Any]:
    """Read an object with known keys; absent ones get their default."""
    if not isinstance(value, dict):
        _refuse(value, path or "the document", notes, "an object")
        return {key: _default(field) for key, field in fields.items()}
    dot = f"{path}." if path else ""
    result = {}
    for key, field in fields.items():
        if key in value:
            result[key] = field.read(value[key], f"{dot}{key}", notes)
        else:
            result[key] = _default(field)
            notes += [f"{dot}{key}: is missing"] if field.default is REQUIRED else []
    if strict:
        notes += _unknown(value, dot, fields)
    return result


def _default(field: Field[T]) -> T:
    """Return what stands for an absent value, if need be what a reader makes of a wrong one."""
    return field.read(None, "", []) if field.default is REQUIRED else field.default


def _unknown(value: Mapping[str, Any], dot: str, fields: Mapping[str, Any]) -> list[str]:
    return [
        f"{dot}{key}: unknown key{nearest(key, fields)}"
        for key in value
        if key not in fields and not key.startswith(NOTES)
    ]
