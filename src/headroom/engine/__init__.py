"""Request → song → plan → run → result.

In: a request, and the options the engine was opened with. Out: a `Result` with audio, plan, report
and notes; events while it works.
"""
