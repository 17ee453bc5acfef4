"""Every field of every request changes what is made, or is answered in the notes.

The rule knows no field: it makes other values from a field's type, limits and choices, and looks
at all that leaves the request: the songs, how many of them, and what the writer of files is told.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Annotated

import numpy as np
import pytest
import soundfile

import headroom.models.acestep as family
from headroom.engine import result, seeds
from headroom.engine.report import Report
from headroom.engine.result import Result, Songs
from headroom.engine.seeds import settle
from headroom.memory.plan import Plan
from headroom.models.acestep.requests.language_fields import LanguageFields
from headroom.models.acestep.requests.songs import TASKS, AnyMusicRequest, PlannedFields, Text2Music
from headroom.models.acestep.requests.source_fields import EdgeFields
from headroom.models.acestep.requests.variants import VARIANTS, Variant, unused
from headroom.models.acestep.song import song as songs_file
from headroom.models.acestep.song.compose import compose
from headroom.models.acestep.song.song import (
    Finish,
    Repainting,
    SamplerSettings,
    Song,
    Source,
    Wavelet,
)
from headroom.params.clamp import clamp
from headroom.params.describe import Param, describe
from headroom.params.knob import Knob, Limit

MODELS: Mapping[str, Variant] = {
    "turbo": VARIANTS["acestep-v15-turbo"],
    "base": VARIANTS["acestep-v15-base"],
    "stems": replace(VARIANTS["acestep-v15-base"], name="stems", stems=True),
}
CODES = "<|audio_code_7|>" * 40
# What no rule can make up.
VALUES: Mapping[str, tuple[object, ...]] = {
    "audio_codes": (CODES,),
    "timesteps": ((1.0, 0.4),),
    "seeds": ((5, 6),),
    "start": (1.0, -1.0),
    "end": (3.0, 9.0),
    "dcw_wavelet": ("db4", "sym8"),
}
# Without words there is no voice either way: asking for it is no contradiction to answer.
AGREES: Mapping[str, Mapping[str, object]] = {"instrumental": {"lyrics": "la"}}
# What a field needs beside it, so that it has something to act on.
NEEDS: Mapping[str, Mapping[str, object]] = {
    **AGREES,
    "audio_cover_strength": {"audio_codes": CODES},
    "retake_seed": {"retake_variance": 0.5},
    "dcw_mode": {"dcw_enabled": True},
    "dcw_scaler": {"dcw_enabled": True},
    "dcw_high_scaler": {"dcw_enabled": True},
    "dcw_wavelet": {"dcw_enabled": True},
    "normalization_db": {"enable_normalization": True},
    "bitrate": {"audio_format": "mp3"},
    **{name: {"start": 1.0} for name in EdgeFields.model_fields},
}
# Fields with a single choice, of which no other value can be asked.
ONE_CHOICE: set[str] = set()
# Fields no context gives an effect: they are answered instead.
# What the engine and a language model make of these is in `test_thinking.py`.
THOUGHT = {"thinking", *LanguageFields.model_fields}
ANSWERED = THOUGHT


@dataclass(frozen=True)
class Seen:
    """All that leaves a request."""

    songs: tuple[Song, ...]
    written: tuple[object, ...]


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("recordings")
    for name, seconds in (("one", 6), ("other", 7)):
        samples = np.full(seconds * 1000, 0.5, np.float32)
        soundfile.write(folder / f"{name}.wav", samples, 1000)
    return folder / "one.wav", folder / "other.wav"


@pytest.fixture(autouse=True)
def counted_seeds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seeds that nobody gave are the same each time."""
    monkeypatch.setattr(seeds.secrets, "randbits", lambda bits: 99)


def look(request: AnyMusicRequest, variant: Variant) -> tuple[Seen, set[str]]:
    """What leaves the request, and the fields its notes answer; the way the engine goes."""
    inside, clamped = clamp(request, variant.limits)
    settled, drawn, seeding = settle(inside)
    composed = compose(settled, variant, drawn)
    notes = (*clamped, *seeding, *unused(settled, variant), *composed.notes)
    return Seen(composed.songs, written(settled)), {note.field for note in notes}


def written(request: AnyMusicRequest) -> tuple[object, ...]:
    """What the writer of files is told for songs of this request."""
    told: list[object] = []

    def save(pages: object, path: Path, kind: object, rate: object) -> tuple[Path, ...]:
        told.extend((kind, rate))
        return ()

    output = Songs((), (), (), {})
    made = Result(request, output, Plan((), (), 0), Report((), 0.0), ())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(result, "save", save)
        made.save("song")
    return tuple(told)


def others(param: Param, files: tuple[Path, Path]) -> tuple[object, ...]:
    """Values of a field that are not its default, from its type, limits and choices alone."""
    if param.name in VALUES:
        return VALUES[param.name]
    if param.choices:
        other = [c for c in param.choices if c != param.default]
        return tuple((c,) for c in other[:1]) if param.many else tuple(other)
    if param.kind is bool:
        return tuple(b for b in (True, False) if b != param.default)
    if param.kind is Path:
        return ((files[1],),) if param.many else (files[1],)
    if param.kind is str:
        return ("something else",)
    return tuple(_numbers(param))


