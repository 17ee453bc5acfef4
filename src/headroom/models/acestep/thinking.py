"""The language model at work in a run: from a request to its song sheet and its audio codes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import count

import torch
from torch import Tensor

from headroom.diffusion.noise import Stream, uniforms
from headroom.lm.constraint import Constraint
from headroom.lm.decode import ReadBefore, Writing, write
from headroom.lm.fill import Filled, fill
from headroom.lm.graphed import write_graphed
from headroom.lm.sample import Sampling
from headroom.models.acestep import lm_prompts
from headroom.models.acestep.compose import sung, usual_duration
from headroom.models.acestep.footprint import groups
from headroom.models.acestep.language import Language
from headroom.models.acestep.lm_words import Words
from headroom.models.acestep.parts import LANGUAGE_MODEL
from headroom.models.acestep.requests import Text2Music
from headroom.models.acestep.sheet import FIELDS, SECONDS, Sheet, lyrics_of, read
from headroom.models.acestep.sheet_grammar import FreeText, SheetGrammar
from headroom.models.acestep.thinking_cost import (
    CODE_RATE,
    METADATA_TOKENS,
    THINK,
    WRITE,
    Thinking,
)
from headroom.models.base import Thought
from headroom.nn.causal import CausalLM
from headroom.params.clamp import Note
from headroom.runtime.pool import Parts
from headroom.runtime.run import Run, Step

METAS = ("bpm", "duration", "keyscale", "timesignature")
TEXT_TOKENS = 3500  # of a sheet with lyrics at most
REPEATED = 40  # equal codes in a row, from where on they are no music: 8 s


@dataclass(frozen=True, slots=True)
class SongTask:
    """What the language model has to do for a request.

    given   what the request says itself
    asked   the fields it is to fill
    prompt  of the request, without thoughts
    cost    the same in tokens
    """

    request: Text2Music
    seeds: tuple[int, ...]
    given: Sheet
    asked: tuple[str, ...]
    prompt: tuple[int, ...]
    against: tuple[int, ...] | None
    most_seconds: int
    cost: Thinking

    @property
    def longest(self) -> Text2Music:
        """The request with the longest song that may come of it."""
        seconds = self.given.duration or self.most_seconds
        return self.request.model_copy(update={"duration": float(seconds), "thinking": False})


def song_task(
    request: Text2Music, seeds: tuple[int, ...], most_seconds: float, language: Language
) -> SongTask:
    """The work of a request that asks to think."""
    words = language.words
    seconds = None if request.duration is None else max(1, round(request.duration))
    given = Sheet(
        bpm=request.bpm,
        duration=seconds,
        keyscale=request.keyscale,
        timesignature=request.timesignature,
        language=None if request.vocal_language == "unknown" else request.vocal_language,
    )
    asked: tuple[str, ...] = METAS if request.use_cot_metas else ()
    asked += ("caption",) * request.use_cot_caption + ("language",) * request.use_cot_language
    open_ = tuple(name for name in FIELDS if name in asked and getattr(given, name) is None)
    prompt = words.ids(lm_prompts.generating(request.caption, sung(request)))
    guided = request.lm_cfg_scale > 1
    against = words.ids(lm_prompts.away_from(request.lm_negative_prompt)) if guided else None
    most = int(given.duration or min(most_seconds, SECONDS[1]))
    cost = Thinking((len(prompt),) * len(seeds), METADATA_TOKENS, most * CODE_RATE, guided)
    return SongTask(request, seeds, given, open_, prompt, against, most, cost)


def think(task: SongTask, language: Language, run: Run, graphs: bool = False) -> Thought:
    """The song sheet, then codes for each song; a request for each, with nothing left open.

    graphs  whether codes are written in recorded graphs, where the device records them
    """
    sheet, notes, before = task.given, list[Note](), None
    if task.asked:
        filled = _metadata(task, language, run)
        sheet = task.given.over(read(language.words.said(filled.tokens)))
        before = filled.read
    if sheet.duration is None:  # nobody was asked for it
        sheet = replace(sheet, duration=min(task.most_seconds, round(usual_duration())))
    codes = _codes(task, sheet, language, run, before, graphs)
    for song, row in zip(task.seeds, codes, strict=True):
        longest = _longest_run(row)
        if longest >= REPEATED:
            why = f"the language model wrote one code {longest} times in a row (seed {song})"
            notes.append(Note("audio_codes", "music", "a held sound", why))
    return Thought(
        tuple(
            _filled(task.request, sheet, language.words.said_codes(row), seed)
            for row, seed in zip(codes, task.seeds, strict=True)
        ),
        tuple(notes),
    )


def _filled(request: Text2Music, sheet: Sheet, codes: str, seed: int) -> Text2Music:
    """The request as it is rendered: what was thought is said, and nobody is asked again."""
    told: dict[str, object] = {
        "bpm": sheet.bpm,
        "keyscale": sheet.keyscale,
        "timesignature": sheet.timesignature,
        "audio_codes": codes,
        "thinking": False,
        "seed": seed,
        "seeds": (),
        "batch_size": 1,
    }
    if request.use_cot_caption and sheet.caption:
        told["caption"] = sheet.caption
    if sheet.language is not None:
        told["vocal_language"] = sheet.language
    plain = {name: getattr(request, name) for name in request.model_fields_set}
    for name in [*plain]:
        if name.startswith(("lm_", "use_cot_", "use_constrained_")) or name == "duration":
            del plain[name]
    return Text2Music.model_validate({**plain, **told})


def _sampling(request: Text2Music, penalty: float = 1.0) -> Sampling:
    return Sampling(request.lm_temperature, request.lm_top_k, request.lm_top_p, penalty)


def _metadata(task: SongTask, language: Language, run: Run) -> Filled:
    """What the language model fills in, once for all songs, keyed by the first one's seed."""

    def work(step: Step, parts: Parts) -> Filled:
        grammar: Constraint = FreeText(language.sheets)
        if task.request.use_constrained_decoding:
            grammar = SheetGrammar(
                language.sheets,
                task.asked,
                task.given,
                task.most_seconds,
                closes=False,
                sings=False,
            )
        return fill(
            parts.of(LANGUAGE_MODEL, CausalLM),
            task.prompt,
            grammar,
            language.words.text,
            METADATA_TOKENS,
            _sampling(task.request),
            _chances(task.seeds[0]),
            step.device,
            step.progress,
        )

    return run.stage(THINK, work)


