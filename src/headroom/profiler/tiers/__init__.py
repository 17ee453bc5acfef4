"""The tier test. Sizes of cards go in; for each size the rows of what was planned, measured and
promised come out, as values and as tables.
"""
