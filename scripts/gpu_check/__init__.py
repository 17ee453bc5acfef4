"""What `scripts/gpu-check` runs: a section a file, each a function of a `Bench` that returns rows."""
