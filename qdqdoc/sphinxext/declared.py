"""What numbers an operator declares: text about it may name them, and no others.

Each of them is checked: formulas against kernels, defaults and versions against onnx and
onnxruntime, types and constants by the vectors, examples by running them.
"""

from __future__ import annotations

import doctest
import inspect
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from qdqdoc.sphinxext.numerals import NUMERAL, value

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qdqdoc.registry import Operator

WIDTH = re.compile(r"(?<=[a-z])\d+")
"""The number in the name of a type: how many bits it has."""


def declared(operator: Operator) -> frozenset[str]:
    """Return the numbers of an operator's formulas, examples, versions, types and constants.

    >>> from qdqdoc.operators import OPERATORS
    >>> numbers = declared(OPERATORS["", "QLinearConv"])
    >>> "10" in numbers, "8" in numbers, "3847" in numbers
    (True, True, False)
    """
    return frozenset(value(found) for text in _texts(operator) for found in NUMERAL.findall(text))


def _texts(operator: Operator) -> Iterator[str]:
    yield from (formula.text for formula in operator.formulas)
    for example in doctest.DocTestParser().get_examples(inspect.getdoc(operator.kernel) or ""):
        yield from (example.source.partition("#")[0], example.want)
    for version in operator.versions:
        yield str(version.since)
        yield from map(str, version.attributes.values())
        kinds = {kind for name in version.inputs for kind in version.allowed(name)}
        yield from (found for kind in sorted(kinds) for found in WIDTH.findall(kind))
    for name, held in vars(inspect.getmodule(operator.kernel)).items():
        if name.isupper():
            numbers = held.values() if isinstance(held, Mapping) else (held,)
            yield from (repr(number) for number in numbers if isinstance(number, int | float))
