"""Texts that a language model writes: a description of codes, a new song, or a rewritten one."""

from __future__ import annotations

from dataclasses import dataclass, replace

from headroom.lm.constrained_decode import DecodedText, constrained_decode
from headroom.lm.constraint import Constraint
from headroom.lm.sample import Sampling
from headroom.memory.footprint import THINK
from headroom.models.acestep.cost.lm_cost import Thinking
from headroom.models.acestep.language.folder import Language
from headroom.models.acestep.language.lm_planning import chances, sampling_of
from headroom.models.acestep.language.sheet import (
    FIELDS,
    Sheet,
    inside,
    lyrics_of,
    read_sheet,
    whole_seconds,
)
from headroom.models.acestep.language.sheet_grammar import FreeText, SheetGrammar
from headroom.models.acestep.reasons import reason
from headroom.models.acestep.requests.language_requests import (
    AnySheetRequest,
    FormatSample,
    SheetFields,
    Understand,
)
from headroom.models.acestep.text import lm_prompts
from headroom.models.acestep.text.codes_text import codes_in, codes_to_text
from headroom.models.acestep.text.lyric_text import has_voice
from headroom.models.acestep.text.prompts import INSTRUMENTAL
from headroom.models.outputs import SongSheet
from headroom.nn.causal import CausalLM
from headroom.params.clamp import Note
from headroom.reasons import reason as shared
from headroom.runtime.pool import Parts
from headroom.runtime.run import Run, Step

UNSEEDED = 0  # an engine gives every request a seed
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
            parts.of(language.name, CausalLM),
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
    sheet = task.given.over(read_sheet(text))
    notes: tuple[Note, ...] = ()
    if sheet.duration is not None and sheet.duration > task.most_seconds:
        why = shared("longest_here", most=task.most_seconds)
        notes = (Note("duration", sheet.duration, task.most_seconds, why),)
        sheet = replace(sheet, duration=task.most_seconds)
    return Written(sheet, lyrics_of(text), notes)


def text_task(
    request: AnySheetRequest, codes: str, most_seconds: float, language: Language
) -> tuple[TextTask, tuple[Note, ...]]:
    """The task of a request within its limits, and what differs from it. `codes`: what is to be
    understood, as prompts spell codes.
    """
    notes = list(language.notes)
    sheet, sings = Sheet(), True
    if isinstance(request, Understand):
        prompt = lm_prompts.understanding_prompt(known_codes(codes, language))
    elif isinstance(request, FormatSample):
        lyrics = request.lyrics if has_voice(request.lyrics) else ""
        if request.instrumental and lyrics:
            notes.append(Note("lyrics", lyrics, None, reason("instrumental")))
            lyrics = ""
        prompt = lm_prompts.formatting_prompt(request.caption, lyrics, INSTRUMENTAL)
    else:
        prompt = lm_prompts.inspiring_prompt(request.caption, request.instrumental)
    if not isinstance(request, Understand):
        sheet, sings = sheet_of(request, request.sheet_caption), not request.instrumental
    most = whole_seconds(most_seconds)
    task = TextTask(
        language.words.ids(prompt),
        inside(sheet, most),
        most,
        sampling_of(request, request.lm_repetition_penalty),
        UNSEEDED if request.seed is None else request.seed,
        request.use_constrained_decoding,
        sings,
    )
    return task, tuple(notes)


def sheet_of(request: SheetFields, caption: str | None) -> Sheet:
    """The values that a request gives for a sheet."""
    has_language = request.vocal_language != "unknown"
    return Sheet(
        bpm=request.bpm,
        caption=" ".join(caption.split()) or None if caption else None,
        duration=None if request.duration is None else round(request.duration),
        genres=" ".join(request.genres.split()) or None if request.genres else None,
        keyscale=request.keyscale,
        language=request.vocal_language if has_language else None,
        timesignature=request.timesignature,
    )


def song_sheet(request: AnySheetRequest, written: Written) -> SongSheet:
    """The public form of what was written. If no lyrics were written, it has the given ones, or
    those of instrumental music.
    """
    sheet = written.sheet
    texts = ("", "")
    if isinstance(request, FormatSample):
        texts = (request.caption, request.lyrics)
    lyrics = written.lyrics or texts[1]
    if not isinstance(request, Understand) and request.instrumental:
        lyrics = INSTRUMENTAL
    return SongSheet(
        caption=sheet.caption or texts[0],
        lyrics=lyrics,
        bpm=sheet.bpm,
        keyscale=sheet.keyscale,
        timesignature=sheet.timesignature,
        language=sheet.language,
        duration=sheet.duration,
        genres=sheet.genres,
        instrumental=not has_voice(lyrics),
        notes=written.notes,
    )


def known_codes(text: str, language: Language) -> str:
    """Codes as prompts spell them, from any spelling. A small language model knows only the first
    codes; higher ones are replaced by its last one.
    """
    codes = language.words.codes
    return codes_to_text([min(code, codes.stop - codes.start - 1) for code in codes_in(text)])
