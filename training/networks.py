"""All networks that are trained together, as headroom's own classes made ready to learn."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from headroom.models.acestep.networks.codes import CodesNetwork
from headroom.models.acestep.networks.config import AceStepConfig, dit_config, text_encoder_config
from headroom.models.acestep.networks.dit import DiT, TimePath
from headroom.models.acestep.networks.encoders import Conditioner, text_encoder
from headroom.nn.fsq import FSQ
from headroom.nn.norm import RMSNorm
from headroom.nn.qwen3 import pack
from headroom.weights.silence import FILE
from latents import WAVE
from silence import PATCH, beats

NANO = Path(__file__).resolve().parent.parent / "src" / "headroom" / "models" / "acestep" / "nano"
DIT, TEXT, LM = "acestep-v15-nano", "Qwen3-Embedding-0.6B", "acestep-5Hz-lm-nano"
PULSES = (0.5, 1.0, 2.0)  # turns a beat
HEAD = 32  # numbers of an attention head
# Beginnings of names: ours, and those of the official file.
OFFICIAL = {"dit.": "decoder.", "times.": "decoder.", "conditioner.": "", "codes.": ""}

Rows = tuple[Tensor, tuple[int, ...]]
"""Packed condition rows, and how many each song has."""


@dataclass(frozen=True, slots=True)
class Shape:
    """Sizes of the networks."""

    width: int = 192
    layers: int = 6
    text_width: int = 128
    text_layers: int = 2
    pieces: int = 1000  # of the text encoder's tokenizer, beside the bytes
    levels: tuple[int, ...] = (8, 5, 5, 5)  # of the audio codes: 1,000 codes


@dataclass(frozen=True, slots=True)
class Sizes:
    """config.json of the two folders, made from the bundled ones."""

    dit: dict[str, object]
    text: dict[str, object]

    @classmethod
    def of(cls, shape: Shape, vocabulary: int) -> Sizes:
        dit = json.loads((NANO / DIT / "config.json").read_text(encoding="utf-8"))
        text = json.loads((NANO / TEXT / "config.json").read_text(encoding="utf-8"))
        heads, kinds = max(2, shape.width // HEAD), ("sliding_attention", "full_attention")
        dit |= {
            "hidden_size": shape.width, "intermediate_size": 3 * shape.width,
            "num_attention_heads": heads, "num_key_value_heads": heads // 2,
            "num_hidden_layers": shape.layers, "fsq_dim": shape.width,
            "layer_types": [kinds[i % 2] for i in range(shape.layers)],
            "num_lyric_encoder_hidden_layers": 1, "num_timbre_encoder_hidden_layers": 1,
            "num_attention_pooler_hidden_layers": 1, "fsq_input_levels": list(shape.levels),
            "text_hidden_dim": shape.text_width,
        }  # fmt: skip
        text |= {
            "hidden_size": shape.text_width, "intermediate_size": 3 * shape.text_width,
            "num_hidden_layers": shape.text_layers, "vocab_size": vocabulary,
        }  # fmt: skip
        return cls(dit, text)


class Norm(RMSNorm):
    """Headroom's norm without the operations in place that have no gradient."""

    def forward(self, x: Tensor) -> Tensor:
        return F.rms_norm(x, self.weight.shape, self.weight, self.eps)


