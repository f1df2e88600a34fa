"""What an evaluation answers: counts, which batches add up to in any order."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from qdqdoc.evaluate.settings import Settings

MANY = 16
"""The histogram counts so many steps and more in one place."""

SHOWN = 10
"""So many of the images whose class changes are named."""


@dataclass(frozen=True, kw_only=True)
class Layer:
    """How far two contracts agree on the codes that one layer makes.

    ``steps`` counts values by the second contract's code minus the first's, where they differ; at
    its ends, `MANY` and ``-MANY``, stands what is further apart. ``largest`` is exact. ``images``
    counts the images that differ here and ``first`` those that differ in no layer before; both are
    ``None`` where the first axis of the tensor is not that of the images.
    """

    tensor: str
    layer: str
    pattern: str
    values: int
    differing: int
    largest: int
    steps: Mapping[int, int]
    images: int | None
    first: int | None


@dataclass(frozen=True, kw_only=True)
class Output:
    """How far two contracts agree on an output of the model.

    ``largest`` is the largest distance of two values, infinite where a number meets no number.
    """

    tensor: str
    images: int | None
    largest: float


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """Two contracts compared on every image.

    ``layers`` are in graph order: each tensor of codes of the main graph that both contracts have;
    ``absent`` names those that only the model has, or one of them. ``equal`` counts the images that
    differ in no layer. ``changed`` counts the images that the contracts put
    into different classes, and ``examples`` names the first of these; ``None`` without classes.
    """

    contracts: tuple[str, str]
    layers: tuple[Layer, ...]
    absent: tuple[str, ...]
    equal: int
    outputs: tuple[Output, ...]
    changed: int | None
    examples: tuple[int, ...]

    @property
    def first(self) -> Layer | None:
        """The first layer in graph order whose codes differ in any image."""
        return next((layer for layer in self.layers if layer.differing), None)


@dataclass(frozen=True, kw_only=True)
class Score:
    """How many images a contract puts into the class of their label; ``None`` without labels."""

    contract: str
    images: int
    right: int | None


@dataclass(frozen=True, kw_only=True)
class Counts:
    """What was counted on some images, of one batch or of all."""

    images: int
    scores: tuple[Score, ...]
    agreements: tuple[Agreement, ...]

    def __add__(self, other: Counts) -> Counts:
        """Return the counts of the images of both."""
        return Counts(
            images=self.images + other.images,
            scores=_each(_scores, self.scores, other.scores),
            agreements=_each(_agreements, self.agreements, other.agreements),
        )


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What was run on what, and what was counted."""

    settings: Settings
    counts: Counts

    def score(self, contract: str) -> Score:
        """Return how often a contract is right."""
        return next(one for one in self.counts.scores if one.contract == contract)

    def agreement(self, first: str, second: str) -> Agreement:
        """Return how far two contracts agree, in the order in which they were named."""
        pair = (first, second)
        return next(one for one in self.counts.agreements if one.contracts == pair)


def _each(add: Any, left: tuple[Any, ...], right: tuple[Any, ...]) -> tuple[Any, ...]:  # noqa: ANN401 - one of those below
    return tuple(add(*pair) for pair in zip(left, right, strict=True))


def _sum(left: int | None, right: int | None) -> int | None:
    """Add; what is unknown of a batch is unknown of all."""
    return None if left is None or right is None else left + right


def _scores(left: Score, right: Score) -> Score:
    return replace(left, images=left.images + right.images, right=_sum(left.right, right.right))


def _agreements(left: Agreement, right: Agreement) -> Agreement:
    return replace(
        left,
        layers=_each(_layers, left.layers, right.layers),
        equal=left.equal + right.equal,
        outputs=_each(_outputs, left.outputs, right.outputs),
        changed=_sum(left.changed, right.changed),
        examples=tuple(sorted((*left.examples, *right.examples))[:SHOWN]),
    )


def _layers(left: Layer, right: Layer) -> Layer:
    return replace(
        left,
        values=left.values + right.values,
        differing=left.differing + right.differing,
        largest=max(left.largest, right.largest),
        steps=dict(sorted((Counter(left.steps) + Counter(right.steps)).items())),
        images=_sum(left.images, right.images),
        first=_sum(left.first, right.first),
    )


def _outputs(left: Output, right: Output) -> Output:
    images = _sum(left.images, right.images)
    return replace(left, images=images, largest=max(left.largest, right.largest))
