"""Execute a plan: run its stages, move the weights they need, and report events.

In: a `Plan`, loaders of parts, and the work of each stage. Out: what the work returns, with the
bytes and seconds it took.
"""
