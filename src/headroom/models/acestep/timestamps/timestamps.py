"""Finds when the words of a song are sung, from its cross-attention.

Source: ACE-Step 1.5's `get_lyric_timestamp` and `acestep/core/scoring/`. Noise is added to the
finished latents as it was one step before the end, and a few heads of the first layers are recorded
while the latents pass through; deeper layers are not computed. Conditions and context are those the
song was made with. `alignment` finds the frames of each token; here they become lines and seconds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Protocol, TypeVar

from torch import Tensor

from headroom.audio.lrc import TimedText
from headroom.diffusion.noise import draw_noise, official
from headroom.diffusion.samplers import renoise
from headroom.errors import InvalidRequest
from headroom.models.acestep.cost.timestamps_cost import ALIGN
from headroom.models.acestep.networks.component_names import DIT, SCHEDULE, TIME
from headroom.models.acestep.networks.config import LATENT_RATE, AceStepConfig
from headroom.models.acestep.networks.dit import DiT, TimePath
from headroom.models.acestep.reasons import reason
from headroom.models.acestep.song.song import Song
from headroom.models.acestep.text.lyric_tokens import LyricTokens, lyric_tokens
from headroom.models.acestep.text.prompts import LYRIC_TOKENS, PromptTokenizer, lyric_prompt
from headroom.models.acestep.timestamps.alignment import Consensus, Floats, probabilities, warp
from headroom.models.acestep.timestamps.lyric_score import Mean, lyric_score
from headroom.models.outputs import Timestamps
from headroom.params.clamp import Note
from headroom.runtime.pool import Parts
from headroom.runtime.run import Run, Step

SEED = 42  # seed of the noise
Heads = Mapping[int, Sequence[int]]
"""Layer to heads, both from 0."""
HEADS: Heads = MappingProxyType({2: (6,), 3: (10, 11), 4: (3,), 5: (8, 9), 6: (8,)})


class Watcher(Protocol):
    """Receives attention maps, one head at a time."""

    def add(self, probabilities: Tensor) -> None: ...


W = TypeVar("W", bound=Watcher)


def heads_of(config: AceStepConfig) -> Heads:
    """The heads to record. The table is published for the 2B model only.

    Other models use the part of it that they have: XL has all of it. A layer without any of its
    listed heads uses all of its heads, and a model with none of the listed layers its last layer.
    Whether those follow the words is not proven.
    """
    layers = [layer for layer in HEADS if layer < config.dit_layers] or [config.dit_layers - 1]
    heads = tuple(range(config.dit.heads))
    return {
        layer: tuple(head for head in HEADS.get(layer, ()) if head in heads) or heads
        for layer in layers
    }


@dataclass(frozen=True, slots=True)
class Timing:
    """A finished song, and what it was made from; on the host.

    latents    [T, 64], of which the first `kept` frames are the song
    condition  its rows [L, E], lyrics first
    context    [T, 128]
    level      the schedule time to which noise is added
    scored     whether only the score is asked for, not the times
    official   whether the noise is drawn as in the reference, as it was for the song
    """

    latents: Tensor
    condition: Tensor
    context: Tensor
    lyric_tokens: LyricTokens
    kept: int
    level: float
    heads: Heads
    official: bool = False
    seed: int = SEED
    scored: bool = False

    @property
    def layers(self) -> int:
        """The number of layers to compute."""
        return max(self.heads) + 1


def timing(
    song: Song, tensors: Mapping[str, Tensor], config: AceStepConfig, tokenizer: PromptTokenizer
) -> Timing:
    """The work for a song. `tensors` holds this song's rows of what `render` keeps."""
    prompt = lyric_prompt(song.language, song.lyrics)
    return Timing(
        tensors["latents"][: song.frames],
        tensors["condition"][: int(tensors["condition_mask"].sum())],
        tensors["context"][: song.frames],
        lyric_tokens(prompt, tokenizer.lyric_spans(prompt)),
        song.kept,
        1 / song.sampling.steps,
        heads_of(config),
        song.sampling.noise == "official",
    )


