"""What an LSTM takes, its step as a formula, and the steps of a call as formulas see them.

An element of the output depends on the states before it. Here these are formulas too: each cell
and each hidden value of each step is evaluated in exact arithmetic, from the first step on.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from qdqdoc.formula import Formula
from qdqdoc.numerics.formats import Array, tensor
from qdqdoc.registry.activations import (
    COEFFICIENTS,
    POLYNOMIALS,
    chosen,
    parameters_of,
    spelled,
)
from qdqdoc.registry.checks import refuse
from qdqdoc.registry.operator import Call, Element

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from qdqdoc.numerics.activations import Chosen

DIRECTIONS = {"forward": (False,), "reverse": (True,), "bidirectional": (False, True)}
"""Whether each direction reads a sequence from its end."""

USUAL = ("Sigmoid", "Tanh", "Tanh")
"""The activations f, g and h of an LSTM that names none."""

_SYMBOLS = {
    "x": "codes of the inputs of this step",
    "s_x": "their scale, dynamic: from all inputs of all sequences, up to the longest one",
    "z_x": "their zero point, likewise",
    "h": "codes of the hidden values before this step, of the same sequence",
    "s_h": "their scale, dynamic: from the hidden values before this step, of all sequences",
    "z_h": "their zero point, likewise",
    "w": "columns of `W` for the unit's four gates: 0 input, 1 output, 2 forget, 3 cell",
    "s_w": "`W_scale` of the direction or column",
    "z_w": "`W_zero_point` likewise",
    "r": "columns of `R`, as those of `W`",
    "s_r": "`R_scale` of the direction or column",
    "z_r": "`R_zero_point` likewise",
    "b_w": "`B` of the gates, its first half; 0 where it is absent",
    "b_r": "`B` of the gates, its second half; 0 where it is absent",
    "peepholes": "1 where `P` is given, 0 where it is not",
    "peep": "`P` of the first three gates",
    "limit": "`clip`; infinite where it is absent",
    "v": "sums of the gates, biased and clipped, as in the usual rule",
    "before": "the unit's cell before this step",
    "cell": "the unit's cell after this step",
    "coupled": "`input_forget`",
    **POLYNOMIALS,
}
for _role in "fgh":
    for _name in ("alpha", "beta"):
        _SYMBOLS[f"{_name}_{_role}"] = f"`activation_{_name}` of the function {_role}"
_SETS = {"I": "inputs", "H": "units of the hidden layer"}

_GATES = """
acc_x[k] = wrap32(sum((x[j] - z_x) * (w[j, k] - z_w[k]) for j in I))
acc_h[k] = sum((h[j] - z_h) * (r[j, k] - z_r[k]) for j in H)
from_x[k] = f32(f32(acc_x[k]) * f32(s_x * s_w[k]))
from_h[k] = f32(f32(acc_h[k]) * f32(s_h * s_r[k]))
seen[k] = f32({cell} * peep[k]) if peepholes == 1{cell_gate} else 0
peeped[k] = f32(f32(from_x[k] + from_h[k]) + seen[k])
v[k] = clip(f32(peeped[k] + f32(b_w[k] + b_r[k])), -limit, limit)
"""
_NO_CELL_GATE = " and k < 3"


def check_lstm(
    operator: str, given: Mapping[str, Array | None], attributes: Mapping[str, Any]
) -> None:
    """Refuse shapes, lengths and attributes that do not fit.

    Raises
    ------
    OperatorError
        For the first of them.
    """
    directions = DIRECTIONS.get(attributes["direction"])
    if directions is None:
        refuse(operator, "direction", repr(attributes["direction"]), " or ".join(DIRECTIONS))
    held = {name: value for name, value in given.items() if value is not None}
    for name in "XR":
        if held[name].ndim != 3:  # noqa: PLR2004 - steps, batch, inputs; directions, rows, columns
            refuse(operator, name, f"shape {held[name].shape}", "three dimensions")
    _, batch, size = held["X"].shape
    count, units = len(directions), held["R"].shape[1]
    gates = (count, 4 * units)
    allowed: dict[str, tuple[tuple[int, ...], ...]] = {
        "W": ((count, size, 4 * units),),
        "R": ((count, units, 4 * units),),
        "B": ((count, 8 * units),),
        "sequence_lens": ((batch,),),
        **dict.fromkeys(("initial_h", "initial_c"), ((count, batch, units),)),
        "P": ((count, 3 * units),),
        **dict.fromkeys(("W_scale", "W_zero_point"), ((count,), gates)),
        **dict.fromkeys(("R_scale", "R_zero_point"), ((count,), gates)),
    }
    for name, shapes in allowed.items():
        if name in held and held[name].shape not in shapes:
            refuse(operator, name, f"shape {held[name].shape}", " or ".join(map(str, shapes)))
    _check_attributes(operator, attributes, units)
    steps = len(held["X"])
    lengths = held.get("sequence_lens")
    if lengths is not None and np.any((lengths < 0) | (lengths > steps)):
        refuse(operator, "sequence_lens", lengths.tolist(), f"0 to {steps}, the steps of X")


def _check_attributes(operator: str, attributes: Mapping[str, Any], units: int) -> None:
    if attributes["hidden_size"] not in {None, units}:
        refuse(operator, "hidden_size", attributes["hidden_size"], f"{units}, the rows of R")
    if attributes["clip"] is not None and not attributes["clip"] > 0:
        refuse(operator, "clip", attributes["clip"], "a positive number")
    if attributes["input_forget"] not in {0, 1}:
        refuse(operator, "input_forget", attributes["input_forget"], "0 or 1")


def cell_formula(f: str, g: str) -> Formula:
    """Return the rule of a unit's cell after a step, for the activations f and g."""
    text = (
        *(spelled(f, "f", "gate", "v", "k"), "new = v[3]", spelled(g, "g", "c", "new")),
        "forget = f32(1 - gate[0]) if coupled == 1 else gate[2]",
        "y = f32(f32(before * forget) + f32(gate[0] * c))",
    )
    sums = _GATES.format(cell="before", cell_gate=_NO_CELL_GATE) if (f, g) == USUAL[:2] else ""
    return _formula(sums + "\n".join(text), f"cell, {f} and {g}", "`Y_c`")


