"""What can be said of a request: fields, limits, flags, notes. No torch."""
