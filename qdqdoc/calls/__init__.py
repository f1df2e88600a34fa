"""Calls that operators are tried with: what several of their files share to make their vectors.

Vectors, ties and refused calls stand in the file of their operator; the generators that more than
one of them needs, and those that follow from any operator's registration, are here.
"""
