"""Every operator, found by looking into the folders: adding one means adding one file.

``from qdqdoc.operators import qlinear_conv`` gives a kernel, ``OPERATORS`` everything that is
known of each operator. Importing this costs NumPy alone.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pkgutil import walk_packages

from qdqdoc.numerics.formats import Array
from qdqdoc.registry import OPERATORS

__all__ = ["OPERATORS"]

for _module in walk_packages(__path__, f"{__name__}."):
    import_module(_module.name)

_KERNELS = {
    entry.kernel.__name__: entry.kernel for (domain, _), entry in OPERATORS.items() if not domain
}
__all__ += sorted(_KERNELS)


def __getattr__(name: str) -> Callable[..., Array]:
    """Give the kernel of an ai.onnx operator by its name in snake case."""
    try:
        return _KERNELS[name]
    except KeyError:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}") from None
