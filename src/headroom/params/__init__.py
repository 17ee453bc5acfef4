"""What can be said of a request: fields, limits, flags, notes. No torch.

In: a request's declaration, and what somebody wrote. Out: a checked, frozen request; flags, schema
and help from the same declaration.
"""
