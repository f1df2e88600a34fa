"""D4: whoever types a number on a page is told so, with page and line, each time."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING

import pytest
from small_manual import build

from qdqdoc.operators import OPERATORS
from qdqdoc.sphinxext.declared import declared
from qdqdoc.sphinxext.numerals import KINDS, in_mathematics, numerals

if TYPE_CHECKING:
    from pathlib import Path

PREPARED = """# Page

```{qdq-exec}
table = Table(("name", "value"), (("a", 3847), ("b 2", Code("conv_1/w")), ("c", np.float32(0.5))))
from matplotlib.figure import Figure
figure = Figure()
```
"""

TYPED = {
    "prose": ("It gives 3847 in the end.", "3847"),
    "a sign": ("It wraps to -7744.", "7744"),
    "decimals": ("The scale is 0.003922.", "0.003922"),
    "an exponent": ("The scale is 3.9e-3.", "3.9e-3"),
    "thousands": ("A margin of 1,032,256.", "1,032,256"),
    "a fraction": ("It is off by ½.", "½"),
    "a product": ("A window of 3x3 values.", "3"),
    "a name with a dash": ("It is resnet-8.", "8"),
    "a heading": ("## The 7 layers", "7"),
    "an item": ("* first\n* 30 of them", "30"),
    "a definition": ("rail\n: It is 127.", "127"),
    "a quotation without its role": ("> They printed 44.", "44"),
    "a link": ("[all 58](https://example.org/58)", "58"),
    "code in prose": ("It is `3847`.", "3847"),
    "emphasis": ("It is **3847**.", "3847"),
    "a table": ("| layer | width |\n|---|---|\n| a | 17 |", "17"),
    "the head of a table": ("| 4 bits | b |\n|---|---|\n| c | d |", "4"),
    "a caption": ("```{qdq-table} table\n:caption: All 3 of {qdq}`1 + 1`.\n```", "3"),
    "a caption of a plot": ("```{qdq-plot} figure\n:caption: In 9 steps.\n```", "9"),
    "words for a picture": ("```{qdq-plot} figure\n:alt: A line with 9 steps.\n```", "9"),
    "words for an image": ("![9 steps](data:image/gif;base64,R0lGODlhAQABAAAAACw=)", "9"),
    "a formula that is a number": ("It is $3847$.", "3847"),
    "a value in a formula": ("It is $s = 0.5$.", "0.5"),
    "a long number in a formula": ("It is $a < 3847$.", "3847"),
    "a displayed formula": ("$$\na = 255\n$$", "255"),
    "a comment in code that runs": ("```{qdq-run}\n1 + 1  # not 3\n```", "3"),
    "code that nobody runs": ("```python\nx = 3847\n```", "3847"),
    "words of a console": ("```console\n$ ls\n12 files\n```", "12"),
    "what is chosen": ("```{qdq-when} True\nIt is 3847.\n```", "3847"),
    "an admonition": ("```{note}\nThere are 3.\n```", "3"),
    "the title of an admonition": ("```{admonition} All 3\nx\n```", "3"),
    "another markup": ("```{eval-rst}\nIt is *3847*.\n```", "3847"),
    "a docstring": ("```{eval-rst}\n.. autofunction:: typed_numeral.shown\n```", "3847"),
    "raw markup": ("```{raw} html\n<p>3847</p>\n```", "3847"),
}

SAID = re.compile(r"^(.*): ERROR: found the typed numeral (\S+) in", re.MULTILINE)
PLACE = re.compile(r"index\.md:\d+$|docstring of [\w.]+:\d+$")

ALLOWED = {
    "name": "int8, float8e4m3fn, QLinearConv, ResNet8, x86, `AVX512`, `apply_scale_32`",
    "standard": "since opset 13, by IEEE 754, as JSON Schema (2020-12) says",
    "section": "see section 4.2 and § 3 there",
    "quotation": "they printed {quoted}`3847`",
    "mathematics": "at most $s^2 / 12$, and $2^{31 - n}$ of them",
    "reference": "<https://example.org/32132>, and {eq}`formula-7`",
    "docstring": "below",
}

FORMULA = "\n```{qdq-formula} QLinearConv\n:label: formula-7\n```\n"


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A module whose docstrings type a numeral, and name one that its example has."""
    (tmp_path / "typed_numeral.py").write_text(
        'def shown():\n    """Give 3847."""\n\n\n'
        'def named(x=99):\n    """Give 44.\n\n    >>> 40 + 4\n    44\n    """\n'
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "typed_numeral", raising=False)


@pytest.mark.usefixtures("module")
@pytest.mark.parametrize(("text", "numeral"), TYPED.values(), ids=TYPED)
def test_a_typed_numeral_is_found_each_time(tmp_path: Path, text: str, numeral: str) -> None:
    for _ in range(2):
        built = build(tmp_path, f"{PREPARED}\n{text}\n")
        found = re.findall(
            r"^(.*): ERROR: found the typed numeral (\S+) in", built.said, re.MULTILINE
        )
        assert built.code == 1
        assert {numeral} == {one for _, one in found}, built.said
        assert all(PLACE.search(where) for where, _ in found), found


@pytest.mark.usefixtures("module")
@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_that_may_be_typed_passes(tmp_path: Path, kind: str) -> None:
    more = "\n```{eval-rst}\n.. autofunction:: typed_numeral.named\n```\n"
    built = build(tmp_path, f"{PREPARED}{FORMULA}{more}\n{ALLOWED[kind]}\n")
    assert not built.code, built.said


def test_what_is_computed_passes(tmp_path: Path) -> None:
    text = """
It is {qdq}`3846 + 1`, {qdq}`Code("3847")`.

```{qdq-table} table
:caption: Of {qdq}`np.int8(44)`.
```

```{qdq-text} "3847"
```

```{qdq-run}
3846 + 1  # one more
```

```{qdq-plot} figure
:caption: {qdq}`3847` of them.
```
"""
    built = build(tmp_path, f"{PREPARED}{text}")
    assert not built.code, built.said
    assert "It is 3847, 3847." in built.words


def test_an_operator_declares_what_text_about_it_may_name() -> None:
    sigmoid = declared(OPERATORS["com.microsoft", "QLinearSigmoid"])
    assert {"8", "1", "76", "0.000000115627324459942"} <= sigmoid
    assert not {"3847", "77", "10000"} & sigmoid
    assert "10000" in declared(OPERATORS["com.microsoft", "QAttention"])
    assert all("3847" not in declared(entry) for entry in OPERATORS.values())


@pytest.mark.parametrize("text", ["int8", "x86_64", "β2", "opset 21", "§ 3.1", "two of them"])
def test_names_and_versions_are_no_numerals(text: str) -> None:
    assert not numerals(text)


@pytest.mark.parametrize("latex", [r"\frac{s}{2}", r"2^{b-1}", r"(1 + \delta)^4 - 1"])
def test_a_rule_may_have_small_whole_numbers(latex: str) -> None:
    assert not in_mathematics(latex)
