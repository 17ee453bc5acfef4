"""Request → song → plan → run → result."""
