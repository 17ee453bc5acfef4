"""What each stage of speaking needs, from sizes alone. No torch.

Weights and the cache are exact. Workspaces are upper bounds: sums of what is alive at the widest
place of a network.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from headroom.lm.cost import cache_bytes, capacity
from headroom.memory.footprint import DECODE, DENOISE, WRITE, Footprint, Stage, Way
from headroom.memory.precision import PRECISIONS
from headroom.models.stepaudio.cost.components import (
    FLOAT,
    Networks,
    components,
    flow_weights,
    layer_matrices,
)
from headroom.models.stepaudio.layout import (
    FLOW,
    LANGUAGE,
    LINGUISTIC,
    SEMANTIC,
    VOCODER,
    VOICE,
)
from headroom.models.stepaudio.networks.config import READ, Step1Sizes
from headroom.models.stepaudio.networks.shapes import STEPS, FlowSizes, VocoderSizes
from headroom.models.stepaudio.song import Speech
from headroom.models.stepaudio.text.audio_ids import AUDIO_STOP, GROUP, GROUP_SECONDS

LISTEN = "listen"
FRAMES = 6  # of a spectrogram, in a group of codes
PAIRS = 3  # rows of the flow's table, in a group


def speech_footprint(songs: Sequence[Speech], networks: Networks, dtype: str) -> Footprint:
    """All parts and stages. Versions are made one after another, so the largest decides."""
    prompt = max(song.prompt_tokens for song in songs)
    groups = max(song.groups for song in songs)
    heard = max(song.prompt_groups for song in songs)
    turns, parts = max(song.turns for song in songs), max(len(song.parts) for song in songs)
    clones, count = any(song.clones for song in songs), len(songs)
    seconds = max(song.seconds for song in songs)
    tokens = GROUP * groups
    language = language_workspace(networks.language, prompt, tokens, dtype)
    flow = flow_workspace(networks.flow, 2 * PAIRS * (heard + groups))
    sound = vocoder_workspace(networks.vocoder, FRAMES * groups)
    work = 2.0 * _weights(networks.language) * (prompt + tokens) * count
    listening = _listening(networks, max(seconds, groups * GROUP_SECONDS if turns > 1 else 0.0))
    frames = 2 * PAIRS * (heard + groups)
    steps = 4.0 * flow_weights(networks.flow) * frames * STEPS * count  # guided: two rows
    shaping = 2.0 * vocoder_products(networks.vocoder) * FRAMES * groups * count
    stages: list[Stage] = []
    for part, turn in ((part, turn) for part in range(parts) for turn in range(turns)):
        at = partial(stage_of, part=part, turn=turn)
        if not (clones and part and turn == 0):  # the recording was heard for the first part
            heard_by = LINGUISTIC, SEMANTIC, VOICE
            stages.append(Stage(at(LISTEN), heard_by, (Way(listening),)))
        stages += (
            Stage(at(WRITE), (LANGUAGE,), (Way(language),), tokens * count, work),
            Stage(at(DENOISE), (FLOW,), (Way(flow),), STEPS * count, steps),
            Stage(at(DECODE), (VOCODER,), (Way(sound),), count, shaping),
        )
    return Footprint(components(networks, dtype), tuple(stages))


def stage_of(name: str, part: int, turn: int) -> str:
    """The name of a stage in a turn of a part, both counted from 0."""
    of_part = f", part {part + 1}" if part else ""
    return name + of_part + (f", pass {turn + 1}" if turn else "")


def language_workspace(s: Step1Sizes, prompt: int, tokens: int, dtype: str) -> int:
    """The cache, the bias and the activations of a piece of the prompt, logits, and the largest
    matrix expanded from fewer bits."""
    size = PRECISIONS[dtype].bits // 8
    seen = capacity(prompt + tokens + 1)
    rows = min(READ, prompt)
    cache = cache_bytes(s.layers, s.kv_heads, s.head_dim, 1, prompt + tokens + 1, size)
    bias = s.heads * rows * seen * size + 2 * s.heads // s.kv_heads * rows * seen * FLOAT
    wide = rows * (3 * s.hidden + 6 * s.width) * size
    whole = prompt * s.width * size * 2
    logits = 6 * AUDIO_STOP * FLOAT
    expanded = max(r * c for r, c in layer_matrices(s)) * size
    return cache + bias + wide + whole + logits + 2 * expanded


def flow_workspace(s: FlowSizes, frames: int) -> int:
    """The larger of its encoder, with scores by distance of one head, and of a guided step."""
    encoder = FLOAT * (frames * (2 * s.hidden + 10 * s.width) + 6 * frames * frames)
    step = 2 * FLOAT * frames * (3 * s.dit_hidden + 12 * s.dit_width + 12 * s.mel)
    return max(encoder, step) + FLOAT * frames * 12 * s.mel


def vocoder_workspace(s: VocoderSizes, frames: int) -> int:
    """The widest stage: its input, sum, and what a residual block holds; and the source."""
    rate, most = 1, 0
    for stage, up in enumerate(s.up):
        rate *= up
        most = max(most, 9 * s.channels(stage) * rate)
    source = s.frame * (4 * s.harmonics + 8) + rate * 8 * (s.fft + 2)
    return FLOAT * frames * (most + source + 4 * s.pitch_width)


def vocoder_products(s: VocoderSizes) -> int:
    """Multiplications of the residual blocks for a frame of the spectrogram: nearly all there
    are."""
    rate, total = 1, 0
    for stage, up in enumerate(s.up):
        rate *= up
        taps = 2 * len(s.dilations) * (sum(s.side) + s.source_side[stage])
        total += taps * s.channels(stage) ** 2 * rate
    return total


def _listening(networks: Networks, seconds: float) -> int:
    """The wider of the two encoders, and the spectra they read."""
    s, t = networks.linguistic, networks.semantic
    rows = int(seconds / 0.24 + 2) * 9
    linguistic = rows * (4 * s.hidden + 16 * s.width + 2 * s.inputs)
    frames = int(25 * seconds + 2)
    semantic = frames * (3 * t.hidden + 10 * t.width) + 2 * frames * 4 * t.width
    voice = int(100 * seconds + 2) * networks.voice.channels * 80 * 4
    spectra = int(16_000 * seconds) * 12
    return FLOAT * (max(linguistic, semantic, voice) + spectra)


def _weights(s: Step1Sizes) -> int:
    return s.layers * sum(rows * columns for rows, columns in layer_matrices(s))
