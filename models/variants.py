"""The quantized variants of the float model: how each is made, what it holds, what it does."""

from __future__ import annotations

import importlib
import shutil
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import digits
import numpy as np
import onnx
from onnx import numpy_helper

if TYPE_CHECKING:
    from collections.abc import Iterator

FLOAT_MODEL = "resnet8.onnx"
INPUT = "image"
QDQ_NODES = {
    "Add": 11,
    "AveragePool": 1,
    "Conv": 9,
    "DequantizeLinear": 66,
    "MatMul": 1,
    "Mul": 7,
    "QuantizeLinear": 32,
    "Reshape": 1,
    "Softmax": 1,
    "Transpose": 1,
}
# Folding leaves the residual Adds, and joins the dense MatMul and its Add into one Gemm.
FOLDED_NODES = {
    "Add": 3,
    "AveragePool": 1,
    "Conv": 9,
    "DequantizeLinear": 37,
    "Gemm": 1,
    "QuantizeLinear": 17,
    "Reshape": 1,
    "Softmax": 1,
    "Transpose": 1,
}
QOPERATOR_NODES = {
    "DequantizeLinear": 1,
    "QLinearAdd": 11,
    "QLinearAveragePool": 1,
    "QLinearConv": 9,
    "QLinearMatMul": 1,
    "QLinearMul": 7,
    "QLinearSoftmax": 1,
    "QuantizeLinear": 1,
    "Reshape": 1,
    "Transpose": 1,
}


@dataclass(frozen=True)
class Variant:
    """One quantized model: the arguments of its making and the nodes it must have."""

    file: str
    activation: str = "QInt8"
    per_channel: bool = False
    quant_format: str = "QDQ"
    folded: bool = False

    def nodes(self) -> dict[str, int]:
        """Return the node counts the manual relies on."""
        if self.folded:
            return FOLDED_NODES
        return QDQ_NODES if self.quant_format == "QDQ" else QOPERATOR_NODES

    def made_by(self) -> list[dict[str, object]]:
        """Return the calls that make this variant, as the manifest shows them."""
        preprocess: dict[str, object] = {
            "function": "onnxruntime.quantization.shape_inference.quant_pre_process",
            "arguments": {"skip_symbolic_shape": True},
            "effect": "ORT_ENABLE_BASIC folds BatchNormalization's Mul and Add into Conv and joins "
            "the dense MatMul and Add into Gemm",
        }
        quantize: dict[str, object] = {
            "function": "onnxruntime.quantization.quantize_static",
            "arguments": {
                "quant_format": self.quant_format,
                "activation_type": self.activation,
                "weight_type": "QInt8",
                "per_channel": self.per_channel,
                "calibrate_method": "MinMax",
            },
        }
        return [preprocess, quantize] if self.folded else [quantize]


VARIANTS = (
    Variant("resnet8_int8.onnx"),
    Variant("resnet8_uint8.onnx", activation="QUInt8"),
    Variant("resnet8_int8_per_channel.onnx", per_channel=True),
    Variant("resnet8_uint8_per_channel.onnx", activation="QUInt8", per_channel=True),
    Variant("resnet8_int8_folded.onnx", folded=True),
    Variant("resnet8_int8_qoperator.onnx", quant_format="QOperator"),
)


def feeds() -> Iterator[dict[str, digits.Floats]]:
    """Yield the calibration images one by one, as the input of a session."""
    data = digits.load()
    for index in digits.calibration_indices(data):
        yield {INPUT: data.images[index : index + 1]}


class Reader:
    """The calibration images in the shape quantize_static asks for."""

    def __init__(self) -> None:
        """Start at the first image."""
        self._feeds = feeds()

    def get_next(self) -> dict[str, digits.Floats] | None:
        """Return the next image, and None after the last."""
        return next(self._feeds, None)


def build_all(float_model: Path, folder: Path) -> None:
    """Write every variant into a folder."""
    for variant in VARIANTS:
        build(variant, float_model, folder / variant.file)


def build(variant: Variant, float_model: Path, target: Path) -> None:
    """Write one variant and insist on its nodes."""
    quantization: Any = importlib.import_module("onnxruntime.quantization")
    with tempfile.TemporaryDirectory() as name:
        # The tools put helper files beside their input, which must not be the published folder.
        source = Path(name) / FLOAT_MODEL
        shutil.copyfile(float_model, source)
        if variant.folded:
            source = fold(source)
        quantization.quantize_static(
            source,
            target,
            Reader(),
            quant_format=quantization.QuantFormat[variant.quant_format],
            activation_type=quantization.QuantType[variant.activation],
            weight_type=quantization.QuantType.QInt8,
            per_channel=variant.per_channel,
            calibrate_method=quantization.CalibrationMethod.MinMax,
        )
    model = onnx.load(target)
    onnx.checker.check_model(model, full_check=True)
    if (counts := node_counts(model)) != variant.nodes():
        raise SystemExit(f"{variant.file} has other nodes than expected: {counts}")


def fold(source: Path) -> Path:
    """Fold BatchNormalization into the convolutions by onnxruntime's own preprocessing."""
    inference: Any = importlib.import_module("onnxruntime.quantization.shape_inference")
    folded = source.with_name("folded.onnx")
    # Symbolic shapes need sympy and bring nothing: onnx infers every shape of this network.
    inference.quant_pre_process(source, folded, skip_symbolic_shape=True)
    return folded


