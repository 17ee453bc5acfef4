"""Layers and networks shared by model families: plain modules over tensors, buildable on meta."""
