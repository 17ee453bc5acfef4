"""Running the language model: from a request to its song sheets and its audio codes."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import count

import torch
from torch import Tensor

from headroom.diffusion.noise import NoiseStream, uniforms
from headroom.lm.constrained_decode import DecodedText, constrained_decode
from headroom.lm.constraint import Constraint
from headroom.lm.decode import ReadBefore, Writing, generate
from headroom.lm.graphed import write_graphed
from headroom.lm.mlx import takes, write_mlx
from headroom.lm.sample import Sampling
from headroom.lm.token_timing import TokenStopwatch
from headroom.memory.footprint import THINK, WRITE
from headroom.memory.precision import NATIVE
from headroom.models.acestep.cost.footprint import song_groups
from headroom.models.acestep.cost.lm_cost import METADATA_TOKENS
from headroom.models.acestep.language.folder import Language
from headroom.models.acestep.language.lm_words import LMVocabulary
from headroom.models.acestep.language.sheet import Sheet, read_sheet
from headroom.models.acestep.language.sheet_grammar import FreeText, SheetGrammar
from headroom.models.acestep.language.song_task import SongTask
from headroom.models.acestep.networks.component_names import LANGUAGE_MODEL
from headroom.models.acestep.reasons import reason
from headroom.models.acestep.requests.language_fields import SamplingFields
from headroom.models.acestep.requests.songs import usual_duration
from headroom.models.acestep.text import lm_prompts
from headroom.models.acestep.text.codes_text import CODE_RATE
from headroom.models.base import Thought
from headroom.nn.causal import CausalLM
from headroom.params.clamp import Note, clamp
from headroom.params.knob import Limit
from headroom.reasons import reason as shared
from headroom.runtime.pool import Parts
from headroom.runtime.run import Run, Step

REPEATED = 40  # equal codes in a row that count as stuck: 8 s


def think(task: SongTask, language: Language, run: Run, backend: str = "pt") -> Thought:
    """Write the song sheets, then codes for each song. Returns one request for each song, with
    nothing left open.

    backend  the loop that writes the codes, as named by `headroom.lm.backend`
    """
    notes, plans = list(task.notes), task.plans
    sheets, before = [task.given] * len(plans), None
    if task.to_fill:
        sheets, before = _sheets(task, language, run, notes)
    codes: list[str | None] = [None] * len(plans)
    if task.request.writes_codes:
        usual = min(task.most_seconds, round(usual_duration()))  # if no length was to be written
        sheets = [s if s.duration else replace(s, duration=usual) for s in sheets]
        rows = _codes(task, sheets, language, run, before, backend)
        notes += [*_held(plans, rows), *_unconverted(run, language.name, backend)]
        codes = [language.words.spell_codes(row) for row in rows]
    why = shared("longest_here", most=task.most_seconds)
    limits = {"duration": Limit(-math.inf, task.most_seconds, why)}
    written = dict(zip(plans, zip(sheets, codes, strict=True), strict=True))
    requests = []
    for key, seed in zip(task.keys, task.seeds, strict=True):
        request, clamped = clamp(task.carried_out(*written[key], seed), limits)
        requests.append(request)
        notes += clamped
    return Thought(tuple(requests), tuple(dict.fromkeys(notes)))


def sampling_of(request: SamplingFields, penalty: float = 1.0) -> Sampling:
    """How tokens are drawn for a request. A song's repetition penalty applies only to its codes."""
    return Sampling(request.lm_temperature, request.lm_top_k, request.lm_top_p, penalty)


# --- the song sheets -----------------------------------------------------------------------


