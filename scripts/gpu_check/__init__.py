"""What `scripts/gpu_check` runs: sections, each a function of a `Bench` that returns rows."""
