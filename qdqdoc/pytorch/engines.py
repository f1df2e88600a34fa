"""PyTorch itself: the same inputs, given to its operators."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from contextlib import contextmanager
from functools import cache
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np

from qdqdoc.errors import QdqdocError
from qdqdoc.numerics.rounding import divide, round_to_grid
from qdqdoc.pytorch import inputs
from qdqdoc.pytorch.cases import ANY, CASES, OLDER

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from qdqdoc.numerics.formats import Array


QUANTIZERS = 2
"""How many nodes of the exported convolution quantize: one before it, one behind it."""


class EngineError(QdqdocError):
    """PyTorch is missing, or it made something else of the inputs than was asked."""


def about() -> dict[str, str]:
    """Return versions and the processor's features as PyTorch sees them."""
    torch = _torch()
    return {
        "torch": torch.__version__,
        "torchao": version("torchao"),
        "processor": str(torch.backends.cpu.get_cpu_capability()),
    }


def newer() -> bool:
    """Tell whether onednn takes the path that it has for AVX512."""
    return bool(_torch().backends.cpu.get_cpu_capability() == "AVX512")


def theirs(key: str, engine: str) -> list[Array]:
    """Run a case on an engine: one array for each set of inputs."""
    if engine == OLDER:
        return restricted()[key]
    call, given = CALLS[key]
    with _engine(engine), warnings.catch_warnings():
        # Eager mode is deprecated, and says so at every call.
        warnings.simplefilter("ignore")
        return [call(one) for one in given()]


@cache
def restricted() -> dict[str, list[Array]]:
    """Run all cases on onednn in a process in which it may use AVX2 and no more."""
    keys = [case.key for case in CASES if OLDER in case.rules]
    environment = {**os.environ, "DNNL_MAX_CPU_ISA": "AVX2"}
    with TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "qdqdoc.pytorch.engines", folder, *keys]
        done = subprocess.run(command, env=environment, check=False, capture_output=True, text=True)  # noqa: S603 - ourselves
        if done.returncode:
            raise EngineError(f"{OLDER}: {done.stderr.strip().splitlines()[-1]}")
        return {key: _loaded(Path(folder, f"{key}.npz")) for key in keys}


def _loaded(path: Path) -> list[Array]:
    with np.load(path) as held:
        return [held[name] for name in held.files]


def _torch() -> Any:  # noqa: ANN401 - torch is not there where types are checked
    try:
        import torch  # noqa: PLC0415 - never needed to look at what is recorded
        import torchao.quantization.pt2e.quantize_pt2e  # noqa: F401, PLC0415 - registers operators
    except ImportError as error:
        raise EngineError(
            f"{error.name} is missing: pip install torch torchao, or run `tox -e torch`"
        ) from error
    return torch


@contextmanager
def _engine(name: str) -> Iterator[None]:
    torch = _torch()
    before = torch.backends.quantized.engine
    if name != ANY:
        known = torch.backends.quantized.supported_engines
        if name not in known:
            raise EngineError(f"engine {name} is not in this PyTorch, which has {known}")
        torch.backends.quantized.engine = name
    try:
        yield
    finally:
        torch.backends.quantized.engine = before


def _tensor(values: Array) -> Any:  # noqa: ANN401 - a torch.Tensor
    return _torch().from_numpy(np.ascontiguousarray(values))


def _codes(values: Array, scale: Array, zero: object) -> Any:  # noqa: ANN401 - a torch.Tensor
    make = _torch()._make_per_tensor_quantized_tensor  # noqa: SLF001 - the only way from codes
    return make(_tensor(values), float(scale), int(np.asarray(zero)))


def _ints(quantized: Any) -> Array:  # noqa: ANN401 - a torch.Tensor
    found: Array = quantized.int_repr().numpy()
    return found


def _kind(given: inputs.Reals) -> Any:  # noqa: ANN401 - a torch.dtype
    return {"uint8": _torch().quint8, "int8": _torch().qint8}[given.kind]


def _rails(given: inputs.Reals) -> tuple[int, int]:
    held = np.iinfo(given.kind)
    return int(held.min), int(held.max)


