"""Cloning and editing from a request to sound, on a tiny model in the official layout."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import pytest
import soundfile
import torch

from headroom import Engine
from headroom.errors import InvalidCheckpoint, InvalidSource, WeightsMissing
from headroom.models.stepaudio.composing import speech_of
from headroom.models.stepaudio.layout import MODEL, SOUND
from headroom.models.stepaudio.requests.speech import Clone, Edit
from headroom.models.stepaudio.song import PAUSE
from headroom.runtime.events import AudioReady, Event, WithAudio
from headroom.settings import Settings
from support.speech_checkpoint import write_checkpoint


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("speech")
    write_checkpoint(folder)
    time = torch.arange(24_000) / 24_000
    tone = 0.4 * torch.sin(2 * math.pi * 220 * time) * (1 + 0.3 * torch.sin(7 * time))
    soundfile.write(folder / "voice.wav", tone.numpy(), 24_000)
    soundfile.write(folder / "silence.wav", torch.zeros(24_000).numpy(), 24_000)
    return folder


def opened(place: Path, device: str = "cpu") -> Engine:
    return Engine(
        family="stepaudio", checkpoint_dir=place, device=device, dtype="float32",
        settings=Settings(cache_dir=place / "cache"),
    )  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Networks this small take ten times as long where threads wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def engine(place: Path) -> Iterator[Engine]:
    with opened(place) as made:
        yield made


def clone(place: Path, **fields: object) -> Clone:
    values = {"text": "ab", "prompt_audio": place / "voice.wav", "prompt_text": "c", "seed": 5}
    return Clone.model_validate({**values, "max_seconds": 1, **fields})


def test_a_voice_is_cloned_and_the_same_seed_gives_the_same_bytes(
    engine: Engine, place: Path
) -> None:
    results = [engine.generate(clone(place, **more)) for more in ({}, {}, {"seed": 6})]
    sounds = [result.output.audios[0] for result in results]
    assert sounds[0].rate == 24_000 and sounds[0].samples.shape[0] == 1
    frames = sounds[0].samples.shape[1]
    assert frames % (6 * 480) == 0 and 0 < frames <= 24_000
    assert float(sounds[0].samples.abs().max()) > 0
    assert torch.equal(sounds[0].samples, sounds[1].samples)
    assert sounds[0].samples.shape != sounds[2].samples.shape or not torch.equal(
        sounds[0].samples, sounds[2].samples
    )


@pytest.mark.long
def test_on_a_card_it_sounds_the_same_and_no_stage_takes_more_than_is_planned(
    engine: Engine, place: Path
) -> None:
    with opened(place, "simulated") as card:
        there = card.generate(clone(place))
    here = engine.generate(clone(place))
    one, other = there.output.audios[0].samples, here.output.audios[0].samples
    assert one.shape == other.shape  # the same codes
    assert torch.allclose(one, other, atol=1e-4)  # other kernels round otherwise
    stages = there.report.stages
    assert len(stages) == 4 and all(stage.counted for stage in stages)
    over = [stage.stage for stage in stages if stage.measured_bytes > stage.planned_bytes]
    assert over == []


def test_a_batch_is_its_single_versions(engine: Engine, place: Path) -> None:
    both = engine.generate(clone(place, seeds=(5, 6), seed=None)).output.audios
    alone = engine.generate(clone(place, seed=6)).output.audios[0]
    assert torch.equal(both[1].samples, alone.samples)


def test_an_edit_of_two_passes_hears_its_first_result(engine: Engine, place: Path) -> None:
    def edit(passes: int) -> list[str]:
        request = Edit(
            source_audio=place / "voice.wav", source_text="ab", edit_type="style",
            edit_info="whisper", passes=passes, max_seconds=1, seed=3,
        )  # fmt: skip
        result = engine.generate(request)
        sounds.append(result.output.audios[0].samples)
        return [stage.stage for stage in result.report.stages]

    sounds: list[torch.Tensor] = []
    assert edit(1) == ["listen", "write codes", "denoise", "decode"]
    assert edit(2)[4:] == [
        "listen, pass 2", "write codes, pass 2", "denoise, pass 2", "decode, pass 2",
    ]  # fmt: skip
    assert sounds[0].shape != sounds[1].shape or not torch.equal(*sounds)


def heard_while(engine: Engine, request: Clone) -> tuple[torch.Tensor, torch.Tensor, list[str]]:
    """The samples of a result, those that were told of meanwhile, and its stages."""
    pieces: list[AudioReady] = []

    def listen(event: Event) -> None:
        if isinstance(event, AudioReady):
            pieces.append(event)

    result = engine.generate(request, WithAudio(listen))
    assert [piece.start for piece in pieces] == [
        sum(one.audio.samples.shape[1] for one in pieces[:n]) for n in range(len(pieces))
    ]
    told = torch.cat([piece.audio.samples for piece in pieces], dim=1)
    return result.output.audios[0].samples, told, [s.stage for s in result.report.stages]


def test_a_long_text_is_spoken_in_parts_that_can_be_heard_before_the_next_is_made(
    engine: Engine, place: Path
) -> None:
    texts = "ab " * 80 + "a.", "ba " * 80 + "b."
    whole, told, stages = heard_while(engine, clone(place, text=" ".join(texts)))
    assert torch.equal(whole, told)
    own = ["write codes", "denoise", "decode"]
    assert stages == ["listen", *own, *(f"{stage}, part 2" for stage in own)]
    first, _, _ = heard_while(engine, clone(place, text=texts[0]))
    assert torch.equal(whole[:, : first.shape[1]], first)
    pause = whole[:, first.shape[1] :][:, : round(PAUSE * 24_000)]
    assert not pause.any() and whole.shape[1] > first.shape[1] + pause.shape[1]


def test_a_clone_is_edited_in_the_same_request_as_if_it_were_asked_for(
    engine: Engine, place: Path
) -> None:
    """Its pass hears the clone, and is told the text that was spoken."""
    both = clone(place, edit_type="style", edit_info="whisper", passes=2)
    made, told, stages = heard_while(engine, both)
    assert torch.equal(made, told)
    assert [stage for stage in stages if stage.startswith("write")] == [
        "write codes", "write codes, pass 2", "write codes, pass 3",
    ]  # fmt: skip
    plain, _, _ = heard_while(engine, clone(place))
    assert plain.shape != made.shape or not torch.equal(plain, made)
    (song,) = speech_of(both, (5,))
    assert (song.said_in("ab", 0), song.said_in("ab", 1)) == ("c", "ab")
    assert song.edit_in(0) is None and song.edit_in(1) == song.edit_in(2)


def test_a_second_pass_that_adds_sounds_is_told_the_text_with_sounds(place: Path) -> None:
    edit = Edit(
        source_audio=place / "voice.wav", source_text="ab", text="ab [Sigh]", passes=2,
        edit_type="paralinguistic",
    )  # fmt: skip
    (song,) = speech_of(edit, (1,))
    assert [song.said_in("", turn) for turn in range(2)] == ["ab", "ab [Sigh]"]


def test_a_silent_recording_is_refused(engine: Engine, place: Path) -> None:
    with pytest.raises(InvalidSource, match=r"prompt_audio: .* is silent"):
        engine.generate(clone(place, prompt_audio=place / "silence.wav"))


def test_a_model_that_is_not_there_or_not_whole_is_refused(place: Path, tmp_path: Path) -> None:
    with pytest.raises(WeightsMissing, match=MODEL), opened(tmp_path / "none") as engine:
        engine.generate(clone(place))
    model = write_checkpoint(tmp_path)
    flow = model / SOUND / "flow.pt"
    stored = torch.load(flow, weights_only=True)
    del stored["encoder_proj.bias"]
    torch.save(stored, flow)
    fault = r"encoder_proj\.bias: missing"
    with pytest.raises(InvalidCheckpoint, match=fault), opened(tmp_path) as engine:
        engine.generate(clone(place))
    flow.unlink()
    with pytest.raises(InvalidCheckpoint, match=r"flow\.pt: missing"), opened(tmp_path) as engine:
        engine.generate(clone(place))
