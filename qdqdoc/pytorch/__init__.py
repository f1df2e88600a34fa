"""PyTorch's quantized operators beside the kernels here, bit by bit, engine by engine.

`rules` says what each engine computes, as a formula and in NumPy; `inputs` chooses numbers on
which rules differ; `cases` puts kernels, rules and calls together; `engines` is PyTorch itself;
`record` keeps what it gave. Only `engines` needs torch, and only when it is asked.
"""

from qdqdoc.pytorch.cases import CASES, Case
from qdqdoc.pytorch.record import RECORD, recorded

__all__ = ["CASES", "RECORD", "Case", "recorded"]
