"""What fits: arithmetic, no torch, no knowledge of any model.

In: a `Footprint` (what the work needs) and a `Machine` (what there is). Out: a `Plan`, or
`DoesNotFit` with the shortfall.
"""
