"""`acestep generate --config FILE.toml`: reads flags and fields of a request from a file.

Keys are flat, and named like flags and fields, or as ACE-Step's own command line writes them. The
command line takes precedence over the file.
"""

from __future__ import annotations

import argparse
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from types import MappingProxyType

from headroom import paths
from headroom.errors import InvalidFile, InvalidRequest, UnreadableFile
from headroom.files import CONFIG_BYTES, read_text
from headroom.log import log
from headroom.models.family import Family
from headroom.models.registry import family_named
from headroom.params.describe import TASK, union
from headroom.params.flags import Switch, text_of
from headroom.params.request import snake, spellings

_FIELD = "config"
_TOML = 'a TOML file of flat keys, as in caption = "slow bossa nova"'
_NOT_IN_A_FILE = ("config", "requests", "replay", "help")
# Keys of ACE-Step's own files: their names here, with the task they belong to.
_OTHER_NAMES: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "backend": ("lm_backend", ""),
        "lego_track": ("track", "lego"),
        "extract_track": ("track", "extract"),
        "complete_tracks": ("tracks", "complete"),
    }
)
_FOLDER = "save_dir"
_IDLE = ("project_root", "log_level", "use_flash_attention")  # only meaningful in ACE-Step
_PLANNED = "generate"  # as lyrics in such a file: a language model writes them


@dataclass(frozen=True, slots=True)
class ConfigFile:
    """The content of a file: fields of the request by their spelling, flags of the command by the
    names of their values, and the folder for songs."""

    fields: Mapping[str, object]
    flags: Mapping[str, object]
    folder: Path | None = None
    family: Family = field(default_factory=family_named, compare=False)

    def under(self, flags: Mapping[str, object], output: object) -> dict[str, object]:
        """The fields of the file, overridden by the command line's. `output` is that of `-o`."""
        of = self.family
        names = {_field(name, of) for name in flags} | ({"output"} if output is not None else set())
        gone = names | {other for name in names for other in _contradicted(of).get(name, ())}
        kept = {name: value for name, value in self.fields.items() if _field(name, of) not in gone}
        return {**kept, **flags}


def read(path: Path, parser: argparse.ArgumentParser, family: Family | None = None) -> ConfigFile:
    """Read a parser's flags and a request's fields from a file, for a family or the default one.

    Raises UnreadableFile, and InvalidRequest for an unknown key, with the nearest known one.
    """
    flags = {key: action for action in parser._actions for key in _keys(action)}
    family = family or family_named()
    names = _names(family)
    document = _toml(path)
    task = str(next((document[k] for k in document if names.get(snake(k)) == TASK), ""))
    fields: dict[str, object] = {}
    values: dict[str, object] = {}
    folder: Path | None = None
    for key, value in document.items():
        name, of = _OTHER_NAMES.get(snake(key), (snake(key), ""))
        if isinstance(value, dict):
            raise InvalidRequest(key, value, "a value: keys of a configuration are flat")
        if (of and of != task) or name in _IDLE:
            continue
        if name == _FOLDER:
            folder = paths.expanded(str(value), key) if value else None
        elif value == "" and name in (*names, *flags):
            continue  # counts as unset
        elif name in names:
            fields[name] = value
        elif name in flags:
            if value is not False or not _only_on(flags[name]):
                values[flags[name].dest] = _as_flag(key, value, flags[name])
        elif name not in family.unread:
            raise InvalidRequest(key, value, _nearest(name, [*names, *flags, *_OTHER_NAMES]))
        else:
            family.unread[name].answer(key, value)
    return ConfigFile(_agreed(_with_texts(fields, path, family), family), values, folder, family)


def _toml(path: Path) -> dict[str, object]:
    try:
        return tomllib.loads(read_text(path, CONFIG_BYTES))
    except InvalidFile as error:
        raise UnreadableFile(_FIELD, str(path), error.why, _TOML) from error
    except RecursionError as error:
        raise UnreadableFile(_FIELD, str(path), "is nested without end", _TOML) from error
    except ValueError as error:  # also numbers with more digits than Python parses
        why = f"is not TOML ({error})"
        raise UnreadableFile(_FIELD, str(path), why, _TOML) from error


def _keys(action: argparse.Action) -> list[str]:
    """The keys that stand for a flag of the command."""
    if isinstance(action, Switch) or action.dest in _NOT_IN_A_FILE:
        return []
    options = [name for name in action.option_strings if name.startswith("--")]
    return [snake(name[2:]) for name in options if not name.startswith("--no-")]


def _names(family: Family) -> dict[str, str]:
    """Every name of a field of any request, including old names and old switches -> the field."""
    names: dict[str, str] = {}
    for model in family.songs.values():
        names |= spellings(model)
    for param in union(family.songs.values()):
        names |= {old: param.name for old, _ in param.knob.old_switches}
    return {**names, TASK: TASK, "task_type": TASK}


def _field(spelling: str, family: Family) -> str:
    return _names(family).get(snake(spelling), spelling)


def _only_on(action: argparse.Action) -> bool:
    """Whether a flag can only switch something on: `--offload-to-cpu`."""
    return action.nargs == 0 and isinstance(action.const, str)


def _as_flag(key: str, value: object, action: argparse.Action) -> object:
    """A value in the form that the command's own flag would give it."""
    if action.nargs == 0:  # a switch
        if not isinstance(value, bool):
            raise InvalidRequest(key, value, "true or false")
        return action.const if _only_on(action) else value
    if isinstance(value, bool):
        return "on" if value else "off"
    return str(value)


def _with_texts(fields: Mapping[str, object], path: Path, family: Family) -> dict[str, object]:
    """The fields with the texts of files: those named after an `@`, and lyrics that name a file
    relative to the configuration or to the working folder."""
    files = {param.name for param in union(family.songs.values()) if param.knob.file}
    texts = dict(fields)
    for name, value in fields.items():
        if _field(name, family) not in files or not isinstance(value, str):
            continue
        if value == _PLANNED:
            log.warning("%s: lyrics are never planned with the song", name)
            texts[name] = ""
        else:
            texts[name] = text_of(name, _beside(name, value, path))
    return texts


def _beside(name: str, text: str, path: Path) -> str:
    """A text in the form a flag takes: if it names a file, relative to the configuration or to the
    working folder, `@` and that file."""
    named = text.startswith("@") and not text.startswith("@@")
    if not named and ("\n" in text or not text.lower().endswith(".txt")):
        return text
    file = text.removeprefix("@")
    beside = path.parent / paths.expanded(file, name)
    return f"@{beside if paths.is_file(beside) else file}"


def _agreed(fields: dict[str, object], family: Family) -> dict[str, object]:
    """Individual seeds decide the number of songs, and override one seed for all."""
    if not fields.get("seeds"):
        return fields
    gone = _contradicted(family)["seeds"]
    return {name: value for name, value in fields.items() if _field(name, family) not in gone}


def _contradicted(family: Family) -> dict[str, tuple[str, ...]]:
    """Flags of the command line, and the keys of a file that would contradict each."""
    count = tuple(family.fields_for("count"))
    with_seeds = dict.fromkeys(("seed", *count), ("seeds",))
    return {**with_seeds, "seeds": ("seed", *count), "output": ("audio_format",)}


def _nearest(name: str, names: Iterable[str]) -> str:
    close = get_close_matches(name, list(names), n=1)
    hint = f" (did you mean {close[0]}?)" if close else ""
    return f"a name of a flag of `acestep generate`, or of a field of a request{hint}"
