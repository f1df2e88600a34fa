"""Operators that are not ours, run by onnx's reference operators; onnx is imported when needed."""

from __future__ import annotations

from importlib.metadata import version
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from qdqdoc.document import Operation

TELLING = 64
"""An input of so many values may hold sizes; of a larger one the shape is enough."""

WIDEST = 8
"""Bytes of the widest common type, and of a text's place in an array."""

OLDEST = 7
"""Before this opset operators broadcast by attributes that the reference operators do not know."""

RANDOM = frozenset(
    {
        "Bernoulli",
        "Multinomial",
        "RandomNormal",
        "RandomNormalLike",
        "RandomUniform",
        "RandomUniformLike",
    }
)
"""Operators whose results nobody can state."""

FLATTENING = frozenset({"Softmax", "LogSoftmax", "Hardmax"})
PER_AXIS = 13
"""Since this opset those look along one axis; before they took all axes from it on together."""


def outdated(domain: str, imports: Mapping[str, int]) -> str:
    """Say why no operator of a domain can be run in a model of these versions; empty if some can.

    >>> outdated("", {"": 6}), outdated("", {"": 7}), outdated("", {})
    ('found opset 6, allowed: 7 or newer', '', "the model imports no version of the operator set \
'ai.onnx'")
    """
    opset = imports.get(domain)
    if opset is None:
        return f"the model imports no version of the operator set {domain or 'ai.onnx'!r}"
    if not domain and opset < OLDEST:
        return f"found opset {opset}, allowed: {OLDEST} or newer"
    return ""


def refusal(operation: Operation, imports: Mapping[str, int]) -> str:
    """Say why the reference operators do not run an operation; empty if they do."""
    domain, name = operation.domain, operation.op_type
    reason = outdated(domain, imports)
    if reason:
        return reason
    opset = imports[domain]
    if name in RANDOM:
        return "its result is random"
    if operation.graphs:
        return "of the operators that hold graphs, If, Loop and Scan are run"
    if (name, opset < 11) == ("Resize", True):  # noqa: PLR2004 - the version in its name
        return f"found opset {opset}, allowed: 11 or newer"
    return "" if _implemented(domain, name, opset) else "there is no such operator here"


def _implemented(domain: str, name: str, opset: int) -> bool:
    from onnx.reference import ReferenceEvaluator  # noqa: PLC0415 - needed for such nodes alone
    from onnx.reference.op_run import RuntimeContextError  # noqa: PLC0415 - late
    from onnx.reference.ops import (  # noqa: PLC0415 - late
        aionnx_preview,
        aionnx_preview_training,
        aionnxml,
        load_op,
    )

    siblings: dict[str, Any] = {
        "ai.onnx.ml": aionnxml,
        "ai.onnx.preview": aionnx_preview,
        "ai.onnx.preview.training": aionnx_preview_training,
    }
    try:
        if domain in siblings:
            siblings[domain].load_op(domain, name, opset)
        else:
            load_op(domain, name, opset, evaluator_cls=ReferenceEvaluator)
    except RuntimeContextError:
        return True  # it is made of others, once the types of its inputs are known
    except Exception:  # noqa: BLE001 - it raises several classes, and says so in words only
        return False
    return True


class Reference:
    """Evaluators of one node each; those that were made are kept for the next time."""

    def __init__(self) -> None:
        self.made: dict[tuple[Any, ...], Any] = {}

    @property
    def peers(self) -> dict[str, str]:
        """Version of onnx, if it took part."""
        return {"onnx": version("onnx")} if self.made else {}

    def run(
        self,
        operation: Operation,
        inputs: Sequence[Any],
        attributes: Mapping[str, Any],
        imports: Mapping[str, int],
    ) -> list[Any]:
        """Run one operation on its inputs, ``None`` for those that are left out."""
        if operation.op_type in FLATTENING and imports[operation.domain] < PER_AXIS:
            return self._flattened(operation, inputs, attributes, imports)
        kinds = tuple(_kind(value) for value in inputs)
        key = (id(operation), kinds, repr(sorted(attributes)), tuple(imports.items()))
        varying = any("attribute" in v for v in operation.attributes.values() if type(v) is dict)
        if varying or key not in self.made:
            self.made[key] = _evaluator(operation, inputs, attributes, imports)
        feeds = {f"i{n}": value for n, value in enumerate(inputs) if value is not None}
        results: list[Any] = self.made[key].run(None, feeds)
        named = iter(results)
        return [next(named) if name else None for name in operation.outputs]

    def announced(
        self,
        operation: Operation,
        inputs: Sequence[Any],
        attributes: Mapping[str, Any],
        imports: Mapping[str, int],
    ) -> int:
        """Return the bytes of what comes out, as far as onnx's inference knows before it runs."""
        from onnx import shape_inference  # noqa: PLC0415 - needed for such nodes alone

        model = _one_node(operation, inputs, attributes, imports)
        _describe(model.graph, [value for value in inputs if value is not None])
        try:
            known = shape_inference.infer_shapes(model, data_prop=True).graph.output
        except (RuntimeError, TypeError, ValueError):
            return 0  # what does not fit is said by the operator
        return sum(_size(value.type.tensor_type) for value in known)

    def _flattened(
        self,
        operation: Operation,
        inputs: Sequence[Any],
        attributes: Mapping[str, Any],
        imports: Mapping[str, int],
    ) -> list[Any]:
        x = np.asarray(inputs[0])
        axis = attributes.get("axis", 1)
        cut = axis + x.ndim if axis < 0 else axis
        rows = x.reshape(int(np.prod(x.shape[:cut], dtype=np.int64)), -1)
        later = {**imports, operation.domain: PER_AXIS}
        (y,) = self.run(operation, [rows], {"axis": -1}, later)
        return [y.reshape(x.shape)]


