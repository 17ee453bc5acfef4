"""Provide the layers and networks shared by model families.

In: sizes and tensors. Out: plain modules that can be built on `meta`, and the bytes of working
memory they need.
"""
