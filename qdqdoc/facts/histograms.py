"""How the codes of a run are spread: a strip for each tensor of codes, in the order of the run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from qdqdoc.groups import groups
from qdqdoc.numerics.formats import integer_range, is_integer

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from qdqdoc.document import Document
    from qdqdoc.execute import Trace
    from qdqdoc.numerics.formats import Array

CODES = 256
"""Wider types are not drawn: a strip has no room for them."""
ROW, ABOVE, WIDTH = 0.2, 1.0, 7.2
NAME = 34
"""Of a longer name the end is shown."""


def histograms(document: Document, trace: Trace) -> Figure | None:
    """Draw how often each code occurs in each tensor that a group makes; ``None`` without any.

    Colour is the share of the values on a logarithmic scale, white where a code does not occur.
    """
    rows = list(_rows(document, trace))
    if not rows:
        return None
    from matplotlib.colors import LogNorm  # noqa: PLC0415 - slow to import
    from matplotlib.figure import Figure  # noqa: PLC0415 - the same

    shares = np.stack([share for _, share in rows])
    figure = Figure(figsize=(WIDTH, ABOVE + ROW * len(rows)), layout="constrained")
    axes = figure.subplots()
    shown = np.ma.masked_equal(shares, 0)
    image = axes.imshow(
        shown, aspect="auto", interpolation="nearest", cmap="viridis_r",
        norm=LogNorm(vmin=float(shown.min()), vmax=1),
    )  # fmt: skip
    axes.set_yticks(range(len(rows)), [_short(name) for name, _ in rows], fontsize="x-small")
    axes.set_xlabel("code, counted from the lowest of its type")
    figure.colorbar(image, ax=axes, label="share of the values", shrink=0.5)
    return figure


def _short(name: str) -> str:
    return name if len(name) <= NAME else f"…{name[1 - NAME :]}"


def _rows(document: Document, trace: Trace) -> list[tuple[str, Array]]:
    found = []
    for group in groups(document):
        made = trace.by_name.get(group.output)
        if made is None or group.result is None or not is_integer(made.value.dtype):
            continue
        low, high = integer_range(made.value.dtype)
        if made.value.size and high - low < CODES:
            places = made.value.astype(np.int64).ravel() - low
            counts = np.bincount(places, minlength=CODES)
            found.append((group.name, counts / made.value.size))
    return found
