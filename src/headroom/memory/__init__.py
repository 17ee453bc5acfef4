"""What fits: footprints and a machine in, a plan out. Arithmetic; no torch, knows no model."""
