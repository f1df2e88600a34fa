"""What the convolutions share: which shapes their parameters have, which codes an output sums."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qdqdoc.numerics.layout import taps
from qdqdoc.registry.checks import refuse
from qdqdoc.registry.values import expect_one_value
from qdqdoc.registry.window import window

if TYPE_CHECKING:
    from collections.abc import Mapping

    from qdqdoc.numerics.formats import Array


def check_per_filter(operator: str, filters: int, **parameters: Array | None) -> None:
    """Refuse a parameter of the weights that has neither one value nor one per filter."""
    for name, parameter in parameters.items():
        if parameter is not None and parameter.shape not in {(), (1,), (filters,)}:
            refuse(operator, name, f"shape {parameter.shape}", f"one value or ({filters},)")


def check_linear(operator: str, filters: int, bias: Array | None, **parameters: Array) -> None:
    """Check the scales and zero points of x, w and y, and the bias."""
    weights = {name: value for name, value in parameters.items() if name.startswith("w")}
    expect_one_value(operator, **{k: v for k, v in parameters.items() if k not in weights})
    check_per_filter(operator, filters, **weights)
    scale, zero_point = weights["w_scale"], weights["w_zero_point"]
    if zero_point.size not in {1, scale.size}:
        refuse(operator, "w_zero_point", f"shape {zero_point.shape}", f"as w_scale {scale.shape}")
    if bias is not None and bias.shape != (filters,):
        refuse(operator, "B", f"shape {bias.shape}", f"({filters},), one value per filter")


def summed(
    operator: str, x: Array, w: Array, attributes: Mapping[str, Any], index: tuple[int, ...]
) -> dict[str, dict[tuple[int, ...], Any]]:
    """List the codes of ``x`` and of ``w`` that one output sums the products of.

    Their keys are the channel of the group, then the position within the window; what lies in the
    padding is left out.
    """
    shape = window(operator, x, w, **{"group": 1, **attributes})
    image, channel, *position = index
    first = channel // (w.shape[0] // shape.group) * w.shape[1]
    seen = taps(
        position,
        x.shape[2:],
        shape.kernel,
        strides=shape.strides,
        dilations=shape.dilations,
        pads=shape.pads,
    )
    found = {(c, *k): x[(image, first + c, *at)] for c in range(w.shape[1]) for k, at in seen}
    return {"x": found, "w": {k: w[(channel, *k)] for k in found}}


def linear_values(inputs: Mapping[str, Array], channel: int) -> dict[str, Any]:
    """Return the scales, zero points and bias of an output channel by their symbols."""
    values: dict[str, Any] = {"b": inputs["B"][channel] if "B" in inputs else 0}
    for symbol in "xwy":
        for name in ("scale", "zero_point"):
            values[f"{name[0]}_{symbol}"] = of_filter(inputs[f"{symbol}_{name}"], channel)
    return values


def of_filter(parameter: Array | None, channel: int) -> Any:  # noqa: ANN401 - a code or a scale
    """Return the entry of a parameter that serves an output channel; zero if it is absent."""
    if parameter is None:
        return 0
    entries = parameter.reshape(-1)
    return entries[channel if entries.size > 1 else 0]
