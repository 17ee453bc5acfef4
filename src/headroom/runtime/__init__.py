"""Carry a plan out: stages run, parts come and go, events tell what happened.

In: a `Plan`, loaders of parts, and the work of each stage. Out: what the work returns, with the
bytes and seconds it took.
"""
