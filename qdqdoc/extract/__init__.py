"""ONNX model to operations document: the only package here that imports onnx."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from qdqdoc.document import Document, Function, check
from qdqdoc.extract.attributes import Attributes
from qdqdoc.extract.building import graph
from qdqdoc.extract.defaults import complete_calls
from qdqdoc.extract.errors import ExtractError
from qdqdoc.extract.inference import inferred
from qdqdoc.extract.parsing import Parser, plain
from qdqdoc.extract.reading import read
from qdqdoc.extract.roles import assign
from qdqdoc.extract.sorting import sort

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable

    from onnx import FunctionProto, ModelProto, OperatorSetIdProto

__all__ = ["ExtractError", "extract"]


def extract(path: str | os.PathLike[str]) -> Document:
    """Return what an ONNX model says, all of it but the machine it lies on.

    The same file gives the same document everywhere. Operations stand in an order in which
    they can run: that of the file, unless the file has none.
    """
    path = Path(path)
    try:
        document = _document(path, *read(path))
    except ExtractError as error:
        raise ExtractError(f"{path}: {error}") from None
    problems = check(document)
    if problems:
        more = f" (and {len(problems) - 1} more)" if problems[1:] else ""
        raise ExtractError(f"{path}: not a valid graph: {problems[0]}{more}")
    return document


def _document(path: Path, model: ModelProto, digest: str) -> Document:
    complete_calls(model)
    sort(model.graph.node)
    for function in model.functions:
        sort(function.node)
    attributes = Attributes(path.parent)
    parser = Parser(attributes)
    main = parser.graph(model.graph, inferred(model))
    assign(main)
    return Document(
        model_path=path.name,
        graph=graph(main),
        opset_imports=_versions(model.opset_import),
        functions=tuple(_function(function, parser) for function in model.functions),
        model_sha256=digest,
        ir_version=model.ir_version,
        producer=f"{model.producer_name} {model.producer_version}".strip(),
        data=attributes.kept,
    )


def _function(function: FunctionProto, parser: Parser) -> Function:
    scope = parser.function(function)
    assign(scope)
    return Function(
        domain=function.domain,
        name=function.name,
        graph=graph(scope),
        opset_imports=_versions(function.opset_import),
    )


def _versions(imports: Iterable[OperatorSetIdProto]) -> dict[str, int]:
    """Return versions by domain; of a domain that is imported twice, the newer."""
    versions: dict[str, int] = {}
    for item in imports:
        domain = plain(item.domain)
        if item.version < 0:
            raise ExtractError(f"operator set {domain!r}: version {item.version} is negative")
        versions[domain] = max(item.version, versions.get(domain, 0))
    return dict(sorted(versions.items()))
