"""Request parameters: declaration, limits, validation, and the flags and schema derived from them.

In: the declaration of a request, and the user's input. Out: a validated, frozen request; flags,
schema and help come from the same declaration. No torch is imported.
"""
