"""DOT text to SVG, PNG or PDF, in this process and with a font of our own.

The Graphviz inside pygraphviz draws empty boxes instead of letters on a machine without
fonts, silently. So a font comes as a package, and the first drawing of a process proves that
letters have widths of their own.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import threading
from contextlib import contextmanager
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args
from xml.sax.saxutils import escape

from qdqdoc.errors import QdqdocError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Format = Literal["svg", "png", "pdf"]

PROGRAM = "QDQDOC_DOT"
"""Environment variable that names a `dot` program to use instead of pygraphviz."""
FONT_PACKAGE = "fontpkg_arimo"
FAMILY = "Arimo"
NEEDS = "annotate needs graphviz and pygraphviz: pip install 'qdqdoc[annotate]'"
NEEDS_FONT = (
    "annotate found no font to draw with: the package fontpkg-arimo brings one; "
    "pip install 'qdqdoc[annotate]'"
)
OTHER_FONTS = (
    "/usr/share/fonts",
    "/usr/local/share/fonts",
    "/Library/Fonts",
    "/System/Library/Fonts",
    "WINDOWSFONTDIR",
)
"""Where a machine may keep fonts for the scripts that ours lacks (Chinese, Arabic)."""
RESOLUTION = "144"
"""Dots per inch of a PNG: sharp on screens and in print at this size of letters."""

_LOCK = threading.Lock()
_NODE_TITLE = re.compile(
    r"(<g id=\"[^\"]*\" class=\"(?:node|edge|cluster)[^>]*>\s*)<title>[^<]*</title>\s*"
)
_NODE = re.compile(r'<g id="([^"]*)" class="node')
_EDGE = re.compile(r'<g id="edge\d+" class="edge">')
_LINK = re.compile(r'<g id="a_([^"]*)">')
_NUMBERED = re.compile(r"(?:.*_)?edge\d+(?:&#45;label)?|.*_\d+")


class RenderError(QdqdocError):
    """Graphviz or what it needs could not draw."""


def render(dot: str, fmt: Format) -> bytes:
    """Return the picture of a graph; the same bytes each time on the same machine."""
    if fmt not in get_args(Format):
        raise RenderError(f"format: {fmt!r} is not one of {', '.join(get_args(Format))}")
    program = os.environ.get(PROGRAM)
    picture = _outside(program, dot, fmt) if program else _inside(dot, fmt)
    return _tidy(picture) if fmt == "svg" else picture


def _inside(dot: str, fmt: str) -> bytes:
    with _LOCK:
        _require_letters()
        return _draw(dot, fmt)


@cache
def _require_letters() -> None:
    """Prove once that text is drawn as letters: where it is not, all are equally wide."""
    with _fonts() as configuration, _environment("FONTCONFIG_FILE", configuration):
        widths = [_width(letter * 8) for letter in "iW"]
    if widths[0] == widths[1]:
        raise RenderError(NEEDS_FONT)


def _width(text: str) -> float:
    dot = f'graph {{ a [label="{text}", shape=plain, fontname="{FAMILY}"] }}'
    found = re.search(rb"\bwidth=\"?([0-9.]+)", _draw(dot, "dot"))
    return float(found[1]) if found else 0.0


def _draw(dot: str, fmt: str) -> bytes:
    try:
        import pygraphviz  # noqa: PLC0415 - drawing is an extra
    except ImportError as error:
        raise RenderError(NEEDS) from error
    with _quiet() as said:
        try:
            graph = pygraphviz.AGraph(string=dot)
            if fmt == "png":
                graph.graph_attr["dpi"] = RESOLUTION
            picture = graph.draw(format=fmt, prog="dot")
            graph.close()
            told = said()
        except (ValueError, OSError, TypeError) as error:
            raise RenderError(f"Graphviz: {_complaint(said()) or error}") from error
    if not picture or _failed(told):
        raise RenderError(f"Graphviz: {_complaint(told) or 'drew nothing'}")
    return bytes(picture)


def _outside(program: str, dot: str, fmt: str) -> bytes:
    command = [program, f"-T{fmt}"]
    if fmt == "png":
        command.append(f"-Gdpi={RESOLUTION}")
    with _fonts() as configuration:
        environment = {**os.environ, "FONTCONFIG_FILE": configuration}
        try:
            done = subprocess.run(  # noqa: S603 - the user names the program
                command, input=dot.encode(), capture_output=True, check=False, env=environment
            )
        except OSError as error:
            raise RenderError(f"{PROGRAM}: {program}: {error.strerror}") from error
    if done.returncode or not done.stdout:
        said = _complaint(done.stderr.decode(errors="replace"))
        raise RenderError(f"{PROGRAM}: {program}: {said or f'exit code {done.returncode}'}")
    return done.stdout


@contextmanager
def _fonts() -> Iterator[str]:
    """Yield a fontconfig file that knows our font, for as long as fontconfig needs to start."""
    package = find_spec(FONT_PACKAGE)
    if package is None or package.origin is None:
        raise RenderError(NEEDS_FONT)
    with tempfile.TemporaryDirectory(prefix="qdqdoc-fonts-") as folder:
        path = Path(folder, "fonts.conf")
        path.write_text(_configuration(Path(package.origin).parent), encoding="utf-8")
        yield str(path)


@contextmanager
def _environment(name: str, value: str) -> Iterator[None]:
    """Set an environment variable for a moment; programs started later do not see it."""
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


def _configuration(fonts: Path) -> str:
    """Return a fontconfig file: our font first, no hinting, no second look later.

    With hinting, the bundled Pango rounds the advance of each letter up and text is drawn
    with gaps. The rescan is off because the file is gone when it would happen.
    """
    folders = "".join(f"<dir>{escape(str(path))}</dir>" for path in (fonts, *OTHER_FONTS))
    off = '<edit name="hinting" mode="assign"><bool>false</bool></edit>'
    off += '<edit name="hintstyle" mode="assign"><const>hintnone</const></edit>'
    return (
        '<?xml version="1.0"?><!DOCTYPE fontconfig SYSTEM "fonts.dtd">'
        f"<fontconfig>{folders}"
        f'<match target="pattern">{off}</match><match target="font">{off}</match>'
        '<cachedir prefix="xdg">fontconfig</cachedir>'
        "<config><rescan><int>0</int></rescan></config></fontconfig>"
    )


@contextmanager
def _quiet() -> Iterator[Callable[[], str]]:
    """Catch what Graphviz and fontconfig write to the process's own stderr."""
    sys.stderr.flush()
    with tempfile.TemporaryFile() as caught:
        kept = os.dup(2)
        os.dup2(caught.fileno(), 2)

        def said() -> str:
            caught.seek(0)
            return caught.read().decode(errors="replace")

        try:
            yield said
        finally:
            os.dup2(kept, 2)
            os.close(kept)


def _complaint(said: str) -> str:
    """Return Graphviz's own words on one line, without those of fontconfig."""
    lines = [line.strip() for line in said.splitlines() if not line.startswith("Fontconfig")]
    return "; ".join(filter(None, lines))[:400]


def _failed(said: str) -> bool:
    """Tell an error, after which Graphviz draws what is left, from a warning."""
    return any(line.startswith("Error") for line in said.splitlines())


def _tidy(svg: bytes) -> bytes:
    """Drop what Graphviz makes up by itself.

    Browsers would show its titles, generated names, as tooltips; it numbers links through the
    whole process, so that a picture would depend on those drawn before; and it numbers edges
    alike in each picture, though several may stand in one page. What has a name keeps it.
    """
    drawn = _EDGE.sub('<g class="edge">', _NODE_TITLE.sub(r"\1", svg.decode()))
    named = set(_NODE.findall(drawn))

    def kept(link: re.Match[str]) -> str:
        made_up = _NUMBERED.fullmatch(link[1]) or link[1] in named
        return "<g>" if made_up else f'<g id="{link[1]}">'

    return _LINK.sub(kept, drawn).encode()
