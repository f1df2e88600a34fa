"""Diagrams and plots, as SVG within the page: links live, text selectable, no white ground."""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING, Any, ClassVar, cast, get_args
from warnings import catch_warnings, filterwarnings
from xml.sax.saxutils import escape

from docutils import nodes
from docutils.parsers.rst import directives

from qdqdoc.annotate import View, annotate
from qdqdoc.annotate.theme import DEFAULT
from qdqdoc.groups import groups
from qdqdoc.render import render
from qdqdoc.sphinxext.anchors import ROW, note_box
from qdqdoc.sphinxext.page import TYPED, PageDirective
from qdqdoc.sphinxext.printing import picture
from qdqdoc.sphinxext.scope import PageError, document_of, note_dependencies

if TYPE_CHECKING:
    from collections.abc import Iterator

    from matplotlib.figure import Figure

    from qdqdoc.annotate import Link
    from qdqdoc.document import Document

INK = "#010203"
"""A colour nobody uses: it becomes the colour of the page's text."""

IDENTITIES = re.compile(r'(\bid="|\bhref="#|url\(#)')

FAMILIES = re.compile(r"font-family: [^;\"]*")


class PictureDirective(PageDirective):
    """A figure whose picture is SVG."""

    option_spec: ClassVar[dict[str, Any]] = {
        **PageDirective.option_spec,
        "alt": directives.unchanged_required,
    }

    def prefix(self) -> str:
        """Return the beginning of the ids in a picture, unlike that of any other one."""
        name = nodes.make_id(self.options.get("name", ""))
        return name or f"qdq-{self.env.new_serialno('qdq-picture')}"

    def figure(self, svg: str, kind: str) -> list[nodes.Node]:
        """Return the figure, with its caption if it has one."""
        drawn = picture(self.accessible(svg), self.alternative())
        drawn[TYPED] = self.options.get("alt", "")
        self.set_source_info(drawn)
        box = nodes.container("", drawn, classes=["qdq-picture", kind])
        captions = self.caption(nodes.caption)
        if not captions:
            return [self.anchored(box)]
        return [self.anchored(nodes.figure("", box, *captions[:1])), *captions[1:]]

    def alternative(self) -> str:
        """Return words for those who cannot see the picture."""
        alt = self.options.get("alt") or self.options.get("caption") or self.arguments[0]
        return re.sub(r"\{[\w-]+\}`([^`]*)`", r"\1", alt)

    def accessible(self, svg: str) -> str:
        """Return the svg element alone, with those words."""
        _, start, rest = svg.partition("<svg")
        plain = escape(self.alternative(), {'"': "&quot;"})
        # What is an image has no parts for a screen reader; links must be reached.
        role = "group" if "xlink:href=" in rest else "img"
        return f'{start} role="{role}" aria-label="{plain}"{rest}'


class DiagramDirective(PictureDirective):
    """``{qdq-diagram} overview``, ``graph``, or ``group`` with ``:group: expression``."""

    option_spec: ClassVar[dict[str, Any]] = {
        **PictureDirective.option_spec,
        "group": directives.unchanged_required,
    }

    def show(self) -> list[nodes.Node]:
        """Draw the configured model."""
        note_dependencies(self.env)
        view = self.arguments[0]
        if view not in get_args(View):
            raise PageError(f"{view!r} is not one of {', '.join(get_args(View))}")
        document, prefix = document_of(self.env), self.prefix()
        dot = annotate(
            document,
            cast("View", view),
            group=self.group(view),
            link=_rows(document),
            prefix=prefix,
        )
        svg = render(dot, "svg").decode()
        if view == "overview" and "name" in self.options:
            for key, identity in _boxes(svg, prefix):
                note_box(self.env, self.options["name"], key, identity)
        return self.figure(svg, f"qdq-{view}-view")

    def group(self, view: str) -> str | None:
        """Return the name of the operation that stands in the middle."""
        if (view == "group") != ("group" in self.options):
            raise PageError("the option group belongs to the view group")
        if view != "group":
            return None
        name = self.evaluate(self.options["group"])
        return str(getattr(name, "text", name))


def _rows(document: Document) -> Link:
    """Return what tells where a node's box leads: to the row of its group."""
    rows: dict[int, str] = {}
    for group in groups(document):
        through = (operand.dequantize for operand in group.operands)
        for operation in (group.operation, group.quantize, *through):
            if operation is not None:
                rows.setdefault(id(operation), f"{ROW}group-{group.index}")
    return lambda operation: rows.get(id(operation))


def _boxes(svg: str, prefix: str) -> Iterator[tuple[str, str]]:
    """Yield the key of each group that an overview shows, and the id of what shows it."""
    for index in re.findall(rf'<g id="{re.escape(prefix)}-g(\d+)">', svg.replace("&#45;", "-")):
        yield f"group-{index}", f"{prefix}-g{index}"


class PlotDirective(PictureDirective):
    """``{qdq-plot} expression``: a figure of matplotlib."""

    def show(self) -> list[nodes.Node]:
        """Draw the figure in the colours of the page."""
        made = self.evaluate(self.arguments[0])
        if not hasattr(made, "savefig"):
            raise PageError(f"expected a Figure of matplotlib, found {type(made).__name__}")
        return self.figure(plot_svg(made, self.prefix()), "qdq-plot")


def plot_svg(figure: Figure, prefix: str) -> str:
    """Return a plot as SVG with nothing behind it; the same bytes each time."""
    import matplotlib as mpl  # noqa: PLC0415 - slow to import, and most pages have no plot

    _recolour(figure)
    picture = io.StringIO()
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": prefix}), catch_warnings():
        # Letters stay letters: whoever shows the picture has the font.
        filterwarnings("ignore", r"Glyph \d+ .* missing from font")
        figure.savefig(picture, format="svg", transparent=True, metadata={"Date": None})
    svg = re.sub(r"<metadata>.*?</metadata>", "", picture.getvalue(), flags=re.DOTALL)
    svg = FAMILIES.sub(f"font-family: {DEFAULT.font}", svg)
    return IDENTITIES.sub(rf"\g<1>{prefix}-", svg).replace(INK, "currentColor")


def _recolour(figure: Figure) -> None:
    """Give lines and letters around the data the colour of the page's text."""
    for axes in figure.axes:
        axes.tick_params(colors=INK, which="both")
        for spine in axes.spines.values():
            spine.set_edgecolor(INK)
        legend = axes.get_legend()
        words = [axes.title, axes.xaxis.label, axes.yaxis.label, *axes.texts]
        words += [axes.xaxis.get_offset_text(), axes.yaxis.get_offset_text()]
        for text in [*words, *(legend.get_texts() if legend else ())]:
            text.set_color(INK)
        if legend:
            legend.get_frame().set_alpha(0)
