"""Reasons as values: an English text with the code and the values it was made from, to translate.

A table of templates by code (`Reasons`) writes every text. `reason` is the table of the program;
each model family has one of its own, with other codes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType

OTHER = "other"
"""The code of a text that no table has."""
SEVERAL = "several"
"""The code of several reasons in one text; their list is the value `reasons`."""


class Reason(str):
    """A text, the code of its template, and the values in it. Equal to the same text."""

    code: str
    values: Mapping[str, object]

    def __new__(cls, text: str, code: str, values: Mapping[str, object]) -> Reason:
        made = super().__new__(cls, text)
        made.code, made.values = code, MappingProxyType(dict(values))
        return made

    @property
    def text(self) -> str:
        """The text alone."""
        return str(self)

    def __reduce__(self) -> tuple[object, ...]:
        return Reason, (str(self), self.code, dict(self.values))


class Reasons(Mapping[str, str]):
    """English templates by code, with a named place for each value; called, it fills one in."""

    def __init__(self, templates: Mapping[str, str]) -> None:
        self._templates = MappingProxyType(dict(templates))

    def __call__(self, code: str, /, **values: object) -> Reason:
        """The reason with this code. Raises KeyError for an unknown code or a missing value."""
        return Reason(self._templates[code].format_map(values), code, values)

    def __getitem__(self, code: str) -> str:
        return self._templates[code]

    def __iter__(self) -> Iterator[str]:
        return iter(self._templates)

    def __len__(self) -> int:
        return len(self._templates)


reason = Reasons(
    {
        "seed_bits": "a seed has 64 bits",
        "share": "it is a share",
        "not_restored": "it cannot be put back here, so the samples may differ",
        "longest_here": "a song is at most {most:g} s here",
        "earlier_song": "an earlier song has that name, which --force (force=True) replaces",
        "others_sidecar": "the sidecar of another song has that name",
        "other_run": "another run is writing a file of that name",
        "name_in_use": "that name is in use",
        "kept_elsewhere": "the file {why}; what was made is kept as {path!r}",
        "seeds_given": "seeds says the seed of each song",
        "seeds_drawn": "{songs} songs need a seed each; rest drawn",
        "memory_not_managed": (
            "memory is not managed: --enable-gpu-management or "
            "HEADROOM_GPU_MANAGEMENT=true turns it on"
        ),
        "chat_names_unused": "names of speakers are not used",
        "chat_last_message": "a song is made of what the user says last",
        "chat_no_voices": "the caption describes the voice",
        "chat_no_words": "the task {task} takes no such words",
        "chat_recording_sent": "a recording is sent",
        "chat_no_source": "the task {task} has no source",
        "chat_one_format": "there is no other format",
        "chat_bytes_decide": "the bytes of the recording say which format it has",
        "chat_field_of_no_use": "the task {task} does not have it",
        "no_language_model_loaded": "no language model is loaded",
        "model_without_language_model": "{model} has no language model",
        "no_language_model_installed": (
            "no planner language model is installed: `acestep models download` fetches one"
        ),
        "lm_model_setting_none": "{setting} is none; --lm-model with a name loads one",
        "lm_model_none": "it was turned off (--lm-model none); --lm-model with a name loads one",
        "init_lm_setting_false": "{setting} is false; --init-lm loads a language model",
        "init_lm_false": "it was turned off (--no-init-lm); --init-lm loads a language model",
        "policy_loads_no_language_model": (
            "the policy loads none by itself; --init-lm loads a language model"
        ),
        "tier_loads_no_language_model": (
            "{tier} loads none by itself; --init-lm loads a language model"
        ),
        "tier_in_force": "{tier} of the published table is in force",
        "no_limits_of_tiers": "under the adaptive policy no limits of the table are in force",
        "card_size": "the card has {gigabytes:.3g} GB",
        "host_memory": "the host computes with its own memory",
        "policy_set_aside": "what the tier says does not fit here, so the plan is free",
        "tier_seconds_with_lm": "{tier} allows {most} s with a language model",
        "tier_seconds_without_lm": "{tier} allows {most} s without a language model",
        "tier_songs_with_lm": "{tier} allows {most} at once with a language model",
        "tier_songs_without_lm": "{tier} allows {most} at once without a language model",
        "setting_limits": "{setting} is {most:g}",
        "lm_model_unknown": "no model of that name is here, and it tells none of the sizes {sizes}",
        "family_without_language_model": "this family has no language model",
        "tier_loads_none": "{tier} loads none by itself",
        "tier_may_load": "{tier} ({gibibytes:.3g} GiB) may load {models}",
        "tier_backends": "{tier} ({gibibytes:.3g} GiB) is for pt and mlx",
        "mlx_not_installed": "mlx-lm is not installed: {how}",
        "mlx_not_on_device": "mlx-lm computes on {devices} here, not on {device}",
        "no_graphs": "it records the loop in graphs, and {device} records none",
        "compile_unwanted": "it was not wanted",
        "no_compiler": "no compiler for {device} was found",
        "compile_untried": (
            "it has not been tried on this machine: `acestep compile` does that once"
        ),
        "compile_slower": (
            "a song of {duration:g} s took {compiled:.1f} s compiled and {eager:.1f} s "
            "without, everything included"
        ),
        "nothing_idle_stays": "nothing stays on the card that is not in use",
        "less_weights_at_a_time": "less of the weights is on the card at a time",
        "cut_finer": "the work is cut finer",
        "cut_much_finer": "the work is cut much finer",
    }
)


def reason_of(text: str) -> Reason:
    """The text as a reason; one that no table has gets the code `OTHER`."""
    return text if isinstance(text, Reason) else Reason(text, OTHER, {})


def joined(reasons: Sequence[Reason]) -> Reason:
    """Several reasons as one text, with semicolons between them; a single one unchanged."""
    if len(reasons) == 1:
        return reasons[0]
    return Reason("; ".join(reasons), SEVERAL, {"reasons": tuple(reasons)})