def node_counts(model: onnx.ModelProto) -> dict[str, int]:
    """Return how many nodes of each operator the main graph has."""
    return dict(sorted(Counter(node.op_type for node in model.graph.node).items()))


def probabilities(model: Path, images: digits.Floats) -> digits.Floats:
    """Run a model node by node as it is written, without any optimization, on one thread."""
    ort: Any = importlib.import_module("onnxruntime")
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {INPUT: images})[0], dtype=np.float32)


def evaluate(folder: Path) -> dict[str, dict[str, object]]:
    """Return for every model its nodes, its held-out accuracy and what quantization changed."""
    data = digits.load()
    images, labels = data.images[data.test], data.labels[data.test]
    reference = probabilities(folder / FLOAT_MODEL, images)
    reports: dict[str, dict[str, object]] = {}
    for name in (FLOAT_MODEL, *(variant.file for variant in VARIANTS)):
        counts = node_counts(onnx.load(folder / name))
        result = reference if name == FLOAT_MODEL else probabilities(folder / name, images)
        right = result.argmax(axis=1) == labels
        reports[name] = {
            "nodes": {"by_operator": counts, "total": sum(counts.values())},
            "test_accuracy": {
                "correct": int(right.sum()),
                "total": len(labels),
                "accuracy": round(float(right.mean()), 6),
            },
        }
        if name != FLOAT_MODEL:
            reports[name]["compared_with_float"] = compare(reference, result, labels)
    return reports


def compare(
    reference: digits.Floats, result: digits.Floats, labels: digits.Integers
) -> dict[str, object]:
    """Return what a quantized model does otherwise than the float model.

    Four decimals: the next ones depend on the processor's float arithmetic.
    """
    before, after = reference.argmax(axis=1), result.argmax(axis=1)
    change = np.abs(result - reference)
    return {
        "classes_changed": int((before != after).sum()),
        "newly_wrong": int(((before == labels) & (after != labels)).sum()),
        "newly_right": int(((before != labels) & (after == labels)).sum()),
        "largest_probability_change": round(float(change.max()), 4),
        "mean_probability_change_of_the_top_class": round(
            float(change[np.arange(len(before)), before].mean()), 4
        ),
    }


def description() -> dict[str, object]:
    """Say in the manifest's words what the scales were taken from."""
    data = digits.load()
    indices = digits.calibration_indices(data)
    if not set(indices.tolist()) <= set(data.train.tolist()):
        raise SystemExit("calibration must not see held-out images")
    return {
        "calibration": {
            "images": len(indices),
            "choice": f"the first {digits.CALIBRATION_PER_DIGIT} training images of each digit, "
            "in the order of the split, one image per call; no held-out image",
            "method": "MinMax",
        },
        "weights": "int8 in every variant, also those with uint8 activations",
        "constants_of_mul_and_add": "quantized like activations: in the activation type, one scale "
        "per tensor",
        "processor": "scales come from a float32 run without optimizations: a processor without "
        "fused multiply-add may round them differently",
    }


def evaluation_description() -> dict[str, object]:
    """Say in the manifest's words how the models were run."""
    return {
        "runtime": "onnxruntime",
        "graph_optimization_level": "ORT_DISABLE_ALL",
        "provider": "CPUExecutionProvider",
        "intra_op_num_threads": 1,
        "images": "all held-out test images of the split, in one batch",
    }


def test_images() -> dict[str, np.ndarray[Any, Any]]:
    """Return the arrays of the published test images."""
    data = digits.load()
    indices = digits.test_image_indices(data)
    return {"x": data.images[indices], "y": data.labels[indices]}


def write_test_images(path: Path) -> None:
    """Write the test images; NumPy gives the entries of the archive a fixed date."""
    arrays = test_images()
    np.savez_compressed(path, x=arrays["x"], y=arrays["y"])


def same_test_images(path: Path) -> bool:
    """Compare arrays, not bytes: another zlib may compress otherwise."""
    with np.load(path) as stored:
        return all(np.array_equal(stored[name], a) for name, a in test_images().items())


def describe_test_images(path: Path) -> dict[str, object]:
    """Return what the archive of test images holds."""
    data = digits.load()
    with np.load(path) as stored:
        arrays = {n: {"dtype": str(a.dtype), "shape": list(a.shape)} for n, a in stored.items()}
    return {
        "made_by": "numpy.savez_compressed: the first held-out image of each digit",
        "arrays": arrays,
        "indices_in_load_digits": digits.test_image_indices(data).tolist(),
    }


def difference(stored: Path, rebuilt: Path) -> str:
    """Say in one line what differs between two models, to tell rounding from real change."""
    old, new = onnx.load(stored), onnx.load(rebuilt)
    if node_counts(old) != node_counts(new):
        return "other nodes"
    values = [{t.name: numpy_helper.to_array(t) for t in m.graph.initializer} for m in (old, new)]
    if values[0].keys() != values[1].keys():
        return "other names of initializers"
    changed = [n for n in values[0] if values[0][n].tobytes() != values[1][n].tobytes()]
    return f"same nodes, {len(changed)} of {len(values[0])} initializers differ"
