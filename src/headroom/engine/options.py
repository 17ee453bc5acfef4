"""The options an engine can be opened with, each declared once. No torch.

An option's field states its values, its flag on the command line and its former names; the setting
of the same name in `headroom.settings` states its environment variable. The flags of every command,
`Engine` and the checks of both are derived from these fields.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Self, cast, get_args

from pydantic import BaseModel, ConfigDict, model_validator

from headroom.engine.terms import choices_of
from headroom.errors import InvalidRequest
from headroom.hardware.machine import DType
from headroom.memory.limits import Choices
from headroom.models.registry import USUAL, check_family
from headroom.params.knob import Knob, metadata
from headroom.settings import (
    BACKENDS,
    DEVICES,
    POLICIES,
    PRECISION_WORDS,
    QUANTIZATIONS,
    Policy,
    Setting,
    Settings,
    declared,
)

GROUP = "Machine and model"
AUTO = "auto"
DTYPES: tuple[str, ...] = (AUTO, *get_args(DType))
MOST_THREADS = 1024  # of the host; torch starts as many as requested, until the system fails
_POLICY = "as the policy says"
_NAMED_BY = {"checkpoint_dir": "checkpoints_dir"}  # settings with a different name


@dataclass(frozen=True, slots=True)
class Takes:
    """The values an option takes: a kind, or words; also None where the field may be None."""

    allowed: str
    kinds: tuple[type, ...] = ()
    words: tuple[object, ...] = ()

    def check(self, name: str, value: object) -> None:
        """Raise InvalidRequest for a value of the wrong kind."""
        if self.words:
            check_word(name, value, self.words, self.allowed)
        else:
            check_kind(name, value, self.kinds, self.allowed)


@dataclass(frozen=True, slots=True)
class Flag:
    """How an option is written on the command line, in addition to its Knob.

    metavar  of its value; empty for a switch, which has a `--no-` form
    bare     the value when the flag stands alone; empty where the flag needs a value
    """

    metavar: str = ""
    bare: str = ""


@dataclass(frozen=True, slots=True)
class Option:
    """One option, as flags and checks need it. `setting` is None if no variable sets it."""

    name: str
    default: object
    takes: Takes | None
    knob: Knob
    flag: Flag
    setting: Setting | None

    @property
    def dest(self) -> str:
        """The name of its value in a parser's namespace."""
        return (self.knob.flag or self.name).replace("-", "_")

    @property
    def help(self) -> str:
        """The help text of its flag."""
        open_ = self.knob.left_open
        return f"{self.knob.help} (left open: {open_})" if open_ else self.knob.help


def _words(*words: str) -> Takes:
    return Takes("", words=(None, *words))


_SWITCH = Takes("True, False or None", words=(True, False, None))
_NAME = "the name of a model folder"


