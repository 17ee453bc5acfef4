"""From a request to a song: every field decided, every length in latent frames. No torch."""
