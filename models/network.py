"""The float network: ResNet8 in Keras, its training, and its export by tf2onnx.

Only the step `train` trains, and only training needs TensorFlow, which has no types: hence Any.
"""

# ruff: noqa: ANN401

from __future__ import annotations

import importlib
import os
import re
from collections import Counter
from typing import Any

import digits
import numpy as np
import onnx
from onnx import numpy_helper

SEED = 8
EPOCHS = 40
BATCH = 32
LEARNING_RATE = 1e-3
WEIGHT_DECAY = 1e-4
BIAS_SPREAD = 0.05
OPSET = 15
STACKS = (16, 32, 64)
THREADS = 2
EXPECTED = {
    "Add": 11,
    "AveragePool": 1,
    "Conv": 9,
    "MatMul": 1,
    "Mul": 7,
    "Relu": 7,
    "Reshape": 1,
    "Softmax": 1,
    "Transpose": 1,
}


def convolution(keras: Any, tensor: Any, filters: int, *, size: int, stride: int, name: str) -> Any:
    """Add a convolution with a bias that does not start at zero.

    BatchNormalization subtracts the mean, so a bias in front of it gets no gradient: one that
    starts at zero stays there, and the exported Conv would carry a bias of zeros.
    """
    layer = keras.layers.Conv2D(
        filters,
        size,
        strides=stride,
        padding="same",
        kernel_initializer="he_normal",
        bias_initializer=keras.initializers.RandomNormal(0.0, BIAS_SPREAD),
        kernel_regularizer=keras.regularizers.L2(WEIGHT_DECAY),
        name=name,
    )
    return layer(tensor)


def normalized(keras: Any, tensor: Any, filters: int, stride: int, name: str) -> Any:
    """Add a 3x3 convolution and its BatchNormalization."""
    out = convolution(keras, tensor, filters, size=3, stride=stride, name=name)
    return keras.layers.BatchNormalization(name=name.replace("conv", "bn"))(out)


def stack(keras: Any, tensor: Any, filters: int, stride: int, stem: str) -> Any:
    """Add one residual stack; where it halves the image, a 1x1 convolution fits the skip."""
    relu = keras.layers.Activation
    inner = normalized(keras, tensor, filters, stride, f"{stem}_conv1")
    inner = relu("relu", name=f"{stem}_relu1")(inner)
    inner = normalized(keras, inner, filters, 1, f"{stem}_conv2")
    skip = tensor
    if stride != 1:
        skip = convolution(keras, tensor, filters, size=1, stride=stride, name=f"{stem}_skip")
    total = keras.layers.Add(name=f"{stem}_add")([skip, inner])
    return relu("relu", name=f"{stem}_relu2")(total)


def build(keras: Any) -> Any:
    """Return ResNet8 with the topology of MLPerf Tiny's image classification."""
    layers = keras.layers
    image = layers.Input((32, 32, 3), name="image")
    out = normalized(keras, image, STACKS[0], 1, "stem_conv")
    out = layers.Activation("relu", name="stem_relu")(out)
    for number, filters in enumerate(STACKS, start=1):
        out = stack(keras, out, filters, 1 if number == 1 else 2, f"stack{number}")
    out = layers.AveragePooling2D(8, name="pool")(out)
    # Not layers.Flatten: it asks for the batch size at run time, and tf2onnx only sometimes
    # reduces that to the constant shape (-1, 64), so the number of nodes would vary by the run.
    flat = (-1, STACKS[-1])
    out = layers.Lambda(lambda pooled: keras.ops.reshape(pooled, flat), name="flatten")(out)
    bias = keras.initializers.RandomNormal(0.0, BIAS_SPREAD)
    out = layers.Dense(10, kernel_initializer="he_normal", bias_initializer=bias, name="dense")(out)
    return keras.Model(image, layers.Softmax(name="probabilities")(out), name="resnet8")


