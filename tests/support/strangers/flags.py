"""Flags of every command, up to where its work begins."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import chdir, contextmanager, redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from random import Random
from typing import Any
from unittest.mock import patch

from headroom.cli import main as program
from headroom.cli import profile
from headroom.errors import HeadroomError
from headroom.log import log
from headroom.settings import load
from headroom.terminal import visible
from support.strangers.asked import likely, names
from support.strangers.door import LONGEST_SENTENCE, Wrong
from support.strangers.words import mangled, text

_COMMANDS: dict[str, tuple[str, ...]] = {
    "generate": (
        "-o", "--force", "--save-latents", "--lrc", "--replay", "--example", "--requests", "--json",
        "-q", "--config", "--play", "--help-all",
    ),
    "plan": ("--vram", "--json"),
    "compose": ("--lyrics", "--instrumental", "--bpm", "--keyscale", "--timesignature",
                "--duration", "--language", "--temperature", "--top-k", "--top-p",
                "--repetition-penalty", "--seed", "--json", "--quiet"),
    "understand": ("--temperature", "--top-k", "--top-p", "--seed", "--json"),
    "score": ("--caption", "--lyrics", "--bpm", "--duration", "--temperature"),
    "profile": ("--mode", "--no-warmup", "--detailed", "--benchmark-output", "--plot", "--example",
                "--sample-query", "--audio-codes", "--tiers", "--tier-duration", "--config-path"),
    "models": ("list", "verify", "download", "--dry-run", "--source", "--json", "--all", "vae"),
    "settings": ("--json",),
    "wizard": ("--json",),
    "completion": ("bash", "zsh", "fish", "sh"),
    "help": ("generate", "plan", "models"),
}  # fmt: skip
_ENGINE = (
    "--device", "--dtype", "--model", "--checkpoint-dir", "--compile", "--policy", "--offload",
    "--offload-dit", "--quantization", "--init-lm", "--lm-model", "--lm-backend", "--threads",
    "--enable-gpu-management", "--gpu-idle-timeout", "--no-init-lm",
)  # fmt: skip
_OTHERS = ("models", "help", "wizard", "completion")  # have flags of their own alone
_WRITTEN = ("-o", "--output", "--save-latents", "--plot", "--benchmark-output")
_VALUES = (
    "cpu", "auto", "float32", "on", "2", "10", "-1", "acestep-v15-nano", "int8", "none", "nano",
    "published", "adaptive", "song.wav", "x.safetensors", "example_05", "understand", "tier-test",
    "8", "a slow song", "words.txt", "@words.txt", "song.toml", "flac", "en", "Am", "4/4", "1:30",
    "vllm",
)  # fmt: skip
_OUTPUTS = (
    "song.flac", "song", "a/b.wav", "con.wav", "x.mp3", "x" * 300 + ".wav", ".wav", "a\nb.wav",
    "a\0.wav", "\ud800.wav", "../x.wav", "song.safetensors", "", " ", ".", "..", "春.ogg", "x.xyz",
    "a" * 120 + "春" * 60 + ".flac", "words.txt", "words.txt/x.wav", "-x.wav", "x.wav/", "s.json",
)  # fmt: skip


def flags(rng: Random) -> Any:
    """A command and words behind it, and what is answered where it asks."""
    command = rng.choice((*_COMMANDS, "generate", "generate", "profile", "compose"))
    words = ["a slow song"] if rng.random() < 0.8 and command not in _OTHERS else []
    own = _COMMANDS[command]
    for _ in range(rng.choice((0, 1, 1, 2, 3, 5))):
        param = None
        if rng.random() < 0.5:
            flag = rng.choice((*own, *_ENGINE) if command not in _OTHERS else own)
        else:
            name, param = rng.choice(names())
            flag = f"--{name}"
        if flag in _WRITTEN:
            one = rng.choice(_OUTPUTS)
        else:
            act = rng.random()
            fit = likely(rng, param) if param is not None else rng.choice(_VALUES)
            one = str(fit) if act < 0.6 else text(rng) if act < 0.9 else mangled(rng, flag, 50)
        shape = rng.random()
        words += [f"{flag}={one}"] if shape < 0.5 else [flag, one] if shape < 0.85 else [flag]
    if rng.random() < 0.1:
        words.insert(rng.randint(0, len(words)), text(rng))
    words = [word for word in words if not _writes_elsewhere(word)]
    answers = [rng.choice(("", "y", "n", "30", "1:30", "en", text(rng, 300))) for _ in range(9)]
    first = command if rng.random() < 0.98 else mangled(rng, command, 50)
    return [first, *words], "\n".join(answers[: rng.randint(0, 9)])


def _writes_elsewhere(word: str) -> bool:
    """Whether a word may name a file to be written that is not one of ours."""
    flag, _, one = word.replace("_", "-").partition("=")
    return any(flag.startswith(w) for w in _WRITTEN) and bool(one) and one not in _OUTPUTS


class _Reached(HeadroomError):
    """The work would begin here."""


def take_flags(case: Any, folder: Path) -> None:
    (folder / "words.txt").write_text("la la\n", "utf-8")
    (folder / "song.toml").write_text('caption = "a slow song"\nduration = 30\n', "utf-8")
    before = sorted(os.listdir(folder))
    said, told = StringIO(), StringIO()
    with (
        _without_work(),
        chdir(folder),
        patch.object(sys, "stdin", StringIO(case[1])),
        redirect_stdout(said),
        redirect_stderr(told),
    ):
        code = program.main(case[0])
    left = [name for name in sorted(os.listdir(folder)) if name not in before]
    if left and left != ["outputs"]:
        raise Wrong(f"left behind: {left!r}")
    words = told.getvalue()
    for name, stream in (("output", said.getvalue()), ("errors", words)):
        if visible(stream) != stream:
            raise Wrong(f"control characters in the {name}")
    if code not in (0, 1, 2, program.STOPPED):
        raise Wrong(f"exit code {code}")
    if _Reached.__name__ in words or code in (0, program.STOPPED):
        return
    last = words.rstrip("\n").rpartition("\n")[2]
    # Of more lines are the advice of a download that failed, and the list of a folder's faults.
    lines = [line for line in words.split("\n") if line.startswith("error: ")]
    if len(lines) != 1 or any(len(line) > LONGEST_SENTENCE for line in (last, *lines)):
        raise Wrong(f"exit code {code} with these words: {words!r:.400}")
    raise HeadroomError(lines[0])


@contextmanager
def _without_work() -> Iterator[None]:
    """The commands up to where the work begins: no torch, no network."""

    def reached(*args: object, **named: object) -> Any:
        raise _Reached(_Reached.__name__)

    def parsed(words: list[str]) -> int:
        if words[:1] != ["compare"]:
            profile.parsed(words, load())
        return 0

    small = {"HEADROOM_MAX_VRAM": "8", "HEADROOM_NO_PROGRESS": "1", "HEADROOM_CACHE_DIR": "cache"}
    with (
        patch("headroom.cli.generate.opened", reached),
        patch("headroom.cli.sheets.opened", reached),
        patch("headroom.cli.replay.again", reached),
        patch("headroom.cli.profile.run", parsed),
        patch("headroom.weights.sources.sources", reached),
        patch.dict(os.environ, small),
        patch.object(sys, "argv", ["acestep"]),
    ):
        before = log.handlers, log.level, log.propagate
        try:
            yield
        finally:
            log.handlers, log.propagate = before[0], before[2]
            log.setLevel(before[1])
