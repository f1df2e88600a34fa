"""What the manual's pages say of a model: pure functions from a document to tables and numbers.

A page names a fact, never a number. Each function works for any model; where something does
not occur, its table is empty or its answer is ``None``, and the page says so.
"""

from qdqdoc.facts.accumulators import Accumulator, accumulators, bounds, widest
from qdqdoc.facts.accuracy import Cost, accuracy, cost
from qdqdoc.facts.branches import Naive, branch_table, naive_additions, naive_table, scale_ratios
from qdqdoc.facts.dataflow import dataflow
from qdqdoc.facts.examples import Images, images
from qdqdoc.facts.layers import Layer, layers
from qdqdoc.facts.memory import (
    Footprint,
    computation,
    footprints,
    largest_activation,
    memory_table,
    memory_totals,
    stored_total,
    unsized,
)
from qdqdoc.facts.pytorch import boundary, pytorch, signed_activations
from qdqdoc.facts.reading import digits, is_integer_operator
from qdqdoc.facts.statistics import (
    Summary,
    Surplus,
    dequantize_explained,
    form,
    group_patterns,
    identity,
    node_counts,
    summary,
    surplus,
)
from qdqdoc.facts.storage import (
    all_quantizations,
    granularity,
    naming,
    node_inputs,
    per_channel,
    placement,
)
from qdqdoc.facts.worked import Worked, WorkedError, worked

__all__ = [
    "Accumulator",
    "Cost",
    "Footprint",
    "Images",
    "Layer",
    "Naive",
    "Summary",
    "Surplus",
    "Worked",
    "WorkedError",
    "accumulators",
    "accuracy",
    "all_quantizations",
    "boundary",
    "bounds",
    "branch_table",
    "computation",
    "cost",
    "dataflow",
    "dequantize_explained",
    "digits",
    "footprints",
    "form",
    "granularity",
    "group_patterns",
    "identity",
    "images",
    "is_integer_operator",
    "largest_activation",
    "layers",
    "memory_table",
    "memory_totals",
    "naive_additions",
    "naive_table",
    "naming",
    "node_counts",
    "node_inputs",
    "per_channel",
    "placement",
    "pytorch",
    "scale_ratios",
    "signed_activations",
    "stored_total",
    "summary",
    "surplus",
    "unsized",
    "widest",
    "worked",
]
