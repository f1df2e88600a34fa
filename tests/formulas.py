"""Short ways to write a formula and to evaluate it."""

from __future__ import annotations

from typing import Any

from qdqdoc.formula import Formula, Value


def formula(text: str, symbols: str, sets: str = "", types: str = "") -> Formula:
    tables = (dict.fromkeys(names.split(), "") for names in (symbols, sets, types))
    return Formula(text, symbols=next(tables), sets=next(tables), types=next(tables))


def value(text: str, types: dict[str, str] | None = None, **values: Any) -> Value:  # noqa: ANN401
    """Evaluate one expression."""
    made = formula(f"y = {text}", " ".join(values), types=" ".join(types or ()))
    return made.evaluate(values, types=types)


CONV = formula(
    """
    m = f32(f32(s_x * s_w) / s_y)
    acc = wrap32(sum((x[k] - z_x) * (w[k] - z_w) for k in K) + b)
    y = saturate(rint(f32(f32(acc) * m)) + z_y)
    """,
    "x w b s_x s_w s_y z_x z_w z_y",
    "K",
    "T",
)
