"""Parameters that have one value for a whole tensor."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qdqdoc.registry.checks import refuse

if TYPE_CHECKING:
    from qdqdoc.numerics.formats import Array


def is_one_value(parameter: Array | None) -> bool:
    """Tell whether a parameter is one value, or absent."""
    return parameter is None or parameter.shape in {(), (1,)}


def expect_one_value(operator: str, **parameters: Array | None) -> None:
    """Refuse a scale or zero point that has more than one value, or a shape of more axes.

    >>> import numpy as np
    >>> expect_one_value("QLinearAdd", A_scale=np.ones(1), A_zero_point=None, B_scale=np.ones(2))
    Traceback (most recent call last):
    ...
    qdqdoc.registry.checks.OperatorError: QLinearAdd: B_scale: found shape (2,), allowed: one value
    """
    for name, parameter in parameters.items():
        if parameter is not None and not is_one_value(parameter):
            refuse(operator, name, f"shape {parameter.shape}", "one value")


def expect_scalars(operator: str, **parameters: Array | None) -> None:
    """Refuse a scale or zero point that is not a scalar; a vector of one is none.

    >>> import numpy as np
    >>> expect_scalars("QLinearAdd", A_scale=np.ones(()), B_scale=np.ones(1))
    Traceback (most recent call last):
    ...
    qdqdoc.registry.checks.OperatorError: QLinearAdd: B_scale: found shape (1,), allowed: ()
    """
    for name, parameter in parameters.items():
        if parameter is not None and parameter.shape:
            refuse(operator, name, f"shape {parameter.shape}", "()")
