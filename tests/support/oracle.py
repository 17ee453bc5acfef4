"""The released networks as diffusers and transformers build them, small, random and writable.

`build_tree` draws every weight (nothing keeps a default of 0 or 1, which would hide a bug),
writes a checkpoint directory in the official layout, and returns it with an `Oracle` that
answers from the very same weights. Everything here is in fp32 unless it says otherwise.

diffusers' modules equal the released code, with one exception that is repaired here: for the XL
variants the timbre encoder prepends its `special_token`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from support.near import table
from support.networks import (
    Networks,
    build_networks,
    build_text,
    build_vae,
    official_state,
    randomise,
)
from support.tiny import PRESETS, Sizes
from support.tokenizer import write_tokenizer

# --- writing -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Tree:
    """A checkpoint directory on disk, and the oracle that holds the same weights."""

    root: Path
    name: str
    sizes: Sizes
    oracle: Oracle

    @property
    def dit(self) -> Path:
        return self.root / self.name

    @property
    def vae(self) -> Path:
        return self.root / "vae"

    @property
    def text(self) -> Path:
        return self.root / "Qwen3-Embedding-0.6B"


def build_tree(
    root: Path,
    size: str = "2b-like",
    *,
    turbo: bool = True,
    version: str | None = None,
    name: str | None = None,
    dtype: torch.dtype = torch.float32,
    shards: int = 1,
    text_prefix: str = "",
    seed: int = 0,
) -> Tree:
    """Write `<root>/{<name>, vae, Qwen3-Embedding-0.6B}` and return it with its oracle.

    size         a key of `tiny.PRESETS`: 2b-like, xl-like, pipeline
    dtype        what the files store; the oracle computes in fp32 with the rounded values
    shards       more than one: an index and that many files, as the XL folders have
    text_prefix  "" or "model.", both occur in released Qwen3 folders
    """
    sizes = PRESETS[size]
    if name is None:
        name = f"acestep-v15-{'xl-' if sizes.dit.xl else ''}{'turbo' if turbo else 'base'}"
    oracle = build_oracle(sizes, dtype=dtype, seed=seed)
    tree = Tree(root, name, sizes, oracle)
    for folder in (tree.dit, tree.vae, tree.text):
        folder.mkdir(parents=True)
    _write_json(tree.dit / "config.json", sizes.dit.config(turbo=turbo, version=version))
    _write_json(tree.vae / "config.json", sizes.vae.config())
    _write_json(tree.text / "config.json", sizes.text.config())
    state = official_state(oracle.networks)
    if len(state) != sizes.dit.key_count:
        raise AssertionError(f"{len(state)} keys, the layout has {sizes.dit.key_count}")
    _write_weights(tree.dit, "model", _stored(state, dtype), shards)
    _write_weights(tree.vae, "diffusion_pytorch_model", _stored(oracle.vae.state_dict(), dtype), 1)
    text = {text_prefix + key: value for key, value in oracle.text_model.state_dict().items()}
    _write_weights(tree.text, "model", _stored(text, dtype), 1)
    write_tokenizer(tree.text)
    torch.save(oracle.silence.transpose(1, 2).contiguous(), tree.dit / "silence_latent.pt")
    return tree


def build_oracle(sizes: Sizes, *, dtype: torch.dtype = torch.float32, seed: int = 0) -> Oracle:
    """The networks of one checkpoint with every weight drawn from `seed`."""
    generator = torch.Generator().manual_seed(seed)
    networks = build_networks(sizes.dit)
    vae, text = build_vae(sizes.vae), build_text(sizes.text)
    parts = (networks.dit, networks.condition, networks.tokenizer, networks.detokenizer, vae, text)
    for part in parts:
        randomise(part, generator, dtype)
        part.eval().requires_grad_(False)
    table(text.get_submodule("rotary_emb").get_buffer("inv_freq"))
    frames, channels = sizes.silence_frames, sizes.dit.audio_acoustic_hidden_dim
    silence = 0.5 * torch.randn(1, frames, channels, generator=generator)
    return Oracle(sizes, networks, vae, text, silence)


def _stored(state: Mapping[str, Tensor], dtype: torch.dtype) -> dict[str, Tensor]:
    return {name: value.to(dtype).contiguous() for name, value in state.items()}


def _write_json(path: Path, value: Mapping[str, object]) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")


def _write_weights(folder: Path, stem: str, state: dict[str, Tensor], shards: int) -> None:
    if shards == 1:
        save_file(state, folder / f"{stem}.safetensors", metadata={"format": "pt"})
        return
    names = list(state)
    weight_map: dict[str, str] = {}
    cuts = [i * len(names) // shards for i in range(shards + 1)]
    for i, (start, stop) in enumerate(pairwise(cuts), 1):
        file = f"{stem}-{i:05d}-of-{shards:05d}.safetensors"
        part = {name: state[name] for name in names[start:stop]}
        save_file(part, folder / file, metadata={"format": "pt"})
        weight_map |= dict.fromkeys(part, file)
    total = sum(value.nbytes for value in state.values())
    index = {"metadata": {"total_size": total}, "weight_map": weight_map}
    _write_json(folder / f"{stem}.safetensors.index.json", index)


# --- asking --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Trace:
    """What the DiT computed on its way; B items, S tokens, L condition rows."""

    tokens: Tensor  # [B, S, H] after proj_in
    condition: Tensor  # [B, L, H] after condition_embedder
    e: Tensor  # [B, H], both time branches summed
    m: Tensor  # [B, 6, H], both time branches summed
    sa_in: Tensor  # [B, S, H] input of layer 0's self-attention, normed and modulated
    sa_out: Tensor  # [B, S, H] its output, before the gate
    after_ca: Tensor  # [B, S, H] the stream after layer 0's cross-attention
    layers: tuple[Tensor, ...]  # [B, S, H] the stream after each layer
    velocity: Tensor  # [B, T, C]


@dataclass(frozen=True, slots=True)
class Oracle:
    """The reference networks, asked in the terms of the released code.

    `silence` is [1, N, C]. All inputs and outputs are on the CPU.
    """

    sizes: Sizes
    networks: Networks
    vae: Any
    text_model: Any
    silence: Tensor

    @property
    def null(self) -> Tensor:
        """null_condition_emb [1, 1, E]."""
        value: Tensor = self.networks.condition.null_condition_emb
        return value

    def state(self) -> dict[str, Tensor]:
        """The DiT folder's tensors under their official names."""
        return official_state(self.networks)

    @torch.no_grad()
    def dit(
        self,
        x: Tensor,
        t: Sequence[float] | Tensor,
        context: Tensor,
        condition: Tensor,
        dtype: torch.dtype = torch.float32,
    ) -> Tensor:
        """Noisy x [B, T, C], t [B], context [B, T, 2C], condition [B, L, E] → velocity."""
        times = torch.as_tensor(t, dtype=torch.float32).to(dtype)
        sample: Tensor = _in_dtype(self.networks.dit, dtype)(
            hidden_states=x.to(dtype),
            timestep=times,
            timestep_r=times,
            encoder_hidden_states=condition.to(dtype),
            context_latents=context.to(dtype),
        ).sample
        return sample

    def trace(
        self, x: Tensor, t: Sequence[float] | Tensor, context: Tensor, condition: Tensor
    ) -> Trace:
        """The same forward with what it computed in between."""
        dit = self.networks.dit
        first = dit.layers[0]
        seen: dict[str, list[Any]] = {}

        def keep(name: str) -> Callable[..., None]:
            return lambda module, args, kwargs, out: seen.setdefault(name, []).append(out)

        def keep_input(name: str) -> Callable[..., None]:
            def hook(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
                seen.setdefault(name, []).append(args[0] if args else kwargs["hidden_states"])

            return hook

        outputs = [
            (dit.proj_in_conv, "tokens"),
            (dit.condition_embedder, "condition"),
            (dit.time_embed, "time"),
            (dit.time_embed_r, "time"),
            (first.self_attn, "sa_out"),
            *((layer, "layers") for layer in dit.layers),
        ]
        inputs = [(first.self_attn, "sa_in"), (first.mlp_norm, "after_ca")]
        handles = [m.register_forward_hook(keep(n), with_kwargs=True) for m, n in outputs]
        handles += [m.register_forward_pre_hook(keep_input(n), with_kwargs=True) for m, n in inputs]
        try:
            velocity = self.dit(x, t, context, condition)
        finally:
            for handle in handles:
                handle.remove()
        (e, m), (e_r, m_r) = seen["time"]
        return Trace(
            tokens=seen["tokens"][0].transpose(1, 2),
            condition=seen["condition"][0],
            e=e + e_r,
            m=m + m_r,
            sa_in=seen["sa_in"][0],
            sa_out=seen["sa_out"][0],
            after_ca=seen["after_ca"][0],
            layers=tuple(seen["layers"]),
            velocity=velocity,
        )

    @torch.no_grad()
    def condition(
        self,
        text: Sequence[Tensor],
        lyrics: Sequence[Tensor],
        timbre: Tensor,
        order: Sequence[int],
    ) -> list[Tensor]:
        """text[i] [Lt, W] hidden states, lyrics[i] [Ll, W] embeddings, timbre [R, F, C] latents.

        `order[r]` names the item that reference r belongs to. Returns the valid packed rows of
        each item, [Ll + n + Lt, E].
        """
        rows, texts = _pad(text), _pad(lyrics)
        with self._cls():
            packed, mask = self.networks.condition(
                text_hidden_states=rows[0],
                text_attention_mask=rows[1],
                lyric_hidden_states=texts[0],
                lyric_attention_mask=texts[1],
                refer_audio_acoustic_hidden_states_packed=timbre,
                refer_audio_order_mask=torch.tensor(order),
            )
        return [row[valid.bool()] for row, valid in zip(packed, mask, strict=True)]

    @torch.no_grad()
    def lyric_rows(self, lyrics: Tensor) -> Tensor:
        """One item's lyric embeddings [Ll, W] → [Ll, E]."""
        mask = torch.ones(1, len(lyrics), dtype=torch.long)
        rows: Tensor = self.networks.condition.lyric_encoder(lyrics.unsqueeze(0), mask)[0]
        return rows

    @torch.no_grad()
    def timbre(self, latents: Tensor) -> Tensor:
        """Reference latents [R, F, C] → one row each, [R, E]."""
        with self._cls():
            rows, _ = self.networks.condition.timbre_encoder(latents, torch.arange(len(latents)))
        first: Tensor = rows[:, 0]
        return first

    @torch.no_grad()
    def tokenize(self, latents: Tensor) -> tuple[Tensor, Tensor]:
        """Latents [B, T, C] → quantised vectors [B, N, E] and codes [B, N], N = ceil(T / 5)."""
        quantised, codes = self.networks.tokenizer.tokenize(latents, self.silence)
        return quantised, codes.squeeze(-1)

    @torch.no_grad()
    def decode_codes(self, codes: Tensor) -> Tensor:
        """Codes [B, N] → quantised vectors [B, N, E]."""
        quantiser = self.networks.tokenizer.quantizer
        vectors: Tensor = quantiser.get_output_from_indices(codes.unsqueeze(-1))
        return vectors

    @torch.no_grad()
    def detokenize(self, quantised: Tensor) -> Tensor:
        """Quantised vectors [B, N, E] → latents [B, 5·N, C]."""
        latents: Tensor = self.networks.detokenizer(quantised)
        return latents

    @torch.no_grad()
    def text(self, ids: Tensor, mask: Tensor | None = None) -> Tensor:
        """Token ids [B, L] → final-norm hidden states [B, L, W]; causal."""
        hidden: Tensor = self.text_model(input_ids=ids, attention_mask=mask).last_hidden_state
        return hidden

    @torch.no_grad()
    def embed(self, ids: Tensor) -> Tensor:
        """Token ids → rows of the text encoder's table."""
        rows: Tensor = self.text_model.embed_tokens(ids)
        return rows

    @torch.no_grad()
    def encode(self, audio: Tensor) -> tuple[Tensor, Tensor]:
        """Audio [B, 2, n] → mean and standard deviation of the latents, [B, C, floor(n / 1920)]."""
        posterior = self.vae.encode(audio).latent_dist
        return posterior.mean, posterior.std

    @torch.no_grad()
    def decode(self, latents: Tensor) -> Tensor:
        """Latents [B, C, T] → audio [B, 2, 1920·T]."""
        audio: Tensor = self.vae.decode(latents).sample
        return audio

    @contextmanager
    def _cls(self) -> Iterator[None]:
        """What diffusers leaves out of the XL timbre encoder: its CLS token."""
        encoder = self.networks.condition.timbre_encoder
        if not self.sizes.dit.xl:
            yield
            return
        token = encoder.special_token

        def prepend(module: nn.Module, args: object, rows: Tensor) -> Tensor:
            return torch.cat((token.expand(len(rows), -1, -1), rows), dim=1)

        handle = encoder.embed_tokens.register_forward_hook(prepend)
        try:
            yield
        finally:
            handle.remove()


def _pad(rows: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Rows of items [L_i, W] → [B, Lmax, W] with zeros at the right, and the mask [B, Lmax]."""
    longest = max(len(row) for row in rows)
    padded = torch.stack([F.pad(row, (0, 0, 0, longest - len(row))) for row in rows])
    mask = torch.stack([(torch.arange(longest) < len(row)).long() for row in rows])
    return padded, mask


def _in_dtype(module: nn.Module, dtype: torch.dtype) -> Any:
    """The module itself in fp32, a converted copy otherwise."""
    return module if dtype == torch.float32 else nn.Module.to(deepcopy(module), dtype)
