"""A mixture of experts in float32 with every rounding stated :cite:p:`shazeer2017`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from qdqdoc.numerics.elementary import exp
from qdqdoc.numerics.packing import unpack
from qdqdoc.numerics.rounding import divide, f32, hold, multiply, subtract32
from qdqdoc.numerics.softmax import normalize, softmax

if TYPE_CHECKING:
    from collections.abc import Callable

    from qdqdoc.numerics.formats import Array


def select(logits: Array, k: int) -> Array:
    """Return the experts with the k largest logits of each row, in ascending order.

    Among equal logits the later expert is taken.

    >>> select(np.float32([[3, 1, 2], [5, 5, 5]]), 2)
    array([[0, 2],
           [1, 2]])
    """
    return np.sort(np.argsort(logits, kind="stable")[:, logits.shape[1] - k :])


def expert_weights(packed: Array, scales: Array, zero_points: Array | None, *, bits: int) -> Array:
    """Dequantize weights of experts, (experts, rows, columns); codes lie low bits first.

    Scales are (experts, rows), or (experts, rows, blocks). Zero points are packed along the last
    axis of their scales; without any they are in the middle of the codes.

    >>> packed = np.uint8([[[0x21, 0x43]]])
    >>> expert_weights(packed, np.float32([[0.5]]), None, bits=4)
    array([[[-3.5, -3. , -2.5, -2. ]]], dtype=float32)
    >>> expert_weights(packed, np.float32([[[1, 10]]]), np.uint8([[[0x31]]]), bits=4)
    array([[[ 0.,  1.,  0., 10.]]], dtype=float32)
    """
    codes = unpack(packed, bits)
    if zero_points is None:
        offsets = codes - 2 ** (bits - 1)
    else:
        zeros = unpack(zero_points, bits)[..., : scales.shape[-1]]
        offsets = subtract32(codes, _spread(zeros, codes))
    return multiply(offsets, _spread(scales, codes))


def _spread(values: Array, codes: Array) -> Array:
    """Repeat the value of each row, or of each block of one, for all codes that it serves."""
    held = values[..., None] if values.ndim < codes.ndim else values
    return np.repeat(held, codes.shape[-1] // held.shape[-1], axis=-1)


def sigmoid(values: Array) -> Array:
    """Compute 1 / (1 + exp(-v)) of float32, each of the three steps rounded.

    >>> sigmoid(np.float32([0, 1, -100]))
    array([0.5      , 0.7310586, 0.       ], dtype=float32)
    """
    with np.errstate(all="ignore"):
        return divide(f32(1), 1 + exp(-values), np.float32)


def activate(name: str, values: Array) -> Array:
    """Apply relu, gelu, silu or identity to float32; relu makes a zero of NaN.

    gelu is the form with a hyperbolic tangent; as (1 + tanh(v)) / 2 is the logistic function of
    2 v, it is computed with that.

    >>> for name in ("relu", "gelu", "silu", "identity"):
    ...     print(activate(name, np.float32([-1, 0, 2])))
    [0. 0. 2.]
    [-0.158808   0.         1.9545978]
    [-0.26894143  0.          1.761594  ]
    [-1.  0.  2.]
    """
    if name == "relu":
        return np.where(values > 0, values, 0)
    if name == "gelu":
        cube = multiply(multiply(values, values), values)
        inner = values + multiply(cube, f32(0.044715))
        return multiply(values, sigmoid(multiply(inner, f32(1.5957691216))))
    return multiply(values, sigmoid(values)) if name == "silu" else values


def gates(values: Array, *, apart: bool) -> tuple[Array, Array]:
    """Split rows into gates and linear parts, which take turns or stand apart in two halves.

    >>> gates(np.float32([[1, 2, 3, 4]]), apart=False)
    (array([[1., 3.]], dtype=float32), array([[2., 4.]], dtype=float32))
    >>> gates(np.float32([[1, 2, 3, 4]]), apart=True)
    (array([[1., 2.]], dtype=float32), array([[3., 4.]], dtype=float32))
    """
    half = values.shape[1] // 2
    if apart:
        return values[:, :half], values[:, half:]
    return values[:, 0::2], values[:, 1::2]


def swiglu(gate: Array, linear: Array, alpha: float, beta: float, limit: float) -> Array:
    """Gate a linear part: g sigmoid(alpha g) (l + beta), with g and l held within the limit.

    >>> swiglu(np.float32([1, 9]), np.float32([2, -9]), 1.0, 1.0, 7.0)
    array([  2.1931758, -41.96174  ], dtype=float32)

    Beta is rounded before it is added, here to half a step of the sum, which ties to even:

    >>> swiglu(np.float32([1]), np.float32([1]), 0.0, np.float64(2**-24 + 2**-48), 7.0)
    array([0.5], dtype=float32)
    """
    g = np.minimum(gate, limit)
    swish = multiply(g, sigmoid(multiply(f32(alpha), g)))
    return multiply(swish, hold(linear, -limit, limit) + f32(beta))


def shares(logits: Array, weights: Array | None, chosen: Array, *, normalized: bool) -> Array:
    """Return how much each chosen expert of each token counts.

    That is the softmax of the chosen logits, or the chosen weights, if any, perhaps normalized.

    >>> logits, chosen = np.float32([[0, 0, 7]]), np.array([[0, 1]])
    >>> shares(logits, None, chosen, normalized=False)
    array([[0.5, 0.5]], dtype=float32)
    >>> shares(logits, np.float32([[1, 3, 9]]), chosen, normalized=True)
    array([[0.25, 0.75]], dtype=float32)
    """
    if weights is None:
        return softmax(np.take_along_axis(logits, chosen, 1))
    near = np.take_along_axis(weights, chosen, 1)
    return normalize(near) if normalized else near


def mix(x: Array, chosen: Array, counts: Array, run: Callable[[int, Array], Array]) -> Array:
    """Add up what the chosen experts make of each token, from the lowest expert to the highest.

    >>> x, chosen, counts = np.float32([[3], [5]]), np.array([[0, 2], [1, 2]]), np.float32(0.5)
    >>> mix(x, chosen, np.full((2, 2), counts), lambda expert, tokens: tokens * expert)
    array([[3. ],
           [7.5]], dtype=float32)
    """
    y = np.zeros_like(x)
    for expert in np.unique(chosen):
        token, rank = np.nonzero(chosen == expert)
        y[token] += multiply(counts[token, rank, None], run(int(expert), x[token]))
    return y
