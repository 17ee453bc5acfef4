"""The tier test: checks for each card size that the published tier's promises are kept.

In: sizes of cards. Out: for each size the rows of what was planned, measured and promised, as
values and as tables.
"""