def hidden_formula(f: str, h: str) -> Formula:
    """Return the rule of a unit's hidden value after a step, for the activations f and h."""
    text = (
        *(spelled(f, "f", "gate", "v", "k"), spelled(h, "h", "out", "cell")),
        "y = f32(gate[1] * out)",
    )
    sums = _GATES.format(cell="cell", cell_gate="") if (f, h) == USUAL[::2] else ""
    return _formula(sums + "\n".join(text), f"hidden, {f} and {h}", "`Y` or `Y_h`")


def _formula(text: str, name: str = "", output: str = "") -> Formula:
    words = {*re.findall(r"\w+", text)}
    known = {key for key in _SYMBOLS if key in words and f"\n{key}[k] =" not in text}
    return Formula(
        text,
        symbols={key: meaning for key, meaning in _SYMBOLS.items() if key in known},
        sets=_SETS if "acc_x" in words else {},
        name=name,
        when=f"the output is {output} and the activations are {name.partition(', ')[2]}",
    )


_SUMS = tuple(
    _formula(_GATES.format(cell=cell, cell_gate=gate))
    for cell, gate in (("before", _NO_CELL_GATE), ("cell", ""))
)
"""What the activations of the gates are applied to; the usual rules hold the same lines."""

PADDING = Formula("y = 0", symbols={}, name="padding", when="the sequence is shorter")

