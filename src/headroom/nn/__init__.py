"""Layers and networks shared by model families.

In: sizes, and tensors. Out: plain modules that can be built on `meta`, and the bytes they work in.
"""
