"""What an evaluation depends on; two with the same fingerprint give the same counts."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

import numpy as np

from qdqdoc import __version__
from qdqdoc.document import dumps
from qdqdoc.evaluate.errors import EvaluateError
from qdqdoc.evaluate.sources import fingerprint
from qdqdoc.execute.contracts import contract_named
from qdqdoc.execute.inputs import bind
from qdqdoc.execute.trace import kind_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from qdqdoc.document import Document
    from qdqdoc.numerics.formats import Array

BATCH = 32
"""So many images are run at a time where neither caller nor model says otherwise."""


@dataclass(frozen=True, kw_only=True)
class Data:
    """An array that was read: what it is and its sha256 as raw little-endian bytes."""

    dtype: str
    shape: tuple[int, ...]
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What was run on what. ``classes`` names the output whose largest value is the class.

    ``targets`` names the onnxruntime whose fusions a contract follows, where it follows one.
    ``document_sha256`` is of the operations document without the name of the file. ``peers`` are
    the versions of the packages that took part.
    """

    model: str
    model_sha256: str | None
    document_sha256: str
    contracts: tuple[str, ...]
    targets: Mapping[str, str]
    inputs: Mapping[str, Data]
    labels: Data | None
    classes: str | None
    images: int
    batch: int
    peers: Mapping[str, str]

    def plain(self) -> dict[str, Any]:
        """Return all of it as plain JSON."""
        found: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return found

    @property
    def fingerprint(self) -> str:
        """The sha256 of all of it but the name of the model's file."""
        text = json.dumps(replace(self, model="").plain(), sort_keys=True)
        return sha256(text.encode()).hexdigest()


def settle(
    document: Document,
    inputs: Mapping[str, Array],
    labels: Array | None,
    contracts: Sequence[str],
    batch: int | None,
    classes: str | None,
) -> Settings:
    """Check that all of it fits together, and say what it is.

    Raises
    ------
    EvaluateError
        For data that do not fit the model or each other.
    """
    images = _images(document, inputs)
    size = _batch(document, images, batch)
    # Values are looked at batch by batch; types and shapes are those of the first one.
    bind(document, {name: value[:size] for name, value in inputs.items()})
    if labels is not None:
        _expect_labels(labels, images)
    bare = replace(document, model_path="")
    named = [contract_named(name) for name in _distinct(contracts)]
    return Settings(
        model=document.model_path,
        model_sha256=document.model_sha256,
        document_sha256=sha256(dumps(bare).encode()).hexdigest(),
        contracts=tuple(contracts),
        targets={
            name: one.target for name, one in zip(contracts, named, strict=True) if one.target
        },
        inputs={name: _data(inputs[name]) for name in document.graph.inputs},
        labels=None if labels is None else _data(labels),
        classes=_classes(document, classes, needed=labels is not None),
        images=images,
        batch=size,
        peers=peers(),
    )


def peers() -> dict[str, str]:
    """Return the versions of what computes."""
    found = {"qdqdoc": __version__, "numpy": np.__version__, "ml_dtypes": version("ml_dtypes")}
    try:
        return found | {"onnx": version("onnx")}
    except PackageNotFoundError:
        return found


def _data(values: Array) -> Data:
    return Data(dtype=kind_of(values), shape=values.shape, sha256=fingerprint(values))


def _images(document: Document, inputs: Mapping[str, Array]) -> int:
    """Return how many images there are: the length of every input's first axis."""
    if not document.graph.inputs:
        raise EvaluateError(f"{document.model_path}: has no inputs, needed: one or more")
    if set(inputs) != set(document.graph.inputs):
        bind(document, inputs)  # complains with the nearest name
    counts = {name: len(value) if value.ndim else 0 for name, value in inputs.items()}
    if len(set(counts.values())) != 1:
        found = ", ".join(f"{count} in {name!r}" for name, count in counts.items())
        raise EvaluateError(f"inputs: found {found} images, allowed: one number of images")
    (images,) = set(counts.values())
    if not images:
        raise EvaluateError("inputs: found no images, needed: one or more along the first axis")
    return images


def _batch(document: Document, images: int, asked: int | None) -> int:
    """Return the size of a batch; a model may fix it."""
    shapes = [document.tensors[name].shape for name in document.graph.inputs]
    sizes = (shape[0] for shape in shapes if shape)
    fixed = {size for size in sizes if isinstance(size, int) and size > 0}
    if asked is not None and asked < 1:
        raise EvaluateError(f"batch: found {asked}, allowed: 1 or more")
    if not fixed:
        return asked or BATCH
    size = min(fixed)
    if asked not in {None, size}:
        raise EvaluateError(
            f"batch: found {asked}, allowed: {size}, which {document.model_path} fixes"
        )
    if images % size:
        raise EvaluateError(
            f"inputs: found {images} images, allowed: a multiple of {size}, the batch that "
            f"{document.model_path} fixes"
        )
    return size


def _distinct(contracts: Sequence[str]) -> Sequence[str]:
    twice = [name for index, name in enumerate(contracts) if name in contracts[:index]]
    if twice or not contracts:
        found = f"{twice[0]!r} twice" if twice else "none"
        raise EvaluateError(f"contracts: found {found}, allowed: one or more, each once")
    return contracts


def _expect_labels(labels: Array, images: int) -> None:
    if labels.dtype.kind not in "iu" or labels.ndim != 1:
        found = f"{labels.dtype.name}{list(labels.shape)}"
        raise EvaluateError(f"labels: found {found}, allowed: integers, one for each image")
    if len(labels) != images:
        raise EvaluateError(f"labels: found {len(labels)}, needed: {images}, one for each image")
    if int(labels.min()) < 0:
        raise EvaluateError(f"labels: found {int(labels.min())}, allowed: classes from 0 on")


def _classes(document: Document, asked: str | None, *, needed: bool) -> str | None:
    """Return the output whose largest value is the class."""
    outputs = document.graph.outputs
    if asked is not None and asked not in outputs:
        raise EvaluateError(f"classes: found {asked!r}, allowed: {', '.join(map(repr, outputs))}")
    if asked is None and len(outputs) == 1:
        asked = outputs[0]
    if asked is None and needed:
        names = ", ".join(map(repr, outputs))
        raise EvaluateError(
            f"{document.model_path}: has {len(outputs)} outputs; say which one holds the classes: "
            f"{names}"
        )
    return asked
