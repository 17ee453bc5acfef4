"""Sizes of networks and songs go in; footprints come out: components, stages, bytes. No torch."""