def check_heads(heads: Heads, config: AceStepConfig) -> None:
    """Raise InvalidRequest for a layer or a head that does not exist, or if there are none."""
    allowed = f"layers below {config.dit_layers}, each with heads below {config.dit.heads}"
    good = all(
        0 <= layer < config.dit_layers
        and len(numbers) > 0
        and all(0 <= head < config.dit.heads for head in numbers)
        for layer, numbers in heads.items()
    )
    if not heads or not good:
        raise InvalidRequest("heads", dict(heads), allowed)


def time_words(task: Timing, run: Run, config: AceStepConfig) -> Timestamps:
    """Record, align, and convert to seconds. A song without words needs no work."""
    if not task.lyric_tokens.lines:
        return Timestamps((), (), _notes(task, True))
    times = run.stage(SCHEDULE, lambda step, parts: parts.of(TIME, TimePath)((task.level,)))

    def look(into: W) -> W:
        def work(step: Step, parts: Parts) -> W:
            tables = times[0].to(step.device), times[1].to(step.device)
            return watched(task, parts.of(DIT, DiT), tables, step, into)

        return run.stage(ALIGN, work)

    if task.scored:
        score = lyric_score(look(Mean()).energy(), task.lyric_tokens.texts)
        return Timestamps((), (), _notes(task, True), score)
    return to_timestamps(task, look(Consensus()).scores(), config.patch / LATENT_RATE)


def watched(task: Timing, dit: DiT, times: tuple[Tensor, Tensor], step: Step, into: W) -> W:
    """Add to `into` the attention maps, limited to the song's frames and the lyric rows."""
    device, frames = step.device, len(task.latents)
    layout = dit.layout([frames])
    if task.official:
        noise = official(task.seed, frames, dit.config.latent_channels, dit.device, dit.dtype).cpu()
    else:
        noise = draw_noise([task.seed], [frames], dit.config.latent_channels)
    x = renoise(task.latents.unsqueeze(0), noise, task.level).to(device)
    source, mask = task.context.unsqueeze(0).chunk(2, dim=-1)
    context = dit.context(source.to(device), mask.to(device), layout)
    rows = task.condition
    cross = dit.condition(rows.to(device), [len(rows)], layers=task.layers)
    tokens = -(-task.kept // dit.config.patch)
    modulation, _ = dit.modulation(*times).at(0)
    for layer, q in enumerate(dit.queries(x, context, modulation, cross, layout)):
        step.progress(layer, task.layers)
        for head in task.heads.get(layer, ()):
            lyrics = slice(*task.lyric_tokens.rows)
            into.add(probabilities(q[:tokens], cross.keys[layer], head, lyrics))
        del q  # the next layer needs the memory
    step.progress(task.layers, task.layers)
    return into


def to_timestamps(task: Timing, scores: Floats | None, seconds: float) -> Timestamps:
    """Lines and tokens in seconds; `scores` [tokens, frames], each frame of `seconds`.

    If nothing stands out, the tokens are spread evenly, and a note says so.
    """
    whole = task.kept / LATENT_RATE
    count = len(task.lyric_tokens.texts)
    if scores is None:
        edges = [whole * i / count for i in range(count + 1)]
        starts, ends = edges[:-1], edges[1:]
    else:
        first, last = warp(-scores)
        starts = [float(n) * seconds for n in first]
        ends = [min(float(n + 1) * seconds, whole) for n in last]
    lines = tuple(
        TimedText(line.text, starts[line.first], ends[line.last])
        for line in task.lyric_tokens.lines
    )
    tokens = tuple(map(TimedText, task.lyric_tokens.texts, starts, ends))
    return Timestamps(lines, tokens, _notes(task, scores is not None))


def _notes(task: Timing, stands_out: bool) -> tuple[Note, ...]:
    lines, notes = len(task.lyric_tokens.lines), []
    reasons = (
        (task.lyric_tokens.lost, reason("lyrics_beyond_tokens", tokens=LYRIC_TOKENS)),
        (task.lyric_tokens.unread, reason("letters_unknown")),
    )
    for missing, why in reasons:
        if missing:
            notes.append(Note("lrc", f"{lines + missing} lines", f"{lines} lines", why))
    if not lines:
        notes.append(Note("lrc", "times of the lyrics", None, reason("no_words_sung")))
    elif not stands_out:
        why = reason("no_head_follows")
        notes.append(Note("lrc", "times of the lyrics", "a guess, lines spread evenly", why))
    return tuple(notes)