class EngineOptions(BaseModel):
    """How to open an engine, as far as it was specified. None leaves an option to `settings`, and
    where those are silent, to the policy.

    Raises InvalidRequest for a value that is not allowed, however the object is made.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    device: Annotated[
        str,
        Takes("a word, as in cuda:1", (str,)),
        Knob(GROUP, "where to compute; cuda and xpu may carry an index, as cuda:1", basic=True),
        Flag("|".join(DEVICES)),
    ] = AUTO
    dtype: Annotated[
        str, Takes("", words=DTYPES), Knob(GROUP, "precision"), Flag("|".join(DTYPES))
    ] = AUTO
    model: Annotated[
        str | None,
        Takes(_NAME, (str,)),
        Knob(GROUP, "as `acestep models list` shows them", basic=True, old=("config_path",)),
        Flag("NAME"),
    ] = None
    checkpoint_dir: Annotated[
        Path | None,
        Takes("the path of a folder", (str, Path)),
        Knob(GROUP, "folder of the model folders", basic=True),
        Flag("FOLDER"),
    ] = None
    family: Annotated[str, Knob(GROUP, "family of models"), Flag("NAME")] = USUAL
    compile: Annotated[
        bool | None,
        _SWITCH,
        Knob(GROUP, "compile what runs often", left_open="where it pays"),
        Flag(),
    ] = None
    policy: Annotated[
        Policy | None,
        _words(*POLICIES),
        Knob(GROUP, "what the card's published tier says, or the best that fits"),
        Flag("|".join(POLICIES)),
    ] = None
    offload: Annotated[
        bool | None,
        _SWITCH,
        Knob(
            GROUP,
            "parts leave the card while nobody uses them",
            left_open=_POLICY,
            old=("offload_to_cpu",),
        ),
        Flag("auto|on|off", bare="on"),
    ] = None
    offload_dit: Annotated[
        bool | None,
        _SWITCH,
        Knob(GROUP, "the DiT leaves the card too", left_open=_POLICY, old=("offload_dit_to_cpu",)),
        Flag("auto|on|off", bare="on"),
    ] = None
    quantization: Annotated[
        str | None,
        _words(*QUANTIZATIONS),
        Knob(GROUP, "of the DiT"),
        Flag("|".join(PRECISION_WORDS)),
    ] = None
    init_lm: Annotated[
        bool | None,
        _SWITCH,
        Knob(GROUP, "load the planner language model", left_open=_POLICY, old=("init_llm",)),
        Flag(),
    ] = None
    lm_model: Annotated[
        str | None,
        Takes(f"{_NAME}, or none", (str,)),
        Knob(GROUP, "planner language model, or none", basic=True, old=("lm_model_path",)),
        Flag("NAME"),
    ] = None
    lm_backend: Annotated[
        str | None, _words(*BACKENDS), Knob(GROUP, "how it runs"), Flag("|".join(BACKENDS))
    ] = None
    gpu_management: Annotated[
        bool | None,
        _SWITCH,
        Knob(
            GROUP,
            "give the card's memory back after each request and when idle",
            flag="enable-gpu-management",
        ),
        Flag(),
    ] = None
    gpu_idle_timeout: Annotated[
        float | None, Knob(GROUP, "until an idle part leaves"), Flag("SECONDS")
    ] = None
    threads: Annotated[
        int | None, Knob(GROUP, "of the processor", left_open="as torch has"), Flag("N")
    ] = None

    @model_validator(mode="before")
    @classmethod
    def _checked(cls, data: object) -> object:
        if isinstance(data, Mapping):
            for name, value in data.items():
                check_option(name, value)
        return data

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """A copy with other values, checked like new ones. Raises InvalidRequest."""
        return type(self).model_validate({**dict(self), **(update or {})})

    @property
    def precision(self) -> DType | None:
        """The precision named by `dtype`; None leaves it to the device."""
        return None if self.dtype == AUTO else cast("DType", self.dtype)

    @property
    def choices(self) -> Choices:
        """The options that narrow the policy."""
        return Choices(
            offload=self.offload,
            offload_dit=self.offload_dit,
            quantization=None if self.quantization == AUTO else self.quantization,
            lm=self.lm_model,
            lm_backend=None if self.lm_backend == AUTO else self.lm_backend,
            init_lm=self.init_lm,
        )

    def policy_in(self, settings: Settings) -> Policy:
        """The given policy, else that of the settings."""
        return self.policy or settings.policy

    def choices_in(self, settings: Settings) -> Choices:
        """The given choices, and the settings for those that were not given."""
        return choices_of(self.choices, settings)

    def settings_with(self, settings: Settings) -> Settings:
        """The settings, with the requested memory management."""
        if self.gpu_management is not None:
            settings = replace(settings, gpu_management=self.gpu_management)
        if self.gpu_idle_timeout is not None:
            said = ("gpu_idle_timeout", "--gpu-idle-timeout")
            settings = replace(
                settings, gpu_idle_timeout=self.gpu_idle_timeout, sources=(*settings.sources, said)
            )
        return settings


NO_OPTIONS = EngineOptions.model_construct()


@cache
def options() -> tuple[Option, ...]:
    """Every option that has a flag, in the order of the help."""
    settings = dict(declared())
    found = []
    for name, field in EngineOptions.model_fields.items():
        knob, flag = metadata(field.metadata, Knob), metadata(field.metadata, Flag)
        if knob is not None and flag is not None:
            setting = settings.get(_NAMED_BY.get(name, name))
            takes = metadata(field.metadata, Takes)
            found.append(Option(name, field.default, takes, knob, flag, setting))
    return tuple(found)


def check_option(name: str, value: object) -> None:
    """Raise InvalidRequest for a value that an option does not take, and for an unknown option."""
    if name not in EngineOptions.model_fields:
        raise InvalidRequest(name, value, "one of " + ", ".join(EngineOptions.model_fields))
    if name == "family":
        check_family(value)
        return
    option = next(one for one in options() if one.name == name)
    if value is None and option.default is None:
        return
    if name == "threads":
        check_threads(value)
    elif option.takes is not None:
        option.takes.check(name, value)
    elif option.setting is not None:
        try:
            option.setting.read(str(value))
        except ValueError as error:
            raise InvalidRequest(name, value, option.setting.allowed) from error


def check_threads(threads: object) -> None:
    """Raise InvalidRequest for an impossible number of threads."""
    whole = isinstance(threads, int) and not isinstance(threads, bool)
    if threads is not None and not (whole and 1 <= threads <= MOST_THREADS):  # type: ignore[operator]
        raise InvalidRequest(
            "threads", threads, f"a whole number, at least 1 and at most {MOST_THREADS}"
        )


def check_kind(name: str, value: object, kinds: tuple[type, ...], allowed: str) -> None:
    """Raise InvalidRequest for a value that is not of this kind."""
    if not isinstance(value, kinds):
        raise InvalidRequest(name, value, allowed)


def check_word(name: str, value: object, words: Iterable[object], allowed: str = "") -> None:
    """Raise InvalidRequest for a value that is not one of these words."""
    # Not `in`: it takes 1 for True, and raises for values that cannot be compared.
    if not any(type(value) is type(word) and value == word for word in words):
        named = ", ".join(str(word) for word in words if word is not None)
        raise InvalidRequest(name, value, allowed or f"one of {named}")
