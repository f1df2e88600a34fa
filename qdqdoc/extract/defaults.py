"""Attributes that a call of a function leaves out, with the defaults that the function declares."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qdqdoc.extract.sorting import graphs_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from onnx import AttributeProto, ModelProto, NodeProto


def complete_calls(model: ModelProto) -> None:
    """Write the default of every attribute that a call leaves out into the call, in place.

    So that an operation says what its function is given, wherever the function is looked up.
    """
    defaults = {
        (_plain(f.domain), f.name, f.overload): list(f.attribute_proto) for f in model.functions
    }
    for nodes in (model.graph.node, *(function.node for function in model.functions)):
        _complete(nodes, defaults)


def _complete(
    nodes: Iterable[NodeProto], defaults: Mapping[tuple[str, str, str], Sequence[AttributeProto]]
) -> None:
    for node in nodes:
        given = {attribute.name for attribute in node.attribute}
        known = defaults.get((_plain(node.domain), node.op_type, node.overload), ())
        node.attribute.extend(one for one in known if one.name not in given)
        for attribute in node.attribute:
            for graph in graphs_of(attribute):
                _complete(graph.node, defaults)


def _plain(domain: str) -> str:
    return "" if domain == "ai.onnx" else domain
