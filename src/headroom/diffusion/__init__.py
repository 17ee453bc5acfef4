"""Diffusion sampling as plain functions over tensors.

    schedule      when: the times a run visits (Python floats, no torch)
    samplers      how to move: Euler, Heun, stochastic renoising
    guidance      which way: CFG, APG and ADG wrap a velocity function
    corrections   what to put right after a step: repaint injection, wavelet correction, blending
    noise         where to start: one reproducible stream a song

Latents are x [B, T, C] in fp32, time before channels. A batch may be ragged: an item shorter than T
holds zeros in its padding, and every rule here keeps those zeros and gives each item the numbers it
would have alone. Nothing in a loop reads a tensor's value, so a loop never waits for the device.
"""
