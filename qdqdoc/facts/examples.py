"""Codes to work an example on: a real image if the model begins as it should, else made up."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from qdqdoc.facts.layers import zero_array
from qdqdoc.groups import groups
from qdqdoc.numerics.formats import DTYPES, Array, integer_range
from qdqdoc.numerics.rounding import divide, round_to_grid

if TYPE_CHECKING:
    from qdqdoc.document import Document
    from qdqdoc.facts.layers import Layer
    from qdqdoc.groups import Group

SEED = 0
MOST = 12
"""A made-up image has at most so many values along a spatial axis, unless the kernel is larger."""


@dataclass(frozen=True, eq=False, slots=True)
class Images:
    """Inputs of the model, one along the first axis each, what they show, and their file."""

    x: Array
    labels: Array
    file: str


@dataclass(frozen=True, eq=False, slots=True)
class Example:
    """Codes for the data input of a layer, and in words where they come from."""

    codes: Array
    origin: str


def images(path: Path = Path("models/test_images.npz")) -> Images | None:
    """Return the held-out images that lie beside the running example, ``None`` without them.

    A relative path is looked for in the current folder, then beside the package. Pages have them
    as ``held``, if their model is the one that they were held out for.
    """
    for folder in (Path(), Path(__file__).parents[2]):
        if (folder / path).is_file():
            with np.load(folder / path) as held:
                return Images(held["x"], held["y"], path.name)
    return None


def example(document: Document, layer: Layer, held: Images | None) -> Example:
    """Return codes that the layer reads: those of a real image where it is the model's first."""
    real = _from_image(document, layer, held) if held is not None else None
    return real or _made_up(document, layer)


def _from_image(document: Document, layer: Layer, held: Images) -> Example | None:
    if layer.operand.source is None or len(layer.x.scale_values or ()) != 1:
        return None
    group = groups(document)[layer.operand.source]
    data = _moved(document, group, held.x[:1])
    if data is None or not _fits(layer, data.shape):
        return None
    scale = np.array((layer.x.scale_values or (1,))[0], dtype=np.float32)
    steps = divide(data, scale, np.float32)
    codes = round_to_grid(steps, zero_array(layer.x), DTYPES[layer.x.dtype])
    words = f"image 0 of {held.file}, a digit {held.labels[0]} that training has not seen"
    return Example(codes, f"{words}, quantized as the model does")


def _moved(document: Document, group: Group, image: Array) -> Array | None:
    """Bring an image to the order of axes in which the group's codes stand."""
    read = group.operands[0].tensor if group.operands else ""
    tensor = document.tensors.get(read)
    begins = read in document.graph.inputs and group.quantize is not None
    if not begins or tensor is None or tensor.shape is None or tensor.dtype != "float32":
        return None
    fixed = [(n, m) for n, m in zip(tensor.shape, image.shape, strict=False) if isinstance(n, int)]
    if len(tensor.shape) != image.ndim or any(n != m for n, m in fixed):
        return None
    if group.kind == "quantize":
        return image
    if group.operation.op_type != "Transpose":
        return None
    return image.transpose(group.operation.attributes.get("perm"))


def _fits(layer: Layer, shape: tuple[int, ...]) -> bool:
    return len(shape) == layer.weights.ndim and _channels(layer) == shape[1]


def _channels(layer: Layer) -> int:
    return int(layer.weights.shape[1]) * int(layer.group.operation.attributes.get("group", 1))


def _made_up(document: Document, layer: Layer) -> Example:
    low, high = integer_range(DTYPES[layer.x.dtype])
    shape = _shape(document, layer)
    codes = np.random.default_rng(SEED).integers(low, high + 1, shape)
    words = f"codes drawn evenly between {low} and {high} by NumPy's default generator"
    return Example(codes.astype(DTYPES[layer.x.dtype]), f"{words}, seed {SEED}")


def _shape(document: Document, layer: Layer) -> tuple[int, ...]:
    if layer.kind == "MatMul":
        return (1, layer.products)
    kernel = layer.weights.shape[2:]
    dilations = layer.group.operation.attributes.get("dilations") or [1] * len(kernel)
    tensor = document.tensors.get(layer.operand.tensor)
    sizes = list((tensor.shape if tensor is not None else None) or ())[2:]
    sizes = sizes if len(sizes) == len(kernel) else [None] * len(kernel)
    spatial = [
        min(size if isinstance(size, int) else MOST, max(MOST, (k - 1) * d + 1))
        for size, k, d in zip(sizes, kernel, dilations, strict=True)
    ]
    return (1, _channels(layer), *spatial)
