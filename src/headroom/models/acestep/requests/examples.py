"""The bundled example inputs: complete text2music requests, one JSON object per file. No torch.

The files are `examples/text2music/*.json` of the repository; a wheel carries them inside the
package. Their keys are those of ACE-Step's own examples (source: `examples/text2music/` of the
ACE-Step 1.5 repository). A user's own file may hold any field of any request.
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

USUAL = "example_05.json"  # the profiler's request if no other is given
PLACE = Path("examples", "text2music")  # below the package in a wheel, else below the repository
_ENDING = ".json"


def folder() -> Path:
    """The folder of the bundled examples; it does not exist in an installation without them."""
    package = Path(str(files("headroom")))
    packaged = package / PLACE
    return packaged if paths.is_dir(packaged) else package.parents[1] / PLACE


def names() -> tuple[str, ...]:
    """The names of the bundled examples in order, without the file extension."""
    return tuple(sorted(path.stem for path in folder().glob(f"*{_ENDING}")))


def record(example: str | Path) -> dict[str, object]:
    """The content of an example file: a bundled one by name, any other by its path.

    The extension may be left out. A bundled name takes precedence over a file in the working
    folder. Raises InvalidRequest if there is no such file, or if it is not a JSON object.
    """
    return _read(_find(example))


def fields(example: str | Path) -> dict[str, object]:
    """The task of an example and the fields it sets, by field name, checked.

    `request_from` makes a request of them. Raises InvalidRequest, also for an unknown key and for a
    value that is not allowed.
    """
    path = _find(example)
    written = _read(path)
    try:
        request = request_from(written)
    except InvalidRequest as error:
        raise InvalidRequest(f"{path.name}, {error.field}", error.value, error.allowed) from error
    names = [name for name in type(request).model_fields if name in request.model_fields_set]
    return {TASK: request.task, **{name: getattr(request, name) for name in names}}


def filled(values: Mapping[str, object], example: str | Path) -> dict[str, object]:
    """The given fields, under any spelling, with the example's values for all others.

    Raises InvalidRequest as `fields` does.
    """
    spelled = {old: name for model in TASKS.values() for old, name in spellings(model).items()}
    spoken = {spelled.get(snake(name)) for name in values}
    rest = {name: value for name, value in fields(example).items() if name not in spoken}
    return {**rest, **values}


def _find(example: str | Path) -> Path:
    named = paths.expanded(example, "example")
    full = named if named.suffix == _ENDING else Path(f"{named}{_ENDING}")
    bundled = folder() / full.name
    is_name = full == Path(full.name)
    for path in (*([bundled] if is_name else []), named, full):
        if paths.is_file(path):
            return path
    bundled_names = names()
    bundle = f"one of {', '.join(bundled_names)}, or " if bundled_names else ""
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
