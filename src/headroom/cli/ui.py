"""`acestep ui`, and `acestep` without a command: the page, with everything of `acestep serve`.

It takes the flags with which ACE-Step starts its page, with hyphens or underscores. Those that
have no effect here are named in a warning.
"""

from __future__ import annotations

import sys
from argparse import SUPPRESS
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

from headroom.cli.parser import Parser, add_engine_flags, engine_flags, spelt
from headroom.cli.serve import Flags, add_settings, page, serve, with_flags
from headroom.log import log
from headroom.settings import load

FLAGS: Flags = MappingProxyType(
    {
        "service_host": ("server-name", "ADDRESS"),
        "ui_port": ("port", "NUMBER"),
        "ui_language": ("language", "LANGUAGE"),
        "service_cards": ("cards", "'CARD,CARD CARD'"),
        "service_key": ("api-key", "KEY"),
        "download_source": ("download-source", "SOURCE"),
        "batch_size": ("batch-size", "SONGS"),
    }
)
# ACE-Step's switches that take a word, and the flags they are here: for on, for off.
_SWITCHES: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "--offload-to-cpu": ("--offload=on", "--offload=off"),
        "--offload-dit-to-cpu": ("--offload-dit=on", "--offload-dit=off"),
        "--init-llm": ("--init-lm", "--no-init-lm"),
        "--share": ("--share", ""),
    }
)
_OTHER_NAMES = MappingProxyType({"--backend": "--lm-backend", "--auth-password": "--api-key"})
# What has no effect, with the reason; those in _ALONE take no value.
_WITHOUT_EFFECT: Mapping[str, str] = MappingProxyType(
    {
        "--init-service": "a model is loaded by the first job that needs it",
        "--service-mode": "the page shows what the caller may do",
        "--enable-api": "the API is always there, under /v1",
        "--use-flash-attention": "the fastest attention that computes exactly is always used",
        "--checkpoint": "--checkpoint-dir names the folder of the models",
        "--allowed-path": "the page serves no files of this machine",
        "--auth-username": "the password alone is the key",
        "--debug": "--verbose tells more",
        "--gpu-mapping": "every card has an engine process of its own",
    }
)
_ALONE = ("--debug",)
_ON = ("true", "1", "yes", "y", "on")
_OFF = ("false", "0", "no", "n", "off")
_OPEN = ("auto", "none")


def parser() -> Parser:
    """The flags of `acestep ui`."""
    about = "Serve the page and the API: make songs in a browser, on every card of this machine."
    made = Parser("acestep ui", description=about, allow_abbrev=False)
    group = made.add_argument_group("Page")
    add_settings(group, FLAGS)
    group.add_argument(
        "--share",
        action="store_true",
        help="also under an address on the internet; takes --api-key",
    )
    made.add_argument("--list-gpus", action="store_true", help=SUPPRESS)
    add_engine_flags(made)
    return made


def run(words: Sequence[str]) -> int:
    """Run `acestep ui …`; the exit code. Raises HeadroomError."""
    from headroom.cli.doctor import run as doctor
    from headroom.service.config import from_settings  # with what the extra `ui` brings

    args = parser().parse_args(list(today(spelt(words))))
    if args.list_gpus:
        return doctor([])
    options = engine_flags(args)
    settings = with_flags(load().under(options), FLAGS, args)
    config = from_settings(settings, options.family)
    return serve(replace(config, page=page(), port=settings.ui_port), options, args.share)


def today(words: Sequence[str]) -> Iterator[str]:
    """The flags of ACE-Step's page as they are called here; all others unchanged."""
    rest = list(words)
    while rest:
        flag, equals, value = rest.pop(0).partition("=")
        flag = _OTHER_NAMES.get(flag, flag)
        if flag in _WITHOUT_EFFECT:
            if flag not in _ALONE and not equals and rest and not rest[0].startswith("--"):
                rest.pop(0)
            log.warning("%s has no effect here: %s", flag, _WITHOUT_EFFECT[flag])
        elif flag in _SWITCHES:
            on, off = _SWITCHES[flag]
            if not equals and rest and rest[0].lower() in (*_ON, *_OFF, *_OPEN):
                value = rest.pop(0)
            if value.lower() in _OPEN:
                continue
            yield from filter(None, [off if value.lower() in _OFF else on])
        else:
            yield flag + equals + value


def main(argv: Sequence[str] | None = None) -> int:
    """Run the page as `python -m acestep.acestep_v15_pipeline` does; the exit code."""
    from headroom.cli.main import main as program

    return program(["ui", *(sys.argv[1:] if argv is None else argv)])
