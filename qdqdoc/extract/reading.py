"""A model file to protobuf, or one line that says what the file is instead."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING

import onnx
from google.protobuf.message import DecodeError, Message  # type: ignore[import-untyped]

from qdqdoc.extract.errors import ExtractError

if TYPE_CHECKING:
    from pathlib import Path

LIMIT = 1 << 31
"""Protobuf goes no further than two gigabytes; larger models keep their weights outside."""

OTHERS = (
    (b"\x1f\x8b", "a gzip archive: unpack it first"),
    (b"PK\x03\x04", "a zip archive (PyTorch and NumPy files are such)"),
    (b"\x80\x02", "a Python pickle"),
    (b"\x80\x03", "a Python pickle"),
    (b"\x80\x04", "a Python pickle"),
    (b"\x80\x05", "a Python pickle"),
    (b"\x89HDF", "an HDF5 file"),
    (b"{", "JSON text"),
)
TEXTUAL = 512
"""So many printable first bytes make a text."""


def read(path: Path) -> tuple[onnx.ModelProto, str]:
    """Return a model and the sha256 of its file."""
    content = _content(path)
    model = onnx.ModelProto()
    try:
        model.ParseFromString(content)
    except DecodeError:
        found = _guess(content) or "no complete protobuf: truncated, damaged or of another kind"
        raise ExtractError(f"not an ONNX model: found {found}") from None
    if not model.HasField("graph") or not (model.graph.node or model.graph.output):
        found = _guess(content) or "a protobuf without a graph"
        raise ExtractError(f"not an ONNX model: found {found}")
    if not model.opset_import:
        raise ExtractError("not a valid ONNX model: it imports no operator set")
    _expect_text(model)
    return model, sha256(content).hexdigest()


def _expect_text(message: Message) -> None:
    """Refuse a model with text that is not UTF-8: protobuf hands it out as bytes."""
    for field, value in message.ListFields():
        if field.type not in {field.TYPE_STRING, field.TYPE_MESSAGE}:
            continue
        for item in [value] if isinstance(value, str | bytes | Message) else value:
            if isinstance(item, bytes):
                raise ExtractError(f"not a valid ONNX model: {field.name} {item!r} is not UTF-8")
            if isinstance(item, Message):
                _expect_text(item)


def _content(path: Path) -> bytes:
    if path.is_dir():
        raise ExtractError("is a directory, expected an ONNX file")
    if not path.exists():
        raise ExtractError("no such file")
    size = path.stat().st_size
    if size >= LIMIT:
        raise ExtractError(f"has {size} bytes, more than protobuf allows: {LIMIT - 1}")
    content = path.read_bytes()
    if not content:
        raise ExtractError("is empty, expected an ONNX file")
    return content


def _guess(content: bytes) -> str:
    """Name what a file that is no model looks like; empty where it looks like nothing known."""
    for magic, name in OTHERS:
        if content[:TEXTUAL].lstrip().startswith(magic):
            return name
    try:
        text = content[:TEXTUAL].decode()
    except UnicodeDecodeError:
        return ""
    printable = all(character.isprintable() or character.isspace() for character in text)
    return "text (an ONNX file is binary)" if printable else ""
