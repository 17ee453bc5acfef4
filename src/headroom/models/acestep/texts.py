"""Texts a language model writes: what codes mean, a song out of a line, a song said better."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, get_args

from headroom.errors import InvalidRequest
from headroom.lm.fill import Filled, fill
from headroom.lm.sample import Sampling
from headroom.models.acestep import lm_prompts
from headroom.models.acestep.codes_text import CODEBOOK, codes_from_text, codes_to_text
from headroom.models.acestep.language import Language
from headroom.models.acestep.parts import LANGUAGE_MODEL
from headroom.models.acestep.prompts import INSTRUMENTAL
from headroom.models.acestep.requests import Text2Music
from headroom.models.acestep.scoring import ScoreTask
from headroom.models.acestep.sheet import FIELDS, SECONDS, Sheet, lyrics_of, normalised, read
from headroom.models.acestep.sheet_grammar import SheetGrammar
from headroom.models.acestep.thinking import chances
from headroom.models.acestep.thinking_cost import THINK, Thinking
from headroom.models.base import SheetWish, SongSheet
from headroom.nn.causal import CausalLM
from headroom.params.clamp import Note
from headroom.runtime.pool import Parts
from headroom.runtime.run import Run, Step

Act = Literal["understand", "inspire", "format"]
ACTS: tuple[Act, ...] = get_args(Act)
TEXT_TOKENS = 3500  # of a sheet with lyrics at most
CALM = 0.3  # temperature of understanding: what is there is to be said, and nothing invented


@dataclass(frozen=True, slots=True)
class TextTask:
    """A text the language model is to write: a sheet with lyrics behind it.

    given  values that are forced; `cost` is the same in tokens
    """

    prompt: tuple[int, ...]
    given: Sheet
    most_seconds: int
    sampling: Sampling
    seed: int

    @property
    def cost(self) -> Thinking:
        """In tokens."""
        return Thinking((len(self.prompt),), TEXT_TOKENS, 0, False)


@dataclass(frozen=True, slots=True)
class Written:
    """A sheet and the lyrics behind it."""

    sheet: Sheet
    lyrics: str


def write_text(task: TextTask, language: Language, run: Run) -> Written:
    """Understand codes, invent a song, or say one better: all write a sheet and lyrics."""
    words = language.words

    def work(step: Step, parts: Parts) -> Filled:
        grammar = SheetGrammar(
            language.sheets, FIELDS, task.given, task.most_seconds, closes=True, sings=True
        )
        filled = fill(
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
    text = words.said(filled.tokens)
    return Written(task.given.over(read(text)), lyrics_of(text))


@dataclass(frozen=True, slots=True)
class Asked:
    """A text's task, and what was done otherwise than asked."""

    task: TextTask
    notes: tuple[Note, ...]


def text_task(wish: SheetWish, most_seconds: float, language: Language) -> Asked:
    """The task of a wish. Raises InvalidRequest for codes that are none, and an unknown act."""
    most = int(min(most_seconds, SECONDS[1]))
    given, bad = normalised(wish.given)
    notes = tuple(
        Note(name, wish.given[name], None, "it is no value that the model knows") for name in bad
    )
    if given.duration is not None and given.duration > most:
        why = f"a song is at most {most} s here"
        notes += (Note("duration", given.duration, most, why),)
        given = replace(given, duration=most)
    if wish.act == "understand":
        prompt = lm_prompts.understanding(_codes(wish.text, language))
        given = Sheet()
    elif wish.act == "inspire":
        prompt = lm_prompts.inspiring(wish.text, wish.instrumental)
        given = Sheet(language=given.language)
    elif wish.act == "format":
        prompt = lm_prompts.formatting(wish.text, wish.lyrics, INSTRUMENTAL)
    else:
        raise InvalidRequest("act", wish.act, "one of " + ", ".join(ACTS))
    ids = language.words.ids(prompt)
    asked = TextTask(ids, given, most, _sampling(wish), wish.seed)
    return Asked(asked, (*language.notes, *notes))


def _sampling(wish: SheetWish) -> Sampling:
    """As a request has it where the wish says nothing; calmer where codes are to be understood."""
    usual = Text2Music()
    temperature = CALM if wish.act == "understand" else usual.lm_temperature
    return Sampling(
        temperature if wish.temperature is None else wish.temperature,
        usual.lm_top_k if wish.top_k is None else wish.top_k,
        usual.lm_top_p if wish.top_p is None else wish.top_p,
        1.0,
    )


def score_task(wish: SheetWish, language: Language) -> ScoreTask:
    """Codes held against lyrics and a sheet. Raises InvalidRequest for what is none."""
    given, bad = normalised(wish.given)
    if bad:
        raise InvalidRequest(bad[0], wish.given[bad[0]], "a value that the model knows")
    if not given.values() and not wish.lyrics.strip():
        raise InvalidRequest("caption", "", "a caption, lyrics or other values to score against")
    codes = _codes(wish.text, language)
    if not codes:
        raise InvalidRequest("codes", wish.text, "audio codes")
    return ScoreTask(codes, given, wish.lyrics)


def song_sheet(wish: SheetWish, written: Written, notes: tuple[Note, ...]) -> SongSheet:
    """What was written, as everybody reads it. Lyrics that nobody wrote are those that were given,
    or those of music without a voice."""
    sheet, lyrics = written.sheet, written.lyrics
    if not lyrics and wish.act == "format":
        lyrics = wish.lyrics
    if not lyrics and wish.instrumental:
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
        instrumental=lyrics.strip().lower() in (INSTRUMENTAL.lower(), ""),
        notes=notes,
    )


def _codes(text: str, language: Language) -> str:
    """Codes as they stand in the prompt: `<|audio_code_N|>` …, or numbers with commas.

    A small language model knows fewer codes than there are; it reads its last one instead.
    """
    if not text.strip():
        return ""
    codes = codes_from_text(text, CODEBOOK)
    if not codes:
        words = text.replace(",", " ").split()
        codes = [int(word) for word in words if word.isdecimal()]
        if len(codes) != len(words):
            allowed = "<|audio_code_N|> one after another, or numbers with commas"
            raise InvalidRequest("codes", text[:60], allowed)
    if max(codes) >= CODEBOOK:
        raise InvalidRequest("codes", max(codes), f"codes from 0 to {CODEBOOK - 1}")
    known = language.words.codes
    return codes_to_text([min(code, known.stop - known.start - 1) for code in codes])
