"""Recordings read once, encoded with each song's own noise, and laid into channels and masks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from headroom.audio.wave import Audio
from headroom.device.host import HostDevice
from headroom.diffusion.noise import NoiseStream, draw_noise
from headroom.errors import InvalidSource
from headroom.memory.plan import StagePlan
from headroom.models.acestep.rendering import source_latents
from headroom.models.acestep.rendering.source_latents import assemble, encode_sounds, load_sounds
from headroom.models.acestep.requests.songs import TASKS, AnyMusicRequest, request_from
from headroom.models.acestep.requests.variants import VARIANTS
from headroom.models.acestep.song.compose import compose
from headroom.models.acestep.song.song import Region, Song
from headroom.nn.oobleck import Encoder
from headroom.nn.oobleck_layout import OobleckConfig
from headroom.runtime.events import never, tell_nobody
from headroom.runtime.run import Step
from support import synth
from support.near import assert_agrees, twice

BASE = VARIANTS["acestep-v15-base"]
CHANNELS = 3
SILENCE = torch.arange(1.0, 31.0).view(1, 10, CHANNELS)  # ten frames, none of them alike
STEP = Step(
    StagePlan("encode", (), 1, None, 0, 0.0), torch.device("cpu"), tell_nobody, never, HostDevice()
)
Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def make(name: str, samples: Tensor, rate: int = 48_000) -> Path:
        return Audio(samples, rate).save(tmp_path / f"{name}.wav", "wav32")

    return make


def songs(request: AnyMusicRequest, *seeds: int) -> tuple[Song, ...]:
    return compose(request, BASE, seeds or (1,)).songs


def asked(task: str, path: Path, **fields: object) -> AnyMusicRequest:
    return request_from({"task": task, "source_audio": path, **fields})


# --- reading -----------------------------------------------------------------------------


def test_recordings_become_stereo_at_48_khz_within_one(write: Write) -> None:
    mono = 1.5 * torch.from_numpy(synth.sweep(1.0, 44_100, 100, 2000, 1.0))
    (song,) = songs(asked("cover", write("mono", mono, 44_100)))
    (audio,) = load_sounds([song]).sources.values()
    assert (audio.rate, audio.samples.shape) == (48_000, (2, 48_000))
    assert torch.equal(audio.samples[0], audio.samples[1])
    assert float(audio.samples.abs().max()) == 1.0


def test_a_recording_has_exactly_the_length_that_was_composed(write: Write) -> None:
    samples = torch.linspace(0.1, 0.2, 4 * 1920).repeat(2, 1)
    path = write("ramp", samples)
    (song,) = songs(asked("repaint", path, start=-0.04, end=0.2))
    (audio,) = load_sounds([song]).sources.values()
    assert audio.frames == 1920 + 4 * 1920 + 1920
    assert not audio.samples[:, :1920].any() and not audio.samples[:, -1920:].any()
    assert torch.equal(audio.samples[:, 1920 : 5 * 1920], samples)
    assert song.source is not None
    cut = replace(song, source=replace(song.source, samples=1920, before=0, after=0))
    (audio,) = load_sounds([cut]).sources.values()
    assert torch.equal(audio.samples, samples[:, :1920])


def test_a_source_that_has_become_shorter_is_refused(write: Write) -> None:
    path = write("shrinks", torch.full((2, 9 * 1920), 0.5))
    (song,) = songs(asked("cover", path))
    path.unlink()
    write("shrinks", torch.full((2, 4 * 1920), 0.5))
    with pytest.raises(InvalidSource, match=r"now holds 0\.160 s of sound, of 0\.360 s"):
        load_sounds([song])


def test_each_file_is_read_once(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write("one", torch.full((2, 9600), 0.5))
    read, files = source_latents.read_stereo, []

    def noted(path: Path, field: str, rate: int, seconds: float) -> Audio:
        files.append((str(path), field))
        return read(path, field, rate, seconds)

    monkeypatch.setattr(source_latents, "read_stereo", noted)
    three = songs(asked("cover", path, reference_audio=[path, path]), 1, 2, 3)
    sounds = load_sounds(three)
    assert files == [(str(path), "source_audio"), (str(path), "reference_audio")]
    assert len(sounds.sources) == len(sounds.references) == 1 and sounds.any


@pytest.mark.parametrize("task", TASKS)
def test_silence_where_sound_is_needed(task: str, write: Write) -> None:
    silent = write("silent", torch.full((2, 9600), 9e-7))
    if task in ("cover", "extract", "complete"):
        with pytest.raises(InvalidSource, match=rf"source_audio: .*silent.*sound to {task}"):
            load_sounds(songs(asked(task, silent)))
    elif task != "text2music":
        assert not load_sounds(songs(asked(task, silent))).any
    sound = write("sound", torch.full((2, 9600), 0.5))
    fields = {"task": task, "reference_audio": [silent]}
    if task != "text2music":
        fields["source_audio"] = sound
    with pytest.raises(InvalidSource, match=r"reference_audio: .*silent"):
        load_sounds(songs(request_from(fields)))


# --- encoding ----------------------------------------------------------------------------


@pytest.fixture
def encoder() -> Encoder:
    config = OobleckConfig(2 * CHANNELS, (2, 4, 4, 6, 10), (1, 1, 1, 1, 1), 2, CHANNELS, 2, 48_000)
    torch.manual_seed(0)
    made = Encoder(config)
    for value in made.parameters():
        nn.init.normal_(value, std=0.2)
    return made


@torch.inference_mode()
def test_every_song_draws_its_own_latents_from_one_encoding(
    write: Write, encoder: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    samples = torch.from_numpy(synth.song(0.5))[:, : 12 * 1920 + 900].contiguous()
    three = songs(asked("cover", write("short", samples)), 7, 8, 7)
    runs, tiled = [], source_latents.encode_tiled
    monkeypatch.setattr(
        source_latents, "encode_tiled", lambda *a: runs.append(a[1].shape) or tiled(*a)
    )
    found = encode_sounds(three, load_sounds(three), SILENCE, encoder, STEP)
    assert runs == [(1, 2, 12 * 1920 + 900)]
    plain, exact = twice(lambda: [t[0].t() for t in encoder(samples[None])])
    for song, latents in zip(three, found.sources, strict=True):
        assert latents is not None and latents.shape == (128, CHANNELS)
        noise = draw_noise([song.seed], [12], CHANNELS, NoiseStream.ENCODE)[0]
        expected, true = (mean + std * noise for mean, std in (plain, exact))
        assert_agrees(latents[:12], expected, true)
        # silence fills it up, from silence's own beginning, over and over
        assert torch.equal(latents[12:22], SILENCE[0]) and torch.equal(latents[22], SILENCE[0, 0])
    first, other, again = (t for t in found.sources if t is not None)
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert found.references == ((), (), ())


@torch.inference_mode()
def test_every_reference_has_a_noise_of_its_own(
    write: Write, encoder: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("headroom.audio.reference.CUT", 2 * 1920)
    path = write("voice", torch.from_numpy(synth.voice(0.5)))
    two = songs(request_from({"reference_audio": [path, path]}), 7, 8)
    found = encode_sounds(two, load_sounds(two), SILENCE, encoder, STEP)
    assert found.sources == (None, None)
    assert [[r.shape for r in rows] for rows in found.references] == [[(6, CHANNELS)] * 2] * 2
    rows = [row for song in found.references for row in song]
    assert len({tuple(row.flatten().tolist()) for row in rows}) == 4


# --- channels and masks ------------------------------------------------------------------


def built(
    song: Song, source: Tensor | None, hinted: Tensor | None = None
) -> source_latents.Material:
    sounds = source_latents.Sounds({}, {})
    through = {} if hinted is None else {0: hinted}
    return assemble([song], sounds, [source], through, ((),), SILENCE)


def quiet(frames: int) -> Tensor:
    return SILENCE[0].repeat(-(-frames // 10), 1)[:frames]


@pytest.mark.parametrize("task", TASKS)
def test_channels_and_mask(task: str, write: Write) -> None:
    frames, fields = 130, {}
    if task != "text2music":
        fields = {"source_audio": write("five", torch.full((2, 130 * 1920), 0.5))}
    if task in ("repaint", "lego"):
        fields |= {"start": 0.4, "end": 0.8, "chunk_mask_mode": "explicit"}
    (song,) = songs(request_from({"task": task, **fields, "duration": 10}))
    song = replace(song, frames=frames, kept=frames)
    latents, hinted = torch.randn(2, frames, CHANNELS)
    found = built(song, None if task == "text2music" else latents, hinted)
    expected = {"text2music": quiet(frames), "cover": hinted}.get(task, latents.clone())
    mask = torch.ones(frames, CHANNELS)
    if task in ("repaint", "lego"):
        mask[:10], mask[20:] = 0, 0
    if task == "repaint":
        expected[10:20] = quiet(frames)[10:20]
    assert torch.equal(found.channels[0], expected)
    assert torch.equal(found.mask[0], mask)
    assert torch.equal(found.silence[0], quiet(frames))
    if task == "text2music":
        assert found.sources is None
    else:
        assert found.sources is not None and torch.equal(found.sources[0], latents)


@pytest.mark.parametrize("task", ["repaint", "lego"])
def test_a_region_the_model_has_to_find(task: str, write: Write) -> None:
    path = write("five", torch.full((2, 130 * 1920), 0.5))
    (song,) = songs(asked(task, path, start=0.4, end=0.8, chunk_mask_mode="auto"))
    latents = torch.randn(130, CHANNELS)
    found = built(song, latents)
    assert (found.mask == 2).all()
    inside = quiet(130)[10:20] if task == "repaint" else latents[10:20]
    assert torch.equal(found.channels[0, 10:20], inside)


def test_a_silent_source_is_silence(write: Write) -> None:
    (song,) = songs(asked("repaint", write("silent", torch.zeros(2, 130 * 1920)), start=1))
    found = built(song, None)
    assert torch.equal(found.channels[0], quiet(130))
    assert found.sources is not None and torch.equal(found.sources[0], quiet(130))


def test_songs_of_different_length_lie_side_by_side_and_empty_beyond_their_end(
    write: Write,
) -> None:
    (long,) = songs(request_from({"duration": 10}))
    (short,) = songs(asked("lego", write("five", torch.full((2, 130 * 1920), 0.5)), start=1))
    latents = torch.randn(130, CHANNELS)
    found = assemble(
        [long, short], source_latents.Sounds({}, {}), [None, latents], {}, ((), ()), SILENCE
    )
    assert short.region == Region(25, 130, 48_000, 249_600)
    for tensor in (found.channels, found.mask, found.silence, found.sources):
        assert tensor is not None and tensor.shape == (2, 250, CHANNELS)
        assert not tensor[1, 130:].any()
    assert torch.equal(found.channels[1, :130], latents) and found.mask[0].all()