def _numbers(param: Param) -> Iterator[float]:
    """A quarter of the way to each border."""
    limit = param.limit
    assert limit is not None, f"{param.name} is a number without a limit"
    start = limit.minimum if param.default is None else float(param.default)  # type: ignore[arg-type]
    for border in (limit.maximum, limit.minimum):
        value = start + (border - start) / 4
        value = int(value) if param.kind is int else value
        if value != param.default:
            yield value


def without_effect(
    model: type[AnyMusicRequest],
    variant: Variant,
    files: tuple[Path, Path],
    needs: Mapping[str, Mapping[str, object]],
    answers: bool = True,
) -> list[str]:
    """Fields of which no other value changes anything, nor (with `answers`) is answered.

    A field that is not left open by default has to act, or be answered, at every other value.
    """
    idle = []
    for param in describe(model):
        beside: dict[str, object] = {
            k: v for k, v in needs.get(param.name, {}).items() if k in model.model_fields
        }
        if "source_audio" in model.model_fields:
            beside["source_audio"] = files[0]
        values = others(param, files)
        if not values:
            continue
        plain, said = look(model.model_validate(beside), variant)
        works = []
        for value in values:
            seen, notes = look(model.model_validate({**beside, param.name: value}), variant)
            works.append(seen != plain or (answers and param.name in notes - said))
        if not (any(works) if param.default is None else all(works)):
            idle.append(param.name)
    return idle


CASES = [
    (task, name) for task in TASKS for name, variant in MODELS.items() if task in variant.tasks
]


@pytest.mark.parametrize(("task", "name"), CASES)
def test_every_field_acts_or_is_answered(
    task: str, name: str, recordings: tuple[Path, Path]
) -> None:
    idle = without_effect(TASKS[task], MODELS[name], recordings, AGREES)
    assert idle == (["plan_metadata", "thinking"] if issubclass(TASKS[task], PlannedFields) else [])


@pytest.mark.parametrize(("task", "name"), CASES)
def test_every_field_acts_where_it_can(task: str, name: str, recordings: tuple[Path, Path]) -> None:
    """With what it needs beside it, and the notes not counted."""
    variant = MODELS[name]
    idle = set(without_effect(TASKS[task], variant, recordings, NEEDS, answers=False))
    by_task = set() if task == "text2music" else {"duration"}
    assert idle == (ANSWERED | by_task | set(variant.never_used)) & set(TASKS[task].model_fields)


def test_the_tables_hold_no_field_that_is_gone() -> None:
    known = {name for model in TASKS.values() for name in model.model_fields}
    assert {*VALUES, *NEEDS, *ONE_CHOICE, *ANSWERED} <= known
    files = Path("a"), Path("b")
    empty = {p.name for m in TASKS.values() for p in describe(m) if not others(p, files)}
    assert empty == ONE_CHOICE


class Planted(Text2Music):
    """A field that nobody reads, one with a choice, and one that may be left open."""

    sparkle: Annotated[float, Limit(0, 1, "it is a share"), Knob("Song", "Nothing at all.")] = 0.0
    colour: Annotated[str, Knob("Song", "Nothing either.")] = ""
    weight: Annotated[int | None, Limit(1, 9, "of nine"), Knob("Song", "Nor this.")] = None


def test_a_field_without_effect_is_found(recordings: tuple[Path, Path]) -> None:
    planted = ["colour", "sparkle", "weight"]
    for variant in MODELS.values():
        idle = set(without_effect(Planted, variant, recordings, AGREES))
        assert sorted(idle - THOUGHT) == planted


# --- from the song on --------------------------------------------------------------------


VALUES_OF_A_SONG = (Song, SamplerSettings, Finish, Repainting, Wavelet, Source)
TOLD_ONLY = {"model", "task"}  # which model was composed for, and a name for errors
PLANNED = {"tiled"}  # said to the planner, which says it to the decoder


def test_all_that_a_song_says_is_read_where_it_is_rendered() -> None:
    """So that "the song changed" means that something changes in the sound."""
    folder = Path(inspect.getfile(family)).parent
    files = [folder / "model.py", folder / "text" / "prompts.py"]
    for module in ("render", "source_latents", "conditions", "decode", "postprocess"):
        files.append(folder / "rendering" / f"{module}.py")
    read = {name for file in files for name in _attributes(file)}
    said = {f.name for value in VALUES_OF_A_SONG for f in fields(value)}
    # what the values themselves make of their fields
    read |= _attributes(Path(songs_file.__file__)) & {"before", "samples", "after", "times"}
    assert PLANNED <= _attributes(folder / "cost" / "footprint.py")
    assert said - read - TOLD_ONLY - PLANNED == set()


def _attributes(path: Path) -> set[str]:
    tree = ast.parse(path.read_text("utf-8"))
    return {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
