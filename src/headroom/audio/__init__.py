"""Sound as samples: read, written, resampled, levelled, cut and joined. Knows no model."""
