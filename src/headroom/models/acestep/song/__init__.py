"""A request goes in; a song comes out: every open field decided, every length in latent frames.
No torch.
"""
