"""Texts that a language model writes: a description of codes, a new song, or a rewritten one."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal, get_args

from headroom.errors import InvalidRequest
from headroom.lm.constrained_decode import DecodedText, constrained_decode
from headroom.lm.constraint import Constraint
from headroom.lm.sample import Sampling
from headroom.memory.footprint import THINK
from headroom.models.acestep.cost.lm_cost import CODE_RATE, Thinking
from headroom.models.acestep.language.folder import Language
from headroom.models.acestep.language.lm_planning import chances, sampling_of
from headroom.models.acestep.language.scoring import ScoreTask
from headroom.models.acestep.language.sheet import (
    FIELDS,
    NUMBERS,
    Sheet,
    field,
    inside,
    lyrics_of,
    normalised,
    number_in,
    read,
    said,
    whole_seconds,
)
from headroom.models.acestep.language.sheet_grammar import FreeText, SheetGrammar
from headroom.models.acestep.networks.component_names import LANGUAGE_MODEL
from headroom.models.acestep.requests.language_fields import CALM
from headroom.models.acestep.requests.regions import MOST_SECONDS
from headroom.models.acestep.requests.songs import Text2Music
from headroom.models.acestep.text import lm_prompts
from headroom.models.acestep.text.codes_text import CODEBOOK, codes_in, codes_to_text
from headroom.models.acestep.text.lyric_text import has_voice
from headroom.models.acestep.text.prompts import INSTRUMENTAL
from headroom.models.base import SheetWish, SongSheet
from headroom.nn.causal import CausalLM
from headroom.params.clamp import Note, change, clamp
from headroom.params.knob import Limit
from headroom.params.read import validate
from headroom.runtime.pool import Parts
from headroom.runtime.run import Run, Step

Act = Literal["understand", "inspire", "format"]
ACTS: tuple[Act, ...] = get_args(Act)
TEXT_TOKENS = 3500  # most tokens of a sheet with lyrics


@dataclass(frozen=True, slots=True)
class TextTask:
    """A text the language model is to write: a sheet followed by lyrics.

    given        values that are forced; `cost` is the cost in tokens
    constrained  whether the output is kept to the form of a song sheet
    sings        whether lyrics may follow; instrumental music ends with its sheet
    """

    prompt: tuple[int, ...]
    given: Sheet
    most_seconds: int
    sampling: Sampling
    seed: int
    constrained: bool
    sings: bool = True

    @property
    def cost(self) -> Thinking:
        """The cost in tokens."""
        return Thinking((len(self.prompt),), TEXT_TOKENS, 0, False)


@dataclass(frozen=True, slots=True)
class Written:
    """A sheet and the lyrics that follow it."""

    sheet: Sheet
    lyrics: str
    notes: tuple[Note, ...] = ()


def write_text(task: TextTask, language: Language, run: Run) -> Written:
    """Describe codes, invent a song, or rewrite one: all three write a sheet and lyrics."""
    words = language.words

    def work(step: Step, parts: Parts) -> DecodedText:
        grammar: Constraint = FreeText(language.sheets, sings=task.sings)
        if task.constrained:
            grammar = SheetGrammar(
                language.sheets,
                FIELDS,
                task.given,
                task.most_seconds,
                closes=True,
                sings=task.sings,
            )
        filled = constrained_decode(
            parts.of(LANGUAGE_MODEL, CausalLM),
            task.prompt,
            grammar,
            slice(0, words.codes.start),
            TEXT_TOKENS,
            task.sampling,
            chances(task.seed),
            step.device,
            step.progress,
        )
        step.wrote(filled.spent)
        return filled

    filled = run.stage(THINK, work)
    if filled.failed:
        raise language.failed(len(filled.tokens))
    text = words.written(filled.tokens)
    sheet = task.given.over(read(text))
    notes: tuple[Note, ...] = ()
    if sheet.duration is not None and sheet.duration > task.most_seconds:
        why = f"a song is at most {task.most_seconds} s here"
        notes = (Note("duration", sheet.duration, task.most_seconds, why),)
        sheet = replace(sheet, duration=task.most_seconds)
    return Written(sheet, lyrics_of(text), notes)


@dataclass(frozen=True, slots=True)
class Asked:
    """A text's task, and what differs from the request."""

    task: TextTask
    notes: tuple[Note, ...]


def text_task(wish: SheetWish, most_seconds: float, language: Language) -> Asked:
    """The task of a wish. Raises InvalidRequest for invalid codes and for an unknown act."""
    most = whole_seconds(most_seconds)
    notes = list(language.notes)
    given = _given(wish, most, notes)
    if wish.act == "understand":
        prompt = lm_prompts.understanding(_codes(wish.text, language))
        notes += [Note(n, v, None, "the codes say it") for n, v in given.values().items()]
        given = Sheet()
    elif wish.act == "inspire":
        text = _inside("caption", wish.text, notes)
        prompt = lm_prompts.inspiring(text, wish.instrumental)
    elif wish.act == "format":
        caption = _inside("caption", wish.text, notes)
        lyrics = _inside("lyrics", wish.lyrics, notes) if has_voice(wish.lyrics) else ""
        if wish.instrumental and lyrics:
            notes.append(Note("lyrics", wish.lyrics, None, "instrumental music has no words"))
            lyrics = ""
        prompt = lm_prompts.formatting(caption, lyrics, INSTRUMENTAL)
    else:
        raise InvalidRequest("act", wish.act, "one of " + ", ".join(ACTS))
    given = inside(given, most)
    ids, sampling = language.words.ids(prompt), _sampling(wish, notes)
    sings = wish.act == "understand" or not wish.instrumental
    task = TextTask(ids, given, most, sampling, wish.seed, wish.constrained, sings)
    return Asked(task, tuple(notes))


