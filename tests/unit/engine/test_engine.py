from __future__ import annotations

import threading
from dataclasses import replace

import pytest
import torch

from headroom.engine.engine import Engine
from headroom.errors import Cancelled, DoesNotFit, InvalidRequest, InvalidSource
from headroom.memory.plan import Cut, Wishes
from headroom.models import registry
from headroom.models.acestep.requests.language_requests import FormatSample
from headroom.params.request import Request
from headroom.runtime.events import (
    AudioReady,
    Progress,
    StageDone,
    StageStarted,
    Started,
    WithAudio,
)
from headroom.settings import Settings, load
from tone_model.model import ToneModel, _pitches
from tone_model.requests import Tone

RATE = 48_000


def engine(env: dict[str, str] | None = None, **options: object) -> Engine:
    return Engine("cpu", family="tone", settings=load(env or {}, None), **options)


def test_a_request_becomes_its_length_of_stereo_sound():
    result = engine().generate(Tone(frequency=440, duration=2, seed=7))
    samples = result.audio.samples
    assert samples.shape == (2, 2 * RATE) and result.audio.rate == RATE
    assert samples.dtype == torch.float32 and 0.4 < samples.abs().max() <= 1
    spectrum = torch.fft.rfft(samples[0]).abs()
    assert spectrum.argmax().item() / 2 == pytest.approx(440, abs=2)
    assert result.seeds == (7,) and result.songs[0].frames == 50
    assert result.kept["latents"].shape == (1, 50, 2)
    assert result.notes == ()
    assert not any(stage.counted for stage in result.report.stages)  # of a host the process grows


def test_constructing_loads_nothing_and_planning_runs_nothing():
    ours = engine()
    assert "model" not in vars(ours)
    plan = ours.plan(Tone(duration=3))
    assert [s.stage for s in plan.stages] == ["denoise", "decode"]
    assert plan.stage("decode").tile == 75
    assert "_pool" not in vars(ours)
    assert "decode:" in plan.explain()


def test_events_tell_the_stages_in_order_and_the_report_repeats_them():
    told = []
    result = engine().generate(Tone(duration=1, steps=3), told.append)
    assert [type(e).__name__ for e in told] == (
        [
            "Started",
            "StageStarted",
            *["Progress"] * 3,
            "StageDone",
            "StageStarted",
            "Progress",
            "StageDone",
        ]
    )
    assert told[0] == Started("render", result.plan)
    assert [e.stage for e in told if isinstance(e, StageStarted)] == ["denoise", "decode"]
    steps = [e.done for e in told if isinstance(e, Progress) and e.stage == "denoise"]
    assert steps == [1, 2, 3]
    done = [e for e in told if isinstance(e, StageDone)]
    assert [(s.stage, s.planned_bytes, s.seconds) for s in result.report.stages] == [
        (e.stage, e.planned, e.seconds) for e in done
    ]
    assert result.report.seconds >= sum(e.seconds for e in done)
    assert result.report.planned_bytes == result.plan.peak


def test_who_wants_to_hear_early_hears_each_song_of_the_call_tile_by_tile():
    heard: dict[int, list[AudioReady]] = {}

    def tell(event: object) -> None:
        if isinstance(event, AudioReady):
            heard.setdefault(event.song, []).append(event)

    ours = engine(wishes=Wishes(cuts=(Cut("decode", 1, 50),)))
    requests = [
        Tone(duration=5, seed=1),
        Tone(duration=3, seed=2, steps=9),
        Tone(duration=5, seeds=(3, 4)),
    ]
    results = ours.generate_batch(requests, WithAudio(tell))
    audios = [audio for result in results for audio in result.audios]
    assert sorted(heard) == [0, 1, 2, 3]  # 0, 2 and 3 are one pass
    for song, audio in enumerate(audios):
        starts = [event.start for event in heard[song]]
        assert starts == list(range(0, audio.frames, 50 * 1920))
        joined = torch.cat([event.audio.samples for event in heard[song]], dim=1)
        assert torch.equal(joined, audio.samples)
    heard.clear()
    ours.generate_batch(requests, tell)
    assert not heard


def test_the_same_seed_is_the_same_tone_and_another_is_another():
    ours = engine()
    first, again, other = (ours.generate(Tone(duration=1, seed=s)) for s in (1, 1, 2))
    assert torch.equal(first.audio.samples, again.audio.samples)
    assert not torch.equal(first.audio.samples, other.audio.samples)


def test_a_seed_that_is_left_open_is_drawn_once_and_written_down():
    ours = engine()
    drawn = ours.generate(Tone(duration=1))
    assert drawn.request.seed == drawn.seeds[0]
    again = ours.generate(drawn.request)
    assert torch.equal(drawn.audio.samples, again.audio.samples)
    assert ours.generate(Tone(duration=1)).seeds != drawn.seeds


def test_a_batch_is_as_many_songs_each_with_its_seed():
    ours = engine()
    result = ours.generate(Tone(duration=1, batch_size=3))
    assert len(set(result.seeds)) == len(result.audios) == len(result.provenance) == 3
    for seed, audio in zip(result.seeds, result.audios, strict=True):
        alone = ours.generate(Tone(duration=1, seed=seed))
        assert torch.equal(alone.audio.samples, audio.samples)


