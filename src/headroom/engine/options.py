"""The options an engine is opened with: those of `headroom.settings`, and the family. No torch."""

from __future__ import annotations

from inspect import Parameter, Signature
from typing import Annotated, Self

from pydantic import field_validator

from headroom.errors import InvalidRequest
from headroom.log import log
from headroom.models.registry import USUAL, check_family
from headroom.settings import GROUP, Options, Setting, Settings, Takes, load

_UNNAMED = 4  # options that may be passed without their names, in the order of declaration


class EngineOptions(Options):
    """How to open an engine, as far as it was specified; the rest is left to `settings`, and where
    those are silent, to the policy.

    Raises InvalidRequest for a value that is not allowed, however the object is made.
    """

    family: Annotated[
        str,
        Setting(
            GROUP,
            "family of models",
            takes=Takes("the name of a family", kinds=(object,)),
            flag_only=True,
            metavar="NAME",
        ),
    ] = USUAL

    @field_validator("family", mode="before")
    @classmethod
    def _known(cls, name: object) -> object:
        check_family(name)
        return name

    @classmethod
    def of(cls, *unnamed: object, **named: object) -> Self:
        """Options that were passed one by one, or as one object in place of the first.

        Raises InvalidRequest for a value that is not allowed, and for an option that was passed
        twice or in addition to the one object.
        """
        names = list(cls.model_fields)[:_UNNAMED]
        if len(unnamed) > len(names):
            raise TypeError(f"only {', '.join(names)} may be passed without a name")
        values = dict(zip(names, unnamed, strict=False))
        for name in values.keys() & named.keys():
            raise InvalidRequest(name, named[name], "one value, not two")
        values |= named
        whole = values.get("device")
        if not isinstance(whole, cls):
            return cls.model_validate(values)
        others = cls.model_validate({n: value for n, value in values.items() if value is not whole})
        for name, value in others.given.items():
            raise InvalidRequest(name, value, "nothing beside EngineOptions, which say it")
        return whole


NO_OPTIONS = EngineOptions()


def signature(**more: object) -> Signature:
    """The signature of what takes every option, and `more` with these defaults."""
    options = [
        Parameter(
            name,
            Parameter.POSITIONAL_OR_KEYWORD if place < _UNNAMED else Parameter.KEYWORD_ONLY,
            default=field.default,
            annotation=field.annotation,
        )
        for place, (name, field) in enumerate(EngineOptions.model_fields.items())
    ]
    others = [Parameter(name, Parameter.KEYWORD_ONLY, default=more[name]) for name in more]
    return Signature([*options, *others])


def settings_given(settings: object) -> Settings:
    """The settings that were passed, else those of this process; a warning names those of the
    latter that are not used. Raises InvalidRequest for anything but settings."""
    if settings is None:
        settings = load()
        for sentence in settings.warnings:
            log.warning(sentence)
    check_kind("settings", settings, Settings, "a Settings, as `headroom.settings.load` makes it")
    assert isinstance(settings, Settings)
    return settings


def check_kind(name: str, value: object, kind: type, allowed: str) -> None:
    """Raise InvalidRequest for a value that is not of this kind."""
    if not isinstance(value, kind):
        raise InvalidRequest(name, value, allowed)