def train() -> onnx.ModelProto:
    """Train on the training part with fixed seeds and return the exported float model."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
    tf: Any = importlib.import_module("tensorflow")
    keras: Any = importlib.import_module("keras")
    tf.config.threading.set_intra_op_parallelism_threads(THREADS)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    keras.utils.set_random_seed(SEED)
    tf.config.experimental.enable_op_determinism()
    data = digits.load()
    model = build(keras)
    steps = EPOCHS * -(-len(data.train) // BATCH)
    rate = keras.optimizers.schedules.CosineDecay(LEARNING_RATE, steps)
    model.compile(
        optimizer=keras.optimizers.Adam(rate),
        loss="sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    images, labels = data.images[data.train], data.labels[data.train]
    model.fit(images, labels, batch_size=BATCH, epochs=EPOCHS, verbose=2)
    return export(tf, model)


def export(tf: Any, model: Any) -> onnx.ModelProto:
    """Convert the Keras model, tidy it, and insist on the nodes the manual describes."""
    tf2onnx: Any = importlib.import_module("tf2onnx")
    signature = [tf.TensorSpec((None, 32, 32, 3), tf.float32, name="image")]
    proto: onnx.ModelProto
    proto, _ = tf2onnx.convert.from_keras(model, input_signature=signature, opset=OPSET)
    tidy(proto)
    counts = dict(Counter(node.op_type for node in proto.graph.node))
    if counts != EXPECTED:
        raise SystemExit(f"the export has other nodes than expected: {counts}")
    refuse_trivial_parameters(proto)
    onnx.checker.check_model(proto, full_check=True)
    return proto


def tidy(proto: onnx.ModelProto) -> None:
    """Replace what depends on tf2onnx's internal counters, and drop documentation strings.

    The counters follow Python's hash seed, so the raw export of the same network can differ.
    """
    graph = proto.graph
    proto.doc_string = graph.doc_string = ""
    for value in (*graph.input, *graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "batch"
    del graph.value_info[:]  # only a cache of shapes, with counters in the names of the batch
    names = counter_free_names(graph)
    for node in graph.node:
        node.doc_string = ""
        node.name = names.get(node.name, node.name)
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]
    for tensor in graph.initializer:
        tensor.name = names.get(tensor.name, tensor.name)
    ordered = sorted(graph.initializer, key=lambda tensor: tensor.name)
    del graph.initializer[:]
    graph.initializer.extend(ordered)


def counter_free_names(graph: onnx.GraphProto) -> dict[str, str]:
    """Map each name that holds a counter (`__167`) to one that says what the thing is."""
    names: dict[str, str] = {}
    for node in graph.node:
        for name in (node.name, *node.input, *node.output):
            if name.startswith("const_fold_opt__"):
                # The constant of BatchNormalization's Add: beta - mean * gamma / deviation.
                names[name] = f"{node.name.rsplit('/', 1)[0]}/offset"
            elif re.search(r"__\d+", name):
                # The first node to mention a tensor is the one that makes it: it gives the name.
                names.setdefault(name, re.sub(r"__\d+", f"_{node.op_type.lower()}", name))
    if len(set(names.values())) != len(names):
        raise SystemExit(f"two names became one: {names}")
    return names


def refuse_trivial_parameters(proto: onnx.ModelProto) -> None:
    """Fail if a bias or a BatchNormalization constant is zero somewhere or the same everywhere."""
    for tensor in proto.graph.initializer:
        values = numpy_helper.to_array(tensor)
        if values.dtype == np.float32 and (not values.all() or np.ptp(values) == 0):
            raise SystemExit(f"{tensor.name} holds a zero or only one value")


def description() -> dict[str, object]:
    """Say in the manifest's words how the float model was trained and exported."""
    return {
        "network": "ResNet8, topology of MLPerf Tiny image classification, NHWC input, a bias in "
        "every convolution, BatchNormalization not folded",
        "seed": SEED,
        "determinism": "keras.utils.set_random_seed, tf.config.experimental.enable_op_determinism; "
        "another CPU may still round differently, so the committed file is the reference",
        "optimizer": "Adam",
        "learning_rate": f"cosine decay from {LEARNING_RATE} to 0",
        "loss": "sparse categorical cross-entropy",
        "weight_decay": f"L2 {WEIGHT_DECAY} on convolution kernels",
        "batch_size": BATCH,
        "epochs": EPOCHS,
        "augmentation": "none",
        "initial_bias": f"normal, standard deviation {BIAS_SPREAD}",
        "export": f"tf2onnx.convert.from_keras, opset {OPSET}; then names with internal counters "
        "replaced, initializers sorted by name, value_info and doc strings dropped, the batch "
        "dimension named 'batch'",
    }