def _kind(value: Any) -> str:  # noqa: ANN401 - an array, a sequence, nothing
    if isinstance(value, np.ndarray):
        return f"{value.dtype}[{value.ndim}]"
    return type(value).__name__


def _evaluator(
    operation: Operation,
    inputs: Sequence[Any],
    attributes: Mapping[str, Any],
    imports: Mapping[str, int],
) -> Any:  # noqa: ANN401 - onnx is not imported here
    from onnx.reference import ReferenceEvaluator  # noqa: PLC0415 - needed for such nodes alone

    return ReferenceEvaluator(_one_node(operation, inputs, attributes, imports))


def _one_node(
    operation: Operation,
    inputs: Sequence[Any],
    attributes: Mapping[str, Any],
    imports: Mapping[str, int],
) -> Any:  # noqa: ANN401 - onnx is not imported here
    """Make a model of one node, of the types of the inputs at hand."""
    from onnx import helper  # noqa: PLC0415 - needed for such nodes alone

    names = [f"i{n}" if value is not None else "" for n, value in enumerate(inputs)]
    outputs = [f"o{n}" if name else "" for n, name in enumerate(operation.outputs)]
    node = helper.make_node(operation.op_type, names, outputs, domain=operation.domain)
    node.attribute.extend(_attribute(operation, imports, *item) for item in attributes.items())
    given = [_declared(*pair) for pair in zip(names, inputs, strict=True) if pair[0]]
    made = [helper.make_empty_tensor_value_info(name) for name in outputs if name]
    graph = helper.make_graph([node], "one_node", given, made)
    versions = [helper.make_opsetid(*item) for item in imports.items()]
    return helper.make_model(graph, opset_imports=versions)


def _describe(graph: Any, inputs: Sequence[Any]) -> None:  # noqa: ANN401 - the same
    """Write the shapes of the inputs into the graph, and the values that may tell a shape."""
    from onnx import numpy_helper  # noqa: PLC0415 - the same

    for declared, value in zip(graph.input, inputs, strict=True):
        if isinstance(value, np.ndarray):
            axes = declared.type.tensor_type.shape.dim
            for axis, size in zip(axes, value.shape, strict=True):
                axis.dim_value = size
            if value.size <= TELLING and value.dtype.isbuiltin and value.dtype.kind in "fiu":
                graph.initializer.append(numpy_helper.from_array(value, declared.name))


def _size(inferred: Any) -> int:  # noqa: ANN401 - the same
    """Return the bytes of a tensor; 0 where an axis is unknown."""
    from onnx import TensorProto, helper  # noqa: PLC0415 - the same

    axes = [axis for axis in inferred.shape.dim if axis.HasField("dim_value")]
    sizes: list[int] = [max(axis.dim_value, 0) for axis in axes]
    if not inferred.HasField("shape") or len(sizes) < len(inferred.shape.dim):
        return 0
    if inferred.elem_type in {TensorProto.UNDEFINED, TensorProto.STRING}:
        return WIDEST * prod(sizes)
    return int(helper.tensor_dtype_to_np_dtype(inferred.elem_type).itemsize) * prod(sizes)


def _declared(name: str, value: Any) -> Any:  # noqa: ANN401 - the same
    from onnx import helper  # noqa: PLC0415 - the same

    if not isinstance(value, np.ndarray):
        return helper.make_empty_tensor_value_info(name)
    kind = helper.np_dtype_to_tensor_dtype(value.dtype)
    return helper.make_tensor_value_info(name, kind, [None] * value.ndim)


def _attribute(operation: Operation, imports: Mapping[str, int], name: str, value: Any) -> Any:  # noqa: ANN401 - any
    """Make an attribute of the type that the operator declares: an empty list tells none."""
    from onnx import defs, helper, numpy_helper  # noqa: PLC0415 - the same

    kind = None
    if defs.has(operation.op_type, operation.domain):
        opset = imports[operation.domain]
        schema = defs.get_schema(operation.op_type, opset, operation.domain)
        declared: Any = schema.attributes.get(name)
        kind = declared.type.value if declared is not None else None
    if isinstance(value, np.ndarray):
        value = numpy_helper.from_array(value)
    return helper.make_attribute(name, value, attr_type=kind)
