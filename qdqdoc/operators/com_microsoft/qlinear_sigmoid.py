"""Squash codes between 0 and 1: a rational approximation in float32, then one rounding.

The real function is 1 / (1 + exp(-v)). What is computed is an odd polynomial over an even one, plus
a half, with fused multiply-adds; it is within some units in the last place of the real function,
which decides ties differently. There are 256 codes, so an implementation may well hold a table.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from qdqdoc.calls import fma
from qdqdoc.calls.grids import as_vectors, grid_call, several_values, without
from qdqdoc.formula import Formula
from qdqdoc.numerics.elementary import logistic
from qdqdoc.numerics.formats import DTYPES, Array, integer_range, tensor, type_name
from qdqdoc.numerics.rounding import divide, multiply, round_to_grid, subtract32
from qdqdoc.registry import Call, Differs, Element, Version, operator
from qdqdoc.registry.ties import every_code, nudge
from qdqdoc.registry.values import expect_one_value

if TYPE_CHECKING:
    from collections.abc import Iterator

NAME = "QLinearSigmoid"

V1 = Version(
    since=1,
    inputs={
        "X": "T",
        "X_scale": "float32",
        "X_zero_point": "T",
        "Y_scale": "float32",
        "Y_zero_point": "T",
    },
    optional=("X_zero_point", "Y_zero_point"),
    outputs={"Y": "T"},
    types={"T": ("int8", "uint8")},
)

# The coefficients, rounded to float32 before use: a_k and b_k belong to the k-th power.
COEFFICIENTS = {
    "a_9": 4.37031012579801e-11,
    "a_7": 1.15627324459942e-07,
    "a_5": 6.08574864600143e-05,
    "a_3": 8.51377133304701e-03,
    "a_1": 2.48287947061529e-01,
    "b_10": 6.10247389755681e-13,
    "b_8": 5.76102136993427e-09,
    "b_6": 6.29106785017040e-06,
    "b_4": 1.70198817374094e-03,
    "b_2": 1.16817656904453e-01,
    "b_0": 9.93151921023180e-01,
}

SIGMOID = Formula(
    """
    v = clip(f32(s_x * (x - z_x)), -18, 18)
    t = f32(v * v)
    p_7 = f32(a_9 * t + a_7)
    p_5 = f32(p_7 * t + a_5)
    p_3 = f32(p_5 * t + a_3)
    p_1 = f32(p_3 * t + a_1)
    q_8 = f32(b_10 * t + b_8)
    q_6 = f32(q_8 * t + b_6)
    q_4 = f32(q_6 * t + b_4)
    q_2 = f32(q_4 * t + b_2)
    q_0 = f32(q_2 * t + b_0)
    u = max(0, f32(f32(f32(v * p_1) / q_0) + 0.5))
    y = saturate(rint(f32(u / s_y)) + z_y)
    """,
    symbols={
        "x": "element of `X`",
        "s_x": "`X_scale`",
        "z_x": "`X_zero_point`; zero where it is absent",
        "s_y": "`Y_scale`",
        "z_y": "`Y_zero_point`; zero where it is absent",
        **{name: f"the float32 nearest to {value}" for name, value in COEFFICIENTS.items()},
    },
    types={"T": "type of `X` and `Y`"},
    name="sigmoid",
)

# Code, scale of x, scale of y: searched so that orders of roundings differ.
DECIDING = (
    (207, -0.023617623, 0.00016425991),
    (222, 0.009296158, 0.0106267),
    (159, -0.021149877, 0.00019407236),
    (9, -0.88292426, 1.5974853e-06),
    (166, 0.036119703, 0.004253804),
    (133, -0.015029201, 0.0007824273),
    (64, -0.23260598, 4.8656847e-09),
    (167, -0.099591374, 4.7505944e-12),
    (99, -0.14170547, 3.884012e-09),
    (204, -0.07346978, 7.859953e-09),
    (85, 0.21691032, 0.008368201),
    (145, 0.0980777, 0.15384606),
    (7, -2.2004342, 1.1012404e-09),
    (30, -0.5658873, 7.42737e-10),
    (252, 0.025013825, 0.0046318956),
    (173, -0.10032079, 2.6432212e-10),
    (138, -0.11779528, 9.879224e-10),
    (33, -0.60552174, 4.106776e-12),
    (121, -0.12590338, 1.2929424e-09),
    (151, -0.11487274, 7.380075e-12),
)

_call = partial(grid_call, tuple(V1.inputs))


def vectors() -> Iterator[Call]:
    """Yield each corner: every code on steep and flat grids, both rails, orders of roundings."""
    for kind in V1.types["T"]:
        low, high = integer_range(DTYPES[kind])
        x = every_code(kind)
        for scales in ((0.1, 1 / 256), (0.03, 0.2), (-0.2, 0.003)):
            for zeros in ((low, low), (low + 100, low + 3), (high, high - 200)):
                yield _call(f"{kind}, zero points {zeros}, scales {scales}", x, scales, zeros)
        for s_x in (np.nan, np.inf, 3e38, 0):
            yield _call(f"{kind}, x_scale {s_x}", x[1::51], (s_x, 0.004), (low + 1, low + 2))
        for s_y in (np.nan, np.inf, 1e-40, 0, -0.1):
            yield _call(f"{kind}, y_scale {s_y}", x[1::51], (0.1, s_y), (low + 1, low + 2))
    for code, s_x, s_y in DECIDING:
        yield _call(f"a tie in one order, {code}", tensor("uint8", code), (s_x, s_y), (0, 0))
    yield _call("a sum above one", tensor("uint8", 1), (17.934595, 0.4), (0, 0))
    yield _call("a sum below zero", every_code("uint8"), (-0.21150056, 1.0928961e-11), (0, 200))
    plain = _call("", every_code("uint8")[:24].reshape(2, 3, 4), (0.5, 0.005), (9, 4))
    yield as_vectors(plain)
    yield without(plain, "X_zero_point")
    yield without(plain, "Y_zero_point")
    yield _call("empty", np.zeros((2, 0), np.int8), (0.5, 0.005), (9, 4))


def element(call: Call, index: tuple[int, ...]) -> Element:
    """Bind the formula to one output element."""
    inputs, zero = call.inputs, np.zeros(1, np.int8)
    values = {
        "x": inputs["X"][index],
        **{f"s_{k}": inputs[f"{k.upper()}_scale"].reshape(-1)[0] for k in "xy"},
        **{f"z_{k}": inputs.get(f"{k.upper()}_zero_point", zero).reshape(-1)[0] for k in "xy"},
        **{name: np.float32(value) for name, value in COEFFICIENTS.items()},
    }
    return Element(formula=SIGMOID, values=values, types={"T": type_name(inputs["X"].dtype)})


def ties() -> Iterator[Call]:
    """Yield scales of y that put the value of some code on or beside a tie."""
    rng = np.random.default_rng(3)
    for kind in V1.types["T"]:
        x = every_code(kind)
        low, high = integer_range(DTYPES[kind])
        for number in range(40):
            zeros = int(rng.integers(low, high + 1)), int(rng.integers(low, high + 1))
            s_x = float(np.float32(rng.uniform(0.001, 0.3)))
            code, steps = int(rng.choice(x)), int(rng.integers(0, 255)) + 0.5
            value = float(1 / (1 + np.exp(-s_x * (code - zeros[0]))))
            for ulp in (-1, 0, 1):
                s_y = float(nudge(tensor("float32", value / steps), ulp))
                yield _call(f"{kind}, {number}th, {ulp} ulp", x, (s_x, s_y), zeros)


def rejects() -> Iterator[Call]:
    """Yield what is no scale or zero point of a whole tensor."""
    yield from several_values(_call("", every_code("uint8"), (0.1, 0.004), (3, 1)))


def _fma_matters(call: Call) -> Array:
    return fma.fma_matters(qlinear_sigmoid, call)


_ONE = _call("", tensor("uint8", 166), (0.036119703, 0.004253804), (0, 0))

DIFFERS = (
    Differs(
        "onnxruntime",
        replace(without(_ONE, "Y_zero_point"), name="no zero point of Y"),
        None,
        "The process is aborted: an input is read that is not there.",
        "The zero point may be left out.",
        lambda call: "Y_zero_point" not in call.inputs,
    ),
    Differs(
        "onnxruntime",
        replace(_ONE, name="a product is rounded"),
        (235,),
        fma.WHY,
        fma.TEXT,
        _fma_matters,
        fma.NAME,
    ),
)


@operator(
    name=NAME,
    domain="com.microsoft",
    versions=(V1,),
    formulas=(SIGMOID,),
    cites=("ort-contrib", "ort-mlas"),
    vectors=vectors,
    element=element,
    differs=DIFFERS,
    rejects=rejects,
    ties=ties,
)
def qlinear_sigmoid(
    X: Array,
    X_scale: Array,
    X_zero_point: Array | None,
    Y_scale: Array,
    Y_zero_point: Array | None = None,
) -> Array:
    """Turn codes into real values, squash them between 0 and 1, round to the grid.

    Parameters
    ----------
    X
        Codes, any shape.
    X_scale, X_zero_point
        Grid of ``X``: one value each; without a zero point it is 0.
    Y_scale, Y_zero_point
        Grid of ``Y``, likewise.

    Returns
    -------
    Y
        Codes in the shape of ``X``.

    Raises
    ------
    OperatorError
        For a missing input, another type, or a scale or zero point of more than one value.

    Examples
    --------
    The zero point stands for 0, of which the value is a half; the rails saturate:

    >>> import numpy as np
    >>> x, zero = np.int8([-128, 0, 3, 127]), np.int8(3)
    >>> qlinear_sigmoid(x, np.float32(0.5), zero, np.float32(1 / 256), np.int8(-128))
    array([-128,  -81,    0,  127], dtype=int8)

    A half that is a tie goes to the even neighbour before the zero point is added:

    >>> qlinear_sigmoid(np.int8([3]), np.float32(0.5), zero, np.float32(0.2), np.int8(1))
    array([3], dtype=int8)

    From 18 on the approximation has reached its end, where the real value is 76 steps:

    >>> far = np.uint8([16, 17, 18, 255])
    >>> qlinear_sigmoid(far, np.float32(-1), np.uint8(0), np.float32(2e-10))
    array([255, 255,   0,   0], dtype=uint8)
    >>> round(1 / (1 + np.exp(18)) / 2e-10)
    76
    """
    expect_one_value(
        NAME,
        X_scale=X_scale,
        X_zero_point=X_zero_point,
        Y_scale=Y_scale,
        Y_zero_point=Y_zero_point,
    )
    none = np.zeros((), X.dtype)
    zero_x = none if X_zero_point is None else X_zero_point
    zero_y = none if Y_zero_point is None else Y_zero_point
    values = logistic(multiply(subtract32(X, zero_x), X_scale))
    y = round_to_grid(divide(values, Y_scale, np.float32), zero_y, X.dtype)
    return y.reshape(X.shape)
