"""Numbers of windowed attention that decide how it is done and what its masks take. No torch."""

DENSE_WINDOWS = 8  # up to so many windows an accelerator takes one dense mask instead of blocks
MASK_STRIDE = 16  # elements a row of a mask must be a multiple of, for the fused kernels
