"""The activation functions that recurrent layers may name, in float32, an operation at a time.

What onnxruntime evaluates, and in this order. Where it calls the exponential or the logarithm of
a C library, ours are rounded correctly, so there a peer may be off in the last place.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from qdqdoc.numerics.elementary import exp, log, logistic, tanh
from qdqdoc.numerics.rounding import divide, f32, hold

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from qdqdoc.numerics.formats import Array

_ONE = np.float32(1)


def affine(v: Array, alpha: Array, beta: Array) -> Array:
    """Stretch and shift; the product is rounded before the sum.

    >>> affine(np.float32([-1, 0, 2]), np.float32(3), np.float32(0.5))
    array([-2.5,  0.5,  6.5], dtype=float32)
    """
    return alpha * v + beta


def relu(v: Array) -> Array:
    """Leave out what is negative.

    >>> relu(np.float32([-1, 0, 2]))
    array([0., 0., 2.], dtype=float32)
    """
    return np.maximum(v, np.float32(0))


def leaky_relu(v: Array, alpha: Array) -> Array:
    """Multiply what is negative by a slope.

    >>> leaky_relu(np.float32([-1, 0, 2]), np.float32(0.25))
    array([-0.25,  0.  ,  2.  ], dtype=float32)
    """
    return np.where(v >= 0, v, alpha * v)


def thresholded_relu(v: Array, alpha: Array) -> Array:
    """Leave out what is not above a threshold.

    >>> thresholded_relu(np.float32([-1, 1, 2]), np.float32(1))
    array([0., 0., 2.], dtype=float32)
    """
    return np.where(v > alpha, v, np.float32(0))


def scaled_tanh(v: Array, alpha: Array, beta: Array) -> Array:
    """Multiply the tangent of a multiple, made of exponentials: ``2 / (1 + exp(-2v)) - 1``.

    >>> scaled_tanh(np.float32([-1, 0, 2, 100]), np.float32(2), np.float32(0.5))
    array([-0.9242343,  0.       ,  1.5231881,  2.       ], dtype=float32)
    """
    twice = 2 * (beta * v)
    power = exp(-np.abs(twice))
    # The branch with exp(v) above and below the line is the one for negative values.
    fraction = divide(np.where(twice >= 0, _ONE, power), _ONE + power, np.float32)
    return alpha * (2 * fraction - _ONE)


def hard_sigmoid(v: Array, alpha: Array, beta: Array) -> Array:
    """Stretch and shift, then hold between 0 and 1.

    >>> hard_sigmoid(np.float32([-9, 0, 1, 9]), np.float32(0.25), np.float32(0.5))
    array([0.  , 0.5 , 0.75, 1.  ], dtype=float32)
    """
    return hold(alpha * v + beta, 0, 1)


def elu(v: Array, alpha: Array) -> Array:
    """Let what is negative approach ``-alpha``.

    >>> elu(np.float32([-1, 0, 2]), np.float32(1))
    array([-0.63212055,  0.        ,  2.        ], dtype=float32)
    """
    return np.where(v >= 0, v, alpha * (exp(v) - _ONE))


def softsign(v: Array) -> Array:
    """Divide by one more than the magnitude.

    >>> softsign(np.float32([-1, 0, 3]))
    array([-0.5 ,  0.  ,  0.75], dtype=float32)
    """
    return divide(v, _ONE + np.abs(v), np.float32)


def softplus(v: Array) -> Array:
    """Take the logarithm of one more than the exponential.

    >>> softplus(np.float32([-1, 0, 100]))
    array([0.31326166, 0.6931472 ,        inf], dtype=float32)
    """
    return log(_ONE + exp(v))


Chosen = tuple[str, tuple[float, ...]]
"""Name of an activation and its parameters, alpha before beta."""


@dataclass(frozen=True)
class Activation:
    """A function with the parameters that it takes.

    ``defaults`` are those of ONNX's operator of the same name, for alpha and beta in this order;
    None stands where that has none.
    """

    function: Callable[..., Array]
    defaults: tuple[float | None, ...] = ()
    approximate: bool = False

    def __call__(self, v: Array, parameters: tuple[float, ...]) -> Array:
        """Apply the function to float32."""
        with np.errstate(all="ignore"):
            return np.asarray(self.function(v, *map(f32, parameters)))


ACTIVATIONS: Mapping[str, Activation] = MappingProxyType(
    {
        "Affine": Activation(affine, (None, None)),
        "Relu": Activation(relu),
        "LeakyRelu": Activation(leaky_relu, (0.01,)),
        "ThresholdedRelu": Activation(thresholded_relu, (1.0,)),
        "Tanh": Activation(tanh),
        "ScaledTanh": Activation(scaled_tanh, (None, None), approximate=True),
        "Sigmoid": Activation(logistic),
        "HardSigmoid": Activation(hard_sigmoid, (0.2, 0.5)),
        "Elu": Activation(elu, (1.0,), approximate=True),
        "Softsign": Activation(softsign),
        "Softplus": Activation(softplus, approximate=True),
    }
)
"""Every activation of ONNX's recurrent operators, by its name there."""
