"""Where the time and the memory of a run go: what `acestep profile` does.

In: options and an engine, whose events it listens to. Out: one JSON record, tables and plots.
"""
