"""What can go wrong while the PDF is made."""

from __future__ import annotations

from sphinx.errors import SphinxError


class PdfError(SphinxError):
    """The PDF was not written; Sphinx shows the message on one line, without a traceback."""

    category = "PDF"
