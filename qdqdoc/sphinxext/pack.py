"""What the page of the conformance pack shows: counts of cases, and the keys of the manifest."""

from __future__ import annotations

from collections import Counter

from qdqdoc.conformance import cases, schema
from qdqdoc.sphinxext.downloads import schema_table
from qdqdoc.tables import Code, Table


def counts() -> Table:
    """Count the cases of each operator."""
    values: Counter[str] = Counter()
    rejected: Counter[str] = Counter()
    for case in cases():
        (rejected if case.rejection else values)[case.operator.full_name] += 1
    names = list(dict.fromkeys((*values, *rejected)))
    rows = [(Code(name), values[name], rejected[name]) for name in names]
    total = ("together", values.total(), rejected.total())
    return Table(columns=("operator", "with values", "rejected"), rows=(*rows, total))


def keys(name: str = "") -> Table:
    """Return the keys of the manifest, or of one of its parts."""
    return schema_table(name, schema())
