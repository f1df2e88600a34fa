"""Codes of fewer than eight bits, several to a byte: weights lie in memory like this.

A byte is read as a string of bits, from its low end or from its high end; the next code is the
next ``bits`` of them. Codes of eight bits are the bytes themselves.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from typing import Literal

    from qdqdoc.numerics.formats import Array

    BitOrder = Literal["little", "big"]


def unpack(packed: Array, bits: int, *, high_first: bool = False) -> Array:
    """Take codes of 1, 2, 4 or 8 bits out of uint8; the last axis becomes 8 / bits times as long.

    The first code lies in the low bits of a byte, or in the high ones:

    >>> unpack(np.uint8([[0x21, 0x43]]), 4)
    array([[1, 2, 3, 4]], dtype=int32)
    >>> unpack(np.uint8([[0x21, 0x43]]), 4, high_first=True)
    array([[2, 1, 4, 3]], dtype=int32)
    >>> unpack(np.uint8([0xE4]), 2), unpack(np.uint8([0xE4]), 8)
    (array([0, 1, 2, 3], dtype=int32), array([228], dtype=int32))
    """
    digits = np.unpackbits(packed, axis=-1, bitorder=_order(high_first))
    digits = digits.reshape(*packed.shape[:-1], packed.shape[-1] * 8 // bits, bits)
    return np.asarray((digits << _places(bits, high_first)).sum(-1, dtype=np.int32))


def pack(codes: Array, bits: int, *, high_first: bool = False) -> Array:
    """Put codes of 1, 2, 4 or 8 bits into uint8; zeros fill the last byte of the last axis.

    >>> pack(np.int32([1, 2, 3]), 4), pack(np.int32([1, 2, 3]), 4, high_first=True)
    (array([33,  3], dtype=uint8), array([18, 48], dtype=uint8))

    >>> unpack(pack(np.int32([[3, 0, 2]]), 2), 2)
    array([[3, 0, 2, 0]], dtype=int32)
    """
    digits = (codes.astype(np.int32)[..., None] >> _places(bits, high_first)) & 1
    row = digits.reshape(*codes.shape[:-1], codes.shape[-1] * bits)
    return np.packbits(row, axis=-1, bitorder=_order(high_first))


def code_at(packed: Array, position: int, bits: int, *, high_first: bool = False) -> int:
    """Take one code out of a row of uint8; it shares no code with :func:`unpack`, its witness.

    >>> bytes_ = np.uint8([0xE4, 0x1B])
    >>> [code_at(bytes_, position, 2) for position in range(8)]
    [0, 1, 2, 3, 3, 2, 1, 0]
    >>> [code_at(bytes_, position, 2, high_first=True) for position in range(8)]
    [3, 2, 1, 0, 0, 1, 2, 3]
    >>> [code_at(bytes_, position, 4) for position in range(4)], code_at(bytes_, 1, 8)
    ([4, 14, 11, 1], 27)
    """
    byte, place = divmod(position * bits, 8)
    shift = 8 - bits - place if high_first else place
    return (int(packed[byte]) >> shift) % (1 << bits)


def packed_length(count: int, bits: int) -> int:
    """Return how many bytes hold so many codes.

    >>> packed_length(3, 4), packed_length(4, 2), packed_length(5, 8)
    (2, 1, 5)
    """
    return -(-count * bits // 8)


def _order(high_first: bool) -> BitOrder:
    return "big" if high_first else "little"


def _places(bits: int, high_first: bool) -> Array:
    """Return the place value, as a power of two, of each bit of a code as it is met."""
    return np.arange(bits, dtype=np.uint8)[:: -1 if high_first else 1]
