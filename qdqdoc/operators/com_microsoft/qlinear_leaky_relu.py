"""Leaky ReLU of codes: dequantize, multiply what is negative by alpha, quantize; all in float32."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from qdqdoc.formula import Formula
from qdqdoc.numerics.formats import DTYPES, Array, tensor, type_name
from qdqdoc.numerics.rounding import divide, multiply, round_to_grid, subtract32
from qdqdoc.registry import Call, Differs, Element, Version, operator
from qdqdoc.registry.elementwise import ODD_SCALES, wrong_values
from qdqdoc.registry.ties import every_code, nudge
from qdqdoc.registry.values import expect_one_value

if TYPE_CHECKING:
    from collections.abc import Iterator

NAME = "QLinearLeakyRelu"

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
    types={"T": ("uint8", "int8")},
    attributes={"alpha": 0.01},
)

LEAKY = Formula(
    "v = f32(s_x * (x - z_x))\n"
    "u = v if v >= 0 else f32(alpha * v)\n"
    "y = saturate(rint(f32(u / s_y)) + z_y)",
    symbols={
        "x": "element of `X`",
        "alpha": "attribute `alpha`, a float32",
        "s_x": "`X_scale`",
        "z_x": "`X_zero_point`; zero where it is absent",
        "s_y": "`Y_scale`",
        "z_y": "`Y_zero_point` likewise",
    },
    types={"T": "type of `X` and `Y`"},
    name="leaky",
)

# (scales of X and Y, alpha; their zero points; code): searched so that orders of roundings differ.
DECIDING = (
    ((0.19001041, 0.22428328, 0.7890541), (-5, -20), -97),
    ((1.2070249, 0.48892143, 0.5), (251, 243), 155),
    ((1.2070249, 0.48892143, 0.5), (251, 243), 219),
    ((0.065299734, 0.29851305, 3.0874195), (75, 68), 91),
    ((0.065299734, 0.29851305, 3.0874195), (75, 68), 123),
    ((0.065299734, 0.29851305, 3.0874195), (75, 68), -59),
    ((0.4574047, 1.0271546, 0.29999998), (34, -101), 98),
    ((0.3754274, 0.2245547, 0.1), (-62, -75), -30),
    ((0.3754274, 0.2245547, 0.1), (-62, -75), 34),
    ((2.364795, 0.1735629, 0.09999999), (233, 236), 193),
    ((0.062309798, 0.49847844, 5.7), (109, 32), 121),
    ((0.7953952, 0.9275717, 2.9154432), (-62, -72), -63),
)


def vectors() -> Iterator[Call]:
    """Yield each corner: every code, zero points, signs of alpha, odd scales, no zero points."""
    for kind in V1.types["T"]:
        codes = every_code(kind)
        low, high = int(codes[0]), int(codes[-1])
        for zeros in ((low, low), (high, high), (low + 128, low + 128), (1, 2), (100, 3)):
            name = f"{kind}, zero points {zeros}"
            yield _call(codes[::5], (0.5, 1), zeros, 0.25, name)
        yield _call(codes, (0.5, 0.005), (low + 129, 0), None, f"{kind}, alpha by default")
        yield _call(codes[::9], (0.5, 1), (None, 3), 0.25, f"{kind}, no zero point of X")
        yield _call(codes[::9], (0.5, 1), (3, None), 0.25, f"{kind}, no zero point of Y")
        yield _call(codes[::9], (0.5, 1), (None, None), 0.25, f"{kind}, no zero points")
        for alpha in (0.0, -1.5, 3.0, float("inf"), float("nan"), 1e-45):
            zeros = int(codes[105]), 50
            yield _call(codes[::15], (0.1, 0.3), zeros, alpha, f"{kind}, alpha {alpha}")
        for scale in ODD_SCALES:
            yield _call(codes[::15], (scale, 1), (100, 50), 0.25, f"{kind}, X_scale {scale}")
            yield _call(codes[::15], (1, scale), (100, 50), 0.25, f"{kind}, Y_scale {scale}")
    for number, (scales, zeros, code) in enumerate(DECIDING):
        kind = "int8" if min(*zeros, code) < 0 else "uint8"
        yield _call(tensor(kind, [code]), scales[:2], zeros, scales[2], f"deciding {number}")
    codes = tensor("uint8", range(90, 114)).reshape(2, 3, 4)
    yield _call(codes, ([0.5], [1]), (100, 3), 0.25, "three axes, vectors of one scale")
    yield _call(codes[0, 0, 0], (0.5, 1), (100, 3), 0.25, "a scalar")
    yield _call(codes[:, :0], (0.5, 1), (100, 3), 0.25, "empty")


def _call(
    codes: Array,
    scales: tuple[object, object],
    zero_points: tuple[int | None, int | None],
    alpha: float | None,
    name: str,
) -> Call:
    inputs: dict[str, Array] = {}
    for letter, scale, zero in zip("XY", scales, zero_points, strict=True):
        if letter == "X":
            inputs["X"] = np.asarray(codes)
        inputs[f"{letter}_scale"] = tensor("float32", scale)
        if zero is not None:
            inputs[f"{letter}_zero_point"] = np.full(
                inputs[f"{letter}_scale"].shape, zero, codes.dtype
            )
    attributes = {} if alpha is None else {"alpha": alpha}
    return Call(name=name, inputs=inputs, attributes=attributes)


def ties() -> Iterator[Call]:
    """Yield every code for scales and slopes that put some on ties, or one unit beside them."""
    rng = np.random.default_rng(8)
    for number in range(300):
        kind = V1.types["T"][number % 2]
        codes, s_y = every_code(kind), tensor("float32", rng.random() + 0.1)
        zeros = (int(z) for z in rng.integers(codes[0], codes[-1], 2, endpoint=True))
        odd, shift, steps = 2 * rng.integers(0, 40) + 1, rng.integers(3, 8), rng.integers(-2, 3, 2)
        s_x = nudge(s_y * tensor("float32", (1, 1 / 3, odd / 2.0**shift)[number % 3]), steps[0])
        alpha = nudge(
            tensor("float32", (0.5, 0.1, 0.01, 1.5, odd / 2.0**shift)[number % 5]), steps[1]
        )
        yield _call(codes, (s_x, s_y), (next(zeros), next(zeros)), float(alpha), f"ties {number}")


def element(call: Call, index: tuple[int, ...]) -> Element:
    """Bind the formula to one output element."""
    inputs = call.inputs
    alpha = call.attributes.get("alpha", V1.attributes["alpha"])
    values: dict[str, object] = {
        "x": inputs["X"][index],
        "alpha": DTYPES["float32"].type(alpha),
        "s_x": inputs["X_scale"].item(),
        "s_y": inputs["Y_scale"].item(),
        "z_x": inputs["X_zero_point"].item() if "X_zero_point" in inputs else 0,
        "z_y": inputs["Y_zero_point"].item() if "Y_zero_point" in inputs else 0,
    }
    return Element(formula=LEAKY, values=values, types={"T": type_name(inputs["X"].dtype)})


def rejects() -> Iterator[Call]:
    """Yield scales and zero points that are not one value."""
    right = _call(tensor("uint8", [1, 2]), (1, 1), (0, 0), 0.5, "")
    names = [name for name in V1.inputs if name != "X"]
    yield from wrong_values(right, names, ((2,), (1, 1), (0,)))


DIFFERS = (
    Differs(
        "onnxruntime",
        _call(tensor("uint8", [1, 2]), (1, 1), (0, None), 0.5, "no zero point of Y"),
        None,
        "The process dies: the kernel looks for a fifth input without asking whether there is one.",
        "Both zero points are optional.",
        lambda call: "Y_zero_point" not in call.inputs,
    ),
)


@operator(
    name=NAME,
    domain="com.microsoft",
    versions=(V1,),
    formulas=(LEAKY,),
    cites=("ort-contrib",),
    vectors=vectors,
    element=element,
    differs=DIFFERS,
    rejects=rejects,
    ties=ties,
)
def qlinear_leaky_relu(
    X: Array,
    X_scale: Array,
    X_zero_point: Array | None,
    Y_scale: Array,
    Y_zero_point: Array | None = None,
    *,
    alpha: float = 0.01,
) -> Array:
    """Keep real values from zero on, multiply those below by ``alpha``, and quantize them again.

    Parameters
    ----------
    X
        Codes, uint8 or int8, any shape.
    X_scale, Y_scale
        Steps of both grids: one value each.
    X_zero_point, Y_zero_point
        Codes of the real number zero, of the type of ``X``: one value each, zero where absent.
    alpha
        Slope below zero, a float32.

    Returns
    -------
    Y
        Codes of the type and shape of ``X``.

    Raises
    ------
    OperatorError
        For a missing input, types that are not the same, or a scale or zero point that is not one
        value.

    Notes
    -----
    Codes are few: a table of their results is the whole operator for one set of parameters.

    Three products and quotients are rounded to float32 in turn: the real value, its product with
    ``alpha``, the quotient by ``Y_scale``. Merging two of them gives other codes near ties.

    Examples
    --------
    Around the zero point 100, a quarter below it; ties go to the even step, counted from there:

    >>> import numpy as np
    >>> x, one, zero = np.uint8([0, 90, 94, 100, 102]), np.float32(1), np.uint8(100)
    >>> qlinear_leaky_relu(x, one, zero, one, np.uint8(101), alpha=0.25)
    array([ 76,  99,  99, 101, 103], dtype=uint8)

    Without ``alpha`` it is 0.01; zero points left out are zero; both rails hold:

    >>> x = np.int8([-128, -100, -49, 0, 3, 7])
    >>> qlinear_leaky_relu(x, one, None, np.float32(0.01))
    array([-128, -100,  -49,    0,  127,  127], dtype=int8)
    >>> qlinear_leaky_relu(x, one, None, np.float32(0.005))
    array([-128, -128,  -98,    0,  127,  127], dtype=int8)

    What is zero is not multiplied, even by infinity; what is not a number gets the lowest code:

    >>> qlinear_leaky_relu(x, one, None, one, np.int8(5), alpha=np.inf)
    array([-128, -128, -128,    5,    8,   12], dtype=int8)
    >>> qlinear_leaky_relu(x, one, None, np.float32(np.nan), np.int8(5))
    array([-128, -128, -128, -128, -128, -128], dtype=int8)
    """
    parameters = {
        "X_scale": X_scale,
        "X_zero_point": X_zero_point,
        "Y_scale": Y_scale,
        "Y_zero_point": Y_zero_point,
    }
    expect_one_value(NAME, **parameters)
    none = np.zeros((), X.dtype)
    z_x, z_y = (none if z is None else z.reshape(()) for z in (X_zero_point, Y_zero_point))
    reals = multiply(X_scale.reshape(()), subtract32(X, z_x))
    leaky = np.where(reals >= 0, reals, multiply(np.asarray(alpha), reals))
    return round_to_grid(divide(leaky, Y_scale.reshape(()), np.float32), z_y, X.dtype)
