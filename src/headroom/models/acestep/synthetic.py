"""Released models that are not installed: their real sizes, with random weights or none.

Without weights, on a simulated device with fake tensors, each loop of a run stops after two turns:
every turn takes what the one before it took, so the peak has been reached by then. With random
weights everything is computed as with real ones, and the song is noise.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, fields, replace
from functools import cache, cached_property, partial
from itertools import count
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, nn

from headroom.audio.wave import Audio
from headroom.device.simulated_tensor import UNKNOWN
from headroom.errors import InvalidRequest
from headroom.hardware.machine import DType, writing_dtype
from headroom.lm.decode import ReadBefore
from headroom.memory.footprint import DENOISE, THINK, WRITE
from headroom.models.acestep.blueprint import Blueprint, language_model
from headroom.models.acestep.catalogue import BUNDLED, LM_PREFIX
from headroom.models.acestep.cost.lm_cost import METADATA_TOKENS, TEXT_WORDS
from headroom.models.acestep.language.folder import Language
from headroom.models.acestep.language.language_acts import PlanSongs
from headroom.models.acestep.language.lm_planning import think
from headroom.models.acestep.language.lm_words import LMVocabulary
from headroom.models.acestep.networks.component_names import DIT, VAE_DECODER
from headroom.models.acestep.networks.released import released_lm
from headroom.models.acestep.reasons import reason
from headroom.models.acestep.requests.variants import VARIANTS
from headroom.models.acestep.song.song import Song
from headroom.models.acestep.text.codes_text import CODEBOOK
from headroom.models.acestep.text.lm_prompts import THINK as MARK
from headroom.models.acestep.text.lm_prompts import THOUGHT
from headroom.models.base import AnyModel, Loader, Setup, Thought
from headroom.nn.causal import CachePosition, CausalLM, Past
from headroom.params.clamp import Note
from headroom.params.request import Request
from headroom.runtime.pool import Parts
from headroom.runtime.run import Run, Step

TURNS = 2  # turns of a loop that are enough to see its peak
LM_FOLDER = BUNDLED / "acestep-5Hz-lm-nano"
SCALES = {"Decoder": 0.5, "Encoder": 0.7}  # with 1 the codec's residual units double the signal
BIAS = 0.02  # standard deviation of vectors that are not norm weights
PERIOD = (1 << 22) + 15  # length of the random table; no width divides it, so no two rows are equal

T = TypeVar("T")


class BlankLanguage(Language):
    """A released language model's sizes, with the vocabulary of the bundled one.

    longest  sheets are padded to the greatest length, so that what is needed is the plan's bound
    """

    def __init__(self, size: str, dtype: DType, longest: bool) -> None:
        super().__init__(f"{LM_PREFIX}{size}", LM_FOLDER, dtype)
        self.config, self._size, self._longest = released_lm(size), size, longest

    @cached_property
    def words(self) -> LMVocabulary:
        words = LMVocabulary.open(self.folder)
        kind = _LongWords if self._longest else LMVocabulary
        return kind(
            words.tokenizer, words.end, words.think, words.thought, words.first_mark,
            slice(TEXT_WORDS, TEXT_WORDS + CODEBOOK),
        )  # fmt: skip

    def load(self, dtype: torch.dtype) -> nn.Module:
        """The network, without values."""
        return language_model(self._size, self.dtype)


class _LongWords(LMVocabulary):
    def ids(self, text: str) -> tuple[int, ...]:
        tokens = super().ids(text)
        if not (text.startswith(MARK) and THOUGHT in text):
            return tokens
        return tokens + (self.newline,) * (METADATA_TOKENS - len(tokens))


def synthetic_model(name: str, setup: Setup, drawn: bool) -> AnyModel:
    """A model of released sizes, with random weights if they are `drawn`, else without values.

    Raises InvalidRequest for a name that is not a released variant's.
    """
    if name not in VARIANTS:
        raise InvalidRequest("model", name, "one of " + ", ".join(VARIANTS))
    return cast("AnyModel", (RandomModel if drawn else Blank)(name, setup))


class Blank(Blueprint):
    """A released variant and its language models, without values. Raises KeyError for any other."""

    blank = True

    def __init__(self, name: str, setup: Setup) -> None:
        super().__init__(name, setup)
        self._setup = setup

    @cached_property
    def _languages(self) -> dict[str, Language]:
        sizes = self._setup.lms
        dtype = writing_dtype(self._setup.dtype, self._setup.machine)
        return {f"{LM_PREFIX}{s}": BlankLanguage(s, dtype, self.blank) for s in sizes}

    def loaders(self) -> Mapping[str, Loader]:
        return {**super().loaders(), **self.language_loaders()}

    def language_loaders(self) -> Mapping[str, Loader]:
        return {name: partial(self._load_language, name) for name in self._languages}

    def render(self, songs: tuple[Song, ...], run: Run) -> tuple[Audio, ...]:
        shape = len(songs), max(song.frames for song in songs), self.config.latent_channels
        even = len(set(songs[0].sampling.guided)) == 1  # else the steps are not alike
        traced = _Traced(run, {DENOISE: torch.full(shape, UNKNOWN)} if even else {})
        return super().render(songs, cast("Run", traced))

    def planning(
        self, request: Request, seeds: tuple[int, ...], most_seconds: float, language: str
    ) -> PlanSongs:
        act = super().planning(request, seeds, most_seconds, language)
        if not self.blank:
            return act
        values = {field.name: getattr(act, field.name) for field in fields(act)}
        return _PlanTraced(**values)


class RandomModel(Blank):
    """The same with random weights in host memory: norms near 1, matrices small."""

    blank = False

    def __init__(self, name: str, setup: Setup) -> None:
        super().__init__(name, setup)
        self.compile = setup.compile is not None and setup.compile.decide(name, self.dtype)

    @property
    def notes(self) -> tuple[Note, ...]:
        return (
            Note("model", self.name, "its sizes and drawn weights", reason("model_not_installed")),
        )

    def loaders(self) -> Mapping[str, Loader]:
        loaders: dict[str, Loader] = {
            name: partial(_drawn, cast("Callable[[], nn.Module]", load))
            for name, load in super().loaders().items()
        }
        if self.compile:
            for name in (DIT, VAE_DECODER):
                loaders[name] = partial(self._compiled, loaders[name])
        return loaders

    def render(self, songs: tuple[Song, ...], run: Run) -> tuple[Audio, ...]:
        return Blueprint.render(self, songs, run)


# --- runs whose loops end early --------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _PlanTraced(PlanSongs):
    """Planning that ends its loops early; its codes are drawn at random."""

    def run(self, run: Run) -> Thought:
        """The requests to render, with codes that mean nothing."""
        task = self.task
        draw = torch.Generator().manual_seed(task.seeds[0])
        codes = torch.randint(CODEBOOK, (len(task.plans), task.cost.codes), generator=draw)
        traced = _Traced(run, {WRITE: codes}, self.language)
        return think(task, self.speaker, cast("Run", traced), self.backend)


class _Seen(Exception):
    """A loop has run as often as is needed."""


@dataclass(frozen=True, slots=True)
class _Short:
    """A step that ends a loop, once enough of its turns have been reported through `progress`."""

    step: Step

    def progress(self, done: int, total: int) -> None:
        if done >= TURNS:
            raise _Seen
        self.step.progress(done, total)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.step, name)


@contextmanager
def _few_tokens(model: CausalLM) -> Iterator[None]:
    """A block in which the model reads at most TURNS of the tokens it writes."""
    whole, read = model.step, count()

    def step(ids: Tensor, past: Sequence[Past], place: CachePosition) -> Tensor:
        if next(read) >= TURNS:
            raise _Seen
        return whole(ids, past, place)

    setattr(model, "step", step)  # noqa: B010 - for this one object
    try:
        yield
    finally:
        delattr(model, "step")


class _Traced:
    """A run over tensors without values: the loops of these stages end early, and `instead`
    replaces their results. `language`: the language model's component.
    """

    def __init__(self, run: Run, instead: Mapping[str, Tensor], language: str = "") -> None:
        self._run, self._instead, self._language = run, instead, language

    def __getattr__(self, name: str) -> Any:
        return getattr(self._run, name)

    def stage(self, name: str, work: Callable[[Step, Parts], T]) -> T:
        """A stage of the run."""
        if name == THINK:
            return cast("T", _read_anew(self._run.stage(name, work)))
        if name not in self._instead:
            return self._run.stage(name, work)

        def short(step: Step, parts: Parts) -> T:
            if step.pieces > 1:  # the largest piece is known only when all are done
                work(step, parts)
                return cast("T", self._instead[name])
            with suppress(_Seen), ExitStack() as held:
                if name == WRITE:
                    held.enter_context(_few_tokens(parts.of(self._language, CausalLM)))
                work(cast("Step", _Short(step)) if name == DENOISE else step, parts)
            return cast("T", self._instead[name])

        return self._run.stage(name, short)


def _read_anew(thought: object) -> object:
    """A song sheet after which the whole prompt is read again, as planned: how much of it is shared
    depends on values.
    """
    texts, before = cast("tuple[object, ReadBefore]", thought)
    return texts, replace(before, tokens=())


# --- random weights ---------------------------------------------------------------------------


def _drawn(load: Callable[[], nn.Module]) -> nn.Module:
    module = load().to_empty(device="cpu")
    scale = SCALES.get(type(module).__name__, 1.0)
    with torch.no_grad():
        for number, (name, parameter) in enumerate(module.named_parameters()):
            leaf = name.rpartition(".")[2]
            if leaf in ("rate", "gain") or (leaf == "weight" and parameter.dim() == 1):
                _fill(parameter, number, 0.1).add_(1)
            else:
                wide = parameter.dim() > 1
                std = scale / math.sqrt(parameter[0].numel()) if wide else BIAS
                _fill(parameter, number, std)
    return module


def _fill(parameter: Tensor, number: int, std: float) -> Tensor:
    """Fill a tensor with normal numbers from a repeated table; each tensor starts at its own
    offset.
    """
    table = _table(parameter.dtype)
    flat = parameter.view(-1)
    start, at = number * 100_003 % PERIOD, 0
    while at < len(flat):
        piece = table[start : start + len(flat) - at]
        torch.mul(piece, std, out=flat[at : at + len(piece)])
        at, start = at + len(piece), 0
    return parameter


@cache
def _table(dtype: torch.dtype) -> Tensor:
    return torch.randn(PERIOD, generator=torch.Generator().manual_seed(1)).clamp_(-3, 3).to(dtype)
