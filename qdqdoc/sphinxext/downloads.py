"""Files that the manual hands out, written while building: schemas, and the document itself."""

from __future__ import annotations

import json
import shutil
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, ClassVar

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.util import logging
from sphinx.util.display import progress_message

from qdqdoc import conformance
from qdqdoc.conformance import archive
from qdqdoc.document import companion, dump, schema
from qdqdoc.errors import QdqdocError
from qdqdoc.sphinxext.page import PageDirective
from qdqdoc.sphinxext.printing import Download
from qdqdoc.sphinxext.scope import document_of, installed, note_dependencies
from qdqdoc.tables import Code, Table

if TYPE_CHECKING:
    from sphinx.application import Sphinx

    from qdqdoc.tables import Cell

logger = logging.getLogger(__name__)

FOLDER = "_downloads"
SCHEMA = "operations.schema.json"
PACK = "qdqdoc-pack"
"""Marks a page that hands out the conformance pack."""


class DownloadsDirective(PageDirective):
    """``{qdq-downloads}``: the files of the document, as links; ``:pack:``: that of the pack."""

    required_arguments = 0
    option_spec: ClassVar[dict[str, Any]] = {"pack": directives.flag}

    def show(self) -> list[nodes.Node]:
        """Return a list of links."""
        note_dependencies(self.env)
        document = document_of(self.env)
        name = document_name(Path(document.model_path))
        kept = [(SCHEMA, "JSON Schema of the format"), (name, "operations document of the model")]
        if document.data:
            kept.append((str(companion(Path(name))), "its large tensors"))
        if "pack" in self.options:
            self.env.metadata[self.env.docname][PACK] = ""
            kept = [
                (archive.NAME, "the pack"),
                (conformance.SCHEMA, "JSON Schema of the manifest"),
            ]
        items = [nodes.list_item("", self.line(*pair)) for pair in kept]
        return [nodes.bullet_list("", *items)]

    def line(self, name: str, what: str) -> nodes.paragraph:
        """Return a link and what it leads to."""
        link = Download("", "", nodes.literal(name, name), address=f"{FOLDER}/{name}")
        return nodes.paragraph("", "", link, nodes.Text(f": {what}"))


def document_name(model: Path) -> str:
    """Return the name of a model's operations document.

    >>> document_name(Path("models/net.onnx"))
    'net_operations.json'
    """
    return f"{model.stem.removesuffix('_operations')}_operations.json"


def write(app: Sphinx, exception: Exception | None) -> None:
    """Write the files beside the pages."""
    if exception is not None or app.builder.format != "html" or not app.config.qdqdoc_model:
        return
    try:
        document = document_of(app.env)
    except QdqdocError as error:
        logger.error("the model's files are not written: %s", error)  # noqa: TRY400 - one line tells it
        return
    folder = Path(app.outdir, FOLDER)
    folder.mkdir(exist_ok=True)
    dump(document, folder / document_name(Path(document.model_path)))
    schemas = {SCHEMA: schema()}
    if any(PACK in said for said in app.env.metadata.values()):
        schemas[conformance.SCHEMA] = conformance.schema()
        write_pack(folder / archive.NAME, Path(app.doctreedir))
    for name, held in schemas.items():
        text = json.dumps(held, indent=2, ensure_ascii=False) + "\n"
        (folder / name).write_text(text, encoding="utf-8")


def write_pack(path: Path, remembered: Path) -> None:
    """Write the conformance pack; it is made anew when this package or another one changes."""
    package = Path(conformance.__file__).parent.parent
    sources = sorted([*package.rglob("*.py"), *package.rglob("*.json")])
    held = [installed().encode(), *(source.read_bytes() for source in sources)]
    digest = sha256(b"".join(held)).hexdigest()
    known = remembered / f"conformance-{digest[:16]}.tar.xz"
    if not known.is_file():
        with progress_message("writing the conformance pack"), TemporaryDirectory() as place:
            conformance.write(Path(place, "conformance"))
            archive.archive(Path(place, "conformance"), known)
    shutil.copyfile(known, path)


def schema_table(name: str = "", whole: dict[str, Any] | None = None) -> Table:
    """Return the keys of the document, or of one of its parts, from its or another JSON Schema."""
    whole = whole or schema()
    part = whole["$defs"][name] if name else whole
    required = part.get("required", ())
    rows: list[tuple[Cell, ...]] = []
    for key, value in part["properties"].items():
        need = "always" if key in required else "may be absent"
        rows.append((Code(key), Code(_type(value)), need, _description(value, whole)))
    return Table(columns=("key", "type", "present", "meaning"), rows=tuple(rows))


def _description(value: dict[str, Any], whole: dict[str, Any]) -> str:
    reference = value.get("$ref", "").removeprefix("#/$defs/")
    found = value.get("description") or whole["$defs"].get(reference, {}).get("description", "")
    return str(found)


def _type(value: dict[str, Any]) -> str:  # noqa: PLR0911 - one for each form of the schema
    if "$ref" in value:
        return str(value["$ref"]).removeprefix("#/$defs/")
    if "const" in value:
        return json.dumps(value["const"])
    if "enum" in value:
        return " or ".join(json.dumps(choice) for choice in value["enum"])
    if "anyOf" in value:
        return " or ".join(_type(choice) for choice in value["anyOf"])
    if value.get("type") == "array" and "items" in value:
        return f"array of {_type(value['items'])}"
    if isinstance(value.get("additionalProperties"), dict):
        return f"object of {_type(value['additionalProperties'])}"
    kind = value.get("type", "anything")
    return kind if isinstance(kind, str) else " or ".join(kind)


def register(app: Sphinx) -> None:
    """Write the files when the pages are written."""
    app.connect("build-finished", write)
