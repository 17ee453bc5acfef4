"""What the commands' parsers share: faults in one line, spellings, flags of the engine."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NoReturn, cast, get_args

from headroom import paths
from headroom.engine.arguments import MOST_THREADS, check_threads
from headroom.engine.terms import NO_CHOICES, choices_of
from headroom.errors import InvalidRequest, UnreadableFile, one_line
from headroom.hardware.machine import DType, Kind
from headroom.memory.limits import Choices
from headroom.models.registry import USUAL
from headroom.params.flags import is_basic, mark_basic
from headroom.settings import BACKENDS, POLICIES, PRECISION_WORDS, QUANTIZATIONS, Policy, Settings
from headroom.settings.declaration import amount, device, maybe

AUTO = "auto"
DTYPES = (AUTO, *get_args(DType))
DEVICES = (AUTO, *get_args(Kind))
_BASIC = ("device", "model", "lm_model", "checkpoint_dir")  # what most people need of them
_LONG = 400  # characters of a flag's help that is shortened in the short help
_MESSAGE = 600  # characters of what argparse says, with the words it says it of
_NEGATIVE = re.compile(r"-(\d|\.\d|inf|nan)", re.IGNORECASE)


class Parser(argparse.ArgumentParser):
    """A parser whose faults are one line on standard error and exit code 2.

    In two layers (`in_layers`) its `--help` lists the flags that most people need, and `--help-all`
    every flag.
    """

    _brief = False

    def in_layers(self) -> None:
        """Let `--help` list the flags that are marked as basic, and `--help-all` all."""
        self._brief = True
        mark_basic(self.add_argument("--help-all", action=_HelpAll, help="list every flag"))

    def whole_help(self) -> str:
        """The help with every flag."""
        return super().format_help()

    def format_help(self) -> str:
        """The help that `--help` prints."""
        if not self._brief:
            return self.whole_help()
        shown = [action for action in self._actions if action.help != argparse.SUPPRESS]
        words = [action.help for action in shown]
        later = [a for a in shown if not (is_basic(a) or a.dest == "help")]
        try:
            for action in shown:
                action.help = argparse.SUPPRESS if action in later else _short(action.help or "")
            text = self.whole_help()
        finally:
            for action, said in zip(shown, words, strict=True):
                action.help = said
        return f"{text}\n`{self.prog} --help-all` lists {len(later)} more flags.\n"

    def unknown(self, word: str) -> InvalidRequest:
        """The error for a word that none of its flags answers to, with the nearest."""
        flag, _, value = word.partition("=")
        actions = [action for action in self._actions if action.help != argparse.SUPPRESS]
        known = [name for action in actions for name in action.option_strings]
        close = get_close_matches(flag, known, n=1)
        hint = f" (did you mean {close[0]}?)" if close else ""
        where = f"{self.prog} --help{'-all' if self._brief else ''}"
        return InvalidRequest(flag, value or word, f"the flags `{where}` lists{hint}")

    def error(self, message: str) -> NoReturn:
        """Say what is wrong, and where the flags are listed."""
        said = one_line(message, _MESSAGE)
        sys.stderr.write(f"error: {said}; `{self.prog} --help` lists the flags.\n")
        raise SystemExit(2)


def _short(words: str) -> str:
    """A flag's help with the first few of very many choices."""
    if len(words) < _LONG:
        return words
    return re.sub(r"\[one of: ((?:[^,\]]+, ){3})[^\]]*\]", r"[one of: \1…]", words)


class _HelpAll(argparse.Action):
    """Print the help with every flag, and leave."""

    def __init__(self, option_strings: Sequence[str], dest: str, **more: Any) -> None:
        more.update(nargs=0, default=argparse.SUPPRESS)
        super().__init__(option_strings, "help", **more)

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        """Print it, and leave."""
        if isinstance(parser, Parser):
            sys.stdout.write(parser.whole_help())
        parser.exit()