class Networks(nn.Module):
    """Text encoder, condition encoder, DiT and audio codes, with `vocabulary` text tokens."""

    def __init__(self, shape: Shape, vocabulary: int) -> None:
        super().__init__()
        sizes = Sizes.of(shape, vocabulary)
        self.config: AceStepConfig = dit_config(sizes.dit)
        self.text = text_encoder(text_encoder_config(sizes.text))
        self.conditioner = Conditioner(self.config)
        self.dit = DiT(self.config)
        self.times = TimePath(self.config.dit.width)
        self.codes = CodesNetwork(self.config)
        self.pulse = nn.Linear(self.config.dit.width, 2 * len(PULSES))
        self.period = nn.Linear(self.config.dit.width, len(beats()))
        self.said: dict[int, Tensor] = {}  # what layers of the DiT said last, [N, width]
        self.early, self.middle = (shape.layers - 1) // 4, shape.layers // 2
        for number in {self.early, self.middle}:
            self.dit.layers[number].register_forward_hook(partial(self._listen, number))
        self._begin()

    def _listen(self, number: int, _layer: nn.Module, _inputs: object, said: Tensor) -> None:
        self.said[number] = said

    def periods(self, songs: int) -> Tensor:
        """Which of `beats` a song has, as an early layer knew when `velocity` was asked last:
        logits [songs, T / 2, len(beats())]. As `pulses`, for training alone."""
        made: Tensor = self.period(self.said[self.early]).unflatten(0, (songs, -1))
        return made

    def pulses(self, songs: int) -> Tensor:
        """Where the beat is, as the middle layer knew it when `velocity` was asked last: what
        `pulses` says, [songs, T / 2, 2 · len(PULSES)]. Only training asks; it is in no file."""
        made: Tensor = self.pulse(self.said[self.middle]).unflatten(0, (songs, -1))
        return made

    @torch.no_grad()
    def _begin(self) -> None:
        for module in self.modules():
            if type(module) is RMSNorm:
                module.__class__ = Norm
        for name, parameter in self.named_parameters():
            parameter.requires_grad_(True)
            if name.endswith("norm.weight") or "norm_out" in name:
                parameter.fill_(1)
            elif name.endswith("bias") or "time_proj" in name or "scale_shift_table" in name:
                parameter.zero_()
            elif "proj_out.1" in name:
                parameter.normal_(0, 0.01)
            elif "special_token" in name:
                parameter.normal_(0, 1)
            elif parameter.dim() >= 2:
                fan = parameter.shape[1:].numel()
                parameter.normal_(0, min(1.0, fan**-0.5))
        self.text.embed_tokens.weight.normal_(0, 1)
        self.conditioner.null_condition_emb.normal_(0, 1)
        for layer in self.dit.layers:
            layer.get_parameter("scale_shift_table")[:, (2, 5)] = 1  # both gates open

    @property
    def timbre_reach(self) -> int:
        """Frames of a timbre reference that have any effect: its one layer reads in a window."""
        window = self.config.layer_windows(self.config.timbre_layers)[0]
        return self.config.timbre_frames if window is None else window + 1

    def rows(
        self,
        captions: Sequence[Sequence[int]],
        lyrics: Sequence[Sequence[int]],
        timbre: Tensor,
        owners: Sequence[int],
        drop: Sequence[bool],
    ) -> Rows:
        """Condition rows of every song, packed. Song i sounds like `timbre[owners[i]]`, [frames,
        64] each; what is dropped has the null condition.

        The order is the product's: lyrics, timbre, caption. Equal lyrics are read once.
        """
        encoder, device = self.conditioner.encoder, timbre.device
        sung = list(dict.fromkeys(tuple(ids) for ids in lyrics))
        words, word_lengths = pack(sung, device)
        heard = encoder.lyric_encoder(self.text.embed(words), word_lengths).split(word_lengths)
        ids, lengths = pack(captions, device)
        told = encoder.text_projector(self.text(ids, lengths)).split(lengths)
        likened = encoder.timbre_encoder(timbre)
        null = self.conditioner.null_condition_emb.view(1, -1)
        kept = []
        for song, gone in enumerate(drop):
            lyric = heard[sung.index(tuple(lyrics[song]))]
            own = likened[owners[song] : owners[song] + 1]
            kept.append(null if gone else torch.cat((lyric, own, told[song])))
        return torch.cat(kept), tuple(len(piece) for piece in kept)

    def velocity(
        self, noisy: Tensor, times: Sequence[float], source: Tensor, mask: Tensor, conditions: Rows
    ) -> Tensor:
        """Velocity of noisy latents, [B, T, 64], as source and mask are; one time for each song."""
        batch, frames, _ = noisy.shape
        layout = self.dit.layout([frames] * batch)
        context = self.dit.context(source, mask, layout)
        modulation = self.dit.modulation(*self.times(times)).at(*range(batch))
        made: Tensor = self.dit(noisy, context, modulation, self.dit.condition(*conditions), layout)
        return made

    def hints(self, latents: Tensor) -> Tensor:
        """Latents through the audio codes and back, [B, T, 64], T a multiple of 5; with gradients,
        which pass the quantisation as if it were its soft bound."""
        tokenizer, batch = self.codes.tokenizer, len(latents)
        groups = tokenizer.audio_acoustic_proj(latents).unflatten(1, (-1, tokenizer.pool))
        pooled = tokenizer.attention_pooler(groups.flatten(0, 1))
        coarse = straight_through(tokenizer.quantizer, tokenizer.quantizer.project_in(pooled))
        vectors = tokenizer.quantizer.project_out(coarse).view(batch, groups.shape[1], -1)
        made: Tensor = self.codes.detokenizer(vectors)
        return made

    def official(self) -> dict[str, dict[str, Tensor]]:
        """Tensors of the two folders under their official names, bfloat16."""
        weights: dict[str, dict[str, Tensor]] = {DIT: {}, TEXT: {}}
        for name, tensor in self.state_dict().items():
            kept = tensor.to("cpu", torch.bfloat16).contiguous()
            if name.startswith("text."):
                weights[TEXT][name.removeprefix("text.")] = kept
            for ours, theirs in OFFICIAL.items():
                if name.startswith(ours):
                    weights[DIT][theirs + name.removeprefix(ours)] = kept
        return weights


