"""Where scales and zero points are kept, how they are named, and for what they speak."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from qdqdoc.facts.reading import (
    PLURAL,
    ROLES,
    is_integer_operator,
    quantizations,
    role,
    scale_cell,
    shape_text,
    zero_cell,
)
from qdqdoc.groups import groups
from qdqdoc.tables import Cell, Code, Table

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qdqdoc.document import Document, Operation, Quantization, Role
    from qdqdoc.groups import Operand

GRANULARITY = {"per_tensor": "per tensor", "per_axis": "per channel", "blocked": "blocked"}
SEPARATORS = "_/.:"
LEFT_OUT = "left out, so it is"
SHARED = "those of an earlier tensor"


def placement(document: Document) -> Table:
    """Return in what kind of place the scales and the zero points are kept, each tensor once."""
    found: dict[tuple[str, str, str], dict[str, int]] = {}
    for kind, name, default in _parameters(document):
        tensor = document.tensors.get(name)
        place = _place(document, name) if name else f"{LEFT_OUT} {default}"
        key = (kind, tensor.dtype if tensor is not None and name else "", place)
        entry = found.setdefault(key, {})
        # A parameter that is left out has no name: each of them counts.
        entry[name or f"#{len(entry)}"] = (tensor.size or 0) if tensor is not None and name else 0
    rows = tuple(
        (kind, dtype or None, place, len(sizes), sum(sizes.values()))
        for (kind, dtype, place), sizes in found.items()
    )
    return Table(
        ("Parameter", "Type", "Stored as", "Tensors", "Values"), tuple(sorted(rows, key=str))
    )


def _parameters(document: Document) -> Iterator[tuple[str, str, Cell]]:
    for quantization in quantizations(document).values():
        yield "scale", quantization.scale, None
        yield "zero point", quantization.zero_point or "", zero_cell(quantization)


def _place(document: Document, name: str) -> str:
    tensor = document.tensors.get(name)
    if tensor is not None and tensor.initializer:
        return "initializer"
    makers = [o.op_type for o in document.operations if name in o.outputs]
    return f"output of {makers[0]}" if makers else "input of the model"


def node_inputs(document: Document) -> Table:
    """Return what stands at each input of the nodes of quantized groups, with an example.

    The example is the node with the most inputs, so that optional ones are shown.
    """
    examples: dict[str, Operation] = {}
    fed = {id(group.operation) for group in groups(document) if any(map(_through, group.operands))}
    for operation in document.operations:
        if not operation.quantization and id(operation) not in fed:
            continue
        known = examples.get(operation.op_type)
        if known is None or len(operation.inputs) > len(known.inputs):
            examples[operation.op_type] = operation
    rows: list[tuple[Cell, ...]] = []
    for op_type, operation in examples.items():
        meaning = _meaning(operation)
        for position, name in enumerate(operation.inputs):
            tensor = document.tensors.get(name)
            holds = meaning.get(name) or _other(document, operation, name)
            dtype = tensor.dtype if tensor is not None else None
            rows.append((op_type, position, holds, dtype, shape_text(tensor), Code(name)))
    return Table(("Operator", "Input", "Holds", "Type", "Shape", "For example"), tuple(rows))


def _through(operand: Operand) -> bool:
    return operand.dequantize is not None


def _meaning(operation: Operation) -> dict[str, str]:
    words: dict[str, str] = {}
    for parameter, item in operation.quantization.items():
        words[item.tensor] = f"codes: {parameter}"
        words[item.scale] = f"scale of {parameter}"
        if item.zero_point is not None:
            words[item.zero_point] = f"zero point of {parameter}"
    return words


def _other(document: Document, operation: Operation, name: str) -> str:
    if not name:
        return "left out"
    kind = role(document, name)
    if is_integer_operator(operation) and kind == "activation":
        return "values"
    if is_integer_operator(operation):
        return kind
    tensor = document.tensors.get(name)
    words = "real numbers" if tensor is None or "float" in tensor.dtype else "values"
    return words if kind == "activation" else f"{words} ({kind})"


def naming(document: Document) -> Table:
    """Return the patterns of names that are found: what a tensor's stem gets for its parameters.

    The stem is what the names of the codes, the scale and the zero point begin with. A tensor
    that takes its scale from an earlier one has no pattern. Nothing depends on these names:
    roles are found by following the graph.
    """
    found: Counter[tuple[Cell, ...]] = Counter()
    example: dict[tuple[Cell, ...], str] = {}
    seen: set[str] = set()
    for quantization in quantizations(document).values():
        pattern: tuple[Cell, ...] = ("any", SHARED, SHARED)
        if quantization.scale not in seen:
            pattern = tuple(Code(f"…{ending}") for ending in _endings(quantization))
        seen.add(quantization.scale)
        found[pattern] += 1
        example.setdefault(pattern, quantization.tensor)
    rows = tuple((*p, count, Code(example[p])) for p, count in found.most_common())
    return Table(("Codes", "Scale", "Zero point", "Tensors", "First of them"), rows)


def _endings(quantization: Quantization) -> tuple[str, str, str]:
    names = [quantization.tensor, quantization.scale]
    if quantization.zero_point is not None:
        names.append(quantization.zero_point)
    stem = names[0]
    while stem and not all(name.startswith(stem) and _begins(name, stem) for name in names):
        stem = stem[:-1]
    codes, scale, *zero_point = [name[len(stem) :] for name in names]
    return codes, scale, zero_point[0] if zero_point else ""


def _begins(name: str, stem: str) -> bool:
    return name == stem or name[len(stem)] in SEPARATORS


def granularity(document: Document) -> Table:
    """Return how many tensors have one scale, one per channel, or one per block, by role."""
    found: dict[tuple[Role, str, str, int | None], list[int]] = {}
    for name, item in quantizations(document).items():
        key = (role(document, name), item.dtype, item.granularity, item.axis)
        entry = found.setdefault(key, [0, 0])
        entry[0] += 1
        entry[1] += len(item.scale_values or ())
    rows = sorted(found.items(), key=lambda item: (ROLES.index(item[0][0]), str(item[0])))
    return Table(
        ("Codes of", "Type", "Granularity", "Axis", "Tensors", "Scales"),
        tuple(
            (PLURAL[kind], dtype, GRANULARITY[grain], axis, *counts)
            for (kind, dtype, grain, axis), counts in rows
        ),
    )


def all_quantizations(document: Document) -> Table:
    """Return every tensor of codes with its scale and zero point, in graph order."""
    rows = tuple(
        (
            Code(name),
            role(document, name).replace("_", " "),
            item.dtype,
            GRANULARITY[item.granularity],
            scale_cell(document, item),
            zero_cell(item),
        )
        for name, item in quantizations(document).items()
    )
    return Table(("Codes", "Role", "Type", "Granularity", "Scale", "Zero point"), rows)


def per_channel(document: Document, kind: Role | None = None) -> int:
    """Return how many tensors of codes, or of those in one role, have more than one scale."""
    return sum(
        item.granularity != "per_tensor" and kind in {None, role(document, name)}
        for name, item in quantizations(document).items()
    )
