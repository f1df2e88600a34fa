r"""A rule as text: typeset, evaluated in exact arithmetic, and mutated.

A formula is a sequence of lines ``name = expression``; the last line's target is the result.
Numbers are exact rationals with infinities and nan, and **nothing is rounded unless a rounding
point is written**: ``f32(a * b + c)`` rounds once and so is a fused multiply-add,
``f32(f32(a * b) + c)`` is not.

=================  ==============================================================================
arithmetic         ``+ - * /`` and unary ``-``: exact; x / 0 is an infinity, 0 / 0 is nan
rounding points    ``f64 f32 f16 bf16 f8e4m3fn f8e5m2 f8e4m3fnuz f8e5m2fnuz f4e2m1 f6e2m3 f6e3m2``
                   to nearest, ties to even; overflow to inf, to nan without inf, or to the largest
                   value without either; ``C(v)`` and ``T(v)``: the type the caller binds
to integers        ``rint`` (half to even), ``floor``
ranges             ``saturate`` clips to type T (nan: lowest), ``saturate_int8`` and its like to a
                   named type; ``wrap32`` is modulo 2**32 into int32; ``lowest(T)``, ``highest(T)``
functions          ``abs min max clip``; ``exp log sqrt`` are real and stand inside a rounding
                   point
choice             ``a if x < y and z != 0 else b``; only the taken branch is evaluated
reductions         ``sum min max(e for k in K)`` exact; ``sum_f32`` starts at 0 and rounds after
                   each addition, in the order of K; ``anysum_f32``: any order, an interval
families           ``e[k] = ...``, used as ``e[j]``: one value per index, when it is asked for
=================  ==============================================================================

Beside the text stand its input symbols, index sets and types, each with its meaning. Which taps
belong to an output is geometry: the caller passes them as the index set.

A result is a value, not bits: rationals have no -0.

>>> quantize = Formula(
...     "y = saturate(rint(C(C(x) / C(s))) + z)",
...     symbols={"x": "value", "s": "scale", "z": "zero point"},
...     types={"C": "type of the division", "T": "type of y"},
... )
>>> print(quantize.latex())
y = \mathrm{sat}_{T}(\lfloor C(x) \oslash_{C} C(s) \rceil + z)
>>> quantize.evaluate({"x": 2.5, "s": 1, "z": 3}, types={"C": "float32", "T": "int8"})
Fraction(5, 1)
"""

from __future__ import annotations

import textwrap
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from qdqdoc.formula.errors import FormulaError
from qdqdoc.formula.latex import Writer, name_latex
from qdqdoc.formula.mutants import mutate
from qdqdoc.formula.parser import parse
from qdqdoc.formula.program import Given, Program, Term
from qdqdoc.formula.tree import Line, line_source
from qdqdoc.formula.values import Interval, Value, agrees

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = [
    "Formula",
    "FormulaError",
    "Interval",
    "Mutant",
    "Term",
    "Value",
    "agrees",
    "name_latex",
]

_NOTHING: Mapping[str, str] = MappingProxyType({})


class Mutant(NamedTuple):
    """A formula with one deliberate error, and where it is."""

    label: str
    formula: Formula