def test_one_seed_for_several_songs_is_the_first_and_is_said():
    result = engine().generate(Tone(duration=1, batch_size=2, seed=5))
    assert result.seeds[0] == 5 and result.seeds[1] != 5
    (note,) = result.notes
    assert (note.field, note.asked, note.used) == ("seed", 5, result.seeds)


def test_several_requests_go_through_one_ragged_pass_where_they_can():
    started = []
    ours = engine()
    requests = [
        Tone(duration=1, seed=1),
        Tone(duration=2, seed=2, steps=9),
        Tone(duration=3, seeds=(3, 4)),
    ]

    def tell(event: object) -> None:
        if isinstance(event, StageStarted):
            started.append(event.stage)

    results = ours.generate_batch(requests, tell)
    assert started == ["denoise", "decode"] * 2  # 1 and 3 together, 2 with its own steps
    assert [r.seeds for r in results] == [(1,), (2,), (3, 4)]
    assert [r.audio.samples.shape[1] / RATE for r in results] == [1, 2, 3]
    for request, result in zip(requests, results, strict=True):
        alone = ours.generate(request)
        for ours_too, audio in zip(alone.audios, result.audios, strict=True):
            assert torch.equal(ours_too.samples, audio.samples)
    assert [p.song for r in results for p in r.provenance] == [0, 0, 1, 2]
    for result in results:
        for song, row in zip(result.songs, result.kept["latents"], strict=True):
            alone = ours.generate(Tone(duration=song.frames / 25, seed=song.seed))
            assert torch.equal(row[: song.frames], alone.kept["latents"][0])
    assert ours.generate_batch(()) == ()


def test_numbers_beyond_a_limit_are_used_at_the_limit_and_noted_once():
    result = engine().generate(Tone(frequency=12_000, duration=1, steps=5000, overtones=3))
    assert [(n.field, n.asked, n.used, n.why) for n in result.notes] == [
        ("overtones", 3, 1, "overtones end at 24000 Hz"),
        ("steps", 5000, 100, "more change nothing"),
    ]
    assert result.request.steps == result.songs[0].steps == 100


def test_what_has_no_effect_is_noted():
    result = engine().generate(Tone(duration=1, seed=1, overtones=0, brightness=0.5))
    assert [(n.field, n.used) for n in result.notes] == [("brightness", None)]


def test_settings_limit_and_fill_in():
    ours = engine({"HEADROOM_MAX_DURATION": "1", "HEADROOM_MAX_BATCH_SIZE": "2"})
    result = ours.generate(Tone(duration=30, batch_size=4))
    assert [(n.field, n.used, n.why) for n in result.notes] == [
        ("duration", 1, "HEADROOM_MAX_DURATION is 1"),
        ("batch_size", 2, "HEADROOM_MAX_BATCH_SIZE is 2"),
    ]
    twice = engine({"HEADROOM_BATCH_SIZE": "2"})
    assert len(twice.generate(Tone(duration=1)).audios) == 2
    assert len(twice.generate(Tone(duration=1, batch_size=1)).audios) == 1


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"dtype": "float8"}, "dtype"),
        ({"dtype": ["float32"]}, "dtype"),
        ({"threads": 0}, "threads"),
        ({"threads": "4"}, "threads"),
        ({"threads": True}, "threads"),
        ({"threads": 10**400}, "threads"),
        ({"device": "tpu"}, "device"),
        ({"device": "cuda:" + "9" * 5000}, "device"),
        ({"device": None}, "device"),
        ({"policy": "foo"}, "policy"),
        ({"policy": ""}, "policy"),
        ({"policy": ["published"]}, "policy"),
        ({"model": 7}, "model"),
        ({"checkpoint_dir": 7}, "checkpoint_dir"),
        ({"compile": "yes"}, "compile"),
        ({"compile": 1}, "compile"),
        ({"choices": {"quantization": "int8"}}, "choices"),
        ({"quantization": "int3"}, "quantization"),
        ({"lm_backend": "onnx"}, "lm_backend"),
        ({"offload": "no"}, "offload"),
        ({"lm_model": 4}, "lm_model"),
        ({"wishes": None}, "wishes"),
        ({"family": "none"}, "family"),
        ({"family": ["acestep"]}, "family"),
        ({"settings": {"policy": "adaptive"}}, "settings"),
    ],
)
def test_options_that_are_not_allowed_are_refused_when_constructing(options, field):
    with pytest.raises(InvalidRequest) as caught:
        Engine(**({"device": "cpu", "settings": load({}, None)} | options))
    assert caught.value.field == field


@pytest.mark.parametrize(
    "said",
    [{"policy": "foo"}, {"quantization": "int3"}, {"lm_prompt": "new"}, {"max_duration": -3.0}],
)
def test_settings_that_are_not_allowed_are_refused_when_they_are_made(said):
    with pytest.raises(InvalidRequest) as caught:
        Settings(**said)
    assert caught.value.field == next(iter(said))
    with pytest.raises(InvalidRequest):
        load({}, None).model_copy(update=said)


