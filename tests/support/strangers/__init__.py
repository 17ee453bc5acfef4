"""What strangers hand in: odd cases of every kind, and the doors they come to."""
