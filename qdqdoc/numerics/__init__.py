"""Arithmetic that every operator shares: formats, rounding, exact sums, layout."""