def _sheets(
    task: SongTask, language: Language, run: Run, notes: list[Note]
) -> tuple[list[Sheet], ReadBefore]:
    """A sheet for each plan, in which given values replace written ones; and what was read last."""
    keys = task.plans[: task.cost.sheets]

    def work(step: Step, parts: Parts) -> tuple[list[tuple[int, ...]], ReadBefore]:
        texts: list[tuple[int, ...]] = []
        filled: DecodedText | None = None
        for number, key in enumerate(keys):
            filled = None  # one cache at a time, as planned

            def report(position: int, count: int, before: int = number) -> None:
                step.progress(before * count + position, len(keys) * count)

            filled = _filled(task, language, key, parts.of(language.name, CausalLM), step, report)
            step.wrote(filled.spent)
            if filled.failed:
                raise language.failed(len(filled.tokens))
            texts.append(filled.tokens)
        assert filled is not None
        return texts, filled.read

    texts, before = run.stage(THINK, work)
    sheets = []
    for tokens in texts:
        sheet = task.given.over(read_sheet(language.words.written(tokens)).only(task.to_fill))
        if sheet.duration is not None and sheet.duration > task.most_seconds:
            why = shared("longest_here", most=task.most_seconds)
            notes.append(Note("duration", sheet.duration, task.most_seconds, why))
            sheet = replace(sheet, duration=task.most_seconds)
        sheets.append(sheet)
    return (sheets if len(sheets) > 1 else sheets * len(task.plans)), before


def _filled(
    task: SongTask,
    language: Language,
    key: int,
    model: CausalLM,
    step: Step,
    report: Callable[[int, int], None],
) -> DecodedText:
    """The text of a sheet; the random draws depend on the key alone."""
    grammar: Constraint = FreeText(language.sheets)
    if task.request.use_constrained_decoding:
        grammar = SheetGrammar(
            language.sheets, task.to_fill, task.given, task.most_seconds, closes=False, sings=False
        )
    return constrained_decode(
        model,
        task.prompt,
        grammar,
        language.words.text,
        METADATA_TOKENS,
        sampling_of(task.request),
        chances(key),
        step.device,
        report,
    )


