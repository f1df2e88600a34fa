"""Typst source from Python values: whatever a text contains, it stays text."""

from __future__ import annotations

import re

MARKS = re.compile(r"(?<=[/_:;.,=-])(?=[^/_:;.,=-])")
"""Where a long name may be continued on the next line."""

LONG = 14
"""A word of more letters than this may be broken at its marks."""

_ESCAPES = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t"})
# A PDF text cannot hold them, and no font has them.
UNKNOWN = "\N{REPLACEMENT CHARACTER}"
_CONTROLS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


def string(text: str) -> str:
    r"""Return a string literal of Typst.

    >>> print(string('a "b" \\ c'))
    "a \"b\" \\ c"
    """
    return f'"{_CONTROLS.sub(UNKNOWN, text).translate(_ESCAPES)}"'


def label(name: str) -> str:
    """Return the label of a place.

    >>> print(label("guide/index#joins"))
    label("guide/index#joins")
    """
    return f"label({string(name)})"


def call(function: str, body: str, *arguments: str) -> str:
    """Return a call whose last argument is content; the semicolon ends it, whatever follows.

    >>> print(call("link", 'see #"a";', string("https://a.b")))
    #link("https://a.b")[see #"a";];
    """
    given = f"({', '.join(arguments)})" if arguments else ""
    return f"#{function}{given}[{body}];"


def words(text: str, chunk: int) -> str:
    r"""Return running text; a word of more letters than ``chunk`` may be broken anywhere.

    >>> print(words("two\n words", 30))
    #"two words";
    >>> print(words("conv2d/BiasAdd_quantized", 30))
    #"conv2d/";#q-chance;#"BiasAdd_";#q-chance;#"quantized";
    """
    return "#q-chance;".join(f"#{string(piece)};" for piece in pieces(flat(text), chunk))


def flat(text: str) -> str:
    r"""Return a text on one line.

    >>> flat("two\n   words ")
    'two words '
    """
    return re.sub(r"[ \t\r\n]+", " ", text)


def pieces(text: str, chunk: int) -> list[str]:
    """Cut a text where a line may be broken although there is no space.

    >>> pieces("the name conv2d/BiasAdd_quantized", 30)
    ['the name conv2d/', 'BiasAdd_', 'quantized']
    >>> pieces("0.125 abcdefghijklmnop", 8)
    ['0.125 abcdefgh', 'ijklmnop']
    """
    made = [""]
    for word in re.findall(r" +|[^ ]+", text):
        first, *others = _word(word, chunk)
        made[-1] += first
        made += others
    return made


def _word(word: str, chunk: int) -> list[str]:
    if len(word) <= min(LONG, chunk):
        return [word]
    parts = MARKS.split(word)
    return [part[k : k + chunk] for part in parts for k in range(0, len(part), chunk)]
