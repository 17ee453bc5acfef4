"""Where the time and the memory of a run go, in numbers: what `acestep profile` does."""
