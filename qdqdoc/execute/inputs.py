"""What a caller feeds, checked against what the document says of its inputs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from qdqdoc.document.arrays import ML_DTYPES, decode, encode
from qdqdoc.document.elements import STORAGE
from qdqdoc.document.problems import nearest
from qdqdoc.execute.errors import ExecuteError
from qdqdoc.execute.trace import kind_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from qdqdoc.document import Document, Tensor
    from qdqdoc.numerics.formats import Array

Sizes = dict[str, int]
"""What the symbolic dimensions of a model are in one run."""


def bind(document: Document, given: Mapping[str, Any]) -> tuple[dict[str, Array], Sizes]:
    """Return the inputs as read-only arrays, and the sizes that symbolic dimensions get.

    Raises
    ------
    ExecuteError
        For a name that the model does not have, an input that is missing, a type other than the
        document's, and shapes that do not fit it or each other.
    """
    names = document.graph.inputs
    takes = ", ".join(described(document.tensors[name]) for name in names) or "no inputs"
    where = f"inputs of {document.model_path}"
    for name in given:
        if name not in names:
            near = nearest(name, names)
            raise ExecuteError(f"{where}: found {name!r}{near}, allowed: {takes}")
    missing = [name for name in names if name not in given]
    if missing:
        raise ExecuteError(f"{where}: {missing[0]!r} is missing; needed: {takes}")
    sizes: Sizes = {}
    first: dict[str, str] = {}
    arrays = {}
    for name in names:
        tensor = document.tensors[name]
        value = _typed(tensor, _as_array(tensor, given[name]))
        _fit(tensor, value.shape, sizes, first)
        arrays[name] = value
    return arrays, sizes


def described(tensor: Tensor) -> str:
    """Spell a tensor with its type and shape.

    >>> from qdqdoc.document import Tensor
    >>> described(Tensor(name="x", dtype="int8", shape=("n", None, 3)))
    'x: int8[n, ?, 3]'
    """
    if tensor.shape is None:
        return f"{tensor.name}: {tensor.dtype or 'any type'}"
    sizes = ", ".join("?" if size is None else str(size) for size in tensor.shape)
    return f"{tensor.name}: {tensor.dtype or 'any type'}[{sizes}]"


def _as_array(tensor: Tensor, value: Any) -> Array:  # noqa: ANN401 - whatever the caller gives
    if "(" in tensor.dtype:
        raise ExecuteError(f"input {tensor.name!r}: is a {tensor.dtype}, allowed: tensors")
    try:
        found = np.asarray(value)
    except ValueError as error:
        raise ExecuteError(f"input {tensor.name!r}: is no array: {error}") from None
    if found.dtype.kind == "O" and not all(isinstance(item, str) for item in found.flat):
        raise ExecuteError(f"input {tensor.name!r}: found objects, allowed: {tensor.dtype}")
    return found


def _typed(tensor: Tensor, value: Array) -> Array:
    """Return a copy in the machine's byte order; codes of a type that NumPy lacks may be plain."""
    found, wanted = kind_of(value), tensor.dtype or kind_of(value)
    plain = wanted in ML_DTYPES and value.dtype == np.dtype(STORAGE[wanted])
    if wanted == found == "string":
        return np.array(value, dtype=object)
    if wanted not in STORAGE or (found != wanted and not plain):
        raise ExecuteError(f"input {tensor.name!r}: found {found}, allowed: {wanted}")
    raw = value.tobytes() if plain else encode(value, wanted)
    copy = decode(raw, wanted).reshape(value.shape)
    if plain and encode(copy, wanted) != raw:
        raise ExecuteError(f"input {tensor.name!r}: found codes that no {wanted} has")
    return copy


def _fit(tensor: Tensor, shape: tuple[int, ...], sizes: Sizes, first: dict[str, str]) -> None:
    """Compare a shape with the document's; a symbolic size is what it is where it comes first."""
    if tensor.shape is None:
        return
    where = f"input {tensor.name!r}: found shape {list(shape)}, allowed: {described(tensor)}"
    if len(shape) != len(tensor.shape):
        raise ExecuteError(where)
    for size, wanted in zip(shape, tensor.shape, strict=True):
        if isinstance(wanted, str) and wanted:
            known = sizes.setdefault(wanted, size)
            origin = first.setdefault(wanted, tensor.name)
            if size != known:
                note = f"{wanted} is {known} by input {origin!r}"
                raise ExecuteError(f"{where}, and {note}")
        elif isinstance(wanted, int) and size != wanted:
            raise ExecuteError(where)