def _codes(
    task: SongTask,
    sheet: Sheet,
    language: Language,
    run: Run,
    before: ReadBefore | None,
    graphs: bool,
) -> list[list[int]]:
    words, request = language.words, task.request
    told = replace(
        sheet,
        caption=sheet.caption if request.use_cot_caption else None,
        language=sheet.language if request.use_cot_language or task.given.language else None,
    )
    prompt = (*task.prompt, *_thought(told, words))
    assert sheet.duration is not None  # it was decided
    number = sheet.duration * CODE_RATE
    codes = write_codes(
        [prompt] * len(task.seeds),
        task.against,
        uniforms(task.seeds, number, Stream.CODES),
        words.codes,
        request.lm_cfg_scale,
        _sampling(request, request.lm_repetition_penalty),
        run,
        before,
        graphs,
    )
    found: list[list[int]] = codes.tolist()
    return found


def _thought(sheet: Sheet, words: Words) -> tuple[int, ...]:
    """The sheet as it stands before the codes, in no more tokens than were planned.

    What was written in so many tokens may be more when it is read: broken letters are.
    """
    ids = words.ids(lm_prompts.thought(sheet.text()))
    while len(ids) > METADATA_TOKENS and sheet.caption:
        shorter = sheet.caption[: len(sheet.caption) * 9 // 10].strip()
        sheet = replace(sheet, caption=shorter or None)
        ids = words.ids(lm_prompts.thought(sheet.text()))
    return ids


def _longest_run(codes: Sequence[int]) -> int:
    most = here = 0
    before = -1
    for code in codes:
        here = here + 1 if code == before else 1
        before, most = code, max(most, here)
    return most


def _chances(seed: int) -> Iterator[float]:
    """Uniforms of a seed's texts, without end."""
    for size in (256 << number for number in count()):
        row = uniforms((seed,), size, Stream.SHEET)[0].tolist()
        yield from row[size // 2 if size > 256 else 0 :]


def write_codes(
    prompts: Sequence[Sequence[int]],
    against: Sequence[int] | None,
    chances: Tensor,
    words: slice,
    scale: float,
    sampling: Sampling,
    run: Run,
    before: ReadBefore | None = None,
    graphs: bool = False,
) -> Tensor:
    """Codes [songs, count] of songs with these prompts, as numbers from 0 on, on the host.

    chances  [songs, count] in [0, 1), drawn on the host
    words    where the codes are in the vocabulary
    """
    songs, number = chances.shape

    def work(step: Step, parts: Parts) -> Tensor:
        model = parts.of(LANGUAGE_MODEL, CausalLM)
        found, pieces = [], groups(songs, step.pieces)
        for index, group in enumerate(pieces):
            writing = Writing(
                tuple(tuple(prompts[i]) for i in group),
                None if against is None else tuple(against),
                number,
                words,
                sampling,
                scale,
            )

            def told(done: int, _: int, before: int = index * number) -> None:
                step.progress(before + done, len(pieces) * number)

            rows = chances[group.start : group.stop]
            if graphs and step.captures:
                codes = write_graphed(model, writing, rows, step.device, told, step.capture, before)
            else:
                codes = write(model, writing, rows, step.device, told, before)
            found.append(codes)
        every: Tensor = torch.cat(found).sub_(words.start)
        return every

    return run.stage(WRITE, work)


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
        return fill(
            parts.of(LANGUAGE_MODEL, CausalLM),
            task.prompt,
            grammar,
            slice(0, words.codes.start),
            TEXT_TOKENS,
            task.sampling,
            _chances(task.seed),
            step.device,
            step.progress,
        )

    text = words.said(run.stage(THINK, work).tokens)
    return Written(task.given.over(read(text)), lyrics_of(text))
