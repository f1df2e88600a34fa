"""Numbers that a hand-written manual printed, and what its own inputs give.

The arrays, scales and results are quotations from Floadia/resnet8, ``docs/quantization``, as of
February 2026. Each result is computed again by the expression that the page shows beside it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from qdqdoc.facts.reading import digits
from qdqdoc.numerics.formats import tensor
from qdqdoc.operators import OPERATORS
from qdqdoc.tables import Code, Quoted, Table

if TYPE_CHECKING:
    from qdqdoc.tables import Cell

# 02-qlinearconv.md, "Step-by-Step Calculation": one window of three channels, and its weights.
X = tensor(
    "int8",
    [
        [[45, 32, 28], [51, 48, 35], [39, 42, 33]],
        [[62, 55, 49], [68, 71, 64], [58, 61, 52]],
        [[38, 41, 35], [44, 47, 40], [36, 39, 34]],
    ],
)
W = tensor(
    "int8",
    [
        [[-12, 8, 5], [15, -9, 11], [7, -6, 4]],
        [[9, -14, 7], [-11, 13, -8], [6, 10, -5]],
        [[8, 11, -9], [14, -7, 12], [-10, 6, 9]],
    ],
)
ZERO = tensor("int8", 0)
X_GRID, W_GRID, Y_GRID = ((tensor("float32", s), ZERO) for s in (0.0235, 0.0152, 0.0314))

# 03-qlinearmatmul.md, "Step-by-Step Calculation": a row of features, and a column of weights.
A = tensor(
    "int8",
    [
        *(45, 32, 28, 51, 48, 35, 39, 42, 62, 55, 49, 68, 71, 64, 58, 61),
        *(38, 41, 35, 44, 47, 40, 36, 39, 52, 48, 44, 56, 59, 53, 50, 54),
        *(41, 38, 35, 43, 46, 40, 37, 41, 55, 51, 48, 60, 63, 57, 54, 58),
        *(44, 40, 37, 47, 50, 44, 41, 45, 58, 54, 51, 63, 66, 60, 57, 61),
    ],
)
B = tensor(
    "int8",
    [
        *(-12, 8, 5, 15, -9, 11, 7, -6, 9, -14, 7, -11, 13, -8, 6, 10),
        *(8, 11, -9, 14, -7, 12, -10, 6, -15, 10, -8, 13, -11, 9, -7, 12),
        *(11, -9, 7, -13, 10, -8, 6, -11, 14, -12, 9, -15, 13, -10, 8, -14),
        *(-10, 8, -6, 12, -9, 7, -5, 11, -13, 10, -8, 14, -11, 9, -7, 13),
    ],
)
A_GRID = tensor("float32", 0.1903), tensor("int8", 20)
B_GRID, LOGIT_GRID = ((tensor("float32", s), ZERO) for s in (0.0245, 0.1585))


@dataclass(frozen=True, slots=True)
class Correction:
    """A number that was printed, and the expression that gives the right one."""

    key: str
    page: str
    what: str
    printed: str
    expression: str

    def value(self) -> Any:  # noqa: ANN401 - a whole number, a float or a pair
        """Compute it."""
        found = eval(self.expression, names())  # noqa: S307 - one of the expressions below
        return found.item() if isinstance(found, np.ndarray | np.generic) else found


CONV, MATMUL, WHOLE = "02-qlinearconv.md", "03-qlinearmatmul.md", "04-architecture.md"

CORRECTIONS = (
    Correction(
        "conv-sum",
        CONV,
        "accumulator of a convolution, a window of 3×3×3 values",
        "3847",
        "np.sum(np.int32(x) * np.int32(w))",
    ),
    Correction(
        "conv-code",
        CONV,
        "the code made of it",
        "44",
        "qlinear_conv(x, *x_grid, w, *w_grid, *y_grid)",
    ),
    Correction(
        "matmul-sum",
        MATMUL,
        "accumulator of a product of 64 terms",
        "2847",
        "(np.int32(a) - 20) @ np.int32(b)",
    ),
    Correction(
        "matmul-code",
        MATMUL,
        "the code made of it",
        "84",
        "qlinear_matmul(a, *a_grid, b, *b_grid, *logit_grid)",
    ),
    Correction(
        "wrap",
        CONV,
        "9290304, the sum of 576 products of 127 and 127, wrapped to int16",
        "-7744",
        "np.full(576, 127 * 127, np.int16).sum(dtype=np.int16)",
    ),
    Correction(
        "tie",
        CONV,
        "what Python's round makes of 2.5 and -2.5, and by which rule",
        "2, -2 (away from zero)",
        "round(2.5), round(-2.5), round(3.5)",
    ),
    Correction(
        "margin",
        MATMUL,
        "how often 1,032,256 goes into an int32",
        "479×",
        "(2**31 - 1) / 1032256",
    ),
    Correction(
        "worst",
        MATMUL,
        "largest sum of those 64 terms, with the zero points 20 and 0",
        "up to 1,032,256",
        "64 * (-128 - 20) * -128",
    ),
)


def names() -> dict[str, Any]:
    """Return what the expressions may use: the quoted arrays, NumPy and two kernels."""
    return {
        "np": np,
        "qlinear_conv": OPERATORS["", "QLinearConv"].kernel,
        "qlinear_matmul": OPERATORS["", "QLinearMatMul"].kernel,
        "x": X[None],
        "w": W[None],
        "a": A[None],
        "b": B[:, None],
        "x_grid": X_GRID,
        "w_grid": W_GRID,
        "y_grid": Y_GRID,
        "a_grid": A_GRID,
        "b_grid": B_GRID,
        "logit_grid": LOGIT_GRID,
    }


def corrections() -> Table:
    """Return what was printed beside what it is, and how that is computed."""
    rows = tuple(
        (c.what, Quoted(c.printed), _short(c.value()), Code(c.expression), Code(c.page))
        for c in CORRECTIONS
    )
    columns = ("what", "printed", "computed", "by", "page")
    return Table(columns=columns, rows=rows, keys=tuple(c.key for c in CORRECTIONS))


def _short(value: Any) -> Cell:  # noqa: ANN401 - as above
    if isinstance(value, tuple):
        return ", ".join(map(str, value))
    return digits(value, 5) if isinstance(value, float) else value


CONTRADICTIONS = (
    ("model_1/conv2d_1/BiasAdd:0_scale", "0.003922", "4.170417785644531"),
    ("model_1/conv2d_1/BiasAdd:0_zero_point", "-128", "1"),
    ("model_1/activation_1/Relu:0_scale", "0.023529", "0.04614964500069618"),
    ("model_1/activation_1/Relu:0_zero_point", "0", "-128"),
)
"""Parameters as the text gives them, and as the manual's own extracted JSON has them."""


def contradictions() -> Table:
    """Return numbers that the same manual prints twice."""
    rows = tuple((Code(name), Quoted(text), Quoted(file)) for name, text, file in CONTRADICTIONS)
    return Table(columns=("parameter", f"in {WHOLE}", "in its JSON"), rows=rows)
