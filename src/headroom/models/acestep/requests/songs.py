"""ACE-Step's six requests, distinguished by `task`. No torch.

Fields are declared in `common_fields.py`, `song_fields.py`, `source_fields.py` and here, each once.
Every interface calls `request_from`, which accepts the old spellings and explains each fault in one
sentence.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal, Self, TypeAlias, cast

from pydantic import (
    Field,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    model_validator,
)

from headroom.errors import InvalidRequest, written
from headroom.log import log
from headroom.models.acestep.reasons import reason
from headroom.models.acestep.requests.common_fields import (
    SHARE,
    DiffusionFields,
    GuidanceFields,
    OutputFields,
)
from headroom.models.acestep.requests.language_fields import LanguageFields
from headroom.models.acestep.requests.song_fields import SongFields
from headroom.models.acestep.requests.source_fields import (
    CodesFields,
    CoverStrengthFields,
    EdgeFields,
    RegionFields,
    SourceFields,
    TrackFields,
)
from headroom.models.acestep.text.codes_text import codes_in
from headroom.models.acestep.text.vocabulary import METAS, TRACK_WORDS, TRACKS
from headroom.params.describe import TASK, Param, describe, stand_in
from headroom.params.knob import Choices, Knob, Limit, Many, refuse
from headroom.params.note import Note
from headroom.params.read import read
from headroom.params.request import asks_nothing, snake, spellings


class PlannedFields(OutputFields, LanguageFields):
    """Common part of the requests that a language model can plan first."""

    @property
    def knows_length(self) -> bool:
        """Whether the length is already fixed, so that no language model chooses it."""
        return True

    @property
    def writes_codes(self) -> bool:
        """Whether a language model writes audio codes, which would replace a recording."""
        return False

    @property
    def to_fill(self) -> tuple[str, ...]:
        """The fields of the song sheet that a language model fills in: open fields, and the caption
        and language if it may rewrite them."""
        names = METAS if self.use_cot_metas else ()
        excluded = {"duration"} if self.knows_length else set()
        fields = [name for name in names if name not in excluded and getattr(self, name) is None]
        fields += ["caption"] * self.use_cot_caption
        unknown = isinstance(self, SongFields) and self.vocal_language == "unknown"
        fields += ["language"] * (self.use_cot_language and unknown)
        return tuple(fields)

    @property
    def asks(self) -> str | None:
        """The field that asks a language model to plan the song; None: there is nothing for it to
        do."""
        if self.writes_codes or (self.thinking and self.to_fill):
            return "thinking"
        return "plan_metadata" if self.plan_metadata and self.to_fill else None

    def unasked(self) -> Self:
        """The same request without a language model."""
        return self.model_copy(update={"thinking": False, "plan_metadata": False})


class Text2Music(
    PlannedFields,
    CoverStrengthFields,
    GuidanceFields,
    DiffusionFields,
    CodesFields,
    SongFields,
):
    """A song from words, or from audio codes."""

    task: Literal["text2music"] = "text2music"

    @model_validator(mode="after")
    def _codes_hold_a_code(self) -> Text2Music:
        if self.audio_codes and not codes_in(self.audio_codes):
            raise refuse(
                "text with at least one <|audio_code_N|>, or numbers with commas",
                field="audio_codes",
                value=self.audio_codes,
            )
        return self

    @property
    def knows_length(self) -> bool:
        """Whether audio codes fix its length."""
        return bool(self.audio_codes)

    @property
    def usual_seconds(self) -> float | None:
        """The length in seconds used by default; None: the request or its codes give one."""
        if self.duration is not None or self.audio_codes:
            return None
        return usual_duration()

    @property
    def writes_codes(self) -> bool:
        """Whether a language model writes the audio codes."""
        return self.thinking and not self.audio_codes


def usual_duration() -> float:
    """Length in seconds of a song for which none is given."""
    usual = stand_in(Text2Music, "duration")
    if not isinstance(usual, (int, float)):
        raise TypeError("duration has no usual value")
    return usual


class Cover(
    OutputFields, CoverStrengthFields, GuidanceFields, DiffusionFields, SourceFields, SongFields
):
    """The melody and form of a recording in another sound."""

    task: Literal["cover"] = "cover"
    cover_noise_strength: Annotated[
        float,
        Limit(0, 1, SHARE, least=0),
        Knob(
            "Cover",
            "How far the song starts from the recording itself instead of noise; 0 is noise alone.",
            step=0.01,
        ),
    ] = 0.0
    quantize_source: Annotated[
        bool,
        Knob(
            "Cover",
            "Reduce the recording to audio codes, which keep melody and form but not the sound.",
        ),
    ] = True


class Repaint(
    OutputFields, GuidanceFields, DiffusionFields, EdgeFields, RegionFields, SourceFields,
    SongFields,
):  # fmt: skip
    """A stretch of a recording made anew, or more of it before or after."""

    task: Literal["repaint"] = "repaint"


class Lego(
    PlannedFields, GuidanceFields, DiffusionFields, TrackFields, EdgeFields, RegionFields,
    SourceFields, SongFields,
):  # fmt: skip
    """One more track that fits a recording, in all of it or in a region."""

    task: Literal["lego"] = "lego"


class Extract(OutputFields, GuidanceFields, DiffusionFields, TrackFields, SourceFields, SongFields):
    """One track taken out of a recording."""

    task: Literal["extract"] = "extract"


class Complete(PlannedFields, GuidanceFields, DiffusionFields, SourceFields, SongFields):
    """A recording of one track with others added."""

    task: Literal["complete"] = "complete"
    tracks: Annotated[
        tuple[str, ...],
        Many(",|"),
        Choices(TRACKS),
        Knob(
            "Source",
            "Instruments to add.",
            basic=True,
            old=("track_classes", "instruments"),
            old_words=TRACK_WORDS,
        ),
    ] = ()


AnyPlanned: TypeAlias = Text2Music | Lego | Complete
AnyMusicRequest: TypeAlias = Text2Music | Cover | Repaint | Lego | Extract | Complete

TASKS: Mapping[str, type[AnyMusicRequest]] = {
    "text2music": Text2Music,
    "cover": Cover,
    "repaint": Repaint,
    "lego": Lego,
    "extract": Extract,
    "complete": Complete,
}


def keeps_source(request: AnyMusicRequest) -> bool:
    """Whether the song keeps samples of its source unchanged outside a region."""
    return isinstance(request, Repaint) or (isinstance(request, Lego) and request.has_region)


ELSEWHERE: Mapping[type[AnyMusicRequest], Mapping[str, Param]] = {
    model: {
        spelt: param
        for other in TASKS.values()
        for param in describe(other)
        for spelt in (param.name, *param.knob.old)
        if spelt not in spellings(model)
    }
    for model in TASKS.values()
}
"""For each request the names of fields that only other tasks have."""

UNPLANNED = reason("task_unplanned")
_USUAL = "text2music"
_TASK_NAMES = (TASK, "task_type")
_TASK_WORDS = {"text_to_music": "text2music", "txt2music": "text2music"}
_WITHOUT_CODES = ("cover_nofsq", "cover_no_fsq")  # a cover of the recording's own latents


def is_task(name: object) -> bool:
    """Whether an entry of this name says the task."""
    return snake(written(name)) in _TASK_NAMES


def named_task(values: Mapping[str, object]) -> object:
    """The task that a mapping names, as it is spelt there, words in snake case; None: none."""
    named = (value for name, value in values.items() if is_task(name))
    task = next((value for value in named if value not in (None, "")), None)
    return snake(task.strip()) if isinstance(task, str) else task


def _with_task(values: object) -> object:
    """The mapping with its task under `task`, in its current name; text2music if none is given.

    Fields of other tasks are left out if they ask for nothing.
    """
    if not isinstance(values, Mapping):
        return values
    normalised = {written(name): value for name, value in values.items()}
    rest = {name: value for name, value in normalised.items() if not is_task(name)}
    word = named_task(normalised)
    task = _USUAL if word is None else word
    if isinstance(word, str):
        if word in _WITHOUT_CODES:
            word = "cover"
            rest.setdefault("quantize_source", False)
        task = _TASK_WORDS.get(word, word)
        if task == "cover" and _has(rest, "audio_codes") and not _has(rest, "source_audio"):
            task = _USUAL  # a song from codes: the DiT covers them
    model = TASKS.get(task) if isinstance(task, str) else None
    if model is not None:
        rest = {n: value for n, value in rest.items() if not _idle(model, n, value)}
    return {TASK: task, **rest}


def _idle(model: type[AnyMusicRequest], name: str, value: object) -> bool:
    """Whether to leave out an entry: a field that only other tasks have, with a value that asks for
    nothing.

    Language model options are often set by programs for every song: they are left out with a
    warning.
    """
    field = ELSEWHERE[model].get(snake(name))
    if field is None:
        return False
    if asks_nothing(field, value):
        return True
    if field.name in LanguageFields.model_fields:
        log.warning(Note(name, value, None, UNPLANNED).sentence())
        return True
    return False


def _has(values: Mapping[str, object], field: str) -> bool:
    """Whether a field of text2music or of a cover has a value, under any of its names."""
    names = {old for model in (Text2Music, Cover) for old, name in spellings(model).items()
             if name == field}  # fmt: skip
    return any(value not in (None, "") for name, value in values.items() if snake(name) in names)


def _of_its_task(values: object, inner: ValidatorFunctionWrapHandler) -> object:
    """The request for a mapping's own task. Raises InvalidRequest."""
    try:
        return inner(_with_task(values))
    except ValidationError as error:  # the task is unknown: requests raise InvalidRequest
        if not isinstance(values, Mapping):
            raise InvalidRequest("request", values, "a mapping of fields to values") from error
        task = cast("Mapping[str, object]", _with_task(values))[TASK]
        raise InvalidRequest(TASK, task, "one of " + ", ".join(TASKS)) from error


MusicRequest = Annotated[
    Annotated[AnyMusicRequest, Field(discriminator=TASK)], WrapValidator(_of_its_task)
]


def request_from(values: Mapping[str, object]) -> AnyMusicRequest:
    """The request for what the user wrote, under any spelling; text2music if no task is given.

    Raises InvalidRequest with the field, its value and what is allowed.
    """
    named = cast("Mapping[str, object]", _with_task(values))
    return cast("AnyMusicRequest", read(TASKS, named, _USUAL))
