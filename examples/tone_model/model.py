"""The tone model: composes a request, states what it needs, renders it. It has no weights."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn

from headroom.audio.wave import Audio
from headroom.diffusion.noise import draw_noise
from headroom.errors import InvalidSource
from headroom.hardware.machine import Machine
from headroom.memory.footprint import Component, Footprint, Stage, Way
from headroom.models.base import AnyModel, Composed, Loader, Numerics, Setup
from headroom.models.family import ModelChoice, OfModel
from headroom.params.clamp import Note
from headroom.params.describe import stand_in
from headroom.params.knob import Limit
from headroom.runtime.run import Run, Step
from tone_model.requests import Tone

RATE, FRAME = 48_000, 1920  # samples per second, samples per latent frame
CHANNELS = 2  # of the latents: pitch in Hz, and the deviation from it
TILES = (1500, 250, 50)  # frames
STRAY = 0.5  # Hz


@dataclass(frozen=True, slots=True)
class ToneSong:
    """A song with every decision made. No seconds from here on: a length is a number of frames."""

    seed: int
    frames: int
    pitches: tuple[float, ...]
    overtones: int
    brightness: float
    steps: int


class Tuner(nn.Module):
    """Moves noise toward a pitch, by a share of the remaining distance at each step."""

    def forward(self, x: Tensor, target: Tensor, left: int) -> Tensor:
        return x + (target - x) / left


class Oscillator(nn.Module):
    """Phases and pitches of frames [T] to stereo samples [2, T · 1920]."""

    def forward(self, phase: Tensor, pitch: Tensor, song: ToneSong) -> Tensor:
        within = torch.arange(FRAME, dtype=torch.float64) / RATE
        turns = (phase[:, None] + pitch[:, None] * within).flatten()
        left, right = torch.zeros_like(turns), torch.zeros_like(turns)
        for k in range(song.overtones + 1):
            level = song.brightness**k
            left += level * torch.sin(turns * (math.tau * (k + 1)))
            right += level * torch.cos(turns * (math.tau * (k + 1)))
        loudest = sum(song.brightness**k for k in range(song.overtones + 1))
        return torch.stack((left, right)) * (0.5 / loudest)


class ToneModel:
    """The model as the engine sees it: see `headroom.models.base.Model`."""

    name = "tone"
    requests = (Tone,)
    notes = ()

    def limits(self, request: Tone) -> Mapping[str, Limit]:
        """Overtones stay below half the sample rate."""
        most = max(0, int(RATE / 2 / request.frequency) - 1)
        return {"overtones": Limit(0, most, f"overtones end at {RATE // 2} Hz")}

    def compose(
        self, request: Tone, seeds: tuple[int, ...], machine: Machine
    ) -> Composed[ToneSong]:
        """Decide what the request leaves open. The only place where a duration becomes frames."""
        pitches = (request.frequency,) if request.melody is None else _pitches(request.melody)
        seconds = request.duration or float(stand_in(Tone, "duration") or 0)
        frames = max(len(pitches), round(seconds * RATE / FRAME))
        notes = []
        if request.overtones == 0 and "brightness" in request.model_fields_set:
            notes.append(Note("brightness", request.brightness, None, "there are no overtones"))
        if request.melody is not None and "frequency" in request.model_fields_set:
            notes.append(Note("frequency", request.frequency, None, "the melody has its own"))
        songs = (
            ToneSong(s, frames, pitches, request.overtones, request.brightness, request.steps)
            for s in seeds
        )
        return Composed(tuple(songs), tuple(notes))

    def together(self, song: ToneSong) -> Hashable:
        """A key: all songs of one pass have the same number of steps."""
        return song.steps

    def footprint(self, songs: tuple[ToneSong, ...]) -> Footprint:
        """Bytes of the parts (none) and of the workspace each stage needs."""
        longest = max(song.frames for song in songs)
        latents = len(songs) * longest * CHANNELS * 8
        tiles = tuple(min(tile, longest) for tile in TILES)
        ways = tuple(Way(tile * FRAME * 8 * 8, tile=tile) for tile in tiles)
        return Footprint(
            (Component("tuner", (), 0), Component("oscillator", (), 0)),
            (
                Stage("denoise", ("tuner",), (Way(3 * latents),), songs[0].steps, result=latents),
                Stage("decode", ("oscillator",), ways),
            ),
        )

    def loaders(self) -> Mapping[str, Loader]:
        """A loader for each part."""
        return {"tuner": Tuner, "oscillator": Oscillator}

    def render(self, songs: tuple[ToneSong, ...], run: Run) -> tuple[Audio, ...]:
        """Render in two stages; all work is done inside them, with the parts they receive."""
        latents = run.stage("denoise", lambda step, p: _tune(songs, p.of("tuner", Tuner), step))
        run.keep("latents", latents)
        return run.stage(
            "decode", lambda step, p: _play(songs, latents, p.of("oscillator", Oscillator), step)
        )

    def numerics(self) -> Numerics:
        """Double precision inside, float32 samples."""
        return Numerics("float32")

    def folders(self) -> tuple[Path, ...]:
        """There are no weights."""
        return ()


def open_model(setup: Setup) -> ToneModel:
    """Open the model. A family with weights finds its folder here, and loads nothing."""
    return ToneModel()


def unopened(wanted: ModelChoice) -> OfModel:
    """The plan of a model that is not opened: without weights, the model itself."""
    model = cast("AnyModel", ToneModel())
    return OfModel(model, lambda song: cast("ToneSong", song).frames * FRAME / RATE)


def _tune(songs: tuple[ToneSong, ...], tuner: Tuner, step: Step) -> Tensor:
    """Latents [B, T, 2], zero beyond each song's frames."""
    x = draw_noise([s.seed for s in songs], [s.frames for s in songs], CHANNELS).double()
    target = torch.zeros_like(x)
    for row, noise, song in zip(target, x, songs, strict=True):
        notes = torch.arange(song.frames) * len(song.pitches) // song.frames
        row[: song.frames, 0] = torch.tensor(song.pitches, dtype=torch.float64)[notes]
        row[: song.frames, 1] = STRAY * noise[0, 1]
    steps = songs[0].steps
    for k in range(steps):
        x = tuner(x, target, steps - k)
        step.progress(k + 1, steps)
    return x