def test_a_request_of_another_family_is_refused():
    class Other(Request):
        pass

    with pytest.raises(InvalidRequest, match="'Other' is not allowed; allowed: a request of Tone"):
        engine().generate(Other())
    with pytest.raises(InvalidRequest, match="family: 'none'"):
        Engine("cpu", family="none", settings=load({}, None)).plan(Tone())


def test_a_family_that_is_not_on_the_path_is_said_to_be_missing(monkeypatch):
    elsewhere = registry.FAMILIES | {"far": "far_away.model:open_model", "torn": "tone_model.x:y"}
    monkeypatch.setattr(registry, "FAMILIES", elsewhere)
    with pytest.raises(InvalidRequest, match="a family whose package far_away is found"):
        Engine("cpu", family="far", settings=load({}, None)).plan(Tone())
    with pytest.raises(ModuleNotFoundError, match=r"tone_model\.x"):
        Engine("cpu", family="torn", settings=load({}, None)).plan(Tone())


def test_a_failure_leaves_the_engine_as_it_was(monkeypatch):
    ours, told = engine(), []
    with monkeypatch.context() as broken:
        broken.setattr("tone_model.model.Oscillator.forward", lambda *a: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            ours.generate(Tone(duration=1), told.append)
    assert [e.stage for e in told if isinstance(e, StageDone)] == ["denoise"]
    assert ours._pool.on_device == frozenset() and not ours.card.turn.locked()
    assert ours.generate(Tone(duration=1, seed=1)).audio.samples.shape == (2, RATE)


def test_somebody_may_ask_to_stop():
    ours, told = engine(), []
    stop = threading.Event()

    def tell(event: object) -> None:
        told.append(event)
        if isinstance(event, Progress) and event.done == 2:
            stop.set()

    with pytest.raises(Cancelled, match="denoise"):
        ours.generate(Tone(duration=1, steps=50), tell, stop.is_set)
    assert [e.done for e in told if isinstance(e, Progress)] == [1, 2]
    assert ours.generate(Tone(duration=1)).audios


def test_what_does_not_fit_is_refused_before_anything_runs():
    ours, told = engine(), []
    ours._executor.machine = replace(ours.machine, cap=1 << 28)
    with pytest.raises(DoesNotFit):
        ours.generate(Tone(duration=600), told.append)
    assert told == []


def test_a_tighter_machine_makes_the_same_tone_in_smaller_tiles():
    wide, tight = engine(), engine(wishes=Wishes(cuts=(Cut("decode", 1, 50),)))
    request = Tone(duration=5, seed=3)
    assert (wide.plan(request).stage("decode").tile, tight.plan(request).stage("decode").tile) == (
        125,
        50,
    )
    assert torch.equal(wide.generate(request).audio.samples, tight.generate(request).audio.samples)


def test_threads_are_put_back_also_after_a_failure(monkeypatch):
    before = torch.get_num_threads()
    during = []
    play = ToneModel.render

    def render(self: ToneModel, songs: object, run: object) -> object:
        during.append(torch.get_num_threads())
        if len(during) == 2:
            raise ZeroDivisionError
        return play(self, songs, run)

    monkeypatch.setattr(ToneModel, "render", render)
    ours = engine(threads=before + 1)
    ours.generate(Tone(duration=1))
    with pytest.raises(ZeroDivisionError):
        ours.generate(Tone(duration=1))
    assert during == [before + 1] * 2 and torch.get_num_threads() == before


def test_released_parts_come_back_when_they_are_needed():
    ours = engine()
    ours.release()
    first = ours.generate(Tone(duration=1, seed=1))
    assert ours._pool.loaded == {"tuner", "oscillator"}
    ours.release()
    assert ours._pool.loaded == frozenset()
    assert torch.equal(first.audio.samples, ours.generate(Tone(duration=1, seed=1)).audio.samples)


def test_a_melody_is_read_and_a_bad_one_is_refused_in_words(tmp_path):
    good, bad = tmp_path / "melody.txt", tmp_path / "bad.txt"
    good.write_text("220\n440\n")
    assert _pitches(good) == (220, 440)
    assert engine().plan(Tone(melody=good)).stage("denoise").peak > 0
    for content in ("", "la la", "-5", "nan"):
        bad.write_text(content)
        with pytest.raises(InvalidSource, match=r"melody: .*bad\.txt"):
            engine().generate(Tone(melody=bad))
    with pytest.raises(InvalidSource, match="No such file"):
        engine().generate(Tone(melody=tmp_path / "none.txt"))


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"caption": "\udcff"}, "caption"),
        ({"lyrics": "a\ud800"}, "lyrics"),
        ({"bpm": "\ud800"}, "bpm"),
    ],
)
def test_half_a_letter_in_a_wish_for_a_sheet_is_refused(options, field):
    with pytest.raises(InvalidRequest, match=f"^{field}: .* without lone surrogates"):
        FormatSample(**({"caption": "x"} | options))
