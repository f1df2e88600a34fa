"""How much drift the examples and vectors would notice: every small error is made, and counted.

A *mutant* is the source of a function, or a formula, with one small error. It is *killed* when an
example fails or a vector gives another value. What survives is either a hole in the vectors, or
*equivalent*: listed in the folder ``equivalent`` with the reason why it can change no value. A
listed mutant that dies, or that no longer exists, is an error.
"""
