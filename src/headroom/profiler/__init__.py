"""The profiler behind `acestep profile`: measures where the time and memory of a run go.

In: options and an engine, whose events it listens to. Out: one JSON record, tables and plots.
"""
