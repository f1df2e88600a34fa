"""Sums of float8 products on which a wrong order of roundings shows: searched, not computed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from qdqdoc.numerics.formats import DTYPES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qdqdoc.numerics.formats import Array

# By type of the result: bytes of a row and a column of float8e5m2; bytes of the zero points of
# row, column and result; scales of the three. Each tells some formula with an error from the right
# one: it lies on a tie, or beside one, after one of the roundings.
SEARCHED = {
    "int8": (
        ((66, 47, 44), (192, 185, 190), (173, 189, 1), (1.587436, 0.6412299, 0.065694)),
        ((185, 197, 48), (184, 60, 173), (195, 59, 1), (0.36327142, 1.9413545, 0.3455989)),
        ((105, 158, 112), (196, 89, 156), (195, 231, 1), (0.12720612, 1.080749, 35572.01)),
        ((10, 119, 85), (225, 201, 104), (146, 150, 1), (0.09775682, 1.3632468, 1723.166)),
        ((141, 104, 155), (26, 90, 161), (194, 94, 1), (1.4643232, 1.3250387, 11219.509)),
        ((198, 52, 187), (182, 186, 183), (176, 62, 1), (1.3947788, 1.0256951, 0.19917284)),
        ((0, 137, 182), (60, 97, 228), (71, 29, 1), (0.5648554, 1.4426255, 27.001047)),
        ((77, 176, 189), (157, 89, 163), (21, 89, 1), (0.68731827, 1.4481916, 117.09008)),
        ((82, 225, 200), (128, 79, 34), (187, 146, 1), (0.63016266, 0.8050917, 342.61676)),
    ),
    "float8e4m3fn": (
        ((47, 44, 192), (185, 190, 173), (189, 62, 108), (1.587436, 0.6412299, 0.046696305)),
        ((197, 60, 173), (195, 59, 184), (52, 61, 101), (1.0563338, 0.27593794, 0.044842944)),
        ((190, 192, 61), (70, 177, 58), (195, 43, 208), (1.3091557, 1.4538233, 3.562864)),
        ((69, 175, 162), (213, 203, 246), (242, 225, 199), (0.9903142, 1.794696, 4.228477e07)),
        ((185, 53, 174), (65, 171, 43), (178, 58, 159), (0.87131816, 0.2565464, 8.820845)),
        ((177, 32, 93), (17, 104, 118), (168, 145, 175), (1.1937107, 1.687385, 3.534342e07)),
        ((69, 111, 145), (91, 36, 27), (10, 50, 75), (0.60342264, 0.6625611, 9.700774)),
        ((128, 22, 121), (143, 52, 65), (32, 231, 223), (1.5809163, 0.62526256, 2.421647e06)),
        ((194, 51, 48), (197, 71, 66), (184, 60, 184), (1.7016468, 0.29269764, 0.047195964)),
        ((198, 172, 190), (195, 63, 60), (196, 177, 163), (1.9600372, 0.4349188, 2.1039622)),
        ((196, 55, 46), (56, 190, 189), (198, 191, 203), (0.06908052, 0.9725234, 0.03417439)),
        ((13, 77, 108), (22, 57, 97), (206, 147, 141), (0.21416979, 0.946602, 4948.597)),
    ),
}


def float8_products() -> Iterator[tuple[str, tuple[Array, ...], tuple[float, ...]]]:
    """Yield type of the result; row, column and the three zero points; the three scales.

    >>> kind, (row, *_), scales = next(float8_products())
    >>> row, kind, scales
    (array([[3, 0.109375, 0.0625]], dtype='float8_e5m2'), 'int8', (1.587436, 0.6412299, 0.065694))
    """
    operand = DTYPES["float8e5m2"]
    for kind, cases in SEARCHED.items():
        for row, column, (*zeros, last), scales in cases:
            a, b, (z_a, z_b) = (
                np.frombuffer(bytes(part), operand) for part in (row, column, zeros)
            )
            (z_y,) = np.frombuffer(bytes([last]), DTYPES[kind])
            yield kind, (a[None, :], b[:, None], z_a, z_b, z_y), scales
