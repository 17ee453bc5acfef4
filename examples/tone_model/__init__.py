"""A model family without weights: tones at 48 kHz. Read it before adding a family of your own."""