def spelt(words: Sequence[str]) -> list[str]:
    """Flags with hyphens, whatever they were written with; negative values tied to their flags.

    argparse takes `-1e3`, `-inf` and `-1,2` for flags of their own.
    """
    found: list[str] = []
    for word in words:
        if word.startswith("--") and len(word) > 2:
            name, equals, value = word.partition("=")
            found.append(name.replace("_", "-") + equals + value)
        elif _NEGATIVE.match(word) and found and _is_open_flag(found[-1]):
            found[-1] += "=" + word
        else:
            found.append(word)
    return found


def _is_open_flag(word: str) -> bool:
    return word.startswith("--") and len(word) > 2 and "=" not in word


@dataclass(frozen=True, slots=True)
class EngineFlags:
    """How the engine is to be opened, as far as somebody said."""

    device: str
    dtype: str
    model: str | None
    checkpoint_dir: Path | None
    compile: bool | None
    threads: int | None
    policy: Policy | None = None
    choices: Choices = NO_CHOICES
    management: bool | None = None
    idle_timeout: float | None = None
    family: str = USUAL

    def policy_in(self, settings: Settings) -> Policy:
        """What was said, else what the settings say."""
        return self.policy or settings.policy

    def choices_in(self, settings: Settings) -> Choices:
        """What was said, and the settings where nothing was."""
        return choices_of(self.choices, settings)

    def settings_with(self, settings: Settings) -> Settings:
        """The settings, management as it was said."""
        if self.management is not None:
            settings = replace(settings, gpu_management=self.management)
        if self.idle_timeout is not None:
            said = ("gpu_idle_timeout", "--gpu-idle-timeout")
            settings = replace(
                settings, gpu_idle_timeout=self.idle_timeout, sources=(*settings.sources, said)
            )
        return settings


def add_engine_flags(parser: argparse.ArgumentParser, older_shown: bool = False) -> None:
    """The flags every command has that runs a model; `older_shown`: what ACE-Step calls some of
    them is in the help too."""
    group = parser.add_argument_group("Machine and model")
    group.add_argument(
        "--device", default=AUTO, metavar="|".join(DEVICES),
        help="where to compute; cuda and xpu may carry an index, as cuda:1",
    )  # fmt: skip
    group.add_argument("--dtype", default=AUTO, metavar="|".join(DTYPES), help="precision")
    group.add_argument("--model", metavar="NAME", help="as `acestep models list` shows them")
    group.add_argument("--checkpoint-dir", metavar="FOLDER", help="folder of the model folders")
    group.add_argument("--family", default=USUAL, metavar="NAME", help="family of models")
    group.add_argument(
        "--compile", action=argparse.BooleanOptionalAction, default=None,
        help="compile what runs often (left open: where it pays)",
    )  # fmt: skip
    group.add_argument(
        "--policy", metavar="|".join(POLICIES),
        help="what the card's published tier says, or the best that fits",
    )  # fmt: skip
    for flag, words in (
        ("--offload", "parts leave the card while nobody uses them"),
        ("--offload-dit", "the DiT leaves the card too"),
    ):
        group.add_argument(
            flag, dest=flag[2:].replace("-", "_"), nargs="?", const="on", metavar="auto|on|off",
            help=f"{words} (left open: as the policy says)",
        )  # fmt: skip
    group.add_argument("--quantization", metavar="|".join(PRECISION_WORDS), help="of the DiT")
    group.add_argument(
        "--init-lm", "--init-llm", action=argparse.BooleanOptionalAction, default=None,
        help="load the planner language model (left open: as the policy says)",
    )  # fmt: skip
    group.add_argument("--lm-model", metavar="NAME", help="planner language model, or none")
    group.add_argument("--lm-backend", metavar="|".join(BACKENDS), help="how it runs")
    group.add_argument(
        "--enable-gpu-management", action=argparse.BooleanOptionalAction, default=None,
        help="give the card's memory back after each request and when idle",
    )  # fmt: skip
    group.add_argument("--gpu-idle-timeout", metavar="SECONDS", help="until an idle part leaves")
    group.add_argument("--threads", metavar="N", help="of the processor (left open: as torch has)")
    mark_basic(*(action for action in group._group_actions if action.dest in _BASIC))
    _add_older_flags(parser, older_shown)


