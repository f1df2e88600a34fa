"""The words of the formula language: what a formula may say, and how its types are named."""

from __future__ import annotations

from typing import Final

from qdqdoc.formula.rounding import POINTS, TYPES, IntegerType

REDUCTIONS: Final = ("sum", "min", "max", "sum_f32", "anysum_f32")
"""What may hold ``... for k in SET``."""

SATURATIONS: Final = tuple(
    f"saturate_{name}" for name, entry in TYPES.items() if isinstance(entry, IntegerType)
)

ARITIES: Final[dict[str, tuple[int, int | None]]] = {
    **dict.fromkeys((*POINTS, "rint", "floor", "abs", "exp", "log", "sqrt"), (1, 1)),
    **dict.fromkeys(("saturate", *SATURATIONS, "wrap32"), (1, 1)),
    "clip": (3, 3),
    "min": (2, None),
    "max": (2, None),
}
"""Fewest and most arguments of each function; None is any number."""

LIMITS: Final = ("lowest", "highest")
CONSTANTS: Final = ("inf", "nan")

RESULT_TYPE: Final = "T"
"""The type variable whose range a bare ``saturate`` means."""

RESERVED: Final = frozenset((*ARITIES, *REDUCTIONS, *LIMITS, *CONSTANTS))


def short_functions() -> str:
    """Name the functions for an error message, the many saturations as one."""
    names = [name for name in ARITIES if name not in SATURATIONS]
    return ", ".join((*names, "saturate_int8 and its like", *LIMITS, *REDUCTIONS))
