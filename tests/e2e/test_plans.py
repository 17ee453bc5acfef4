"""What a language model plans of a song: the sheet alone, one for each song, from a seed of its
own; with the bundled small model."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from headroom import Engine, Text2Music, replay
from headroom.models.acestep.language import lm_planning
from headroom.models.acestep.song.song import Song
from headroom.models.acestep.text.vocabulary import KEYS, LANGUAGES
from headroom.params.clamp import Note
from headroom.settings import Settings

ASKED: dict[str, Any] = {"caption": "slow bossa nova", "duration": 10, "inference_steps": 1}
GIVEN: dict[str, Any] = {"bpm": 90, "keyscale": "A minor", "timesignature": "3"}
NOTHING_ELSE: dict[str, Any] = {"use_cot_caption": False, "use_cot_language": False}
# Hot, so that the small model's sheets differ at all; no caption, which takes long to write; and
# no nucleus, at whose border a last bit decides.
VARIED: dict[str, Any] = {
    "duration": None, "lm_temperature": 2.0, "lm_top_p": 1.0, "use_cot_caption": False,
}  # fmt: skip
CODES = "<|audio_code_7|>" * 60


@pytest.fixture(scope="module")
def engine() -> Engine:
    return Engine("cpu", "float32", settings=Settings(max_duration=16))


def planned(engine: Engine, **said: object) -> tuple[list[Song], list[Note], list[str]]:
    """The songs as they would be rendered, the notes, and the stages of the language model."""
    request = Text2Music.model_validate({**ASKED, "seed": 5, **said})
    prepared = engine.think(request)
    thought = prepared[0].thought
    done = [] if thought is None else [stage.stage for stage in thought.stages]
    songs = [song for one in prepared for song in one.songs]
    return songs, [note for one in prepared for note in one.notes], done  # type: ignore[return-value]


# --- the sheet alone -----------------------------------------------------------------------


def test_metadata_alone_are_planned_and_the_song_is_rendered_from_them(engine: Engine) -> None:
    request = Text2Music.model_validate({**ASKED, "seed": 5, "plan_metadata": True})
    result = engine.generate(request)
    (song,) = result.songs
    assert isinstance(song, Song) and song.codes == ()
    assert result.thought is not None and [s.stage for s in result.thought.stages] == ["think"]
    assert song.metas.bpm is not None and 30 <= song.metas.bpm <= 300
    assert song.metas.keyscale in KEYS and song.metas.timesignature in ("2", "3", "4", "6")
    assert song.language in LANGUAGES and song.caption != request.caption
    assert song.metas.seconds == 10 and result.audio.seconds == pytest.approx(10)
    again = replay(result.provenance[0])
    assert again.thought is None and np.array_equal(again.audio.samples, result.audio.samples)
    # The sheet is the one that thinking would have written.
    (thought,), _, stages = planned(engine, thinking=True)
    assert (thought.metas.bpm, thought.caption) == (song.metas.bpm, song.caption)
    assert stages == ["think", "write codes"] and len(thought.codes) == 50


def test_a_length_left_open_is_the_one_that_was_planned(engine: Engine) -> None:
    (song,), _, _ = planned(engine, plan_metadata=True, duration=None)
    assert song.metas.seconds is not None and song.kept == song.metas.seconds * 25
    assert 10 <= song.metas.seconds <= 16
    (open_,), _, _ = planned(engine, plan_metadata=True, duration=None, use_cot_metas=False)
    assert open_.metas.seconds == 16 and open_.kept == 16 * 25  # 30 s are not allowed here


@pytest.mark.parametrize(
    "said",
    [
        {},  # the fields of the language model are on by default, and ask for nothing
        {"plan_metadata": True, **GIVEN, **NOTHING_ELSE},
        {"plan_metadata": True, "use_cot_metas": False, **NOTHING_ELSE},
        {"thinking": True, "audio_codes": CODES, **GIVEN, **NOTHING_ELSE},
    ],
    ids=["plain", "all given", "nothing asked", "codes and all given"],
)
def test_nobody_is_asked_where_nothing_is_left_open(
    engine: Engine, said: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert Text2Music.model_validate({**ASKED, **said}).asks is None
    monkeypatch.setattr(type(engine.model), "planning", lambda *a: pytest.fail("it was asked"))
    _, notes, stages = planned(engine, **said)
    assert stages == []
    idle = {note.field: note.why for note in notes}
    if "plan_metadata" in said:
        assert "nothing is left" in idle["plan_metadata"]
    else:
        assert ("thinking" in idle) == ("thinking" in said)


def test_codes_that_are_there_are_kept_and_the_sheet_is_planned(engine: Engine) -> None:
    (song,), _, stages = planned(engine, thinking=True, audio_codes=CODES, duration=None)
    assert song.codes == (7,) * 60 and stages == ["think"]
    assert song.metas.bpm is not None and song.metas.seconds == 12


def test_what_has_no_effect_on_a_plan_is_answered(engine: Engine) -> None:
    _, notes, _ = planned(engine, plan_metadata=True, lm_cfg_scale=3.0, lm_negative_prompt="loud")
    assert {n.field for n in notes} == {"lm_cfg_scale", "lm_negative_prompt"}
    _, notes, _ = planned(
        engine, plan_metadata=True, thinking=True, lm_seed=3, lm_shared_metadata=False
    )
    assert {n.field for n in notes} == {"plan_metadata", "lm_shared_metadata"}


def test_without_a_language_model_the_note_names_the_field() -> None:
    quiet = Engine("cpu", init_lm=False)
    (song,), notes, stages = planned(quiet, plan_metadata=True)
    assert stages == [] and song.caption == ASKED["caption"]
    assert [n.field for n in notes if n.used is False] == ["plan_metadata"]


def test_a_plan_takes_less_without_codes(engine: Engine) -> None:
    asked = Text2Music.model_validate({**ASKED, "plan_metadata": True, "batch_size": 2})
    names = [stage.stage for stage in engine.plan(asked).stages]
    assert names[0] == "think" and "write codes" not in names
    plain = Text2Music.model_validate({**ASKED, "batch_size": 2})
    assert "think" not in [stage.stage for stage in engine.plan(plain).stages]


# --- a sheet for each song -----------------------------------------------------------------


def test_each_song_of_a_batch_can_have_a_sheet_of_its_own(engine: Engine) -> None:
    said = {**VARIED, "thinking": True, "seed": None}
    alone = [planned(engine, **{**said, "seed": seed})[0][0] for seed in (2, 1)]
    both, _, _ = planned(engine, **said, seeds=(2, 1), lm_shared_metadata=False)
    assert both == alone  # codes, metadata and length of each
    first, second = both
    assert first.kept != second.kept and first.metas != second.metas
    assert [len(song.codes) * 5 for song in both] == [first.kept, second.kept]
    shared, _, _ = planned(engine, **said, seeds=(2, 1))
    assert shared[0] == first
    assert shared[1].metas == first.metas and shared[1].codes != first.codes
    assert shared[1].kept == first.kept


def test_songs_of_different_lengths_are_rendered(engine: Engine) -> None:
    request = Text2Music.model_validate(
        {
            **ASKED,
            **VARIED,
            "seeds": (2, 1),
            "plan_metadata": True,
            "lm_shared_metadata": False,
        }
    )
    result = engine.generate(request)
    lengths = [audio.seconds for audio in result.audios]
    assert lengths[0] != lengths[1]
    assert lengths == pytest.approx([song.kept / 25 for song in result.songs])  # type: ignore[attr-defined]


# --- a seed of its own ---------------------------------------------------------------------


def test_the_plan_follows_from_its_own_seed(engine: Engine) -> None:
    (own,), _, _ = planned(engine, thinking=True, seed=5)
    (other,), _, _ = planned(engine, thinking=True, seed=9, lm_seed=5)
    assert other.seed == 9 and own.seed == 5
    assert (other.codes, other.metas, other.caption) == (own.codes, own.metas, own.caption)
    both, _, _ = planned(engine, thinking=True, seed=None, seeds=(1, 2), lm_seed=5)
    assert [song.seed for song in both] == [1, 2]
    assert both[0].codes == both[1].codes == own.codes
    plans = engine.plan(Text2Music.model_validate({**ASKED, "thinking": True, "lm_seed": 1}))
    more = Text2Music.model_validate(
        {**ASKED, "thinking": True, "lm_seed": 1, "batch_size": 4}
    )  # written once
    assert engine.plan(more).stage("write codes").peak == plans.stage("write codes").peak


# --- codes that stand still ----------------------------------------------------------------


class Stuck:
    """`write_codes`, but of the song `index` the codes stand still, in the first `times` calls."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, index: int, times: int) -> None:
        self.calls: list[tuple[list[tuple[int, ...]], torch.Tensor]] = []
        self._real, self._index, self._times = lm_planning.write_codes, index, times
        monkeypatch.setattr(lm_planning, "write_codes", self)

    def __call__(
        self, prompts: list[tuple[int, ...]], against: object, chances: torch.Tensor, *rest: object
    ) -> torch.Tensor:
        self.calls.append((prompts, chances.clone()))
        codes = self._real(prompts, against, chances, *rest).clone()  # type: ignore[arg-type]
        if len(self.calls) <= self._times:
            codes[min(self._index, len(prompts) - 1), START : START + lm_planning.REPEATED] = 9
        return codes


