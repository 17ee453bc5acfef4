"""The service: a web process, an engine process for each card, and the supervisor that keeps them.

The processes share a database (`headroom.jobs`) and a storage of files, and nothing else: each may
die and be started again, and what was accepted is made all the same. No torch is imported outside
the engine processes.
"""
