"""Model families, one folder each.

In: a request, and a `Run` that places the networks. Out: songs, their footprints, and audio.
"""
