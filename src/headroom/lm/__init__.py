"""The language model's loop: cache, prefill, decoding, sampling.

In: a network, prompts as token ids, a grammar, one uniform number a token. Out: token ids.
"""
