"""Every operator, found by looking into the folders: adding one means adding one file.

``from qdqdoc.operators import qlinear_conv`` gives a kernel, ``OPERATORS`` everything that is
known of each operator. Importing this costs NumPy alone.
"""

from __future__ import annotations

from importlib import import_module
from pkgutil import walk_packages
from typing import TYPE_CHECKING

from qdqdoc.registry import OPERATORS

if TYPE_CHECKING:
    from collections.abc import Callable

    from qdqdoc.numerics.formats import Array

for _module in walk_packages(__path__, f"{__name__}."):
    import_module(_module.name)

_KERNELS = {
    entry.kernel.__name__: entry.kernel for (domain, _), entry in OPERATORS.items() if not domain
}
__all__ = ["OPERATORS", *sorted(_KERNELS)]  # noqa: PLE0604 - names are found, not listed


def __getattr__(name: str) -> Callable[..., Array]:
    """Give the kernel of an ai.onnx operator by its name in snake case."""
    try:
        return _KERNELS[name]
    except KeyError:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}") from None
