"""Which activation functions a recurrent layer names, and how formulas spell them."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from qdqdoc.numerics.activations import ACTIVATIONS, Chosen
from qdqdoc.numerics.rounding import f32
from qdqdoc.registry.checks import refuse

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

POLYNOMIALS = MappingProxyType(
    {
        "m": "coefficients of the logistic function's numerator, highest power first",
        "n": "those of its denominator",
        "p": "coefficients of the hyperbolic tangent's numerator, highest power first",
        "q": "those of its denominator",
    }
)
"""Symbols of the polynomials: odd over even, in the square of the argument."""


def _floats(*values: float) -> tuple[Any, ...]:
    return tuple(f32(value) for value in values)


# Written a second time: the witness of a kernel shares no numbers with it.
COEFFICIENTS: Mapping[str, tuple[Any, ...]] = MappingProxyType(
    {
        "m": _floats(
            *(4.37031012579801e-11, 1.15627324459942e-7, 6.08574864600143e-5),
            *(8.51377133304701e-3, 0.248287947061529),
        ),
        "n": _floats(
            *(6.10247389755681e-13, 5.76102136993427e-9, 6.2910678501704e-6),
            *(1.70198817374094e-3, 0.116817656904453, 0.99315192102318),
        ),
        "p": _floats(
            *(-2.76076847742355e-16, 2.00018790482477e-13, -8.60467152213735e-11),
            *(5.12229709037114e-8, 1.48572235717979e-5, 6.37261928875436e-4),
            *(4.89352455891786e-3,),
        ),
        "q": _floats(
            *(1.19825839466702e-6, 1.18534705686654e-4, 2.268434632439e-3, 4.89352518554385e-3)
        ),
    }
)
"""Their values: float32, as every constant of the rule."""


def _horner(name: str, square: str) -> str:
    text = f"{name}[0]"
    for place in range(1, len(COEFFICIENTS[name])):
        text = f"f32({text} * {square} + {name}[{place}])"
    return text


_SPELLED = {
    "Affine": "{y} = f32(f32(alpha_{r} * {v}) + beta_{r})",
    "Relu": "{y} = max({v}, 0)",
    "LeakyRelu": "{y} = {v} if {v} >= 0 else f32(alpha_{r} * {v})",
    "ThresholdedRelu": "{y} = {v} if {v} > alpha_{r} else 0",
    "Tanh": (
        "held_{r}{k} = clip({v}, -9, 9)\n"
        "square_{r}{k} = f32(held_{r}{k} * held_{r}{k})\n"
        f"odd_{{r}}{{k}} = f32(held_{{r}}{{k}} * {_horner('p', 'square_{r}{k}')})\n"
        f"{{y}} = f32(odd_{{r}}{{k}} / {_horner('q', 'square_{r}{k}')})"
    ),
    "ScaledTanh": (
        "twice_{r}{k} = 2 * f32(beta_{r} * {v})\n"
        "power_{r}{k} = f32(exp(-abs(twice_{r}{k})))\n"
        "above_{r}{k} = 1 if twice_{r}{k} >= 0 else power_{r}{k}\n"
        "{y} = f32(alpha_{r} * f32(2 * f32(above_{r}{k} / f32(1 + power_{r}{k})) - 1))"
    ),
    "Sigmoid": (
        "held_{r}{k} = clip({v}, -18, 18)\n"
        "square_{r}{k} = f32(held_{r}{k} * held_{r}{k})\n"
        f"odd_{{r}}{{k}} = f32(held_{{r}}{{k}} * {_horner('m', 'square_{r}{k}')})\n"
        f"{{y}} = max(f32(f32(odd_{{r}}{{k}} / {_horner('n', 'square_{r}{k}')}) + 0.5), 0)"
    ),
    "HardSigmoid": "{y} = clip(f32(f32(alpha_{r} * {v}) + beta_{r}), 0, 1)",
    "Elu": "{y} = {v} if {v} >= 0 else f32(alpha_{r} * f32(f32(exp({v})) - 1))",
    "Softsign": "{y} = f32({v} / f32(1 + abs({v})))",
    "Softplus": "{y} = f32(log(f32(1 + f32(exp({v})))))",
}


def spelled(name: str, role: str, result: str, argument: str, index: str = "") -> str:
    """Return the lines of a formula that apply an activation.

    ``role`` ends the names of parameters and of what is in between; with an ``index`` the lines
    are families.

    >>> spelled("HardSigmoid", "f", "i", "v")
    'i = clip(f32(f32(alpha_f * v) + beta_f), 0, 1)'
    >>> spelled("Relu", "f", "gate", "v", "k")
    'gate[k] = max(v[k], 0)'
    """
    k = f"[{index}]" if index else ""
    return _SPELLED[name].format(r=role, k=k, y=f"{result}{k}", v=f"{argument}{k}")


def parameters_of(name: str, role: str) -> tuple[str, ...]:
    """Return the symbols of the parameters that an activation takes.

    >>> parameters_of("Elu", "g")
    ('alpha_g',)
    """
    symbols = (f"alpha_{role}", f"beta_{role}")
    return symbols[: len(ACTIVATIONS[name].defaults)]


def chosen(
    operator: str, attributes: Mapping[str, Any], usual: Sequence[str], directions: int
) -> list[list[Chosen]]:
    """Return the activations of each direction, the ``usual`` ones where none are named.

    The lists of parameters serve the functions that take them, in order; after their end come
    the defaults.

    >>> given = {"activations": ["Elu", "Relu", "Affine"] * 2, "activation_alpha": [2, 3, 5, 6]}
    >>> for triple in chosen("LSTM", {**given, "activation_beta": [4, 7]}, (), 2):
    ...     print(*triple)
    ('Elu', (2,)) ('Relu', ()) ('Affine', (3, 4))
    ('Elu', (5,)) ('Relu', ()) ('Affine', (6, 7))

    Raises
    ------
    OperatorError
        For another number of names, an unknown one, or a parameter that has no default.
    """
    names = attributes.get("activations") or [*usual] * directions
    count = directions * 3
    if len(names) != count:
        refuse(operator, "activations", f"{len(names)} names", f"{count}, three a direction")
    lists = {
        name: iter(attributes.get(name) or ()) for name in ("activation_alpha", "activation_beta")
    }
    found: list[Chosen] = []
    for name in names:
        if name not in ACTIVATIONS:
            refuse(operator, "activations", repr(name), " or ".join(ACTIVATIONS))
        parameters = []
        for (attribute, values), default in zip(
            lists.items(), ACTIVATIONS[name].defaults, strict=False
        ):
            value = next(values, default)
            if value is None:
                refuse(operator, attribute, "nothing", f"a value: {name} has no default")
            parameters.append(value)
        found.append((name, tuple(parameters)))
    return [found[k : k + 3] for k in range(0, count, 3)]
