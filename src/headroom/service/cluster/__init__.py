"""The service on several machines: Ray Serve places its parts, restarts them and scales them."""