_FITTED = Formula(
    "lo = min(min(v[j] for j in V), 0)\n"
    "hi = max(max(v[j] for j in V), 0)\n"
    "s = 1 if hi == lo else f32(f32(hi - lo) / 255)\n"
    "z = saturate_uint8(rint(f32(0 - f32(lo / s))))",
    symbols={"v": "values"},
    sets={"V": "all of them"},
)
_CODE = Formula(
    "q = saturate_uint8(rint(f32(v / s)) + z)",
    symbols={"v": "value", "s": "scale", "z": "zero point"},
)


def formulas(*triples: Sequence[str]) -> tuple[Formula, ...]:
    """Return the formulas of all outputs for triples of activations f, g and h."""
    cells = [cell_formula(f, g) for f, g, _ in triples]
    return (*cells, *(hidden_formula(f, h) for f, _, h in triples), PADDING)


def _code(value: object, scale: object, zero_point: object) -> int:
    code = _CODE.evaluate({"v": value, "s": scale, "z": zero_point})
    assert isinstance(code, Fraction)  # noqa: S101 - saturation leaves nothing else
    return code.numerator


class _Same:
    """A call as a key: equal to itself alone."""

    def __init__(self, call: Call) -> None:
        self.call = call

    def __hash__(self) -> int:
        return id(self.call)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and self.call is other.call


def elements(call: Call) -> Steps:
    """Return the steps of a call; those of the last one are remembered."""
    return _steps(_Same(call))


@lru_cache(maxsize=1)
def _steps(same: _Same) -> Steps:
    return Steps(same.call)


def value(call: Call, index: tuple[int, ...]) -> Element:
    """Bind the formula to one element of ``Y``."""
    steps = elements(call)
    position, direction, row, unit = index
    if position >= steps.lengths[row]:
        return Element(formula=PADDING, values={})
    return steps.hiddens[direction, steps.step_of(direction, position, row), row, unit]


def last_hidden(call: Call, index: tuple[int, ...]) -> Element:
    """Bind the formula to one element of ``Y_h``."""
    return _last(call, index, elements(call).hiddens)


def last_cell(call: Call, index: tuple[int, ...]) -> Element:
    """Bind the formula to one element of ``Y_c``."""
    return _last(call, index, elements(call).cells)


def _last(call: Call, index: tuple[int, ...], states: Mapping[tuple[int, ...], Element]) -> Element:
    direction, row, unit = index
    length = elements(call).lengths[row]
    if not length:
        return Element(formula=PADDING, values={})
    return states[direction, length - 1, row, unit]