def _per_tensor(given: inputs.Reals) -> Array:
    scale, zero = float(given.scale), int(given.zero)
    return _ints(_torch().quantize_per_tensor(_tensor(given.x), scale, zero, _kind(given)))


def _per_channel(given: inputs.Reals) -> Array:
    scales, zeros = _tensor(given.scale.ravel()), _tensor(given.zero.ravel())
    made = _torch().quantize_per_channel(_tensor(given.x), scales, zeros, 0, _kind(given))
    return _ints(made)


def _dequantize(given: inputs.Reals) -> Array:
    found: Array = _codes(given.x, given.scale, given.zero).dequantize().numpy()
    return found


def _fake(given: inputs.Reals) -> Array:
    call = _torch().fake_quantize_per_tensor_affine
    made = call(_tensor(given.x), float(given.scale), int(given.zero), *_rails(given))
    found: Array = made.numpy()
    return found


def _stubs(given: inputs.Reals) -> Array:
    """Convert a model of both stubs whose observer was told the grid."""
    torch = _torch()
    ao = torch.ao.quantization
    low, high = _rails(given)
    observer = ao.FixedQParamsObserver.with_args(
        scale=float(given.scale),
        zero_point=int(given.zero),
        dtype=_kind(given),
        quant_min=low,
        quant_max=high,
    )
    model = torch.nn.Sequential(ao.QuantStub(), ao.DeQuantStub()).eval()
    model.qconfig = ao.QConfig(activation=observer, weight=ao.default_weight_observer)
    ready = ao.convert(ao.prepare(model))
    kept = (float(ready[0].scale), int(ready[0].zero_point))
    if kept != (float(given.scale), int(given.zero)):
        raise EngineError(f"stubs: the grid is {kept}, not {(given.scale, given.zero)}")
    found: Array = ready(_tensor(given.x)).numpy()
    return found


def _decomposed(given: inputs.Reals) -> Array:
    torch = _torch()
    kind = {"uint8": torch.uint8, "int8": torch.int8}[given.kind]
    operators, rails = torch.ops.quantized_decomposed, _rails(given)
    x = _tensor(given.x)
    if given.scale.ndim:
        scales, zeros = _tensor(given.scale.ravel()), _tensor(given.zero.ravel())
        made = operators.quantize_per_channel(x, scales, zeros, 0, *rails, kind)
    else:
        made = operators.quantize_per_tensor(x, float(given.scale), int(given.zero), *rails, kind)
    found: Array = made.numpy()
    return found


def _weighed(module: Any, weights: Array, given: inputs.Product) -> Any:  # noqa: ANN401 - modules
    bias = _tensor(given.bias) if given.bias.any() else None
    module.set_weight_bias(_codes(weights, given.s_w, 0), bias)
    module.scale, module.zero_point = float(given.s_y), int(given.z_y)
    return module


def _conv(given: inputs.Product) -> Array:
    if given.image is None:
        raise EngineError("a convolution needs an image")
    channels = given.image.shape[0]
    weights = given.w.T.reshape(-1, channels, 3, 3)
    module = _torch().ao.nn.quantized.Conv2d(channels, len(weights), 3, padding=1)
    x = _codes(given.image[None], given.s_x, given.z_x)
    return _ints(_weighed(module, weights, given)(x)).reshape(len(weights), -1).T


def _linear(given: inputs.Product) -> Array:
    module = _torch().ao.nn.quantized.Linear(*given.w.shape)
    return _ints(_weighed(module, given.w.T, given)(_codes(given.x, given.s_x, given.z_x)))


def _add(given: inputs.Addition) -> Array:
    module = _torch().ao.nn.quantized.QFunctional()
    module.scale, module.zero_point = float(given.s_y), int(given.z_y)
    left, right = _codes(given.a, given.s_a, given.z_a), _codes(given.b, given.s_b, given.z_b)
    return _ints(module.add(left, right))


def _relu(given: inputs.Reals) -> Array:
    return _ints(_torch().relu(_codes(given.x, given.scale, given.zero)))


def _pool(given: inputs.Pool) -> Array:
    x = _codes(given.x, given.scale, given.zero)
    return _ints(_torch().nn.functional.avg_pool2d(x, given.size, given.size))


