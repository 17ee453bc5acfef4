"""Sizes of Step1, the language model, read from its config.json. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from headroom.nn.config_fields import LAYERS, VOCABULARY, ConfigFields

KIND = "step1"
READ = 256  # tokens of a prompt that are read at once: they bound the bias of a pass


@dataclass(frozen=True, slots=True)
class Step1Sizes:
    """Sizes of the language model. `most_tokens`: the longest sequence it was made for."""

    width: int
    hidden: int
    layers: int
    heads: int
    kv_heads: int
    vocabulary: int
    eps: float
    most_tokens: int

    @property
    def head_dim(self) -> int:
        """Of queries, keys and values."""
        return self.width // self.heads


def step1_sizes(raw: Mapping[str, object], folder: str | Path = "") -> Step1Sizes:
    """The sizes a config.json states. Raises InvalidCheckpoint with every field that is missing or
    out of bounds.

    `tie_word_embeddings` is not read: the published weights have a head of their own whatever it
    says, and whatever the default of a library is.
    """
    fields = ConfigFields(raw, folder)
    kind = fields.word("model_type")
    if kind != KIND:
        fields.fault(f"model_type is {kind!r}; {KIND!r} is needed")
    sizes = Step1Sizes(
        width=fields.size("hidden_size"),
        hidden=fields.size("intermediate_size"),
        layers=fields.size("num_hidden_layers", most=LAYERS),
        heads=fields.size("num_attention_heads"),
        kv_heads=fields.size("num_attention_groups"),
        vocabulary=fields.size("vocab_size", most=VOCABULARY),
        eps=fields.number("rms_norm_eps", 1e-5, most=1.0),
        most_tokens=fields.size("max_seq_len", 32_768),
    )
    if sizes.width % sizes.heads:
        fields.fault(f"hidden_size is {sizes.width}; a multiple of {sizes.heads} heads is needed")
    if sizes.heads % sizes.kv_heads:
        fields.fault(
            f"num_attention_heads is {sizes.heads}; a multiple of {sizes.kv_heads} groups is needed"
        )
    fields.check()
    return sizes


RELEASED = Step1Sizes(3072, 8192, 32, 48, 4, 74_752, 1e-5, 32_768)
