"""Which types are stored, which compute, and how many bytes that takes."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING

from qdqdoc.document.elements import item_size
from qdqdoc.facts.reading import (
    PLURAL,
    ROLES,
    digits,
    is_integer_operator,
    listed,
    quantizations,
    role,
    shape_text,
)
from qdqdoc.groups import groups, pattern
from qdqdoc.tables import Cell, Code, Table

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from qdqdoc.document import Document, Quantization, Role, Tensor
    from qdqdoc.groups import Group

NARROW = {"int2": 2, "uint2": 2, "int4": 4, "uint4": 4, "float4e2m1": 4}
"""Bits per value of the types that ONNX packs; the other narrow ones take a byte each."""

FLOAT32 = 4
PRODUCTS = frozenset({"QLinearConv", "QLinearMatMul", "QGemm", "ConvInteger", "MatMulInteger"})


@dataclass(frozen=True, kw_only=True, slots=True)
class Footprint:
    """How much room a tensor takes: as it is, and in a model without quantization.

    ``as_float`` counts codes as float32, leaves parameters of quantization away and other
    values as they are.
    """

    name: str
    role: Role
    dtype: str
    shape: str
    values: int
    stored: int
    as_float: int


def stored_bytes(tensor: Tensor) -> int | None:
    """Return the bytes of a tensor's values, symbolic sizes taken as 1; ``None`` if unknown.

    >>> from qdqdoc.document import Tensor
    >>> stored_bytes(Tensor(name="w", dtype="int4", shape=("batch", 5)))
    3
    """
    count, width = _count(tensor), item_size(tensor.dtype)
    if count is None or width is None:
        return None
    return (count * NARROW.get(tensor.dtype, 8 * width) + 7) // 8


def _count(tensor: Tensor) -> int | None:
    if tensor.shape is None:
        return None
    return prod(size if isinstance(size, int) else 1 for size in tensor.shape)


def footprints(document: Document) -> tuple[Footprint, ...]:
    """Return what is stored in the main graph, then what passes between its groups, each once.

    Tensors whose type or shape the document does not tell are left out: `unsized` counts them.
    """
    codes = quantizations(document)
    names = [*_stored(document), *_passed(document)]
    return tuple(_footprints(document, dict.fromkeys(names), codes))


def _stored(document: Document) -> list[str]:
    constants = [o.outputs[0] for o in document.operations if o.op_type == "Constant"]
    return [n for n, t in document.tensors.items() if t.initializer] + constants


def _passed(document: Document) -> list[str]:
    """Return what the rest of the model reads of each group; weights on their way are no part."""
    found: list[str] = []
    for group in groups(document):
        made = (group.quantize or group.operation).outputs
        found += [n for n in made if n and role(document, n) == "activation"]
    return found


def _footprints(
    document: Document, names: Iterable[str], codes: Mapping[str, Quantization]
) -> Iterator[Footprint]:
    for name in names:
        tensor = document.tensors.get(name)
        stored = stored_bytes(tensor) if tensor is not None else None
        if tensor is None or stored is None:
            continue
        count = _values(tensor, codes.get(name))
        whole = "int" in tensor.dtype and tensor.role == "weight"
        replaced = name in codes or tensor.role == "bias" or whole
        as_float = FLOAT32 * count if replaced else stored
        yield Footprint(
            name=name,
            role=tensor.role,
            dtype=tensor.dtype,
            shape=shape_text(tensor),
            values=count,
            stored=stored,
            as_float=0 if tensor.role in {"scale", "zero_point"} else as_float,
        )


def _values(tensor: Tensor, codes: Quantization | None) -> int:
    """Count the values of a tensor; codes that an operator unpacks stand several in a byte."""
    count = _count(tensor) or 0
    bits = NARROW.get(codes.dtype) if codes is not None else None
    packed = bits is not None and tensor.dtype not in NARROW
    return 8 * count // bits if packed and bits else count


def unsized(document: Document) -> int:
    """Return how many tensors are missing in `footprints`."""
    names = dict.fromkeys([*_stored(document), *_passed(document)])
    return len(names) - len(footprints(document))


def memory_table(document: Document) -> Table:
    """Return every tensor with its bytes, parameters of quantization left to the totals."""
    rows = tuple(
        (Code(one.name), one.role, one.dtype, one.shape, one.values, one.stored, one.as_float)
        for one in footprints(document)
        if one.role not in {"scale", "zero_point"}
    )
    columns = ("Tensor", "Role", "Type", "Shape", "Values", "Bytes", "As float32")
    return Table(columns, rows)


def memory_totals(document: Document) -> Table:
    """Return the bytes by role, with the sum of what is stored and of what passes through."""
    found = footprints(document)
    lines: list[tuple[Cell, ...]] = []
    for kind in ROLES:
        part = [one for one in found if one.role == kind]
        if part and kind != "activation":
            lines.append(_total(PLURAL[kind], part))
    lines.append(_total("all that is stored", [o for o in found if o.role != "activation"]))
    lines.append(_total("activations", [o for o in found if o.role == "activation"]))
    columns = ("What", "Tensors", "Values", "Bytes", "As float32", "Ratio")
    return Table(columns, tuple(lines))


def _total(label: str, part: list[Footprint]) -> tuple[Cell, ...]:
    stored, as_float = total(part)
    ratio = digits(as_float / stored) if stored and as_float else None
    return label, len(part), sum(one.values for one in part), stored, as_float, ratio


def total(part: Iterable[Footprint]) -> tuple[int, int]:
    """Return the sums of both byte counts: as stored, and as float32."""
    found = list(part)
    return sum(one.stored for one in found), sum(one.as_float for one in found)


def stored_total(document: Document) -> tuple[int, int]:
    """Return the bytes of all stored tensors, and those of a model without quantization."""
    return total(one for one in footprints(document) if one.role != "activation")


def largest_activation(document: Document) -> Footprint | None:
    """Return the activation that takes the most bytes."""
    found = [one for one in footprints(document) if one.role == "activation"]
    return max(found, key=lambda one: one.stored, default=None)


def computation(document: Document) -> Table:
    """Return, by pattern of group, the types that are read, that compute, and that are made."""
    found: dict[tuple[str, str, str, str], int] = {}
    for group in groups(document):
        types = (_read(document, group), _computed(document, group), _made(document, group))
        key = (pattern(group), *types)
        found[key] = found.get(key, 0) + 1
    rows = tuple((Code(key[0]), count, *key[1:]) for key, count in found.items())
    return Table(("Group", "Nodes", "Reads", "Computes in", "Makes"), rows)


def _dtype(document: Document, name: str) -> str:
    tensor = document.tensors.get(name)
    return (tensor.dtype if tensor is not None else "") or "?"


def _read(document: Document, group: Group) -> str:
    return listed(_dtype(document, operand.codes or operand.tensor) for operand in group.operands)


def _made(document: Document, group: Group) -> str:
    return _dtype(document, group.output)


def _computed(document: Document, group: Group) -> str:
    operation = group.operation
    if operation.op_type in PRODUCTS:
        return "int32 sums, then one multiplier"
    if group.kind != "operator":
        return "the boundary rule"
    if is_integer_operator(operation):
        return "its own rule on codes"
    return listed(_dtype(document, name) for name in operation.outputs if name) or "?"
