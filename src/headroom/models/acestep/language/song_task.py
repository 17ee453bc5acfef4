"""Turns a request into work for a language model, and the result back into a request."""

from __future__ import annotations

from dataclasses import dataclass

from headroom.models.acestep.cost.lm_cost import FRAME, METADATA_TOKENS, Thinking
from headroom.models.acestep.language.folder import Language
from headroom.models.acestep.language.sheet import Sheet, inside, whole_seconds
from headroom.models.acestep.requests.language_fields import LanguageFields
from headroom.models.acestep.requests.songs import AnyPlanned, Text2Music
from headroom.models.acestep.requests.variants import unused_in_planning
from headroom.models.acestep.song.compose import source_seconds, sung_lyrics
from headroom.models.acestep.text import lm_prompts
from headroom.models.acestep.text.codes_text import CODE_RATE, CODEBOOK, codes_from_text
from headroom.params.clamp import Note
from headroom.settings import LMPrompt


@dataclass(frozen=True, slots=True)
class SongTask:
    """What the language model has to do for a request.

    seeds    the seeds of the songs
    keys     the seeds of the plans: each song's own seed, or one for all songs
    given    the values that the request itself gives
    to_fill  the fields the model is to fill
    prompt   made from the request, without thinking; `against`: what codes are guided away from
    cost     the cost in tokens
    layout   the layout of the prompts
    """

    request: AnyPlanned
    seeds: tuple[int, ...]
    keys: tuple[int, ...]
    given: Sheet
    to_fill: tuple[str, ...]
    prompt: tuple[int, ...]
    against: tuple[int, ...] | None
    most_seconds: int
    cost: Thinking
    layout: LMPrompt
    notes: tuple[Note, ...] = ()

    @property
    def plans(self) -> tuple[int, ...]:
        """The distinct keys: songs with the same key have the same plan."""
        return tuple(dict.fromkeys(self.keys))

    @property
    def longest(self) -> AnyPlanned:
        """The request for the longest song that this work may lead to."""
        if self.request.knows_length:
            return self.request.unasked()
        seconds = self.given.duration or self.most_seconds
        return self.request.unasked().model_copy(update={"duration": float(seconds)})

    def carried_out(self, sheet: Sheet, codes: str | None, seed: int) -> AnyPlanned:
        """The request to render: planned values are filled in, and no further planning is asked
        for.
        """
        planned: dict[str, object] = {
            "bpm": sheet.bpm,
            "keyscale": sheet.keyscale,
            "timesignature": sheet.timesignature,
            "seed": seed,
            "seeds": (),
            "batch_size": 1,
        }
        if codes is not None:
            planned["audio_codes"] = codes
        elif sheet.duration and self.request.duration is None and not self.request.knows_length:
            planned["duration"] = float(sheet.duration)
        if self.request.use_cot_caption and sheet.caption:
            planned["caption"] = sheet.caption
        if sheet.language is not None:
            planned["vocal_language"] = sheet.language
        gone = {*LanguageFields.model_fields, "thinking"}
        if codes is not None:
            gone.add("duration")  # the codes determine it
        given = {n: getattr(self.request, n) for n in self.request.model_fields_set - gone}
        return type(self.request).model_validate({**given, **planned})


def song_task(
    request: AnyPlanned,
    seeds: tuple[int, ...],
    most_seconds: float,
    language: Language,
    layout: LMPrompt,
) -> SongTask:
    """The work of a request that asks for a language model."""
    words = language.words
    sheet = Sheet(
        bpm=request.bpm,
        duration=_seconds(request),
        keyscale=request.keyscale,
        timesignature=request.timesignature,
        language=None if request.vocal_language == "unknown" else request.vocal_language,
    )
    fields = request.to_fill
    keys = seeds if request.lm_seed is None else (request.lm_seed,) * len(seeds)
    plans = len(set(keys))
    prompt = words.ids(lm_prompts.generating_prompt(request.caption, sung_lyrics(request)))
    guided = request.writes_codes and request.lm_cfg_scale > 1
    against: tuple[int, ...] | None = None
    if guided:
        prompts = request.lm_negative_prompt, request.caption, sung_lyrics(request), layout
        against = words.ids(lm_prompts.against(*prompts))
    most = sheet.duration or whole_seconds(most_seconds)
    sheet = inside(sheet, most)
    cost = Thinking(
        (len(prompt),) * plans,
        METADATA_TOKENS,
        most * CODE_RATE if request.writes_codes else 0,
        guided,
        sheets=(1 if request.lm_shared_metadata else plans) if fields else 0,
        away=FRAME if against is None else len(against),
    )
    notes = (*language.notes, *unused_in_planning(request))
    return SongTask(
        request, seeds, keys, sheet, fields, prompt, against, most, cost, layout, notes
    )  # fmt: skip


def _seconds(request: AnyPlanned) -> int | None:
    """The length in whole seconds, if the request determines it."""
    if not isinstance(request, Text2Music):
        return max(1, round(source_seconds(request)))
    if request.audio_codes:
        return max(1, len(codes_from_text(request.audio_codes, CODEBOOK)) // CODE_RATE)
    return None if request.duration is None else max(1, round(request.duration))
