"""Work out what fits into memory, by arithmetic, without torch or knowledge of any model.

In: a `Footprint` (what the work needs) and a `Machine` (what is available). Out: a `Plan`, or
`DoesNotFit` with the shortfall.
"""
