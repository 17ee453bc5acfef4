"""A byte-level BPE tokenizer without merges, with the ending every released one appends.

Ids: 0 … 255 are the bytes, then the special tokens. The post-processor appends `<|endoftext|>`
to every sequence; truncation counts it and keeps it.
"""

from __future__ import annotations

from pathlib import Path

from tokenizers import AddedToken, Tokenizer, decoders, pre_tokenizers, processors
from tokenizers.models import BPE

END = "<|endoftext|>"
SPECIAL = (END, "<|im_start|>", "<|im_end|>")


def byte_tokenizer() -> Tokenizer:
    """The tokenizer; its ending has id 256."""
    symbols = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {symbol: i for i, symbol in enumerate(symbols)}
    tokenizer = Tokenizer(BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(text, special=True) for text in SPECIAL])
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"$A {END}",
        pair=f"$A {END} $B {END}",
        special_tokens=[(END, tokenizer.token_to_id(END))],
    )
    return tokenizer


def write_tokenizer(folder: Path) -> Path:
    """tokenizer.json in `folder`."""
    path = folder / "tokenizer.json"
    byte_tokenizer().save(str(path))
    return path
