"""The bundled example inputs: whole songs to ask for, a JSON object a file. No torch.

The files are `examples/text2music/*.json` of the repository; a wheel carries them inside the
package. Their keys are those of ACE-Step's own examples (source: `examples/text2music/` of
the ACE-Step 1.5 repository). A file of somebody's own may hold any field of any request.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path

from headroom import paths
from headroom.errors import InvalidFile, InvalidRequest, UnreadableFile
from headroom.files import TEXT_BYTES, read_json
from headroom.models.acestep.requests.songs import TASKS, request_from
from headroom.params.describe import TASK
from headroom.params.request import snake, spellings

USUAL = "example_05.json"  # what the profiler asks for where nobody says otherwise
PLACE = Path("examples", "text2music")  # below the package in a wheel, else below the repository
_ENDING = ".json"


def folder() -> Path:
    """Where the bundled examples are; absent in an installation that lacks them."""
    package = Path(str(files("headroom")))
    packaged = package / PLACE
    return packaged if paths.is_dir(packaged) else package.parents[1] / PLACE


def names() -> tuple[str, ...]:
    """The bundled examples in order, without the ending."""
    return tuple(sorted(path.stem for path in folder().glob(f"*{_ENDING}")))


def record(example: str | Path) -> dict[str, object]:
    """An example as its file has it: a bundled one by name, any other by its path.

    The ending may be left out. A bundled name goes before a file of the working folder.
    Raises InvalidRequest where there is none, and where it is no JSON object.
    """
    return _read(_find(example))


def fields(example: str | Path) -> dict[str, object]:
    """The task and what an example says of it, by the names of the fields, checked.

    `request_from` makes the request of it. Raises InvalidRequest, also for a key nobody knows and
    for a value that is not allowed.
    """
    path = _find(example)
    written = _read(path)
    try:
        request = request_from(written)
    except InvalidRequest as error:
        raise InvalidRequest(f"{path.name}, {error.field}", error.value, error.allowed) from error
    said = [name for name in type(request).model_fields if name in request.model_fields_set]
    return {TASK: request.task, **{name: getattr(request, name) for name in said}}


def filled(said: Mapping[str, object], example: str | Path) -> dict[str, object]:
    """What somebody said of a request under any spelling, and the example where they were silent.

    Raises InvalidRequest as `fields` does.
    """
    known = {old: name for model in TASKS.values() for old, name in spellings(model).items()}
    spoken = {known.get(snake(name)) for name in said}
    rest = {name: value for name, value in fields(example).items() if name not in spoken}
    return {**rest, **said}


def _find(example: str | Path) -> Path:
    given = paths.expanded(example, "example")
    full = given if given.suffix == _ENDING else Path(f"{given}{_ENDING}")
    bundled = folder() / full.name
    is_name = full == Path(full.name)
    for path in (*([bundled] if is_name else []), given, full):
        if paths.is_file(path):
            return path
    there = names()
    bundle = f"one of {', '.join(there)}, or " if there else ""
    raise InvalidRequest("example", str(example), f"{bundle}the path of a JSON file")


def _read(path: Path) -> dict[str, object]:
    try:
        value = read_json(path, TEXT_BYTES)
    except InvalidFile as error:
        allowed = "a file with a JSON object"
        raise UnreadableFile("example", str(path), error.why, allowed) from error
    if not isinstance(value, dict):
        raise InvalidRequest("example", str(path), 'a file with a JSON object, {"caption": "…"}')
    return value
