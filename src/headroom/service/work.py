"""What a job in the queue asks for, as JSON: a family, a model, and the request to it.

The request is written as its fields. Where a field names a file, it holds the id of a file of the
service: a path of the server is neither taken from a client nor shown to one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import fields
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from headroom.engine.names import inputs_of
from headroom.errors import InvalidRequest
from headroom.files import parse_json
from headroom.jobs.files import Files
from headroom.models.outputs import SongSheet
from headroom.models.registry import USUAL, family_named
from headroom.params.request import Request, spellings
from headroom.service.allowed import allowed
from headroom.service.hidden import Hidden

_MODEL = re.compile(r"\w[\w.\-]{0,99}", re.ASCII)


class Work(BaseModel):
    """A job's request. `model` is the name of a model; None: the one the service was started with.

    request  the task and the fields, with ids in place of paths
    first    a request for a song sheet, whose values fill what `request` leaves open
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    family: str = USUAL
    model: str | None = None
    request: dict[str, JsonValue]
    first: dict[str, JsonValue] | None = Field(default=None, exclude_if=lambda value: value is None)

    @classmethod
    def of(cls, text: str) -> Work:
        """The work in a job's JSON text. Raises InvalidRequest."""
        try:
            made = cls.model_validate(parse_json(text))
        except ValidationError as error:
            fault = error.errors(include_url=False)[0]
            place = ".".join(map(str, fault["loc"])) or "request"
            raise InvalidRequest(place, fault["input"], allowed(fault)) from error
        except (ValueError, RecursionError) as error:
            raise InvalidRequest("request", text, f"JSON ({error})") from error
        check_model(made.model)
        return made

    def read(self) -> Request:
        """The request, whose paths are ids still. Raises InvalidRequest."""
        return family_named(self.family).request(self.request)

    def read_first(self) -> Request | None:
        """The request for a song sheet, whose paths are ids still. Raises InvalidRequest."""
        return None if self.first is None else family_named(self.family).request(self.first)

    def filled(self, sheet: SongSheet) -> Request:
        """The request with the values of a song sheet for the fields that it does not set.

        Raises InvalidRequest.
        """
        names = spellings(type(self.read()))
        known = {names[f.name]: getattr(sheet, f.name) for f in fields(sheet) if f.name in names}
        known = {name: value for name, value in known.items() if value not in (None, "")}
        return family_named(self.family).request({**known, **self.request})


def check_model(name: object, field: str = "model") -> None:
    """Raise InvalidRequest for what is no name of a model; None names none."""
    if name is not None and not (isinstance(name, str) and _MODEL.fullmatch(name)):
        raise InvalidRequest(field, name, "the name of a model")


def files_of(request: Request) -> tuple[str, ...]:
    """The ids of the files that a request names in place of paths."""
    return tuple(str(path) for paths in inputs_of(request).values() for path in paths)


def sheet_in(output: object) -> SongSheet:
    """The song sheet that a request for one gave. Raises InvalidRequest for anything else."""
    if not isinstance(output, SongSheet):
        raise InvalidRequest("first", type(output).__name__, "a request for a song sheet")
    return output


@contextmanager
def on_this_machine(
    ids: Iterable[str], files: Files, owner: str | None, hidden: Hidden
) -> Iterator[dict[str, Path]]:
    """Within the block, the paths of files by their ids; `hidden` learns them.

    Raises UnknownId, StorageFailed.
    """
    with ExitStack() as held:
        places = {id: held.enter_context(files.local(id, owner)) for id in ids}
        for id, path in places.items():
            hidden.put(path, id)
            hidden.put(Path(path.name), id)  # some notes give the name alone
        yield places


def with_paths(request: Request, places: Mapping[str, Path]) -> Request:
    """The request with the path of each file in place of its id."""
    update: dict[str, object] = {}
    for field, named in inputs_of(request).items():
        found = tuple(places[str(one)] for one in named)
        update[field] = found if isinstance(getattr(request, field), tuple) else found[0]
    return request.model_copy(update=update)
