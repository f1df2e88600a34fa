"""Findings where groups meet: types that differ, shared DequantizeLinear, pairs back to back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qdqdoc.audit.answer import Finding
from qdqdoc.groups import DEQUANTIZE, QUANTIZE, captured, own_quantization

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from qdqdoc.audit.answer import Number
    from qdqdoc.audit.opening import Scope
    from qdqdoc.document import Operation, Quantization
    from qdqdoc.groups import Group

EIGHT_BITS = {"int8", "uint8"}


def type_findings(scope: Scope, found: Sequence[Group]) -> Iterator[Finding]:
    """Yield groups in which int8 and uint8 meet; uint8 data and int8 weights are usual."""
    for group in found:
        kinds: dict[str, str] = {}
        for operand in group.operands:
            one = operand.quantization
            if one is None or operand.role == "bias":
                continue
            data = kinds.get("int8")
            if operand.role == "weight" and not (one.dtype == "uint8" and data):
                continue
            kinds.setdefault(one.dtype, operand.codes or operand.tensor)
        if group.result is not None and group.kind == "operator":
            kinds.setdefault(group.result.dtype, group.output)
        if kinds.keys() >= EIGHT_BITS:
            told = ", ".join(f"{kinds[kind]} is {kind}" for kind in sorted(EIGHT_BITS))
            yield Finding(
                code="mixed-types",
                node=scope.path + group.name,
                tensor=kinds["int8"],
                words=told,
                numbers={"int8": kinds["int8"], "uint8": kinds["uint8"]},
            )


def shared_findings(scope: Scope) -> Iterator[Finding]:
    """Yield each DequantizeLinear that more than one input reads."""
    graph = scope.document.graph
    readers: dict[str, list[str]] = {}
    for operation in graph.operations:
        for name in (*operation.inputs, *captured(operation)):
            if name:
                readers.setdefault(name, []).append(scope.path + operation.name)
    for operation in graph.operations:
        if operation.op_type != DEQUANTIZE or not operation.outputs:
            continue
        made = operation.outputs[0]
        reading = readers.get(made, [])
        result = made in graph.outputs
        if len(reading) + result < 2:  # noqa: PLR2004 - several
            continue
        told = ", ".join(dict.fromkeys(reading)) + (" and the model's output" if result else "")
        yield Finding(
            code="dequantize-fan-out",
            node=scope.path + operation.name,
            tensor=made,
            words=f"read {len(reading) + result} times: {told.removeprefix(' and ')}",
            numbers={"readers": len(reading) + result, "nodes": list(dict.fromkeys(reading))},
        )


def pair_findings(scope: Scope) -> Iterator[Finding]:
    """Yield each QuantizeLinear that stands right behind a DequantizeLinear."""
    makers = {name: one for one in scope.document.operations for name in one.outputs if name}
    for operation in scope.document.operations:
        if operation.op_type != QUANTIZE or not operation.inputs:
            continue
        maker = _maker(makers, operation.inputs[0])
        if maker is None or maker.op_type != DEQUANTIZE:
            continue
        before, after = own_quantization(maker), own_quantization(operation)
        if before is None or after is None:
            continue
        if None in {before.scale_values, after.scale_values}:
            continue  # another finding says that they are unknown
        yield _pair(scope, operation, maker, (before, after))


def _maker(makers: Mapping[str, Operation], name: str) -> Operation | None:
    maker = makers.get(name)
    while maker is not None and maker.op_type == "Identity" and not maker.domain:
        maker = makers.get(maker.inputs[0])
    return maker


def _pair(
    scope: Scope,
    operation: Operation,
    maker: Operation,
    sides: tuple[Quantization, Quantization],
) -> Finding:
    grids = [(one.dtype, one.scale_values, one.zero_point_values or (0,)) for one in sides]
    where = {"node": scope.path + operation.name, "tensor": operation.inputs[0]}
    numbers: dict[str, Number] = {
        "types": [one.dtype for one in sides],
        "scales": [list(one.scale_values or ())[:1][0] for one in sides],
        "zero_points": [(one.zero_point_values or (0,))[0] for one in sides],
    }
    same = grids[0] == grids[1] and sides[0].axis == sides[1].axis
    told = f"{scope.path}{maker.name} and {scope.path}{operation.name}"
    if same:
        words = f"{told} have the same type, scale and zero point: together they change nothing"
        return Finding(code="redundant-pair", words=words, numbers=numbers, **where)
    spelled = [
        f"{one.dtype}, scale {_spell(one.scale_values)}, zero point {_spell(one.zero_point_values)}"
        for one in sides
    ]
    words = f"{told} round a value a second time: {spelled[0]}; then {spelled[1]}"
    return Finding(code="double-rounding", words=words, numbers=numbers, **where)


def _spell(values: Sequence[float] | None) -> str:
    held = values or (0,)
    return f"{held[0]:.9g}" if len(held) == 1 else f"{len(held)} values"
