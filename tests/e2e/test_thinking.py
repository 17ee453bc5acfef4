"""A language model plans a song, and the song is what it planned: with the bundled small model."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import numpy as np
import pytest
import soundfile

from headroom import Engine, Text2Music, replay
from headroom.errors import InvalidRequest
from headroom.models.acestep.requests.language_fields import LanguageFields
from headroom.models.acestep.requests.songs import AnyPlanned, PlannedFields, request_from
from headroom.models.acestep.requests.tasks import SourceChannels
from headroom.models.acestep.song.song import Song
from headroom.models.acestep.text.vocabulary import KEYS, LANGUAGES
from headroom.runtime.entry import State
from headroom.settings import Settings

ASKED = Text2Music(caption="slow bossa nova", duration=12, thinking=True, inference_steps=1, seed=3)
BRIEF = ASKED.model_copy(update={"use_cot_caption": False})  # hundreds of tokens less
CODES = BRIEF.model_copy(  # nothing but codes is left to plan
    update={"duration": 10, "bpm": 90, "keyscale": "C major", "timesignature": "4",
            "vocal_language": "en"}
)  # fmt: skip


@pytest.fixture(scope="module")
def engine() -> Engine:
    return Engine("cpu")


def told(engine: Engine, **said: object) -> list[Song]:
    """The songs of the request with this said, as they would be rendered."""
    request = Text2Music.model_validate({**ASKED.model_dump(exclude_unset=True), **said})
    prepared = engine.think(request)
    return [song for one in prepared for song in one.songs]


def test_the_song_is_what_was_thought(engine: Engine) -> None:
    result = engine.generate(ASKED)
    (song,) = result.songs
    assert isinstance(song, Song)
    assert len(song.codes) == 5 * 12 and song.kept == 12 * 25
    assert all(0 <= code < 512 for code in song.codes)
    assert song.caption != ASKED.caption and song.language in LANGUAGES
    assert song.metas.bpm is not None and 30 <= song.metas.bpm <= 300
    assert song.metas.keyscale in KEYS and song.metas.timesignature in ("2", "3", "4", "6")
    assert result.audio.seconds == pytest.approx(12)
    assert result.thought is not None
    assert [s.stage for s in result.thought.stages] == ["think", "write codes"]
    assert result.request == ASKED


def test_what_was_said_is_kept(engine: Engine) -> None:
    said = {"bpm": 77, "keyscale": "F# minor", "timesignature": "3", "vocal_language": "pt"}
    (song,) = told(engine, **said, use_cot_caption=False)
    assert (song.metas.bpm, song.metas.keyscale, song.metas.timesignature) == (77, "F# minor", "3")
    assert (song.language, song.caption) == ("pt", ASKED.caption)
    (open_,) = told(engine, duration=None)
    assert 10 <= open_.kept / 25 <= 600 and len(open_.codes) * 5 == open_.kept


@pytest.mark.parametrize(("seconds", "songs"), [(10, 1), (23, 2), (41, 1)])
def test_five_codes_are_written_a_second(engine: Engine, seconds: int, songs: int) -> None:
    """Exactly as many, whether the length was said or the model chose it."""
    seeds = {"seed": None, "seeds": tuple(range(songs))}
    brief = {"use_cot_caption": False, "use_cot_language": False}
    found = told(engine, duration=seconds, **seeds, **brief)
    assert [len(song.codes) for song in found] == [5 * seconds] * songs
    assert [song.kept for song in found] == [25 * seconds] * songs
    everything = {"bpm": 90, "keyscale": "C major", "timesignature": "4", "vocal_language": "en"}
    (given,) = told(engine, duration=seconds, **everything, **brief)  # no sheet is left to fill
    assert len(given.codes) == 5 * seconds


@pytest.mark.ci
def test_a_song_is_the_same_again_and_in_a_batch(engine: Engine) -> None:
    first, again = engine.generate(BRIEF), engine.generate(BRIEF)
    assert np.array_equal(first.audio.samples, again.audio.samples)
    both = told(engine, seed=None, seeds=(5, 6))
    (alone,) = told(engine, seed=5)
    assert both[0].codes == alone.codes and both[1].codes != alone.codes
    assert [song.seed for song in both] == [5, 6]


@pytest.mark.ci
def test_a_replay_asks_no_language_model(engine: Engine) -> None:
    result = engine.generate(BRIEF.model_copy(update={"seed": None, "seeds": (5, 6)}))
    assert [len(p.requests) for p in result.provenance] == [2, 2]
    again = replay(result.provenance[1])
    assert again.thought is None
    assert np.array_equal(again.audio.samples, result.audios[1].samples)


OTHERS: dict[str, object] = {
    "use_cot_metas": False, "use_cot_caption": True, "use_cot_language": False,
    "use_constrained_decoding": False, "lm_temperature": 0.2, "lm_cfg_scale": 1.0, "lm_top_k": 2,
    "lm_top_p": 0.3, "lm_repetition_penalty": 1.9, "lm_negative_prompt": "loud", "lm_seed": 6,
}  # fmt: skip
ELSEWHERE = {"plan_metadata", "lm_shared_metadata"}  # in `test_plans.py`


def test_every_field_reaches_the_language_model(engine: Engine) -> None:
    assert set(OTHERS) | ELSEWHERE == set(LanguageFields.model_fields)
    # Half as sure of everything as it is: its choices are otherwise too plain to move. And without
    # a caption, which takes hundreds of tokens.
    plain = {"lm_temperature": 1.5, "use_cot_caption": False}
    song = told(engine, **plain)
    assert told(engine, **plain) == song
    for name, value in OTHERS.items():
        assert told(engine, **{**plain, name: value}) != song, name


def test_nothing_is_thought_where_nothing_can_think() -> None:
    quiet = Engine("cpu", init_lm=False)
    result = quiet.generate(ASKED)
    (note,) = [note for note in result.notes if note.field == "thinking"]
    assert note.used is False and "--init-lm" in note.why and result.thought is None
    assert result.songs[0].codes == ()  # type: ignore[attr-defined]


@pytest.mark.ci
def test_the_language_model_leaves_as_the_plan_says() -> None:
    # float32: convolutions in bfloat16 are slow on processors that lack it.
    small = Settings(max_vram=6.5, policy="published")
    engine = Engine("simulated", "float32", settings=small)
    assert engine.policy.lm == "0.6B" and engine.policy.offload
    result = engine.generate(BRIEF)
    states = {part.name: part for part in engine.status()}
    assert states["acestep-5Hz-lm-nano"].state is State.HOST
    assert engine.device.memory_allocated() == engine._pool.floor
    for stage in result.thought.stages if result.thought else ():
        assert stage.measured_bytes <= stage.planned_bytes
    large = Engine("simulated", "float32", settings=Settings(max_vram=24, policy="published"))
    large.generate(BRIEF)
    assert {p.name: p.state for p in large.status()}["acestep-5Hz-lm-nano"] is State.DEVICE
    loads = large._pool.loaded
    large.generate(BRIEF)
    assert large._pool.loaded == loads
    engine.close()
    large.close()


# --- what is made from a recording ---------------------------------------------------------


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eleven seconds."""
    path = tmp_path_factory.mktemp("recordings") / "one.wav"
    soundfile.write(path, np.full(11_000, 0.5, np.float32), 1000)
    return path