def chances(seed: int) -> Iterator[float]:
    """Uniform random numbers for a seed's texts, without end."""
    for size in (256 << number for number in count()):
        row = uniforms((seed,), size, NoiseStream.SHEET)[0].tolist()
        yield from row[size // 2 if size > 256 else 0 :]


# --- the codes -----------------------------------------------------------------------------


def _codes(
    task: SongTask,
    sheets: Sequence[Sheet],
    language: Language,
    run: Run,
    before: ReadBefore | None,
    backend: str,
) -> list[list[int]]:
    """The codes of each plan, as many as its sheet's duration requires.

    All plans are written to the longest length, so that a song's random draws do not depend on its
    length. A plan that gets stuck is written once more, with other draws from that point on. Raises
    LanguageModelFailed.
    """
    request, words = task.request, language.words
    prompts = [(*task.prompt, *_thought(task, sheet, words)) for sheet in sheets]
    counts = [sheet.duration * CODE_RATE for sheet in sheets if sheet.duration is not None]
    sampling = sampling_of(request, request.lm_repetition_penalty)

    def written(plans: Sequence[int], drawn: Tensor) -> list[list[int]]:
        codes = write_codes(
            [prompts[i] for i in plans],
            task.against,
            drawn,
            words.codes,
            request.lm_cfg_scale,
            sampling,
            run,
            before,
            backend,
            language.name,
        )
        wrong = (codes < 0).any(0).nonzero()
        if len(wrong):
            raise language.failed(int(wrong[0]))
        return [row[: counts[i]] for i, row in zip(plans, codes.tolist(), strict=True)]

    drawn = uniforms(task.plans, max(counts), NoiseStream.CODES)
    rows = written(range(len(counts)), drawn)
    stuck = [i for i, row in enumerate(rows) if _longest_run(row)[1] >= REPEATED]
    if stuck and sampling.temperature > 0:
        again = uniforms([task.plans[i] for i in stuck], max(counts), NoiseStream.CODES, step=1)
        for i, fresh in zip(stuck, again, strict=True):
            start = _longest_run(rows[i])[0]
            drawn[i, start:] = fresh[start:]
        for i, row in zip(stuck, written(stuck, drawn[stuck]), strict=True):
            rows[i] = row
    return rows


def _thought(task: SongTask, sheet: Sheet, words: LMVocabulary) -> tuple[int, ...]:
    """The sheet as it stands before the codes, in no more tokens than were planned.

    Text that was written in a number of tokens may take more when it is read again, for example if
    it holds broken characters.
    """
    request = task.request
    if not request.use_cot_caption:
        sheet = replace(sheet, caption=None)
    if not (request.use_cot_language or task.given.language):
        sheet = replace(sheet, language=None)
    ids = words.ids(lm_prompts.before_codes(sheet.text(), task.layout))
    while len(ids) > METADATA_TOKENS and sheet.caption:
        shorter = sheet.caption[: len(sheet.caption) * 9 // 10].strip()
        sheet = replace(sheet, caption=shorter or None)
        ids = words.ids(lm_prompts.before_codes(sheet.text(), task.layout))
    return ids


def _held(plans: Sequence[int], rows: Sequence[Sequence[int]]) -> list[Note]:
    """A note for each plan whose codes got stuck."""
    notes = []
    for key, row in zip(plans, rows, strict=True):
        _, longest = _longest_run(row)
        if longest >= REPEATED:
            why = reason("codes_stuck", times=longest, seed=key)
            notes.append(Note("audio_codes", "music", "a held sound", why))
    return notes


def _unconverted(run: Run, component: str, backend: str) -> list[Note]:
    """A note if the plan has converted weights, which mlx cannot use."""
    precision = run.plan.placement(component).precision
    if backend != "mlx" or precision in NATIVE:
        return []
    return [Note("lm_backend", backend, "pt", reason("mlx_precision", precision=precision))]


def _longest_run(codes: Sequence[int]) -> tuple[int, int]:
    """The start and the length of the longest run of equal codes."""
    best = start = 0
    at = 0
    for index, code in enumerate(codes):
        if code != codes[start]:
            start = index
        if index + 1 - start > best:
            at, best = start, index + 1 - start
    return at, best


def write_codes(
    prompts: Sequence[Sequence[int]],
    against: Sequence[int] | None,
    chances: Tensor,
    words: slice,
    scale: float,
    sampling: Sampling,
    run: Run,
    before: ReadBefore | None = None,
    backend: str = "pt",
    component: str = LANGUAGE_MODEL,
) -> Tensor:
    """The codes [songs, count] of songs with these prompts, numbered from 0, on the host.

    chances  [songs, count] in [0, 1), drawn on the host
    words    the range of the vocabulary that holds the codes
    backend  named as in `headroom.lm.backend`; torch's plain loop if it does not suit the plan
    component  the language model's
    """
    songs, number = chances.shape

    def work(step: Step, parts: Parts) -> Tensor:
        model = parts.of(component, CausalLM)
        batches, pieces = [], song_groups(songs, step.pieces)
        for index, group in enumerate(pieces):
            writing = Writing(
                tuple(tuple(prompts[i]) for i in group),
                None if against is None else tuple(against),
                number,
                words,
                sampling,
                scale,
            )

            def report(position: int, _: int, before: int = index * number) -> None:
                step.progress(before + position, len(pieces) * number)

            stopwatch = TokenStopwatch()
            progress = stopwatch.watching(step.settle, report)
            rows = chances[group.start : group.stop]
            if backend == "mlx" and takes(model):
                codes = write_mlx(model, writing, rows, step.device, progress, before)
            elif backend == "vllm" and step.captures:
                codes = write_graphed(
                    model, writing, rows, step.device, progress, step.capture, before
                )
            else:
                codes = generate(model, writing, rows, step.device, progress, before)
            drawn, read = codes.numel(), writing.to_read(before)
            step.wrote(stopwatch.timing(len(group), len(writing.sequences), read, drawn))
            batches.append(codes)
        result: Tensor = torch.cat(batches).sub_(words.start)
        return result

    return run.stage(WRITE, work)
