"""`acestep speech TASK …`: `generate` for a family that speaks, with the flags of its own program.

The tasks are those of the family's requests. The older program's flags are taken beside ours:
`tts_infer.py` of Step-Audio-EditX has them.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from headroom.cli import generate
from headroom.cli.parser import Parser, spelt
from headroom.errors import InvalidRequest
from headroom.models.family import Family
from headroom.models.registry import speaking_families
from headroom.params.describe import Param, describe
from headroom.params.request import spellings

# Flags of the older program that ours have under another name.
_RENAMED = {
    "--model-path": "--checkpoint-dir", "--tts-model-id": "--model", "--torch-dtype": "--dtype",
    "--device-map": "--device",
}  # fmt: skip
_SOURCES = ("auto", "local")  # of models: others are for `models download`
_CHANGE = "--edit-type"


def speaking_family() -> Family:
    """The first family that speaks. Raises InvalidRequest where there is none."""
    family = next(speaking_families(), None)
    if family is None:
        raise InvalidRequest("command", "speech", "a command for which there is a family of models")
    return family


def run(words: Sequence[str]) -> int:
    """Run `acestep speech …`; returns the exit code. Raises HeadroomError."""
    family = speaking_family()
    tasks = tuple(family.songs)
    if not words or words[0] in ("-h", "--help"):
        listed = "".join(f"  {task:<8}  {_about(family, task)}\n" for task in tasks)
        sys.stdout.write(
            f"usage: acestep speech TASK … [FLAGS]\n\n{listed}\n"
            "`acestep speech TASK --help` lists the flags of `acestep generate` for it.\n"
        )
        return 0 if words else 2
    task = words[0]
    if task not in tasks:
        raise InvalidRequest("task", task, " or ".join(tasks))
    return generate.run(["--family", family.name, "--task", task, *translated(family, words)])


def translated(family: Family, words: Sequence[str]) -> list[str]:
    """The flags of `generate` for the task and flags on a command line. Raises InvalidRequest."""
    task, rest = words[0], spelt(words[1:])
    quick = Parser("acestep speech", add_help=False, allow_abbrev=False)
    for flag in ("--model-source", "--tokenizer-model-id", "--output-dir", _CHANGE):
        quick.add_argument(flag)
    quick.add_argument("-o", "--output")
    quick.add_argument("--prompt-audio-path")
    quick.add_argument("--n-edit-iter", type=int, default=1)
    said, _ = quick.parse_known_args(rest)
    if said.model_source not in (None, *_SOURCES):
        allowed = f"{' or '.join(_SOURCES)}: `acestep models download --source` fetches models"
        raise InvalidRequest("model_source", said.model_source, allowed)
    dropped = {"--model-source", "--tokenizer-model-id", "--output-dir"}
    if said.edit_type == task:  # the older program names the task so, too
        dropped.add(_CHANGE)
    made = list(_renamed(rest, dropped, _older_names(family, task)))
    if said.output_dir is not None and said.output is None:
        stem = Path(said.prompt_audio_path or "speech").stem
        edited = f"edited_iter{said.n_edit_iter}"
        name = f"{stem}_{'cloned' if said.edit_type in (None, task) else edited}.wav"
        made += ["--output", str(Path(said.output_dir) / name)]
    return made


def _renamed(words: Sequence[str], dropped: set[str], names: dict[str, str]) -> Iterator[str]:
    skip = False
    for word in words:
        flag, equals, value = word.partition("=")
        if skip or flag in dropped:
            skip = flag in dropped and not equals and not skip
            continue
        yield names.get(flag, flag) + equals + value


def _older_names(family: Family, task: str) -> dict[str, str]:
    """Flags by their older names: of the engine, and those of a recording and its text, which the
    older program calls the same for every task."""
    names = dict(_RENAMED)
    fields, taken = describe(family.songs[task]), spellings(family.songs[task])
    if "prompt_audio_path" not in taken:
        sound = next(param for param in fields if param.kind is Path)
        names["--prompt-audio-path"] = _flag(sound.name)
        names["--prompt-text"] = _flag(_text_of(fields, sound).name)
    return names


def _text_of(fields: Sequence[Param], sound: Param) -> Param:
    """The field for what is spoken in a recording: its neighbour by name."""
    stem = sound.name.rpartition("_")[0]
    return next(param for param in fields if param.name == f"{stem}_text")


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def _about(family: Family, task: str) -> str:
    return (family.songs[task].__doc__ or "").partition("\n")[0]
