"""What the manual's pages say of a model: pure functions from a document to tables and numbers.

A page names a fact, never a number. Each function works for any model; where something does
not occur, its table is empty or its answer is ``None``, and the page says so.
"""

from qdqdoc.facts.accumulators import Accumulator, accumulators, bounds, widest
from qdqdoc.facts.accuracy import Cost, accuracy, cost
from qdqdoc.facts.agreeing import (
    Compared,
    compared,
    contracts_table,
    layers_table,
    left_out_table,
    matrix_table,
    processors_table,
    recorded_table,
    right_table,
)
from qdqdoc.facts.branches import (
    Naive,
    branch_table,
    multiplied,
    naive_additions,
    naive_table,
    scale_ratios,
)
from qdqdoc.facts.dataflow import dataflow, inner_nodes
from qdqdoc.facts.examples import Images, images
from qdqdoc.facts.fusing import (
    computation_table,
    fusion,
    fusion_table,
    group_count,
    observed_table,
    targets_table,
)
from qdqdoc.facts.histograms import histograms
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
from qdqdoc.facts.running import Run, run, run_table
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
from qdqdoc.facts.stored import attribute_table, stored_table
from qdqdoc.facts.worked import Worked, WorkedError, worked

__all__ = [
    "Accumulator",
    "Compared",
    "Cost",
    "Footprint",
    "Images",
    "Layer",
    "Naive",
    "Run",
    "Summary",
    "Surplus",
    "Worked",
    "WorkedError",
    "accumulators",
    "accuracy",
    "all_quantizations",
    "attribute_table",
    "boundary",
    "bounds",
    "branch_table",
    "compared",
    "computation",
    "computation_table",
    "contracts_table",
    "cost",
    "dataflow",
    "dequantize_explained",
    "digits",
    "footprints",
    "form",
    "fusion",
    "fusion_table",
    "granularity",
    "group_count",
    "group_patterns",
    "histograms",
    "identity",
    "images",
    "inner_nodes",
    "is_integer_operator",
    "largest_activation",
    "layers",
    "layers_table",
    "left_out_table",
    "matrix_table",
    "memory_table",
    "memory_totals",
    "multiplied",
    "naive_additions",
    "naive_table",
    "naming",
    "node_counts",
    "node_inputs",
    "observed_table",
    "per_channel",
    "placement",
    "processors_table",
    "pytorch",
    "recorded_table",
    "right_table",
    "run",
    "run_table",
    "scale_ratios",
    "signed_activations",
    "stored_table",
    "stored_total",
    "summary",
    "surplus",
    "targets_table",
    "unsized",
    "widest",
    "worked",
]
