"""The numbers of a run: every tensor in order, with its fingerprint."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from qdqdoc.document.arrays import encode
from qdqdoc.document.problems import nearest
from qdqdoc.execute.errors import ExecuteError
from qdqdoc.numerics.formats import type_name

if TYPE_CHECKING:
    from collections.abc import Mapping

    from qdqdoc.numerics.formats import Array


def kind_of(value: Array) -> str:
    """Return ONNX's name of the type of an array; NumPy keeps texts as objects.

    >>> import numpy as np
    >>> kind_of(np.int8([1])), kind_of(np.array(["a"], object))
    ('int8', 'string')
    """
    return "string" if value.dtype.kind in "OSU" else type_name(value.dtype)


@dataclass(frozen=True, eq=False, kw_only=True)
class Traced:
    """One tensor of a run; ``operation`` made it, and is empty for an input of the model.

    ``value`` is read-only. ``sha256`` is of the raw little-endian bytes, one value per byte for
    types of less than eight bits, as in the operations document; texts count as UTF-8, each with
    its length before it.
    """

    name: str
    value: Array
    operation: str = ""

    @property
    def dtype(self) -> str:
        """ONNX's name of the element type."""
        return kind_of(self.value)

    @property
    def shape(self) -> tuple[int, ...]:
        """Sizes along the axes."""
        return self.value.shape

    @cached_property
    def sha256(self) -> str:
        """Fingerprint of the bytes."""
        if self.dtype == "string":
            texts = [str(item).encode() for item in self.value.ravel()]
            raw = b"".join(len(text).to_bytes(8, "little") + text for text in texts)
        else:
            raw = encode(self.value, self.dtype)
        return sha256(raw).hexdigest()


@dataclass(frozen=True, eq=False, kw_only=True)
class Trace:
    """What a run computed, under which contract, and with whose help.

    ``tensors`` are the inputs of the model and then whatever the operations made, in the order of
    the run. What the model stores is in its document. A tensor of an inner graph is named after
    the operations around it: ``loop/body[2]/y`` is the ``y`` of the third iteration. ``peers`` are
    the versions of the packages that took part. Under ``ort``, ``target`` is the onnxruntime whose
    fusions were followed, and ``processor`` says what its kernels take from the processor.
    """

    model: str
    model_sha256: str | None
    contract: str
    peers: Mapping[str, str]
    tensors: tuple[Traced, ...]
    outputs: tuple[str, ...]
    target: str = ""
    processor: str = ""

    @cached_property
    def by_name(self) -> Mapping[str, Traced]:
        """Every tensor by its name."""
        return {tensor.name: tensor for tensor in self.tensors}

    def __getitem__(self, name: str) -> Array:
        """Return the value of a tensor."""
        if name not in self.by_name:
            note = nearest(name, self.by_name)
            raise ExecuteError(f"trace of {self.model}: there is no tensor {name!r}{note}")
        return self.by_name[name].value

    def results(self) -> dict[str, Array]:
        """Return the outputs of the model by name."""
        return {name: self[name] for name in self.outputs}

    def index(self) -> dict[str, Any]:
        """Return everything but the values, as plain JSON."""
        return {
            "format": "qdqdoc.trace",
            "format_version": 1,
            "model": self.model,
            "model_sha256": self.model_sha256,
            "contract": self.contract,
            **({"target": self.target, "processor": self.processor} if self.target else {}),
            "peers": dict(sorted(self.peers.items())),
            "outputs": list(self.outputs),
            "tensors": [
                {
                    "name": tensor.name,
                    "operation": tensor.operation,
                    "dtype": tensor.dtype,
                    "shape": list(tensor.shape),
                    "sha256": tensor.sha256,
                }
                for tensor in self.tensors
            ],
        }
