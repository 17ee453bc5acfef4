"""The language model's loop: cache, prefill, decoding, sampling."""
