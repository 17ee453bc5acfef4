"""Durable jobs: what was asked, who works on it, what happened and what came out, in a database.

In: requests as JSON, which nobody here interprets, and files in a storage. Out: every accepted job
ends exactly once, whatever process dies in between. Doors use `Queue`, `Files`, `Library` and
`Keys`; an engine process uses `Worker`; a supervisor uses `Watch` and `Retention`.
"""
