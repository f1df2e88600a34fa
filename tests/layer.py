"""A layer whose every part can be set, and what the audit finds in it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from test_fuse import Maker

from qdqdoc.audit import CODES, Finding, audit
from qdqdoc.extract import extract

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

CHANNELS = 4


def floats(values: object) -> NDArray[np.float32]:
    return np.array(values, np.float32)


@dataclass
class Layer:
    """A Conv between Q and DQ nodes; everything that a finding looks at can be set."""

    data: str = "uint8"
    kind: str = "int8"
    scale: float = 0.05
    zero: int = 1
    codes: NDArray[Any] = field(
        default_factory=lambda: np.tile(np.array([-127, 1, 2, 127]), (CHANNELS, 1))
    )
    w_scale: Any = 0.25
    w_zero: Any = 0
    w_axis: int | None = None
    bias: Any = None
    b_scale: Any = None
    b_axis: int | None = None
    result: str = ""
    after: str = ""
    out_zero: int = 1
    m: Maker = field(default_factory=Maker)

    def save(self, folder: Path) -> Path:
        m = self.m
        x = m.pair(m.input(1, self.codes.shape[1], 2, 2), self.data, self.scale, self.zero)
        names = [x, self._stored(self.codes[..., None, None], self.kind)]
        if self.bias is not None:
            given = {} if self.b_axis is None else {"axis": self.b_axis}
            scale = self.b_scale
            if scale is None:
                scale = floats(self.scale) * floats(self.w_scale)
            stored = [m.store(np.array(self.bias, np.int32)), m.store(floats(scale))]
            names.append(m.node("DequantizeLinear", *stored, **given))
        made = m.node("Conv", *names)
        if self.after:
            made = m.node(self.after, made)
        m.result(m.pair(made, self.result or self.data, 0.1, self.out_zero))
        return m.save(folder)

    def _stored(self, codes: NDArray[Any], kind: str) -> str:
        m = self.m
        axis = {} if self.w_axis is None else {"axis": self.w_axis}
        scale = m.store(floats(self.w_scale))
        zero = m.store(np.asarray(self.w_zero), kind)
        return str(m.node("DequantizeLinear", m.store(codes, kind), scale, zero, **axis))


def found(path: Path, code: str, target: str = "ort-x86") -> list[Finding]:
    return [one for one in audit(extract(path), target).findings if one.code == code]


def only(path: Path, code: str, target: str = "ort-x86") -> Finding:
    (one,) = found(path, code, target)
    assert one.words
    assert one.level is CODES[code][0]
    return one
