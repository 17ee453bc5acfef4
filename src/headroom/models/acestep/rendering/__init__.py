"""Rendering: from a song, with a Run that places the networks, to audio."""
