"""What quantization costs, as measured when the models were made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from qdqdoc.facts.reading import digits
from qdqdoc.tables import Cell, Code, Table

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, kw_only=True, slots=True)
class Cost:
    """One model against the float model on the same held-out images."""

    float_model: str
    float_correct: int
    correct: int
    images: int
    changed: int
    largest_change: float

    @property
    def lost(self) -> int:
        """How many images less are right; negative if there are more."""
        return self.float_correct - self.correct


def accuracy(manifest: Mapping[str, Any] | None, model: str) -> Table:
    """Return the float model and all its variants with size and accuracy, the shown one marked."""
    files = (manifest or {}).get("files", {})
    measured = [(name, entry) for name, entry in files.items() if "test_accuracy" in entry]
    return Table(
        (
            *("Model", "Shown", "Bytes", "Nodes", "Right", "Images", "%"),
            *("Changed", "Largest change"),
        ),
        tuple(_row(name, entry, model) for name, entry in measured),
    )


def _row(name: str, entry: Mapping[str, Any], model: str) -> tuple[Cell, ...]:
    found, against = entry["test_accuracy"], entry.get("compared_with_float", {})
    return (
        Code(name),
        "yes" if name == model else "",
        entry.get("bytes"),
        entry.get("nodes", {}).get("total"),
        found["correct"],
        found["total"],
        digits(100 * found["correct"] / found["total"]) if found["total"] else None,
        against.get("classes_changed"),
        against.get("largest_probability_change"),
    )


def cost(manifest: Mapping[str, Any] | None, model: str) -> Cost | None:
    """Return what a variant costs against its float model; ``None`` if that was not measured."""
    files = (manifest or {}).get("files", {})
    entry = files.get(model, {})
    against, found = entry.get("compared_with_float"), entry.get("test_accuracy")
    plain = [item for item in files.items() if _is_float(item[1])]
    if not against or not found or len(plain) != 1:
        return None
    name, base = plain[0]
    return Cost(
        float_model=name,
        float_correct=base["test_accuracy"]["correct"],
        correct=found["correct"],
        images=found["total"],
        changed=against["classes_changed"],
        largest_change=against["largest_probability_change"],
    )


def _is_float(entry: Mapping[str, Any]) -> bool:
    """Tell whether a measured model is the one that the others are compared with."""
    return "test_accuracy" in entry and "compared_with_float" not in entry
