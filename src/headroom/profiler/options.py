"""The profiler's options: frozen, and checked before anything is loaded. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

from headroom.engine.opening import Opening
from headroom.errors import InvalidRequest
from headroom.models.base import Planned
from headroom.models.family import Family
from headroom.models.registry import family_named
from headroom.params.describe import TASK, value_in_role
from headroom.params.request import Request, snake, spellings

Mode = Literal["profile", "benchmark", "tier-test", "understand", "create_sample", "format_sample"]
MODES: tuple[Mode, ...] = get_args(Mode)
TIERS = (4.0, 6.0, 8.0, 12.0, 16.0, 20.0, 24.0)  # GiB
TIER_SECONDS = 30.0  # of a song in a tier test
SEED = 42  # the default for songs and texts, so that runs can be compared
QUERY = "a slow love song for the last train home"
# Here the language model does only what was requested.
THINKING, SHEET_ALONE = "thinking", "plan_metadata"
SHEET = ("use_cot_metas", "use_cot_caption", "use_cot_language")


@dataclass(frozen=True, slots=True)
class Options:
    """All options that the profiler's flags set.

    said          the request's fields that were set, by the spelling used
    example       the bundled example, or file, with the rest of the request; None: the default
    warmup        whether a run goes before the one that is measured
    detailed      functions and operators too; `llm_debug`: the language model's tokens too
    output, plot  a file of JSON, and a picture of stages and memory; `force`: replace them
    audio_codes   what `understand` reads, or the recording `source` that it hears; both None: the
                  codes of a song that is planned first
    query         the line that `create_sample` makes a song from
    tiers         sizes of the cards to simulate, GiB; `tier_duration`: of the song, s
    notes         options that were set but have no effect in this mode
    """

    opening: Opening
    mode: Mode = "profile"
    said: Mapping[str, object] = field(default_factory=dict)
    example: str | None = None
    warmup: bool = True
    detailed: bool = False
    llm_debug: bool = False
    output: Path | None = None
    plot: Path | None = None
    force: bool = False
    audio_codes: str | None = None
    source: Path | None = None
    query: str = QUERY
    tiers: tuple[float, ...] = TIERS
    tier_with_lm: bool = False
    tier_skip_compile: bool = False
    tier_boundary: bool = False
    tier_batch_boundary: bool = False
    tier_duration: float = TIER_SECONDS
    notes: tuple[str, ...] = ()

    @property
    def fields(self) -> frozenset[str]:
        """The fields that were set, by their canonical names."""
        return frozenset(field_of(spelt, self.family) for spelt in self.said)

    @property
    def family(self) -> Family:
        """The family of models that is profiled."""
        return family_named(self.opening.options.family)

    def request(self, thinking: bool | None = None) -> Request:
        """The request: the fields that were set, the example for the others, and the language
        model only where requested. `thinking` overrides the field of that name.

        A language model requested without thinking only fills in the song sheet. Raises
        InvalidRequest for an invalid value, and for an example that does not exist.
        """
        known_fields, given = self._known, dict(self.said)
        if thinking is not None and THINKING in known_fields:
            given = {
                name: v for name, v in given.items() if field_of(name, self.family) != THINKING
            }
            given[THINKING] = thinking
        not_from_example = {TASK, THINKING, *self.fields}
        if "source_audio" in known_fields:
            not_from_example |= self.family.fields_for("seconds")  # a recording has its own length
        from_example = {
            name: value
            for name, value in self._example().items()
            if name in known_fields and name not in not_from_example
        }
        if (
            "seed" in known_fields
            and not self.fields & {"seed", "seeds"}
            and not from_example.keys() & {"seed", "seeds"}
        ):
            from_example["seed"] = SEED
        request = self.family.song({**from_example, **given})
        if not isinstance(request, Planned) or getattr(request, SHEET_ALONE):
            return request
        sheet_requested = any(getattr(request, name) for name in SHEET if name in self.fields)
        thinks = getattr(request, THINKING)
        if not thinks and not sheet_requested:
            return request
        off = {name: False for name in SHEET if name not in self.fields}
        return self.family.song({**from_example, **off, SHEET_ALONE: not thinks, **given})

    def _example(self) -> dict[str, object]:
        """The fields of the example. Raises InvalidRequest."""
        examples = self.family.examples
        if examples is None:
            if self.example is not None:
                allowed = f"nothing: {self.family.name} has no examples"
                raise InvalidRequest("example", self.example, allowed)
            return {}
        return examples.fields(self.example or examples.usual)

    @property
    def _known(self) -> frozenset[str]:
        """Fields of the requested task; for an unknown task those of all tasks."""
        task = str(self.said.get(TASK, self.family.usual))
        fields_of_tasks = [frozenset(kind.model_fields) for kind in self.family.songs.values()]
        kind = self.family.songs.get(snake(task))
        return (
            frozenset.intersection(*fields_of_tasks)
            if kind is None
            else frozenset(kind.model_fields)
        )


def length_of(request: Request) -> float | None:
    """Seconds of the requested song; None: not set, or set by a source."""
    seconds: float | None = value_in_role(request, "seconds")
    return seconds


def field_of(spelt: str, family: Family) -> str:
    """The field that a spelling names; the spelling itself if there is none."""
    if spelt == TASK:
        return TASK
    names = (spellings(model).get(snake(spelt)) for model in family.songs.values())
    return next((name for name in names if name is not None), spelt)
