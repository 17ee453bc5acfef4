"""How a family reads a request for speech in the form of OpenAI's API. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

Given: TypeAlias = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class SentRecording:
    """A recording in a body: `name` is where it stands; `data` is Base64, a data URL, or the id of
    a file that was sent before."""

    name: str
    data: str


@dataclass(frozen=True, slots=True)
class SpokenOrder:
    """What a body asks for.

    request       a task and fields, without files
    recordings    the files, by the fields that name them
    voice         the name of a voice that the service keeps, where the body has no recording of one
    voice_fields  the fields for the recording of that voice, and for what is spoken in it
    names         what the body calls fields of the request
    """

    request: Given
    recordings: Mapping[str, SentRecording]
    voice: str | None = None
    voice_fields: tuple[str, str] = ("", "")
    names: Mapping[str, str] = field(default_factory=dict)


class SpeechRest(Protocol):
    """Reads bodies of `POST /v1/audio/speech`: OpenAI's fields, and those that a family adds."""

    @property
    def files(self) -> tuple[str, ...]:
        """The names under which recordings come in a form."""

    def order(self, body: Given, voices: tuple[str, ...], files: Mapping[str, str]) -> SpokenOrder:
        """What a body asks for; `voices`: the names of those that the service keeps, `files`: ids
        of the files that came with it, by name. Raises InvalidRequest."""

    def tags(self) -> Mapping[str, object]:
        """The words and tags that a body may have, by kind, as values of JSON."""

    def properties(self) -> Mapping[str, dict[str, object]]:
        """The JSON schema of each field in a body that is the family's own."""
