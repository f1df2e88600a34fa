"""The kernels inside onnx's own evaluator and its backend tests.

onnx's evaluator has no DequantizeLinear below opset 19 and nothing of com.microsoft; with
:func:`reference_ops` it runs such models, and every quantized operator in them is ours.

>>> from onnx import parser
>>> from onnx.reference import ReferenceEvaluator
>>> model = parser.parse_model('''
... <ir_version: 8, opset_import: ["" : 13]>
... g (uint8[n] x, float s, uint8 z) => (float[n] y) { y = DequantizeLinear(x, s, z) }
... ''')
>>> evaluator = ReferenceEvaluator(model, new_ops=reference_ops())
>>> import numpy as np
>>> evaluator.run(None, {"x": np.uint8([7, 9]), "s": np.float32(0.5), "z": np.uint8(8)})
[array([-0.5,  0.5], dtype=float32)]
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from onnx.backend import base
from onnx.reference import ReferenceEvaluator
from onnx.reference.op_run import OpRun

from qdqdoc.operators import OPERATORS
from qdqdoc.registry import NEWEST_OPSET

if TYPE_CHECKING:
    from collections.abc import Sequence

    import onnx

    from qdqdoc.numerics.formats import Array
    from qdqdoc.registry import Operator


class _Kernel(OpRun):
    """A node of onnx's evaluator that runs a kernel."""

    # None: defaults of attributes are the kernel's. By name alone onnx would take those of an
    # operator of ai.onnx for its namesake in another domain.
    op_schema: ClassVar[None] = None
    operator: ClassVar[Operator]

    def _run(self, *inputs: Array | None, **attributes: Any) -> tuple[Array, ...]:  # noqa: ANN401 - onnx's
        operator = self.operator
        opset = self.run_params["opsets"].get("", NEWEST_OPSET)
        call = operator.call_of(inputs, attributes, opset=opset, name=self.onnx_node.name)
        return tuple(np.asarray(y) for y in operator.run(call))[: len(self.output)]


def reference_ops() -> list[type[OpRun]]:
    """Return a class for every operator, for ``ReferenceEvaluator(model, new_ops=...)``."""
    return [
        type(operator.name, (_Kernel,), {"op_domain": operator.domain, "operator": operator})
        for operator in OPERATORS.values()
    ]


class Prepared(base.BackendRep):
    """A model that is ready to run."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.evaluator = ReferenceEvaluator(model, new_ops=reference_ops())

    def run(self, inputs: Any, **kwargs: Any) -> tuple[Any, ...]:  # noqa: ANN401, ARG002 - onnx's
        """Run the model on its inputs, given in its order or by name."""
        named = inputs if isinstance(inputs, dict) else self._named(inputs)
        outputs: Any = self.evaluator.run(None, named)
        return tuple(outputs)

    def _named(self, inputs: Sequence[Any]) -> dict[str, Any]:
        return dict(zip(self.evaluator.input_names, inputs, strict=False))


class Backend(base.Backend):
    """A backend for ``onnx.backend.test.BackendTest``: onnx's evaluator with these kernels."""

    @classmethod
    def prepare(
        cls,
        model: onnx.ModelProto,
        device: str = "CPU",
        **kwargs: Any,  # noqa: ANN401 - onnx's
    ) -> Prepared:
        """Check a model and make it ready to run."""
        super().prepare(model, device, **kwargs)
        return Prepared(model)

    @classmethod
    def run_node(
        cls,
        node: onnx.NodeProto,
        inputs: Any,  # noqa: ANN401 - onnx's signature
        device: str = "CPU",
        outputs_info: Any = None,  # noqa: ANN401 - the same
        **kwargs: Any,  # noqa: ANN401 - the same
    ) -> tuple[Any, ...]:
        """Run one node at the newest opset."""
        super().run_node(node, inputs, device, outputs_info, **kwargs)
        evaluator = ReferenceEvaluator(node, new_ops=reference_ops())
        named = zip(evaluator.input_names, inputs, strict=False)
        outputs: Any = evaluator.run(None, dict(named))
        return tuple(outputs)

    @classmethod
    def supports_device(cls, device: str) -> bool:
        """Tell whether a device is the processor."""
        return device.partition(":")[0] == "CPU"