START = 5


def test_codes_that_stand_still_are_written_again_from_there_on(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = {"thinking": True, "seed": None, "seeds": (1, 2), "lm_top_p": 1.0, **NOTHING_ELSE}
    plain, _, _ = planned(engine, **said)
    stuck = Stuck(monkeypatch, 1, times=1)
    songs, notes, stages = planned(engine, **said)
    assert stages == ["think", "write codes", "write codes"] and notes == []
    (first, drawn), (again, redrawn) = stuck.calls
    assert again == first[1:] and len(first) == 2  # the song it was, and no other
    assert torch.equal(drawn[1:, :START], redrawn[:, :START])
    assert (drawn[1:, START:] != redrawn[:, START:]).all()
    assert songs[0] == plain[0]
    assert songs[1].codes[:START] == plain[1].codes[:START] and songs[1].codes != plain[1].codes
    monkeypatch.undo()
    Stuck(monkeypatch, 1, times=1)
    assert planned(engine, **said)[0] == songs  # the draws follow from the seed


def test_codes_that_stand_still_again_are_said(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    stuck = Stuck(monkeypatch, 0, times=9)
    songs, notes, _ = planned(engine, thinking=True, seed=3, **NOTHING_ELSE)
    assert (
        len(stuck.calls) == 2 and songs[0].codes[START : START + lm_planning.REPEATED] == (9,) * 40
    )
    (note,) = notes
    assert note.field == "audio_codes" and "40 times in a row (seed 3)" in note.why
    # The likeliest code is the same whatever is drawn: trying again would be in vain.
    stuck = Stuck(monkeypatch, 0, times=1)
    _, notes, _ = planned(engine, thinking=True, seed=3, lm_temperature=0, **NOTHING_ELSE)
    assert len(stuck.calls) == 1 and [n.field for n in notes] == ["audio_codes"]


def test_a_run_is_found_where_it_is() -> None:
    assert lm_planning._longest_run([1, 2, 2, 2, 3, 3]) == (1, 3)
    assert lm_planning._longest_run([4, 4]) == (0, 2) and lm_planning._longest_run([]) == (0, 0)
    assert lm_planning._longest_run([5, 6, 6]) == (1, 2)


def test_older_prompts_are_behind_a_setting(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = {"thinking": True, "seed": 3, **GIVEN, **NOTHING_ELSE}
    today = planned(engine, **said)[0]
    monkeypatch.setenv("HEADROOM_LM_PROMPT", "closed")
    assert planned(engine, **said)[0] == today  # the settings of the engine are in force
    others = []
    for layout in ("legacy", "closed"):
        settings = engine.settings.model_copy(update={"lm_prompt": layout})
        others.append(planned(Engine("cpu", "float32", settings=settings), **said)[0])
    assert today[0].codes != others[0][0].codes != others[1][0].codes != today[0].codes
