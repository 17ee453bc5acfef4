"""The stages of speaking: listen, write codes, make a spectrogram, make it sound."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from headroom.audio.files import read_audio
from headroom.audio.wave import Audio
from headroom.diffusion.noise import NoiseStream, draw_noise, uniforms
from headroom.errors import LanguageModelFailed, RenderFailed
from headroom.lm.constrained_decode import constrained_decode
from headroom.lm.sample import Sampling
from headroom.memory.footprint import DECODE, DENOISE, WRITE
from headroom.models.stepaudio.cost.footprint import LISTEN, stage_of
from headroom.models.stepaudio.hearing import Heard, hear, mono
from headroom.models.stepaudio.language.grammar import WORDS, CodesGrammar
from headroom.models.stepaudio.layout import (
    FLOW,
    LANGUAGE,
    LINGUISTIC,
    SEMANTIC,
    VOCODER,
    VOICE,
)
from headroom.models.stepaudio.networks.flow import Flow, fitted, flow_noise
from headroom.models.stepaudio.networks.linguistic import LinguisticTokenizer
from headroom.models.stepaudio.networks.semantic import SemanticTokenizer
from headroom.models.stepaudio.networks.speaker import SpeakerNetwork
from headroom.models.stepaudio.networks.step1 import Step1
from headroom.models.stepaudio.networks.vocoder import Vocoder
from headroom.models.stepaudio.networks.vocoder_source import RATE
from headroom.models.stepaudio.song import PAUSE, Speech
from headroom.models.stepaudio.text.audio_ids import GROUP, Codes, codes_of
from headroom.models.stepaudio.text.prompts import clone_prompt, edit_prompt
from headroom.models.stepaudio.text.vocabulary import Vocabulary
from headroom.runtime.pool import Parts
from headroom.runtime.run import Run, Step

_PAUSE = round(PAUSE * RATE)  # samples
Sounds = tuple[tuple[Tensor, int], ...]  # samples [n] on the host, and their rate


@dataclass(frozen=True, slots=True)
class Assets:
    """What rendering needs besides the parts. `dtype` is that of the language model."""

    words: Vocabulary
    name: str
    dtype: str


def render(songs: tuple[Speech, ...], run: Run, assets: Assets) -> tuple[Audio, ...]:
    """The sound of each version: of each part of its text in turn, with a pause between them."""
    recordings = [(read_audio(song.path, song.field), song) for song in songs]
    sounds: Sounds = tuple((mono(a, s.field, s.path), a.rate) for a, s in recordings)
    made: list[list[Tensor]] = [[] for _ in songs]
    first = songs[0]
    heard = None
    for at in (At(part, turn) for part in range(len(first.parts)) for turn in range(first.turns)):
        if at.turn == 0:
            spoken = sounds
        if at.turn or heard is None or not first.clones:
            told = run.stage(at.named(LISTEN), partial(_listen, spoken))
            heard = told if at == At(0, 0) else heard
        else:
            told = heard
        spoken = _spoken(songs, told, run, assets, at, made)
        if at.turn + 1 == first.turns:
            for pieces, (samples, _) in zip(made, spoken, strict=True):
                pieces += [*([torch.zeros(_PAUSE)] if pieces else []), samples]
    return tuple(Audio(torch.cat(pieces)[None], RATE) for pieces in made)


@dataclass(frozen=True, slots=True)
class At:
    """A turn of a part, both counted from 0."""

    part: int
    turn: int

    def named(self, stage: str) -> str:
        return stage_of(stage, self.part, self.turn)

    def stream(self, song: Speech) -> int:
        """The number of a stream of random numbers that no other turn has."""
        return self.part * song.turns + self.turn


def _spoken(
    songs: tuple[Speech, ...],
    heard: tuple[Heard, ...],
    run: Run,
    assets: Assets,
    at: At,
    made: list[list[Tensor]],
) -> Sounds:
    """What is made of the sound that was heard; `made`: of the parts before."""
    codes = run.stage(at.named(WRITE), lambda step, p: _write(songs, heard, assets, at, step, p))
    mels = run.stage(at.named(DENOISE), lambda step, p: _flow(heard, codes, step, p))
    before = [sum(map(len, pieces)) + _PAUSE * bool(pieces) for pieces in made]
    return run.stage(at.named(DECODE), lambda step, p: _sound(songs, mels, at, before, step, p))


def _listen(sounds: Sounds, step: Step, parts: Parts) -> tuple[Heard, ...]:
    networks = (
        parts.of(LINGUISTIC, LinguisticTokenizer),
        parts.of(SEMANTIC, SemanticTokenizer),
        parts.of(VOICE, SpeakerNetwork),
    )
    heard = []
    for number, (samples, rate) in enumerate(sounds):
        heard.append(hear(samples, rate, networks, step.device))
        step.progress(number + 1, len(sounds))
    return tuple(heard)


def _write(
    songs: tuple[Speech, ...],
    heard: tuple[Heard, ...],
    assets: Assets,
    at: At,
    step: Step,
    parts: Parts,
) -> tuple[Codes, ...]:
    model = parts.of(LANGUAGE, Step1)
    return tuple(
        _written(song, one.codes, model, assets, at, step)
        for song, one in zip(songs, heard, strict=True)
    )


def _written(
    song: Speech, recorded: Codes, model: Step1, assets: Assets, at: At, step: Step
) -> Codes:
    """The codes of one version. Raises LanguageModelFailed, and RenderFailed for too few."""
    part, edit = song.parts[at.part], song.edit_in(at.turn)
    said = song.said_in(part, at.turn)
    if edit is None:
        prompt = clone_prompt(assets.words, part, said, recorded.text, song.variant)
    else:
        prompt = edit_prompt(assets.words, edit, said, recorded.text, song.variant)
    most = GROUP * song.groups + 1  # and the end
    drawing = song.drawing
    sampling = Sampling(drawing.temperature, drawing.top_k, drawing.top_p, 1.0)
    chances = iter(uniforms([song.seed], most, NoiseStream.CODES, at.stream(song))[0].tolist())
    grammar = CodesGrammar(prompt)
    written = constrained_decode(
        model, prompt, grammar, WORDS, most, sampling, chances, step.device, step.progress
    )
    step.wrote(written.spent)
    if written.failed:
        how = "try --dtype float32"
        raise LanguageModelFailed(assets.name, assets.dtype, len(written.tokens), how)
    if not grammar.whole():
        raise RenderFailed("the language model ended before it wrote any speech")
    return codes_of(grammar.whole())


def _flow(
    heard: tuple[Heard, ...], codes: tuple[Codes, ...], step: Step, parts: Parts
) -> tuple[Tensor, ...]:
    """Spectrograms [frames, mel], on the host."""
    flow = parts.of(FLOW, Flow)
    made = []
    for one, new in zip(heard, codes, strict=True):
        before = one.codes.rows()
        pairs = torch.tensor((*before, *new.rows()), device=step.device)
        mel = fitted(one.mel, len(before)).to(step.device)
        noise = flow_noise(2 * len(pairs), flow.sizes.mel).to(step.device)
        made.append(flow(pairs, mel, one.voice.to(step.device), noise, step.progress).cpu())
    return tuple(made)


def _sound(
    songs: tuple[Speech, ...],
    mels: tuple[Tensor, ...],
    at: At,
    before: list[int],
    step: Step,
    parts: Parts,
) -> Sounds:
    """Samples of each version; `before`: the samples in front of them."""
    vocoder = parts.of(VOCODER, Vocoder)
    last = at.turn + 1 == songs[0].turns
    sounds = []
    for number, (song, mel) in enumerate(zip(songs, mels, strict=True)):
        shape = mel.shape[0] * vocoder.sizes.frame, vocoder.sizes.harmonics
        stream = at.stream(song)
        noise = draw_noise([song.seed], [shape[0]], shape[1], NoiseStream.SOURCE, stream)[0]
        samples = vocoder(mel.to(step.device), noise.to(step.device)).cpu()
        if not bool(samples.isfinite().all()):
            raise RenderFailed("the vocoder made samples that are no numbers")
        if last:
            _told(step, number, before[number], samples)
        sounds.append((samples, RATE))
        step.progress(number + 1, len(mels))
    return tuple(sounds)


def _told(step: Step, number: int, before: int, samples: Tensor) -> None:
    """Tell of a part that can be heard from now on, with the pause in front of it."""
    pause = min(_PAUSE, before)
    step.audio(number, before - pause, torch.cat((torch.zeros(pause), samples))[None], RATE)