def pulses(lengths: Sequence[float], frames: int) -> Tensor:
    """Cosines and sines of the beat's turns at each token, [songs, frames / 2, 2 · len(PULSES)];
    `lengths`: latent frames of each song's beat."""
    at = torch.arange(0, frames, PATCH).view(1, -1, 1)
    turns = torch.tensor(PULSES).view(1, 1, -1) / torch.tensor(lengths).view(-1, 1, 1)
    angles = 2 * torch.pi * at * turns
    return torch.cat((angles.cos(), angles.sin()), dim=-1)


def straight_through(quantizer: FSQ, z: Tensor) -> Tensor:
    """Quantised values of unbounded z [..., n], with the gradient of the bound."""
    stretch = 1 + 1 / (torch.tensor(quantizer.levels, dtype=z.dtype, device=z.device) - 1)
    soft = (stretch * torch.tanh(z / stretch)).clamp(-1, 1)
    return soft + (quantizer.values(quantizer.quantise(z)) - soft).detach()


def heard(latents: Tensor, pool: int) -> Tensor:
    """What the hints of latents [B, T, 64] should say, likewise [B, T, 64], T a multiple of `pool`.

    A code cannot tell the phase of a wave: of each latent of the wave its loudness within a
    code, as a logarithm; of the bands the levels themselves.
    """
    groups = latents.unflatten(1, (-1, pool))
    loudness = (groups[..., :WAVE].square().mean(2, keepdim=True) + 1e-3).log() / 2
    both = (loudness.expand(-1, -1, pool, -1), groups[..., WAVE:])
    return torch.cat(both, dim=-1).flatten(1, 2)


def write(networks: Networks, sizes: Sizes, quiet: Tensor, out: Path) -> None:
    """The folders of DiT and text encoder in the official layout; `quiet`: the silence latent,
    [frames, 64]. The text encoder's tokenizer is written before."""
    for name, told in ((DIT, sizes.dit), (TEXT, sizes.text)):
        (out / name).mkdir(parents=True, exist_ok=True)
        write_json(out / name / "config.json", told)
    for folder, tensors in networks.official().items():
        save_file(tensors, out / folder / "model.safetensors", {"format": "pt"})
    torch.save(quiet.T[None].half().contiguous(), out / DIT / FILE)


def write_json(file: Path, told: dict[str, object]) -> None:
    """A file of the official layout."""
    file.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