def planned(engine: Engine, request: AnyPlanned) -> tuple[Song, set[str]]:
    """The song of a request as it would be rendered, and the fields that its notes answer."""
    (one,) = engine.think(request)
    (song,) = one.songs
    assert isinstance(song, Song)
    return song, {note.field for note in one.notes}


@pytest.mark.parametrize("field", ["thinking", "plan_metadata"])
@pytest.mark.parametrize("task", ["lego", "complete"])
def test_the_sheet_of_what_is_added_to_a_recording_is_planned(
    task: str, field: str, engine: Engine, recording: Path
) -> None:
    said = {"task": task, "source_audio": recording, "caption": "brass", "seed": 3, field: True,
            "use_cot_caption": False, "bpm": 77}  # fmt: skip
    song, answered = planned(engine, cast("AnyPlanned", request_from(said)))
    assert (song.task, song.metas.bpm, song.caption) == (task, 77, "brass")
    assert song.metas.keyscale in KEYS and song.metas.timesignature in ("2", "3", "4", "6")
    assert song.language in LANGUAGES and song.language != "unknown"
    assert song.metas.seconds == 11 and song.kept == 275  # the recording's
    assert song.codes == () and song.channels is SourceChannels.LATENTS
    assert answered & {"thinking", "plan_metadata", "duration"} == {field} & {"thinking"}


@pytest.mark.parametrize("task", ["cover", "repaint", "extract"])
def test_nothing_is_planned_for_what_has_its_sound_already(
    task: str, engine: Engine, recording: Path
) -> None:
    said = {"task": task, "source_audio": recording, "thinking": True, "plan_metadata": True}
    request = request_from(said)
    assert not isinstance(request, PlannedFields)
    (one,) = engine.think(request)
    (note,) = [note for note in one.notes if note.field == "thinking"]
    assert note.why == "a language model plans no covers, repaints or extracts"


# --- planned, read by somebody, and rendered -------------------------------------------------


@pytest.fixture(scope="module")
def precise() -> Engine:
    """In the number format that every processor is fast at."""
    return Engine("cpu", dtype="float32")


@pytest.mark.ci
@pytest.mark.parametrize("thinking", [True, False])
def test_composed_and_rendered_is_generated(thinking: bool, precise: Engine) -> None:
    said = {"thinking": thinking, "seeds": (3, 4), "seed": None}
    request = CODES.model_copy(update=said)
    whole = precise.generate(request)
    composed = precise.compose(request)
    assert all(isinstance(one, Text2Music) for one in composed)
    made = cast("tuple[Text2Music, ...]", composed)
    assert [(one.batch_size, one.seed, one.seeds) for one in made] == [(1, 3, ()), (1, 4, ())]
    assert [bool(one.audio_codes) for one in made] == [thinking] * 2
    results = precise.render(composed)
    assert [song for one in results for song in one.songs] == list(whole.songs)
    for ours, theirs in zip((one.audio for one in results), whole.audios, strict=True):
        assert np.array_equal(ours.samples.numpy(), theirs.samples.numpy())


@pytest.mark.long
def test_what_was_composed_can_be_changed(precise: Engine) -> None:
    (composed,) = precise.compose(CODES)
    assert precise.compose(composed) == (composed,)
    (result,) = precise.render([composed.model_copy(update={"bpm": 77, "audio_codes": "1,2,3"})])
    (song,) = result.songs
    assert isinstance(song, Song)
    assert (song.metas.bpm, song.codes) == (77, (1, 2, 3))


def test_what_a_language_model_has_to_plan_is_not_rendered(precise: Engine) -> None:
    with pytest.raises(InvalidRequest, match="compose") as caught:
        precise.render([CODES])
    assert caught.value.field == "thinking"
