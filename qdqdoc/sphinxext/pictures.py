"""Diagrams and plots, as SVG within the page: links live, text selectable, no white ground."""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING, Any, ClassVar, cast, get_args
from xml.sax.saxutils import escape

from docutils import nodes
from docutils.parsers.rst import directives

from qdqdoc.annotate import View, annotate
from qdqdoc.render import render
from qdqdoc.sphinxext.page import PageDirective, builder
from qdqdoc.sphinxext.reference import operator_page
from qdqdoc.sphinxext.scope import PageError, document_of, note_dependencies

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from qdqdoc.document import Operation

LARGE = ("qdq-overview-view", "qdq-graph-view")
ZOOM = '<label class="qdq-zoom"><input type="checkbox"/> full size</label>'
"""A picture fits the page until the reader asks for more; the style sheet does the rest."""

INK = "#010203"
"""A colour nobody uses: it becomes the colour of the page's text."""

IDENTITIES = re.compile(r'(\bid="|\bhref="#|url\(#)')


class PictureDirective(PageDirective):
    """A figure whose picture is SVG."""

    option_spec: ClassVar[dict[str, Any]] = {
        **PageDirective.option_spec,
        "alt": directives.unchanged_required,
    }

    def prefix(self) -> str:
        """Return the beginning of the ids in a picture, unlike that of any other one."""
        return f"qdq-{self.env.new_serialno('qdq-picture')}"

    def figure(self, svg: str, kind: str) -> list[nodes.Node]:
        """Return the figure, with its caption if it has one."""
        zoom = ZOOM if kind in LARGE else ""
        picture = nodes.raw("", zoom + self.accessible(svg), format="html")
        self.set_source_info(picture)
        box = nodes.container("", picture, classes=["qdq-picture", kind])
        captions = self.caption(nodes.caption)
        if not captions:
            return [self.anchored(box)]
        return [self.anchored(nodes.figure("", box, *captions[:1])), *captions[1:]]

    def accessible(self, svg: str) -> str:
        """Return the svg element alone, with words for those who cannot see it."""
        _, start, rest = svg.partition("<svg")
        alt = self.options.get("alt") or self.options.get("caption") or self.arguments[0]
        plain = escape(re.sub(r"\{[\w-]+\}`([^`]*)`", r"\1", alt), {'"': "&quot;"})
        return f'{start} role="img" aria-label="{plain}"{rest}'


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
        dot = annotate(
            document_of(self.env),
            cast("View", view),
            group=self.group(view),
            link=self.link,
            prefix=self.prefix(),
        )
        return self.figure(render(dot, "svg").decode(), f"qdq-{view}-view")

    def group(self, view: str) -> str | None:
        """Return the name of the operation that stands in the middle."""
        if (view == "group") != ("group" in self.options):
            raise PageError("the option group belongs to the view group")
        if view != "group":
            return None
        name = self.evaluate(self.options["group"])
        return str(getattr(name, "text", name))

    def link(self, operation: Operation) -> str | None:
        """Return the page of an operator, seen from this page."""
        page = operator_page(operation.domain, operation.op_type)
        if page not in self.env.found_docs:
            return None
        uri: str = builder(self.env).get_relative_uri(self.env.docname, page)
        return uri


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
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": prefix}):
        figure.savefig(picture, format="svg", transparent=True, metadata={"Date": None})
    svg = re.sub(r"<metadata>.*?</metadata>", "", picture.getvalue(), flags=re.DOTALL)
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
