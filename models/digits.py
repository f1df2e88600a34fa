"""The images: scikit-learn's digits, enlarged to the network's input, and their fixed split."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

SPLIT_SEED = 8
TEST_FRACTION = 0.2
ENLARGE = 4  # 8x8 pixels become 32x32
LEVELS = 16  # scikit-learn stores each pixel as an integer from 0 to 16
CALIBRATION_PER_DIGIT = 10

Floats = npt.NDArray[np.float32]
Integers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Digits:
    """All images and labels in scikit-learn's order, and the indices of the two parts."""

    images: Floats
    labels: Integers
    train: Integers
    test: Integers


def load() -> Digits:
    """Load, enlarge and split the data; the same arrays on every call."""
    # Without stubs these modules are Any, with or without the packages where mypy runs.
    datasets: Any = importlib.import_module("sklearn.datasets")
    selection: Any = importlib.import_module("sklearn.model_selection")
    raw = datasets.load_digits()
    labels = raw.target.astype(np.int64)
    train, test = selection.train_test_split(
        np.arange(len(labels)), test_size=TEST_FRACTION, stratify=labels, random_state=SPLIT_SEED
    )
    return Digits(enlarge(raw.images), labels, np.asarray(train), np.asarray(test))


def enlarge(images: npt.NDArray[np.float64]) -> Floats:
    """Turn (N,8,8) grey levels 0..16 into (N,32,32,3) floats from 0 to 1.

    Dividing by 16 is exact in float32, so the network sees precisely the stored pixels, and the
    scale of the quantized input (one 255th) is a number that float32 has to round: a reader sees
    a true division at the first QuantizeLinear. With 0..255 that scale would be 1.
    """
    unit = (images / LEVELS).astype(np.float32)
    large = unit.repeat(ENLARGE, axis=1).repeat(ENLARGE, axis=2)
    return np.repeat(large[..., np.newaxis], 3, axis=3)


def first_of_each(digits: Digits, part: Integers, count: int) -> Integers:
    """Return the first `count` indices of every digit, in the order of `part`, digit by digit."""
    wanted = [part[digits.labels[part] == digit][:count] for digit in range(10)]
    return np.concatenate(wanted)


def calibration_indices(digits: Digits) -> Integers:
    """Return the images that set the scales: training images only, the same number per digit."""
    return first_of_each(digits, digits.train, CALIBRATION_PER_DIGIT)


def test_image_indices(digits: Digits) -> Integers:
    """Return one held-out image per digit: the first, whether or not the network is right."""
    return first_of_each(digits, digits.test, 1)


def description() -> dict[str, object]:
    """Say in the manifest's words where the images come from and what was done to them."""
    digits = load()
    return {
        "source": "sklearn.datasets.load_digits(), the test part of UCI's Optical Recognition of "
        "Handwritten Digits (E. Alpaydin, C. Kaynak, 1998, doi 10.24432/C50P49, CC BY 4.0)",
        "preprocessing": "grey level / 16 as float32 (exact, range 0..1), each pixel repeated "
        "4x4, the grey channel repeated three times, NHWC",
        "split": {
            "function": "sklearn.model_selection.train_test_split over the image indices",
            "test_size": TEST_FRACTION,
            "stratify": "labels",
            "random_state": SPLIT_SEED,
            "train_images": len(digits.train),
            "test_images": len(digits.test),
        },
        "caution": "scikit-learn does not say who wrote which digit, so a writer may be in both "
        "parts: the accuracy is not that on unseen writers",
    }
