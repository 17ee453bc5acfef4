"""Requests: as mappings, as JSON, and as ACE-Step's own parameters."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from dataclasses import fields
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

from acestep.inference_types import GenerationConfig, GenerationParams
from acestep.request_conversion import to_request
from headroom.cli.generate import _request as request_of_line
from headroom.cli.parser import spelt
from headroom.models.acestep.family import FAMILY
from headroom.models.acestep.requests.songs import TASKS, AnyMusicRequest, request_from
from headroom.models.acestep.requests.unread_names import UNREAD
from headroom.params.describe import Param, union
from headroom.params.flags import add_flags, argv_of, given
from support.strangers.door import Wrong
from support.strangers.words import TOKENS, json_text, mangled, nudged, value

_EVERY = union(TASKS.values())
_CODES = "".join(f"<|audio_code_{n}|>" for n in (5, 17, 63_999))
_SOURCED = ("cover", "repaint", "lego", "extract", "complete")


@cache
def names() -> tuple[tuple[str, Param | None], ...]:
    """Every name that a field answers to, and others."""
    found: list[tuple[str, Param | None]] = []
    for param in _EVERY:
        for name in (param.name, *param.knob.old):
            parts = name.split("_")
            camel = parts[0] + "".join(part.title() for part in parts[1:])
            found += [(one, param) for one in (name, name, camel, name.replace("_", "-"))]
        found += [(old, param) for old, _ in param.knob.old_switches]
    return (*found, *((name, None) for name in UNREAD), ("task", None), ("task_type", None))


def likely(rng: Random, param: Param | None) -> Any:
    """A value that a field takes, or that is beside one it takes."""
    if param is None:
        return rng.choice((*TASKS, "cover_nofsq", "text_to_music", "", None, 1, True))
    if param.knob.open_values and rng.random() < 0.15:
        return rng.choice(param.knob.open_values)
    if param.choices and rng.random() < 0.9:
        one = rng.choice((*param.choices, *(old for old, _ in param.knob.old_words)))
        return rng.choice((one, one, one.upper(), one.replace("_", " "), f" {one} "))
    if param.kind is bool:
        return rng.choice((True, False, "true", "off", 1, 0, "1"))
    if param.limit is not None and param.kind in (int, float):
        low, high = param.limit.minimum, param.limit.maximum
        number = rng.choice((low, high, rng.uniform(low, high), low - 1, high + 1, high * 2))
        number = round(number) if param.kind is int or rng.random() < 0.5 else number
        one = rng.choice((number, number, number, str(number), f"{number} {param.knob.unit}"))
        return [one] * rng.randint(1, 3) if param.many and rng.random() < 0.7 else one
    if param.name == "audio_codes":
        return rng.choice((_CODES, "1,2,3", "5 6"))
    if param.many and param.kind is float:
        return rng.choice(("1,0.5,0", [1, 0.5], [1.0, 0.75, 0.25], "0.9"))
    return rng.choice(("a slow song", "song.wav", "[Verse]\nla la\n", "春の歌", TOKENS[0]))


def request(rng: Random) -> Any:
    """Fields and values, as a mapping, or as a line of JSON."""
    task = rng.choice(list(TASKS))
    made: dict[Any, Any] = {"caption": "a slow song"}
    if task != "text2music" or rng.random() < 0.5:
        made["task"] = task
    if task in _SOURCED:
        made["source_audio"] = "song.wav"
    for _ in range(rng.choice((0, 1, 2, 3, 6, 20))):
        name, param = rng.choice(names())
        if rng.random() < 0.03:
            name = mangled(rng, name, 50)
        act = rng.random()
        one = likely(rng, param)
        made[name] = one if act < 0.65 else nudged(rng, one) if act < 0.8 else value(rng)
    if rng.random() < 0.02:
        made[rng.choice((None, 1, 1.5, (), True))] = value(rng)
        return made
    if rng.random() < 0.02:
        return value(rng)
    return made if rng.random() < 0.5 else json_text(rng, made)


def take_request(case: Any, folder: Path) -> None:
    if isinstance(case, str):
        taken = request_of_line(case, "line 1", FAMILY)
    else:
        taken = request_from(case) if isinstance(case, dict) else _union(case)
    _same(taken, request_from(json.loads(json.dumps(taken.model_dump(mode="json")))), "JSON")
    _same(taken, _from_flags(argv_of(taken)), "flags")


def _union(case: Any) -> AnyMusicRequest:
    from pydantic import TypeAdapter

    from headroom.models.acestep.requests.songs import MusicRequest

    return TypeAdapter(MusicRequest).validate_python(case)  # type: ignore[no-any-return]


def _same(one: AnyMusicRequest, other: AnyMusicRequest, way: str) -> None:
    if type(one) is type(other) and one.model_dump() == other.model_dump():
        return
    pairs = {**one.model_dump()}
    there = other.model_dump()
    odd = {n: (v, there.get(n)) for n, v in pairs.items() if there.get(n) != v}
    raise Wrong(f"another request after a way through {way}: {odd!r:.400}")


@cache
def _flags() -> ArgumentParser:
    parser = ArgumentParser(allow_abbrev=False)
    add_flags(parser, _EVERY, TASKS)
    return parser


def _from_flags(words: list[str]) -> AnyMusicRequest:
    args, rest = _flags().parse_known_args(spelt(words))
    if rest:
        raise Wrong(f"flags of a request that nobody knows: {rest!r:.200}")
    return request_from(given(args, _EVERY))


def old(rng: Random) -> Any:
    """Parameters and configuration as programs for ACE-Step make them."""
    made: list[dict[str, Any]] = []
    params = {p.name: p for p in _EVERY} | {o: p for p in _EVERY for o in p.knob.old}
    for kind in (GenerationParams, GenerationConfig):
        every = [f.name for f in fields(kind)]
        told = {}
        for name in rng.choices(every, k=rng.choice((0, 1, 2, 5))):
            fit = likely(rng, params.get(name)) if name in params else rng.choice(every)
            told[name] = fit if rng.random() < 0.6 else value(rng)
        made.append(told)
    return (*made, rng.random() < 0.5)


def take_old(case: Any, folder: Path) -> None:
    params, config, ready = case
    to_request(GenerationParams(**params), GenerationConfig(**config), ready)