def _given(wish: SheetWish, most: int, notes: list[Note]) -> Sheet:
    """The values that the sheet must contain, within their limits."""
    asked = said(wish.given)
    given, bad = normalised(asked)
    unknown = "it is no value that the model knows"
    notes += [Note(name, asked[name], None, unknown) for name in bad]
    here = {"duration": Limit(-math.inf, most, f"a song is at most {most} s here")}
    for name in NUMBERS:
        known = name in given.values()
        note = change(field(name), number_in(name, asked[name]), here) if known else None
        if note is not None:
            used = int(float(str(note.used)))
            notes.append(replace(note, asked=asked[name], used=used))
            given = replace(given, bpm=used) if name == "bpm" else replace(given, duration=used)
    if given.caption is not None:
        given = replace(given, caption=_inside("caption", given.caption, notes))
    return given


def _inside(name: str, text: str, notes: list[Note]) -> str:
    """A text within the limit of its field."""
    note = change(field(name), text)
    if note is None:
        return text
    notes.append(note)
    return str(note.used)


def _sampling(wish: SheetWish, notes: list[Note]) -> Sampling:
    """The sampling options, with a request's defaults and limits where the wish gives none; a lower
    temperature if codes are to be described. Raises InvalidRequest.
    """
    calm = CALM if wish.act == "understand" else None
    said = {
        "lm_temperature": calm if wish.temperature is None else wish.temperature,
        "lm_top_k": wish.top_k,
        "lm_top_p": wish.top_p,
        "lm_repetition_penalty": wish.penalty,
    }
    told = {name: value for name, value in said.items() if value is not None}
    inside, clamped = clamp(validate(Text2Music, told))
    notes += clamped
    return sampling_of(inside, inside.lm_repetition_penalty)


def score_task(wish: SheetWish, language: Language) -> ScoreTask:
    """The task of scoring codes against lyrics and a sheet. Raises InvalidRequest for an invalid
    value, and for one beyond its limits: exactly what was asked must be scored.
    """
    asked = said(wish.given)
    given, bad = normalised(asked)
    if bad:
        raise InvalidRequest(bad[0], asked[bad[0]], "a value that the model knows")
    if not given.values() and not wish.lyrics.strip():
        raise InvalidRequest("caption", "", "a caption, lyrics or other values to score against")
    numbers = {name: number_in(name, asked[name]) for name in NUMBERS if name in given.values()}
    for name, value in {**numbers, "caption": given.caption, "lyrics": wish.lyrics}.items():
        if change(field(name), value) is not None:
            raise InvalidRequest(name, value, field(name).allowed())
    codes = _codes(wish.text, language)
    if not codes:
        raise InvalidRequest("codes", wish.text, "audio codes")
    return ScoreTask(codes, given, wish.lyrics)


def song_sheet(wish: SheetWish, written: Written, notes: tuple[Note, ...]) -> SongSheet:
    """The public form of what was written. If no lyrics were written, it has the given ones, or
    those of instrumental music.
    """
    sheet, lyrics = written.sheet, written.lyrics
    if not lyrics and wish.act == "format":
        lyrics = wish.lyrics
    if wish.instrumental and wish.act != "understand":
        lyrics = INSTRUMENTAL
    return SongSheet(
        caption=sheet.caption or (wish.text if wish.act == "format" else ""),
        lyrics=lyrics,
        bpm=sheet.bpm,
        keyscale=sheet.keyscale,
        timesignature=sheet.timesignature,
        language=sheet.language,
        duration=sheet.duration,
        genres=sheet.genres,
        instrumental=not has_voice(lyrics),
        notes=(*notes, *written.notes),
    )


def _codes(text: str, language: Language) -> str:
    """Codes as prompts spell them, from `<|audio_code_N|>` … or numbers with commas.

    A small language model knows only the first codes; higher ones are replaced by its last one.
    """
    if not text.strip():
        return ""
    codes = codes_in(text)
    if not codes:
        allowed = "<|audio_code_N|> one after another, or numbers with commas"
        raise InvalidRequest("codes", text[:60], allowed)
    if max(codes) >= CODEBOOK:
        raise InvalidRequest("codes", max(codes), f"codes from 0 to {CODEBOOK - 1}")
    most = MOST_SECONDS * CODE_RATE
    if len(codes) > most:
        raise InvalidRequest("codes", f"{len(codes)} codes", f"at most {most} ({MOST_SECONDS} s)")
    known = language.words.codes
    return codes_to_text([min(code, known.stop - known.start - 1) for code in codes])
