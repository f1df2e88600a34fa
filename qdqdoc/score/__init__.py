"""The whole drift score: what would be noticed, from a kernel's constant to a page's example.

``python -m qdqdoc.score`` computes all of it; `qdqdoc.drift` has the mutants of kernels and
formulas (D1, D2) and the comparison of declarations (D7). Here are the stored values of a model
(D3), typed numerals (D4), damaged vectors and models (D5), examples (D6), and the files that a new
operator takes (D8).
"""
