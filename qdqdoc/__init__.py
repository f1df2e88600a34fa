"""qdqdoc: the executable manual of quantized ONNX."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from onnx.reference.op_run import OpRun

__version__ = "0.1.0"


def reference_ops() -> list[type[OpRun]]:
    """Return the kernels as classes for ``onnx.reference.ReferenceEvaluator(model, new_ops=...)``.

    See :mod:`qdqdoc.evaluator`.
    """
    from qdqdoc.evaluator import reference_ops as every  # noqa: PLC0415 - kernels need no onnx

    return every()
