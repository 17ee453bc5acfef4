"""The engine: takes a request through planning and running to a result with audio.

In: a request, and the options the engine was opened with. Out: a `Result` with audio, plan, report
and notes; events while it works.
"""
