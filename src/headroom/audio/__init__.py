"""Sound as samples: read, written, resampled, levelled, cut and joined. Knows no model.

In: files and tensors of samples. Out: `Audio` (samples and their rate), and files written whole.
"""