def _exported(given: inputs.Network) -> Array:
    """Take a convolution down the export path, with grids that a quantizer of our own fixes."""
    torch = _torch()
    from torchao.quantization.pt2e import quantize_pt2e  # noqa: PLC0415 - as torch

    real = given.w * given.s_w
    module = torch.nn.Conv2d(real.shape[1], len(real), 3, padding=1, bias=False).eval()
    module.weight.data = _tensor(real)
    x = _tensor(given.x)
    with torch.no_grad():
        graph = torch.export.export(module, (x,)).module()
        ready = quantize_pt2e.prepare_pt2e(graph, _quantizer(given))
        ready(x)
        ready = quantize_pt2e.convert_pt2e(ready)
        wanted = torch.ops.quantized_decomposed.quantize_per_tensor.default
        found = sum(node.target == wanted for node in ready.graph.nodes)
        if found != QUANTIZERS:
            raise EngineError(f"exported: {found} nodes quantize, not {QUANTIZERS}")
        made = ready(x).numpy()
    # The graph ends by dequantizing; its scale is a power of two, so the codes come back exactly.
    codes = round_to_grid(divide(made, given.s_y, np.float32), given.z_y, given.kind)
    columns: Array = codes[0].reshape(len(real), -1).T
    return columns


def _quantizer(given: inputs.Network) -> Any:  # noqa: ANN401 - a Quantizer of torchao
    torch = _torch()
    from torchao.quantization.pt2e import quantizer  # noqa: PLC0415 - as torch

    def grid(kind: Any, scale: Array, zero: int) -> Any:  # noqa: ANN401 - of torch and torchao
        held = torch.iinfo(kind)
        return quantizer.FixedQParamsQuantizationSpec(
            dtype=kind,
            scale=float(scale),
            zero_point=zero,
            quant_min=held.min,
            quant_max=held.max,
            qscheme=torch.per_tensor_affine,
        )

    class Fixed(quantizer.Quantizer):  # type: ignore[misc] # its base is not there for mypy
        """Puts a known grid on what a convolution reads and makes."""

        def annotate(self, model: Any) -> Any:  # noqa: ANN401 - a graph module
            for node in model.graph.nodes:
                if node.target == torch.ops.aten.conv2d.default:
                    node.meta[quantizer.quantizer.Q_ANNOTATION_KEY] = self.grids(node)
            return model

        def grids(self, node: Any) -> Any:  # noqa: ANN401 - a node, and its annotation
            x, w = node.args[:2]
            return quantizer.QuantizationAnnotation(
                input_qspec_map={
                    x: grid(torch.uint8, given.s_x, int(given.z_x)),
                    w: grid(torch.int8, given.s_w, 0),
                },
                output_qspec=grid(torch.uint8, given.s_y, int(given.z_y)),
                _annotated=True,
            )

        def validate(self, model: Any) -> None:  # noqa: ANN401 - a graph module
            """Accept it: the quantizer has nothing to check."""

    return Fixed()


def _products(*, conv: bool, bias: bool) -> Callable[[], tuple[inputs.Product, ...]]:
    return lambda: inputs.products(bias=bias, conv=conv)


CALLS: dict[str, tuple[Callable[[Any], Array], Callable[[], tuple[Any, ...]]]] = {
    "quantize": (_per_tensor, inputs.reals),
    "quantize-channels": (_per_channel, inputs.channels),
    "dequantize": (_dequantize, inputs.codes),
    "fake": (_fake, inputs.reals),
    "stubs": (_stubs, inputs.reals),
    "decomposed": (_decomposed, inputs.reals),
    "decomposed-channels": (_decomposed, inputs.channels),
    "exported": (_exported, inputs.networks),
    "conv": (_conv, _products(conv=True, bias=False)),
    "conv-bias": (_conv, _products(conv=True, bias=True)),
    "linear": (_linear, _products(conv=False, bias=False)),
    "linear-bias": (_linear, _products(conv=False, bias=True)),
    "add": (_add, inputs.additions),
    "relu": (_relu, inputs.codes),
    "pool": (_pool, inputs.pools),
}


if __name__ == "__main__":
    for asked in sys.argv[2:]:
        np.savez(Path(sys.argv[1], asked), *theirs(asked, "onednn"))
