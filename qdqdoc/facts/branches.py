"""Where branches meet: their scales, and what adding the codes as they stand would do."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from qdqdoc.facts.reading import digits, scale_cell, zero_cell, zeros
from qdqdoc.groups import Join, joins
from qdqdoc.numerics.formats import DTYPES, integer_range, is_integer
from qdqdoc.tables import Cell, Code, Table

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qdqdoc.document import Document, Quantization
    from qdqdoc.groups import Operand

SUMS = frozenset({"Add", "QLinearAdd"})
PRODUCTS = frozenset(
    {
        *("Mul", "Div", "MatMul", "Gemm", "Conv", "ConvTranspose", "Einsum", "FusedMatMul"),
        *("QLinearMul", "QLinearMatMul", "QGemm", "QLinearConv", "MatMulInteger", "ConvInteger"),
    }
)
"""Operators that multiply their branches, and with them the scales: they need no common one."""
PAIR = 2


@dataclass(frozen=True, kw_only=True, slots=True)
class Naive:
    """One code on both sides of a join: what it stands for, and what adding codes makes of it.

    ``added`` reads the sum of both distances from the zero point on the result's grid, as if
    there were one scale. All values are exact.
    """

    node: str
    code: int
    values: tuple[Fraction, Fraction]
    added: Fraction
    step: Fraction

    @property
    def total(self) -> Fraction:
        """The sum of the two real numbers."""
        return sum(self.values, Fraction())

    @property
    def error(self) -> Fraction:
        """How far adding the codes is off, in real units."""
        return self.added - self.total

    @property
    def error_steps(self) -> Fraction:
        """How far adding the codes is off, in steps of the result's grid."""
        return self.error / self.step


def branch_table(document: Document) -> Table:
    """Return the branches of every join, a row each: where it comes from, scale, zero point."""
    rows = tuple(_branch(document, join, o) for join in joins(document) for o in join.operands)
    columns = ("Join", "From group", "Branch", "Scale", "Zero point", "Result scale", "Operator")
    return Table(columns, rows)


def _branch(document: Document, join: Join, operand: Operand) -> tuple[Cell, ...]:
    return (
        Code(join.group.name),
        "model input" if operand.source is None else operand.source,
        Code(operand.codes or operand.tensor),
        scale_cell(document, operand.quantization),
        zero_cell(operand.quantization),
        scale_cell(document, join.group.result),
        join.group.operation.op_type,
    )


def multiplied(document: Document) -> int:
    """Return at how many joins the branches are multiplied."""
    return sum(_is_product(join) for join in joins(document))


def _is_product(join: Join) -> bool:
    return join.group.operation.op_type in PRODUCTS


def scale_ratios(document: Document) -> Table:
    """Return how far the scales lie apart at every join that knows them and does not multiply."""
    rows = []
    for join in joins(document):
        scales = _scales(join)
        if scales and not _is_product(join):
            ratio = digits(max(scales) / min(scales))
            rows.append((Code(join.group.name), len(join.operands), ratio))
    columns = ("Join", "Branches", "Ratio of scales")
    return Table(columns, tuple(rows))


def _scales(join: Join) -> list[Fraction]:
    """Return one scale per branch, or none where one is missing, not positive, or per axis."""
    found = [_one_scale(operand.quantization) for operand in join.operands]
    known = [scale for scale in found if scale]
    return known if len(known) == len(found) else []


def _one_scale(quantization: Quantization | None) -> Fraction | None:
    if quantization is None or quantization.scale_values is None:
        return None
    values = quantization.scale_values
    usable = len(values) == 1 and np.isfinite(values[0]) and values[0] > 0
    return Fraction(values[0]) if usable else None


def example_code(dtype: str) -> int:
    """Return a code three quarters up the range of a type: far from the rails and the middle."""
    low, high = integer_range(DTYPES[dtype])
    return low + 3 * (high - low + 1) // 4


def naive_additions(document: Document) -> tuple[Naive, ...]:
    """Return what adding codes would do at every Add of two branches on integer codes."""
    return tuple(_naive(document))


def _naive(document: Document) -> Iterator[Naive]:
    for join in joins(document):
        step = _one_scale(join.group.result)
        kinds = [operand.quantization for operand in join.operands]
        scales = _scales(join)
        if join.group.operation.op_type not in SUMS or len(scales) != PAIR or step is None:
            continue
        offsets = [_offset(kind) for kind in kinds]
        first = kinds[0]
        if first is None or not _integer(first.dtype) or None in offsets:
            continue
        code = example_code(first.dtype)
        shifts = [Fraction(code) - offset for offset in offsets if offset is not None]
        yield Naive(
            node=join.group.name,
            code=code,
            values=(scales[0] * shifts[0], scales[1] * shifts[1]),
            added=step * sum(shifts),
            step=step,
        )


def _integer(dtype: str) -> bool:
    return dtype in DTYPES and is_integer(DTYPES[dtype])


def _offset(quantization: Quantization | None) -> Fraction | None:
    found = zeros(quantization) if quantization is not None else None
    return Fraction(found[0]) if found else None


def naive_table(document: Document) -> Table:
    """Return the naive additions as a table, real values in four digits."""
    return Table(
        (
            *("Join", "Code", "Left", "Right", "True sum"),
            *("Codes added", "Error", "Error in steps"),
        ),
        tuple(
            (
                Code(one.node),
                one.code,
                *map(digits, one.values),
                digits(one.total),
                digits(one.added),
                digits(one.error),
                digits(one.error_steps),
            )
            for one in naive_additions(document)
        ),
    )
