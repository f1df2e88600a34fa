"""What PyTorch's eager mode calls the groups of a model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qdqdoc.facts.reading import is_integer_operator, quantizations, role
from qdqdoc.groups import DEQUANTIZE, QUANTIZE, groups, joins, pattern
from qdqdoc.tables import Cell, Code, Table

if TYPE_CHECKING:
    from qdqdoc.document import Document, Operation
    from qdqdoc.groups import Group

MODULES = "torch.ao.nn.quantized"
SAME = "scale and zero point stay"
OWN = "its result has a scale of its own"
COMPUTED: dict[str, tuple[str, str]] = {
    "Add": (f"{MODULES}.FloatFunctional.add", f"converted to QFunctional.add; {OWN}"),
    "Mul": (f"{MODULES}.FloatFunctional.mul", f"converted to QFunctional.mul; {OWN}"),
    "Concat": (f"{MODULES}.FloatFunctional.cat", "brings all parts to one scale"),
    "AveragePool": ("torch.nn.AvgPool2d", f"takes quantized tensors; {SAME}"),
    "GlobalAveragePool": ("torch.nn.AdaptiveAvgPool2d(1)", f"takes quantized tensors; {SAME}"),
    "MaxPool": ("torch.nn.MaxPool2d", f"compares codes; {SAME}"),
    "Relu": ("torch.nn.ReLU", "on codes: the larger of code and zero point"),
    "Clip": ("torch.nn.Hardtanh", "torch.nn.ReLU6 for the range 0 to 6"),
    "LeakyRelu": (f"{MODULES}.LeakyReLU", OWN),
    "Sigmoid": (f"{MODULES}.Sigmoid", OWN),
    "HardSwish": (f"{MODULES}.Hardswish", OWN),
    "Elu": (f"{MODULES}.ELU", OWN),
    "LayerNormalization": (f"{MODULES}.LayerNorm", OWN),
    "InstanceNormalization": (f"{MODULES}.InstanceNorm2d", OWN),
    "Softmax": ("torch.nn.Softmax", "usually left in float, behind DeQuantStub"),
    "Transpose": ("torch.permute", f"moves codes; {SAME}"),
    "Reshape": ("torch.Tensor.reshape", f"moves codes; {SAME}"),
    "Flatten": ("torch.flatten", f"moves codes; {SAME}"),
    "Conv": (f"{MODULES}.Conv2d", "the bias stays float32, and is made int32 where it runs"),
    "MatMul": (f"{MODULES}.Linear", "the weights are transposed: (out, in)"),
    "Gemm": (f"{MODULES}.Linear", "the weights are (out, in); the bias stays float32"),
}
WEIGHTED = frozenset({"Conv", "MatMul", "Gemm"})
ALIASES = {"QGemm": "Gemm", "FusedConv": "Conv", "QLinearConv": "Conv", "QLinearMatMul": "MatMul"}


def pytorch(document: Document) -> Table:
    """Return the groups of this model, how often each occurs, and PyTorch's equivalent."""
    found: dict[tuple[str, str | None, str], int] = {}
    for group in groups(document):
        key = (pattern(group), *_equivalent(document, group))
        found[key] = found.get(key, 0) + 1
    rows = tuple(
        (Code(name), n, Code(peer) if peer else None, note)
        for (name, peer, note), n in found.items()
    )
    return Table(("Group", "Occurs", "PyTorch", "Remark"), rows)


def _equivalent(document: Document, group: Group) -> tuple[str | None, str]:
    if group.kind == "quantize":
        return "torch.ao.quantization.QuantStub", "converted to Quantize, which holds the scale"
    if group.kind == "dequantize":
        return "torch.ao.quantization.DeQuantStub", "converted to DeQuantize"
    name = _plain_name(group.operation)
    peer, note = COMPUTED.get(name, (None, "no quantized equivalent in eager mode"))
    if not _on_codes(group):
        return None, "computes on real numbers: PyTorch leaves it in float"
    if name in WEIGHTED and not any(operand.role == "weight" for operand in group.operands):
        return None, "a product of two activations: eager mode leaves it in float"
    if name == "Conv":
        peer = f"{MODULES}.Conv{_rank(document, group)}d"
    begins = any(o.source is None and o.dequantize is None for o in group.activations)
    if group.quantize is not None and begins:
        note += "; the Q behind it is torch.ao.quantization.QuantStub"
    return peer, note


def _on_codes(group: Group) -> bool:
    """Tell whether any activation that a group reads or makes is quantized."""
    return group.result is not None or any(o.quantization is not None for o in group.activations)


def _plain_name(operation: Operation) -> str:
    name = operation.op_type
    if name in ALIASES or not is_integer_operator(operation):
        return ALIASES.get(name, name)
    return name.removeprefix("QLinear")


def _rank(document: Document, group: Group) -> int:
    weights = [o.tensor for o in group.operands if o.role == "weight"]
    tensor = document.tensors.get(weights[0]) if weights else None
    shape = tensor.shape if tensor is not None else None
    return len(shape) - 2 if shape else 2


def boundary(document: Document) -> Table:
    """Return what PyTorch calls the parts around the operators, counted in this model."""
    counts, found = document.op_type_counts, quantizations(document)
    single = sum(q.granularity == "per_tensor" for q in found.values())
    axis = sum(q.granularity == "per_axis" for q in found.values())
    lines: list[tuple[str, int, str, str]] = [
        (
            QUANTIZE,
            counts.get(QUANTIZE, 0),
            "torch.quantize_per_tensor",
            "makes a quantized tensor",
        ),
        (DEQUANTIZE, counts.get(DEQUANTIZE, 0), "torch.Tensor.dequantize", "it knows its scale"),
        ("tensors with one scale", single, "torch.per_tensor_affine", "what qscheme() says"),
        ("tensors with several", axis, "torch.quantize_per_channel", "takes the axis too"),
        ("joins", len(joins(document)), f"{MODULES}.FloatFunctional", "one instance for each"),
    ]
    rows: tuple[tuple[Cell, ...], ...] = tuple(
        (what, n, Code(peer), note) for what, n, peer, note in lines if n
    )
    return Table(("Here", "Occurs", "PyTorch", "Remark"), rows)


def signed_activations(document: Document) -> int:
    """Return how many tensors of activations are int8: PyTorch's CPU kernels want uint8 there."""
    found = quantizations(document).items()
    return sum(q.dtype == "int8" and role(document, name) == "activation" for name, q in found)
