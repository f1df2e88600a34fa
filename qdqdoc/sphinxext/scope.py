"""The namespace in which the expressions of a page are evaluated.

It holds ``document`` (the configured model), ``facts``, ``np``, ``Fraction``, ``OPERATORS``,
``operators``, the kernels and the modules of ``numerics`` by name, ``Code``, ``Table``,
``manifest`` (how the model was made, if its folder says so) and ``held`` (images that it was not
trained on, or ``None``). What comes from the model is data in it and never code.
"""

from __future__ import annotations

import json
import sys
from fractions import Fraction
from functools import cache
from hashlib import sha256
from importlib import import_module
from importlib.metadata import distributions
from pathlib import Path
from pkgutil import iter_modules
from typing import TYPE_CHECKING, Any

import numpy as np

import qdqdoc
from qdqdoc import facts, numerics, operators
from qdqdoc.document import Document, load
from qdqdoc.errors import QdqdocError
from qdqdoc.extract import extract
from qdqdoc.tables import Code, Table

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sphinx.application import Sphinx
    from sphinx.config import Config
    from sphinx.environment import BuildEnvironment

KEY, NOTED = "qdqdoc_scope", "qdqdoc_noted"
HELD = "test_images.npz"


class PageError(QdqdocError):
    """A page asks for something that cannot be shown."""


def scope(env: BuildEnvironment) -> dict[str, Any]:
    """Return the namespace of the page that is being read; each page begins with a fresh one."""
    if KEY not in env.temp_data:
        path = model_path(env)
        fresh = dict(_package())
        if path is not None:
            fresh["document"], fresh["manifest"] = _model(path, path.stat().st_mtime_ns)
            fresh["held"] = _held(path, fresh["manifest"])
        env.temp_data[KEY] = fresh
    names: dict[str, Any] = env.temp_data[KEY]
    note_dependencies(env)
    return names


def read_model(path: Path) -> Document:
    """Return the document of a model, as pages about it will have it."""
    if not path.is_file():
        raise PageError(f"{path}: found no file, allowed: a model")
    return _model(path.resolve(), path.stat().st_mtime_ns)[0]


def document_of(env: BuildEnvironment) -> Document:
    """Return the document of the configured model.

    Raises
    ------
    PageError
        If no model is configured.
    """
    path = model_path(env)
    if path is None:
        raise PageError("no model is configured: set qdqdoc_model in conf.py")
    return _model(path, path.stat().st_mtime_ns)[0]


def model_path(env: BuildEnvironment) -> Path | None:
    """Return where the configured model is."""
    if not env.config.qdqdoc_model:
        return None
    path = Path(env.config.qdqdoc_model)
    if not path.is_file():
        raise PageError(f"qdqdoc_model: {path} is no file")
    return path


def anchor_model(app: Sphinx, config: Config) -> None:
    """Make the configured model's path absolute: it is given relative to ``conf.py``."""
    if config.qdqdoc_model:
        config.qdqdoc_model = str(Path(app.confdir, config.qdqdoc_model))


def note_dependencies(env: BuildEnvironment) -> None:
    """Tell Sphinx that the page is stale when the model or this package changes."""
    if NOTED in env.temp_data:  # once for each page: there are hundreds of files
        return
    env.temp_data[NOTED] = True
    path = model_path(env)
    for source in (*_sources(), *(_model_files(path) if path else ())):
        env.note_dependency(source)


def installed() -> str:
    """Fingerprint Python and all packages: what a page computes may depend on each of them."""
    versions = {f"{item.name} {item.version}" for item in distributions()}
    return sha256("\n".join([sys.version, *sorted(versions)]).encode()).hexdigest()


@cache
def _sources() -> tuple[str, ...]:
    root = Path(qdqdoc.__file__).parent
    # What is recorded and what is declared stands in JSON.
    return tuple(str(path) for kind in ("*.py", "*.json") for path in sorted(root.rglob(kind)))


def _model_files(path: Path) -> tuple[str, ...]:
    """Return the model and what stands beside it: how it was made, held images, large tensors."""
    beside = (path.with_name(HELD), path.with_suffix(".npz"))
    return (str(path), *_manifests(path), *(str(found) for found in beside if found.is_file()))


@cache
def _model(path: Path, changed: int) -> tuple[Document, Mapping[str, Any]]:  # noqa: ARG001
    """Read a model once per change; ``changed`` is part of what is remembered."""
    document = load(path) if path.suffix == ".json" else extract(path)
    for manifest in _manifests(path):
        content = json.loads(Path(manifest).read_text(encoding="utf-8"))
        if document.model_sha256 and document.model_sha256 == _recorded(content, path.name):
            return document, content
    return document, {}


def _recorded(content: Any, name: str) -> object:  # noqa: ANN401 - a file of that name may hold anything
    """Return the sha256 that a manifest gives for a model, if it is a manifest of ours."""
    files = content.get("files") if isinstance(content, dict) else None
    entry = files.get(name) if isinstance(files, dict) else None
    return entry.get("sha256") if isinstance(entry, dict) else None


def _held(path: Path, manifest: Mapping[str, Any]) -> facts.Images | None:
    return facts.images(path.with_name(HELD)) if HELD in manifest.get("files", ()) else None


def _manifests(path: Path) -> tuple[str, ...]:
    manifest = path.with_name("MANIFEST.json")
    return (str(manifest),) if manifest.is_file() else ()


@cache
def _package() -> Mapping[str, Any]:
    names: dict[str, Any] = {
        "np": np,
        "Fraction": Fraction,
        "OPERATORS": operators.OPERATORS,
        "operators": operators,
        "numerics": numerics,
        "facts": facts,
        "Code": Code,
        "Table": Table,
        "version": qdqdoc.__version__,
        "covered": frozenset(f"{domain}::{name}" for domain, name in operators.OPERATORS),
    }
    for module in iter_modules(numerics.__path__):
        names[module.name] = import_module(f"{numerics.__name__}.{module.name}")
    for entry in operators.OPERATORS.values():
        names[entry.kernel.__name__] = entry.kernel
    return names
