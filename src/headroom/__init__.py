"""headroom: generative audio models in the GPU memory you have. Importing it imports no torch."""
