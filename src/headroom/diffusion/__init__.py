"""Diffusion sampling as plain functions over tensors: schedules, samplers, guidance and noise.

    schedule      the times of a run (Python floats, no torch)
    samplers      the steps: Euler, Heun, stochastic renoising
    guidance      the direction: CFG, APG and ADG wrap a velocity function
    corrections   changes after a step: repaint injection, wavelet correction, blending
    noise         the starting point: one reproducible stream per song

Latents are x [B, T, C] in fp32, time before channels. A batch may be ragged: an item shorter than T
holds zeros in its padding. Every rule here preserves those zeros and gives each item the values it
would have alone. No loop reads a tensor's value on the host, so no loop waits for the device.
"""
