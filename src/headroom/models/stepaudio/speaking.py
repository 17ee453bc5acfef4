"""The stages of speaking: listen, write codes, make a spectrogram, make it sound."""

from __future__ import annotations

from dataclasses import dataclass

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
from headroom.models.stepaudio.song import Speech
from headroom.models.stepaudio.text.audio_ids import GROUP, Codes, codes_of
from headroom.models.stepaudio.text.prompts import clone_prompt, edit_prompt
from headroom.models.stepaudio.text.vocabulary import Vocabulary
from headroom.runtime.pool import Parts
from headroom.runtime.run import Run, Step

Sounds = tuple[tuple[Tensor, int], ...]  # samples [n] on the host, and their rate


@dataclass(frozen=True, slots=True)
class Assets:
    """What rendering needs besides the parts. `dtype` is that of the language model."""

    words: Vocabulary
    name: str
    dtype: str


def render(songs: tuple[Speech, ...], run: Run, assets: Assets) -> tuple[Audio, ...]:
    """The sound of each version; each pass of an edit begins from the sound of the last."""
    recordings = [(read_audio(song.path, song.field), song) for song in songs]
    sounds: Sounds = tuple((mono(a, s.field, s.path), a.rate) for a, s in recordings)
    for turn in range(songs[0].passes):
        sounds = _pass(songs, sounds, run, assets, turn)
    return tuple(Audio(samples[None], rate) for samples, rate in sounds)


def _pass(songs: tuple[Speech, ...], sounds: Sounds, run: Run, assets: Assets, turn: int) -> Sounds:
    heard = run.stage(stage_of(LISTEN, turn), lambda step, parts: _listen(sounds, step, parts))
    codes = run.stage(
        stage_of(WRITE, turn), lambda step, p: _write(songs, heard, assets, turn, step, p)
    )
    mels = run.stage(stage_of(DENOISE, turn), lambda step, p: _flow(heard, codes, step, p))
    return run.stage(stage_of(DECODE, turn), lambda step, p: _sound(songs, mels, turn, step, p))


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
    turn: int,
    step: Step,
    parts: Parts,
) -> tuple[Codes, ...]:
    model = parts.of(LANGUAGE, Step1)
    return tuple(
        _written(song, one.codes, model, assets, turn, step)
        for song, one in zip(songs, heard, strict=True)
    )


def _written(
    song: Speech, recorded: Codes, model: Step1, assets: Assets, turn: int, step: Step
) -> Codes:
    """The codes of one version. Raises LanguageModelFailed, and RenderFailed for too few."""
    if song.edit is None:
        prompt = clone_prompt(assets.words, song.target, song.said, recorded.text, song.variant)
    else:
        prompt = edit_prompt(assets.words, song.edit, song.said, recorded.text, song.variant)
    most = GROUP * song.groups + 1  # and the end
    drawing = song.drawing
    sampling = Sampling(drawing.temperature, drawing.top_k, drawing.top_p, 1.0)
    chances = iter(uniforms([song.seed], most, NoiseStream.CODES, turn)[0].tolist())
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
    songs: tuple[Speech, ...], mels: tuple[Tensor, ...], turn: int, step: Step, parts: Parts
) -> Sounds:
    vocoder = parts.of(VOCODER, Vocoder)
    last = turn + 1 == songs[0].passes
    sounds = []
    for number, (song, mel) in enumerate(zip(songs, mels, strict=True)):
        shape = mel.shape[0] * vocoder.sizes.frame, vocoder.sizes.harmonics
        noise = draw_noise([song.seed], [shape[0]], shape[1], NoiseStream.SOURCE, turn)[0]
        samples = vocoder(mel.to(step.device), noise.to(step.device)).cpu()
        if not bool(samples.isfinite().all()):
            raise RenderFailed("the vocoder made samples that are no numbers")
        if last:
            step.audio(number, 0, samples[None], RATE)
        sounds.append((samples, RATE))
        step.progress(number + 1, len(mels))
    return tuple(sounds)
