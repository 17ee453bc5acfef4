"""What the machine has: memory, speeds, features. `machine` is arithmetic, `probe` asks."""
