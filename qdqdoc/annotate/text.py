"""Words and numbers on diagrams: short, exact, and harmless whatever a name contains."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING

from qdqdoc.document import Operation, Quantization, shortest

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from qdqdoc.document import Dimension, Tensor

LONGEST_NAME = 34
LONGEST_DIMENSION = 6
MOST_SCALES = 16
RANGE = " … "
TIMES, MINUS = "\u00d7", "\u2212"
FIRST_SURROGATE, LAST_SURROGATE = "\ud800", "\udfff"
UNPRINTABLE = dict.fromkeys((*range(32), *range(127, 160), 0x2028, 0x2029, 0xFFFE, 0xFFFF), " ")


def plain(text: str) -> str:
    """Return text on one line, without what XML forbids or a font cannot draw."""
    clean = text.translate(UNPRINTABLE)
    return "".join("?" if FIRST_SURROGATE <= c <= LAST_SURROGATE else c for c in clean)


def markup(text: str) -> str:
    r"""Return text for an HTML-like label: no markup, and no ``\N`` that DOT would expand."""
    return html.escape(plain(text), quote=True).replace("\\", "&#92;&#92;")


def shorten(name: str, longest: int = LONGEST_NAME) -> str:
    """Return a name's telling part: its end, cut at a separator where there is one.

    >>> shorten("model_1/batch_normalization_2_1/batchnorm/mul:0_DequantizeLinear_Output", 24)
    '…/batchnorm/mul:0 (DQ)'
    """
    name = _without_habit(plain(name))
    if len(name) <= longest:
        return name
    tail = name[1 - longest :]
    for separator in "/;.":
        head, found, rest = tail.partition(separator)
        if found and len(rest) >= longest // 3 and len(head) < len(rest):
            return "…" + separator + rest
    return "…" + tail


def _without_habit(name: str) -> str:
    """Spell the suffixes that onnxruntime's quantizer appends in two letters."""
    for suffix, sign in (
        ("_QuantizeLinear_Output", " (Q)"),
        ("_DequantizeLinear_Output", " (DQ)"),
        ("_QuantizeLinear", ""),
        ("_DequantizeLinear", ""),
        ("_quantized", ""),
    ):
        if name.endswith(suffix) and name != suffix:
            return name.removesuffix(suffix) + sign
    return name


def number(value: float, dtype: str = "float32") -> str:
    """Return the shortest decimal that is this number in its own type."""
    spelled = shortest(value, dtype or "float32")
    return str(int(spelled)) if spelled == int_or_none(spelled) else repr(spelled)


def int_or_none(value: float) -> int | None:
    """Return a whole number that a reader would rather see without its point."""
    whole = value == value and abs(value) < 1e6 and value == int(value)  # noqa: PLR0124, PLR2004 - NaN; digits
    return int(value) if whole else None


def scale_text(quantization: Quantization, tensors: Mapping[str, Tensor]) -> str:
    """Return the scale, or the range of several, or where it comes from."""
    values = quantization.scale_values
    if values is None:
        return "at run time"
    tensor = tensors.get(quantization.scale)
    return _range(values, tensor.dtype if tensor else "float32")


def zero_text(quantization: Quantization) -> str:
    """Return the zero point, or the range of several; 0 where the model leaves it out."""
    values = quantization.zero_point_values
    if values is None:
        return "at run time" if quantization.zero_point else "0"
    return _range(values, "float64")


def spread_text(quantization: Quantization) -> str:
    """Return how many scales there are and along which axis; nothing where there is one."""
    values = quantization.scale_values
    if quantization.granularity == "per_tensor" or values is None:
        return ""
    axis = f" axis {quantization.axis}" if quantization.axis is not None else ""
    block = f" by {quantization.block_size}" if quantization.block_size else ""
    return f"{len(values)}{TIMES}{axis}{block}"


def spread_words(quantization: Quantization) -> str:
    """Return the same as a phrase."""
    count = len(quantization.scale_values) if quantization.scale_values is not None else 0
    scales = f"{count:,} scales" if count else "scales"
    if quantization.block_size:
        return f"{scales}, blocks of {quantization.block_size} along axis {quantization.axis}"
    return f"{scales} along axis {quantization.axis}"


def all_scales(quantization: Quantization, tensors: Mapping[str, Tensor]) -> str:
    """Return each scale where there are few, three on a line; else nothing."""
    values = quantization.scale_values or ()
    if not 1 < len(values) <= MOST_SCALES:
        return ""
    tensor = tensors.get(quantization.scale)
    words = [number(value, tensor.dtype if tensor else "float32") for value in values]
    lines = [", ".join(words[at : at + 3]) for at in range(0, len(words), 3)]
    return ",\n     ".join(lines)


def _range(values: Sequence[float], dtype: str) -> str:
    if not values:
        return "none"
    low, high = number(min(values), dtype), number(max(values), dtype)
    return low if low == high else f"{low}{RANGE}{high}"


def shape_text(shape: Sequence[Dimension] | None) -> str:
    """Return the sizes with times signs between them, nothing where the shape is unknown."""
    if shape is None:
        return ""
    return TIMES.join(_dimension(d) for d in shape) if shape else "scalar"


def _dimension(dimension: Dimension) -> str:
    if isinstance(dimension, str):
        return dimension if 0 < len(dimension) <= LONGEST_DIMENSION else "?"
    return "?" if dimension is None or dimension < 0 else str(dimension)


def operation_text(operation: Operation) -> str:
    """Return an operator and what matters most of its attributes: kernel, strides, groups."""
    words = [operation.op_type]
    kernel = operation.attributes.get("kernel_shape")
    if isinstance(kernel, list | tuple) and kernel:
        words.append(TIMES.join(map(str, kernel)))
    strides = operation.attributes.get("strides")
    if isinstance(strides, list | tuple) and set(strides) - {1}:
        words.append(
            "/" + (str(strides[0]) if len(set(strides)) == 1 else TIMES.join(map(str, strides)))
        )
    group = operation.attributes.get("group", 1)
    if group != 1:
        words.append(f"g{group}")
    inner = sum(1 for graph in operation.graphs.values() for _ in graph.walk())
    if inner:
        words.append(f"({inner} nodes inside)")
    return " ".join(words)


def domain_text(operation: Operation) -> str:
    """Return the domain where it is not ONNX's own."""
    return "" if operation.domain in {"", "ai.onnx"} else operation.domain
