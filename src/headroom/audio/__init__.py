"""Sound as samples: reading, writing, resampling, levels, cutting and joining.

In: files and tensors of samples. Out: `Audio` (samples and their rate), and files that are written
completely or not at all. Nothing here depends on a model.
"""
