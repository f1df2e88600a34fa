"""What operators share that multiply by packed weights: bounds, shapes, calls to be refused."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from qdqdoc.numerics.formats import Array, type_name
from qdqdoc.numerics.packing import pack
from qdqdoc.registry.checks import refuse
from qdqdoc.registry.operator import Bound, Call, Element, ElementOf

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

ROUNDING = 2.0**-24
"""Largest relative error of one rounding to float32."""


def float_sum(
    output: str, ulp: float, element: ElementOf, shape_of: Callable[[Call], tuple[int, ...]]
) -> Bound:
    """Bound an output whose formula is one sum of floats, in units of its terms' magnitudes.

    A single term leaves nothing to the order, so there the unit is 0: the peer must be equal.
    """

    def unit(call: Call) -> Array:
        sizes = np.zeros(shape_of(call))
        for index in np.ndindex(sizes.shape):
            sizes[index] = term_size(element(call, index)) * ROUNDING
        return sizes

    why = "Products are summed in float32, in an order that depends on how many there are."
    return Bound(output=output, ulp=ulp, unit=unit, why=why)


def term_size(element: Element) -> float:
    """Return the sum of the terms' magnitudes, and of the bias ``b``; 0 for less than two terms.

    >>> from qdqdoc.formula import Formula
    >>> rule = Formula("y = sum(a[k] for k in K)", symbols={"a": "terms"}, sets={"K": "all"})
    >>> term_size(Element(formula=rule, values={"a": [3, -4]}, sets={"K": range(2)}))
    7.0
    >>> term_size(Element(formula=rule, values={"a": [3, 0]}, sets={"K": range(2)}))
    0.0
    """
    terms = element.formula.terms(element.values, sets=element.sets, types=element.types)
    sizes = [abs(float(term.value)) for term in terms if term.value]  # type: ignore[arg-type]  # no interval
    return sum(sizes) + abs(float(element.values.get("b", 0))) if len(sizes) > 1 else 0.0


def check_shape(operator: str, name: str, array: Array | None, *allowed: tuple[int, ...]) -> None:
    """Refuse an input of another shape; one that is absent is fine.

    >>> check_shape("Sum", "bias", np.float32([1]), (2,), (1, 2))
    Traceback (most recent call last):
    ...
    qdqdoc.registry.checks.OperatorError: Sum: bias: found shape (1,), allowed: (2,) or (1, 2)
    """
    if array is not None and array.shape not in allowed:
        once = dict.fromkeys(map(str, allowed))
        refuse(operator, name, f"shape {array.shape}", " or ".join(once))


def with_each(
    plain: Call,
    attributes: Mapping[str, Iterable[object]],
    inputs: Mapping[str, Iterable[Array]],
) -> Iterator[Call]:
    """Yield a call once with each attribute, and once with each input, in place of its own.

    >>> empty = Call(name="", inputs={})
    >>> [c.name for c in with_each(empty, {"N": [3]}, {"x": [np.int8([4]), np.int8(5)]})]
    ['N 3', 'x int8 (1,) [4]', 'x int8 () [5]']
    """
    for name, values in attributes.items():
        for value in values:
            changed = {**plain.attributes, name: value}
            yield replace(plain, name=f"{name} {value}", attributes=changed)
    for name, arrays in inputs.items():
        for array in arrays:
            said = f"{name} {type_name(array.dtype)} {array.shape} {array.reshape(-1)[:3]}"
            yield replace(plain, name=said, inputs={**plain.inputs, name: array})


def nbits_call(
    name: str,
    A: Array,
    codes: Array,
    bits: int = 4,
    *,
    scale: object = 1,
    zeros: object = None,
    level: int = 0,
    fed: tuple[str, ...] = (),
    **more: Array,
) -> Call:
    """Make a call of MatMulNBits; whole zero points are packed, those of the type of A are not.

    ``codes`` are (N, blocks, block size), ``scale`` and ``zeros`` (N, blocks).

    >>> nbits_call("one", np.float32([[1]]), np.int32([[[1, 2]]])).inputs["B"]
    array([[[33]]], dtype=uint8)
    """
    count, blocks, size = codes.shape
    scales = np.broadcast_to(np.asarray(scale, A.dtype), (count, blocks)).copy()
    inputs = {"A": A, "B": pack(codes, bits), "scales": scales}
    if zeros is not None:
        held = np.asarray(zeros)
        inputs["zero_points"] = held if held.dtype == A.dtype else pack(held, bits)
    attributes = {"K": A.shape[-1], "N": count, "bits": bits, "block_size": size}
    attributes |= {"accuracy_level": level} if level else {}
    return Call(name=name, inputs={**inputs, **more}, attributes=attributes, fed=fed)
