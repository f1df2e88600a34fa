"""Where each quantized operator takes scale and zero point from, by position."""

from __future__ import annotations

from typing import NamedTuple

DOMAINS = {"", "com.microsoft", "com.ms.internal.nhwc"}
"""Where the operators below mean what they say: the standard, and onnxruntime's two."""


class Parameter(NamedTuple):
    """A quantized input or output: positions of its tensor, scale and zero point.

    Inputs count from 0 up, outputs from -1 down. ``axis`` is where the parameters vary if
    there are several: a number, or the name of the attribute that says it.
    """

    name: str
    tensor: int
    scale: int | None
    zero_point: int | None
    axis: int | str | None = None


OUT = -1

_UNARY = (Parameter("X", 0, 1, 2), Parameter("Y", OUT, 3, 4))
_BINARY = (Parameter("A", 0, 1, 2), Parameter("B", 3, 4, 5), Parameter("C", OUT, 6, 7))

PARAMETERS: dict[str, tuple[Parameter, ...]] = {
    "QuantizeLinear": (Parameter("y", OUT, 1, 2, "axis"),),
    "DequantizeLinear": (Parameter("x", 0, 1, 2, "axis"),),
    "DynamicQuantizeLinear": (Parameter("y", OUT, OUT - 1, OUT - 2),),
    "QLinearConv": (
        Parameter("x", 0, 1, 2),
        Parameter("w", 3, 4, 5, 0),
        Parameter("y", OUT, 6, 7),
    ),
    "QLinearMatMul": (
        Parameter("a", 0, 1, 2, -2),
        Parameter("b", 3, 4, 5, -1),
        Parameter("y", OUT, 6, 7, -2),
    ),
    "ConvInteger": (Parameter("x", 0, None, 2), Parameter("w", 1, None, 3, 0)),
    "MatMulInteger": (Parameter("A", 0, None, 2, -2), Parameter("B", 1, None, 3, -1)),
    "MatMulInteger16": (Parameter("A", 0, None, None), Parameter("B", 1, None, None)),
    "MulInteger": (Parameter("A", 0, None, 1), Parameter("B", 2, None, 3)),
    "QLinearAdd": _BINARY,
    "QLinearMul": _BINARY,
    "QLinearSigmoid": _UNARY,
    "QLinearLeakyRelu": _UNARY,
    "QLinearSoftmax": _UNARY,
    "QLinearAveragePool": _UNARY,
    "QLinearGlobalAveragePool": _UNARY,
    "QLinearReduceMean": (Parameter("data", 0, 1, 2), Parameter("reduced", OUT, 3, 4)),
    "QLinearWhere": (
        Parameter("X", 1, 2, 3),
        Parameter("Y", 4, 5, 6),
        Parameter("Z", OUT, 7, 8),
    ),
    "QLinearConcat": (Parameter("Y", OUT, 0, 1),),
    "QGemm": (
        Parameter("A", 0, 1, 2),
        Parameter("B", 3, 4, 5, 1),
        Parameter("Y", OUT, 7, 8),
    ),
    "MatMulIntegerToFloat": (Parameter("A", 0, 2, 4), Parameter("B", 1, 3, 5, -1)),
    "DynamicQuantizeMatMul": (Parameter("B", 1, 2, 3, -1),),
    "DynamicQuantizeLSTM": (Parameter("W", 1, 8, 9, -1), Parameter("R", 2, 10, 11, -1)),
    "QAttention": (Parameter("input", 0, 3, 6), Parameter("weight", 1, 4, 7, -1)),
    "QEmbedLayerNormalization": (
        Parameter("word_embedding_quant", 2, 8, 13),
        Parameter("position_embedding_quant", 3, 9, 14),
        Parameter("segment_embedding", 4, 10, 15),
        Parameter("gamma_quant", 5, 11, 16),
        Parameter("beta_quant", 6, 12, 17),
    ),
    "MatMulNBits": (Parameter("B", 1, 2, 3, 1),),
    "GatherBlockQuantized": (Parameter("data", 0, 2, 3, "quantize_axis"),),
    "QMoE": (
        Parameter("fc1_experts_weights", 2, 3, 11, -1),
        Parameter("fc2_experts_weights", 5, 6, 12, -1),
        Parameter("fc3_experts_weights", 8, 9, 13, -1),
    ),
}

PACKED = {"MatMulNBits": "bits", "GatherBlockQuantized": "bits", "QMoE": "expert_weight_bits"}
"""Operators whose uint8 tensors hold narrower codes, and the attribute that says how narrow."""


def parameters(op_type: str, domain: str, count: int) -> tuple[Parameter, ...]:
    """Return the quantized parameters of a node with `count` inputs."""
    if domain not in DOMAINS:
        return ()
    found = PARAMETERS.get(op_type, ())
    if op_type == "QLinearConcat":  # after the output's two, three inputs for every part
        parts = range(2, count - 2, 3)
        found += tuple(Parameter(f"inputs[{i}]", p, p + 1, p + 2) for i, p in enumerate(parts))
    return found


WEIGHTS: dict[str, tuple[int, ...]] = {
    **dict.fromkeys(("Conv", "ConvTranspose", "DeformConv", "ConvInteger", "FusedConv"), (1,)),
    **dict.fromkeys(("Gemm", "FusedGemm", "MatMulIntegerToFloat", "DynamicQuantizeMatMul"), (1,)),
    **dict.fromkeys(("MatMulNBits", "MatMulBnb4", "MatMulFpQ4", "Attention", "QAttention"), (1,)),
    **dict.fromkeys(("MatMul", "MatMulInteger", "MatMulInteger16", "FusedMatMul"), (0, 1)),
    **dict.fromkeys(("LSTM", "GRU", "RNN", "DynamicQuantizeLSTM"), (1, 2)),
    "QLinearConv": (3,),
    "QLinearMatMul": (0, 3),
    "QGemm": (3,),
    "GatherBlockQuantized": (0,),
    "QMoE": (2, 5, 8),
}
"""Inputs that, if constant, are weights."""

BIASES: dict[str, tuple[int, ...]] = {
    **dict.fromkeys(("Conv", "ConvTranspose", "Gemm", "FusedConv", "FusedGemm"), (2,)),
    **dict.fromkeys(("Attention", "QAttention"), (2,)),
    **dict.fromkeys(("DeformConv", "LSTM", "GRU", "RNN", "DynamicQuantizeLSTM"), (3,)),
    "DynamicQuantizeMatMul": (4,),
    "MatMulNBits": (5,),
    "QGemm": (6,),
    "MatMulIntegerToFloat": (6,),
    "QLinearConv": (8,),
}
"""Inputs that, if constant, are biases."""
