"""Whether the contracts agree on a model: layer by layer on some images, and as recorded on all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from qdqdoc.errors import QdqdocError
from qdqdoc.evaluate import Agreement, Evaluation, evaluate
from qdqdoc.execute import CONTRACTS
from qdqdoc.facts.reading import digits
from qdqdoc.facts.running import drawn_or_held, expect_few
from qdqdoc.fuse import TARGETS
from qdqdoc.tables import Cell, Code, Table

if TYPE_CHECKING:
    from collections.abc import Mapping

    from qdqdoc.document import Document
    from qdqdoc.facts.examples import Images

COMPARED = ("qdq", "exact", "ort-x86", "ort-x86-int8")
"""The contracts that are compared; ``ort`` twice, as its session options make two of it."""

IMAGES = 3
"""So many images are run while a page is made; one where the model fixes the number."""

WITNESSES = {
    "exact": "fractions, one output at a time",
    "qdq": "onnxruntime without optimizations, each node on its own inputs",
    "ort": "every tensor of onnxruntime's own optimized graph",
    "q31": "a certificate over all reachable accumulators",
    "gemmlowp": "the published definition",
}


@dataclass(frozen=True, kw_only=True, eq=False, slots=True)
class Compared:
    """What was counted; without it, the reason. ``left_out`` names contracts and why."""

    evaluation: Evaluation | None = None
    origin: str = ""
    left_out: tuple[tuple[str, str], ...] = ()

    @property
    def agreements(self) -> tuple[Agreement, ...]:
        """The pairs of contracts, none where nothing was run."""
        return () if self.evaluation is None else self.evaluation.counts.agreements

    @property
    def differing(self) -> tuple[Agreement, ...]:
        """The pairs that differ anywhere."""
        return tuple(a for a in self.agreements if a.first is not None)


def contracts_table() -> Table:
    """Return the numeric contracts: what each means, and who witnesses it."""
    rows = tuple(
        (
            Code(one.name),
            one.meaning,
            WITNESSES[one.name],
            "yes" if one.ready else "not yet",
        )
        for one in CONTRACTS.values()
    )
    return Table(("Contract", "What the numbers are equal to", "Witness", "Can be run"), rows)


def processors_table() -> Table:
    """Return what each target takes from the processor."""
    rows = tuple((Code(name), target.processor) for name, target in TARGETS.items())
    return Table(("Target", "What its kernels take from the processor"), rows)


def compared(document: Document, held: Images | None = None) -> Compared:
    """Run some images under every contract that can follow the model, and compare.

    >>> from qdqdoc.document import Document, Graph, Operation
    >>> odd = Operation(name="o", op_type="Odd", domain="org.example", inputs=(), outputs=())
    >>> found = compared(Document(model_path="odd.onnx", graph=Graph(operations=(odd,))))
    >>> found.evaluation is None, len(found.left_out) == len(COMPARED)
    (True, True)
    """
    followed, left_out = [], []
    try:
        expect_few(document, IMAGES)
        given, origin = drawn_or_held(document, held, IMAGES)
    except QdqdocError as error:
        return Compared(left_out=tuple((name, str(error)) for name in COMPARED))
    for name in COMPARED:
        try:
            evaluate(document, {k: v[:1] if v.ndim else v for k, v in given.items()}, None, (name,))
        except (QdqdocError, MemoryError) as error:
            left_out.append((name, str(error) or "there is not enough memory"))
        else:
            followed.append(name)
    if not followed:
        return Compared(left_out=tuple(left_out))
    found = evaluate(document, given, None, followed)
    return Compared(evaluation=found, origin=origin, left_out=tuple(left_out))


def left_out_table(found: Compared) -> Table:
    """Return the contracts that cannot follow the model, and why."""
    return Table(("Contract", "Why"), tuple((Code(name), why) for name, why in found.left_out))


def matrix_table(found: Compared) -> Table:
    """Return for each pair of contracts how many codes differ, by how much, and where first."""
    rows = []
    for one in found.agreements:
        differing = sum(layer.differing for layer in one.layers)
        largest = max((layer.largest for layer in one.layers), default=0)
        first = Code(one.first.layer) if one.first else "nowhere"
        codes = sum(layer.values for layer in one.layers)
        rows.append((*map(Code, one.contracts), codes, differing, largest, first, one.equal))
    columns = (
        *("One", "The other", "Codes", "That differ", "Largest difference in steps"),
        *("First in", "Images equal in every layer"),
    )
    return Table(columns, tuple(rows))


def layers_table(found: Compared) -> Table:
    """Return for each layer how many codes differ between the contracts that differ at all."""
    pairs = found.differing
    if not pairs:
        return Table(("Layer", "Codes"), ())
    columns = ("Layer", "Codes", *(f"{a.contracts[0]} and {a.contracts[1]}" for a in pairs))
    everything = [{layer.tensor: layer for layer in pair.layers} for pair in pairs]
    rows = []
    for tensor, layer in everything[0].items():
        cells: list[Cell] = []
        for known in everything:
            other = known.get(tensor)
            cells.append(None if other is None else _told(other.differing, other.largest))
        rows.append((Code(layer.layer), layer.values, *cells))
    return Table(columns, tuple(rows))


def _told(differing: int, largest: int) -> Cell:
    if not differing:
        return 0
    return f"{differing}, up to {largest} step{'s' if largest > 1 else ''}"


def right_table(manifest: Mapping[str, Any] | None, model: str) -> Table:
    """Return what was recorded of all held-out images: how many are right under each contract."""
    entry = (manifest or {}).get("files", {}).get(model, {})
    right = entry.get("contracts", {}).get("right", {})
    known = {name: right[name] for name in COMPARED if name in right}
    rows = tuple(
        (
            Code(contract),
            one["correct"],
            one["total"],
            digits(100 * one["correct"] / one["total"]) if one["total"] else None,
        )
        for contract, one in known.items()
    )
    return Table(("Contract", "Right", "Images", "%"), rows)


def recorded_table(manifest: Mapping[str, Any] | None, model: str) -> Table:
    """Return what was recorded of all held-out images: how far the contracts agree."""
    entry = (manifest or {}).get("files", {}).get(model, {})
    rows = tuple(
        (
            *map(Code, one["contracts"]),
            one["codes"],
            one["codes_that_differ"],
            one["largest_difference_in_steps"],
            one["images_equal_in_every_layer"],
            one["classes_changed"],
        )
        for one in entry.get("contracts", {}).get("agreement", [])
    )
    columns = (
        *("One", "The other", "Codes", "That differ", "Largest difference in steps"),
        *("Images equal in every layer", "Answers that differ"),
    )
    return Table(columns, rows)