class Steps:
    """The elements of a call, by direction, step, sequence and unit."""

    def __init__(self, call: Call) -> None:
        self.inputs, self.attributes = call.inputs, call.attributes
        x = self.inputs["X"]
        self.batch, self.units = x.shape[1], self.inputs["R"].shape[1]
        lengths = self.inputs.get("sequence_lens")
        self.lengths = [x.shape[0]] * self.batch if lengths is None else lengths.tolist()
        self.cells: dict[tuple[int, ...], Element] = {}
        self.hiddens: dict[tuple[int, ...], Element] = {}
        longest = max(self.lengths, default=0)
        grid = Grid.fitted(x[:longest])
        functions = chosen("LSTM", self.attributes, USUAL, len(self.inputs["W"]))
        for direction, triple in enumerate(functions):
            self._run(direction, triple, grid, longest)

    def step_of(self, direction: int, position: int, row: int) -> int:
        """Return the step at which a direction reads a position of a sequence."""
        named = self.attributes.get("direction", "forward")
        backward = named == "reverse" or direction == 1
        return self.lengths[row] - 1 - position if backward else position

    def _run(self, direction: int, triple: list[Chosen], grid: Grid, longest: int) -> None:
        """Evaluate the steps of a direction one after the other."""
        names = [name for name, _ in triple]
        rules = cell_formula(*names[:2]), hidden_formula(*names[::2])
        sets = {"I": range(grid.codes.shape[-1]), "H": range(self.units)}
        hidden, cell = self._initial("h", direction), self._initial("c", direction)
        for step in range(longest):
            fitted = Grid.fitted(hidden)
            hidden = np.zeros((self.batch, self.units), object)
            for row, unit in np.ndindex(hidden.shape):
                if step >= self.lengths[row]:
                    continue
                key = direction, step, row, unit
                values = {
                    **self._columns(direction, unit),
                    **_named(triple),
                    **grid.symbols("x", (self.step_of(direction, step, row), row)),
                    **fitted.symbols("h", (row,)),
                    "before": cell[row, unit],
                }
                self.cells[key] = _bound(rules[0], values, sets)
                cell[row, unit] = self.cells[key].evaluate()
                values = {**values, "cell": cell[row, unit]}
                self.hiddens[key] = _bound(rules[1], values, sets)
                hidden[row, unit] = self.hiddens[key].evaluate()

    def _initial(self, state: str, direction: int) -> Array:
        given = self.inputs.get(f"initial_{state}")
        shape = (self.batch, self.units)
        return (np.zeros(shape) if given is None else given[direction]).astype(object)

    def _columns(self, direction: int, unit: int) -> dict[str, Any]:
        """Bind what belongs to the four gates of a unit."""
        gates = range(unit, 4 * self.units, self.units)
        values: dict[str, Any] = {}
        for name in "WR":
            low = name.lower()
            # Numbers of Python: the oracle would convert those of NumPy one by one.
            values[low] = self.inputs[name][direction][:, gates].astype(object)
            for part in ("scale", "zero_point"):
                held = self.inputs[f"{name}_{part}"][direction]
                values[f"{part[0]}_{low}"] = held[gates] if held.ndim else [held] * 4
        zeros = [0] * 4
        bias, peep = (self.inputs.get(name) for name in "BP")
        second = [gate + 4 * self.units for gate in gates]
        values["b_w"] = zeros if bias is None else bias[direction][gates]
        values["b_r"] = zeros if bias is None else bias[direction][second]
        values["peepholes"] = 0 if peep is None else 1
        values["peep"] = [] if peep is None else peep[direction][gates[:3]]
        values["limit"] = _float(self.attributes.get("clip", np.inf))
        values["coupled"] = self.attributes.get("input_forget", 0)
        return values


def _bound(rule: Formula, values: dict[str, Any], sets: dict[str, range]) -> Element:
    """Bind a rule; the one that begins with the sums of the gates takes them as values."""
    if "v" in rule.symbols:
        gates, sums = ([1], _SUMS[1]) if "cell" in rule.symbols else ([0, 2, 3], _SUMS[0])
        values = {**values, "v": {k: sums.evaluate({**values, "k": k}, sets=sets) for k in gates}}
    return Element(formula=rule, values=values, sets=sets)


def _float(number: float) -> Any:  # noqa: ANN401 - a scalar of NumPy
    return tensor("float32", number)[()]


def _named(triple: Sequence[Chosen]) -> dict[str, Any]:
    """Bind the parameters of the activations, and the coefficients of their polynomials."""
    values: dict[str, Any] = {**COEFFICIENTS}
    for role, (name, parameters) in zip("fgh", triple, strict=True):
        symbols = parameters_of(name, role)
        values |= {k: _float(v) for k, v in zip(symbols, parameters, strict=True)}
    return values


@dataclass(frozen=True)
class Grid:
    """Values with the scale and zero point that fit all of them, and their codes."""

    scale: Any
    zero_point: Any
    codes: Array

    @classmethod
    def fitted(cls, values: Array) -> Grid:
        """Fit a grid to values."""
        flat = values.reshape(-1)
        steps = _FITTED.steps({"v": flat}, sets={"V": range(flat.size)})
        scale, zero = steps["s"], steps["z"]
        codes = [_code(value, scale, zero) for value in flat]
        return cls(scale, zero, np.array(codes, object).reshape(values.shape))

    def symbols(self, name: str, place: tuple[int, ...]) -> dict[str, Any]:
        """Bind the codes of a place and what they mean."""
        return {name: self.codes[place], f"s_{name}": self.scale, f"z_{name}": self.zero_point}
