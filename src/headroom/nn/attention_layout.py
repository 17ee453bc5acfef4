"""Define the constants that choose the windowed-attention method and its mask sizes. No torch."""

DENSE_WINDOWS = 8  # up to this many windows an accelerator uses one dense mask, not blocks
MASK_STRIDE = 16  # elements; the fused kernels need mask rows of a multiple of this length
