"""Music out of numbers: songs whose tempo, key, chords and instruments are known. NumPy only."""