def _add_older_flags(parser: argparse.ArgumentParser, shown: bool) -> None:
    group = parser.add_argument_group("Machine and model, as they were called")
    hidden = argparse.SUPPRESS
    for flag, same in (("--config-path", "--model"), ("--lm-model-path", "--lm-model")):
        words = same if shown and flag == "--config-path" else hidden
        dest = same[2:].replace("-", "_")
        group.add_argument(flag, dest=dest, metavar="NAME", help=words)
    for same in ("--offload", "--offload-dit"):
        group.add_argument(
            f"{same}-to-cpu", dest=same[2:].replace("-", "_"), action="store_const", const="on",
            help=same if shown else hidden,
        )  # fmt: skip


def engine_flags(args: argparse.Namespace) -> EngineFlags:
    """Read them. Raises InvalidRequest for what can be seen to be wrong without loading torch."""
    try:
        device(args.device)
    except ValueError as error:
        raise InvalidRequest("device", args.device, "one of " + ", ".join(DEVICES)) from error
    if args.dtype not in DTYPES:
        raise InvalidRequest("dtype", args.dtype, "one of " + ", ".join(DTYPES))
    folder = (
        None
        if args.checkpoint_dir is None
        else paths.expanded(args.checkpoint_dir, "checkpoint_dir")
    )
    if folder is not None and not paths.is_dir(folder):
        why = "is not a folder" if paths.exists(folder) else "is not there"
        raise UnreadableFile("checkpoint_dir", args.checkpoint_dir, why, "a folder that is there")
    return EngineFlags(
        device=args.device,
        dtype=args.dtype,
        model=args.model or None,
        checkpoint_dir=folder,
        compile=args.compile,
        threads=_threads(args.threads),
        policy=cast("Policy | None", _one_of("policy", args.policy, POLICIES)),
        choices=Choices(
            offload=_switch("offload", args.offload),
            offload_dit=_switch("offload_dit", args.offload_dit),
            quantization=_unless_auto(_one_of("quantization", args.quantization, QUANTIZATIONS)),
            lm=args.lm_model,
            lm_backend=_unless_auto(_one_of("lm_backend", args.lm_backend, BACKENDS)),
            init_lm=args.init_lm,
        ),
        management=args.enable_gpu_management,
        idle_timeout=_seconds("gpu_idle_timeout", args.gpu_idle_timeout),
        family=args.family,
    )


def _one_of(field: str, text: str | None, allowed: Sequence[str]) -> str | None:
    if text is not None and text.lower() not in allowed:
        raise InvalidRequest(field, text, "one of " + ", ".join(allowed))
    return None if text is None else text.lower()


def _unless_auto(text: str | None) -> str | None:
    return None if text == AUTO else text


def _switch(field: str, text: str | None) -> bool | None:
    try:
        return None if text is None else maybe(text)
    except ValueError as error:
        raise InvalidRequest(field, text, "auto, on or off") from error


def _threads(text: str | None) -> int | None:
    if text is None:
        return None
    # Not more digits than Python reads, nor than the largest number has.
    number = int(text) if text.isdecimal() and len(text) <= len(str(MOST_THREADS)) else None
    if number is None or not 1 <= number <= MOST_THREADS:
        check_threads(text)
    return number


def _seconds(field: str, text: str | None) -> float | None:
    try:
        return None if text is None else amount(text)
    except ValueError as error:
        raise InvalidRequest(field, text, "a number of seconds above 0") from error