class Formula:
    """A rule, read and checked once.

    Parameters
    ----------
    text : str
        Lines ``name = expression``, or families ``name[k] = expression``.
    symbols : mapping of str to str
        Every input symbol and its meaning, one sentence each.
    sets : mapping of str to str, optional
        Every index set and its meaning.
    types : mapping of str to str, optional
        Every type variable and its meaning; ``T`` is the one that ``saturate`` means.
    when : str, optional
        The case that the formula applies to, a sentence.
    name : str, optional
        What messages and pages call it.

    Raises
    ------
    FormulaError
        If the text says anything that the language does not have, uses an undeclared name or
        leaves a declared one unused.

    Notes
    -----
    Formulas are equal, and hash equal, if their texts do.
    """

    def __init__(
        self,
        text: str,
        *,
        symbols: Mapping[str, str],
        sets: Mapping[str, str] = _NOTHING,
        types: Mapping[str, str] = _NOTHING,
        when: str = "",
        name: str = "",
    ) -> None:
        self.symbols = MappingProxyType(dict(symbols))
        self.sets = MappingProxyType(dict(sets))
        self.types = MappingProxyType(dict(types))
        self.when = when
        self.name = name
        self.text = textwrap.dedent(text).strip()
        self._lines = parse(self.text, self.symbols, self.sets, self.types)

    @property
    def targets(self) -> tuple[str, ...]:
        """The names that the lines assign, in order."""
        return tuple(line.target for line in self._lines)

    @property
    def result(self) -> str:
        """The target of the last line."""
        return self._lines[-1].target

    @property
    def result_index(self) -> str | None:
        """The index of the result if the last line is a family: `evaluate` wants a value for it."""
        return self._lines[-1].index

    def latex(self, *, names: Mapping[str, str] | None = None, circled: bool = True) -> str:
        r"""Typeset the formula, aligned at the equals signs if it has several lines.

        Parameters
        ----------
        names : mapping of str to str, optional
            LaTeX of symbols, targets, indices, sets and types that shall not look as
            :func:`name_latex` makes them.
        circled : bool, optional
            Write a single float32 operation with a circled operator (another type as its
            subscript) instead of ``f32(...)``.

        Examples
        --------
        >>> scale = Formula("m = f32(a / s_y)", symbols={"a": "a scale", "s_y": "another"})
        >>> print(scale.latex(), "or", scale.latex(names={"a": "A"}, circled=False))
        m = a \oslash s_{y} or m = \mathrm{f32}\left( \frac{A}{s_{y}} \right)
        """
        return Writer(names or {}, tuple(self.types), circled).lines(self._lines)

    @cached_property
    def _program(self) -> Program:
        return Program(self._lines, self.sets, self.types)

    def evaluate(
        self,
        values: Mapping[str, Any],
        *,
        sets: Mapping[str, Any] | None = None,
        types: Mapping[str, str] | None = None,
    ) -> Value:
        """Compute the result exactly.

        Parameters
        ----------
        values : mapping of str
            A number for every symbol; for an indexed one a sequence, array or mapping. Numbers may
            be int, float, Fraction or scalars of NumPy and ml_dtypes. If the result is a family,
            its index too. Names that the formula does not use are ignored.
        sets : mapping of str, optional
            The indices of every index set, in order.
        types : mapping of str to str, optional
            ONNX's lower-case type name for every type variable.

        Returns
        -------
        Fraction, float or Interval
            A Fraction; a float if it is infinite or nan; an Interval after ``anysum_f32``.

        Examples
        --------
        >>> dot = Formula(
        ...     "y = sum((x[k] - z) * w[k] for k in K)",
        ...     symbols={"x": "inputs", "w": "weights", "z": "zero point"},
        ...     sets={"K": "taps"},
        ... )
        >>> dot.evaluate({"x": [5, 7], "w": {0: 2, 1: -3}, "z": 4}, sets={"K": range(2)})
        Fraction(-7, 1)
        """
        return self._program.result(Given(values, sets, types))

    def steps(
        self,
        values: Mapping[str, Any],
        *,
        sets: Mapping[str, Any] | None = None,
        types: Mapping[str, str] | None = None,
    ) -> dict[str, Value]:
        r"""Compute the value of every line by its target, in order.

        A family appears by the members that were needed, as ``e[0]``, ``e[1]``.

        Examples
        --------
        >>> mean = Formula("d = a + b\ny = d / 2", symbols={"a": "one", "b": "other"})
        >>> mean.steps({"a": 1, "b": 2})
        {'d': Fraction(3, 1), 'y': Fraction(3, 2)}
        """
        return self._program.trace(Given(values, sets, types))

    def terms(
        self,
        values: Mapping[str, Any],
        *,
        line: str | None = None,
        sets: Mapping[str, Any] | None = None,
        types: Mapping[str, str] | None = None,
    ) -> list[Term]:
        """Compute the terms of the outermost sum, minimum or maximum of a line one by one.

        Parameters
        ----------
        values, sets, types : mapping
            As for `evaluate`.
        line : str, optional
            The target of the line; without it the first line that has a reduction.

        Returns
        -------
        list of Term
            Index, value, and the values of the factors if the term is a product.

        Examples
        --------
        >>> dot = Formula(
        ...     "y = sum((x[k] - z) * w[k] for k in K)",
        ...     symbols={"x": "inputs", "w": "weights", "z": "zero point"},
        ...     sets={"K": "taps"},
        ... )
        >>> for term in dot.terms({"x": [5, 7], "w": [2, -3], "z": 4}, sets={"K": range(2)}):
        ...     print(term.index, *term.factors, term.value)
        0 1 2 2
        1 3 -3 -9
        """
        return self._program.terms(line, Given(values, sets, types))

    def mutants(self) -> Iterator[Mutant]:
        """Yield formulas with one deliberate error each, for tests that should notice.

        They are always the same, in the same order, each with a label of its own; none is equal to
        this formula, nor to another one but for the order of a sum's or product's operands. Some
        are rules that round where nothing needs rounding, and so equal in value: only evaluating
        tells.
        """
        for label, lines in mutate(self._lines, tuple(self.symbols), tuple(self.types)):
            yield Mutant(label, self._with_lines(lines))

    def _with_lines(self, lines: tuple[Line, ...]) -> Formula:
        """Return a formula that need not be sayable in the language."""
        other = object.__new__(Formula)
        other.__dict__ = {k: v for k, v in self.__dict__.items() if k != "_program"}
        other.text, other._lines = "\n".join(map(line_source, lines)), lines
        return other

    def __repr__(self) -> str:
        """Show the text, and the name if there is one."""
        return f"Formula({self.text!r}{f', name={self.name!r}' if self.name else ''})"

    def __eq__(self, other: object) -> bool:
        """Tell whether another formula has the same text."""
        return self.text == other.text if isinstance(other, Formula) else NotImplemented

    def __hash__(self) -> int:
        """Hash the text."""
        return hash(self.text)