def _play(
    songs: tuple[ToneSong, ...], latents: Tensor, oscillator: Oscillator, step: Step
) -> tuple[Audio, ...]:
    """Play tile by tile. Each frame's phase is known beforehand, so tiles join without a seam."""
    audios = []
    total, done = sum(song.frames for song in songs), 0
    for index, (song, row) in enumerate(zip(songs, latents, strict=True)):
        pitch = row[: song.frames].sum(dim=1)
        phase = (pitch * (FRAME / RATE)).cumsum(0) - pitch * (FRAME / RATE)
        tiles = []
        for a in range(0, song.frames, step.tile or song.frames):
            b = min(a + (step.tile or song.frames), song.frames)
            tiles.append(oscillator(phase[a:b], pitch[a:b], song))
            step.audio(index, a * FRAME, tiles[-1], RATE)
            step.progress(done + b, total)
        done += song.frames
        audios.append(Audio(torch.cat(tiles, dim=1).float(), RATE))
    return tuple(audios)


def _pitches(path: Path) -> tuple[float, ...]:
    """The numbers in a text file. Raises InvalidSource for any other file, and an empty one."""
    allowed = "a text file of numbers above 0, one a line"
    try:
        pitches = tuple(float(line) for line in path.read_text(encoding="utf-8").split())
    except OSError as error:
        raise InvalidSource("melody", path, error.strerror or "cannot be read", allowed) from error
    except ValueError as error:  # also raised for text that is not UTF-8
        raise InvalidSource("melody", path, str(error), allowed) from error
    if not pitches or not all(0 < pitch < RATE / 2 for pitch in pitches):
        raise InvalidSource("melody", path, f"holds {pitches}", allowed)
    return pitches
