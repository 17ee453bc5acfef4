"""Texts: song sheets as language models write them, `.env` files, lyrics with times."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

from headroom.audio.lrc import TimedText, lrc
from headroom.errors import HeadroomError
from headroom.models.acestep.language.sheet import (
    BPM,
    SECONDS,
    SIGNATURES,
    Sheet,
    lyrics_of,
    normalised,
    read_sheet,
)
from headroom.models.acestep.text.lyric_text import has_voice, is_seen
from headroom.models.acestep.text.lyric_tokens import lyric_tokens
from headroom.models.acestep.text.plain_text import as_text
from headroom.models.acestep.text.prompts import lyric_prompt
from headroom.models.acestep.text.vocabulary import KEYS, LANGUAGES
from headroom.settings import declared, load
from headroom.settings.env_file import read_env
from headroom.terminal import visible
from support.strangers.door import Wrong
from support.strangers.words import as_bytes, changed, mangled, text, torn

_SHEETS = (
    "bpm: 120\ncaption: a slow bossa nova with a nylon guitar, brushed drums and a voice that is\n"
    "  near to whispering\nduration: 30\nkeyscale: F# minor\nlanguage: 'no'\ntimesignature: 6",
    'caption: "it\'s a: song # with marks"\nbpm: 98\ngenres: rock, pop\nlanguage: en',
    "caption: |\n  a text\n  below\nkey: Am\ntempo: about 120 BPM\ntime_signature: 3/4",
    "- **Caption:** a song\n- **BPM:** 120\n- **Key Scale:** C major\n- **Language:** English",
    '{"bpm": 120, "caption": "a song", "keyscale": "Bb minor", "duration": "1:30"}',
    "```yaml\ncaption:\n- one\n- two\nbpm: 90\n```",
    "caption: 'folded\n  over lines'\ngenres:\n- rock\n- pop\nduration: 1e2",
)
_LYRICS = (
    "[Verse 1]\nThe last train home\n(home)\n\n[Chorus - loud]\nLa la la\n[Outro]",
    "[[Verse]]\r\none [soft] two\rthree\u2028four\x85five",
    "[Instrumental]",
    "春の歌\n노래 [Bridge] привет\nعود",
)


def sheet(rng: Random) -> Any:
    """What a model wrote; sometimes values that a program gives."""
    if rng.random() < 0.15:
        return changed(rng, {"bpm": 120, "keyscale": "Am", "language": "en", "duration": "30"},
                       ("tempo", "caption", "timesignature", "key", "genres"))  # fmt: skip
    body = mangled(rng, rng.choice(_SHEETS))
    lyrics = rng.choice(("", mangled(rng, rng.choice(_LYRICS), 500)))
    told = f"<think>\n{body}\n</think>\n\n# Languages\nen\n\n# Lyric\n{lyrics}<|im_end|>"
    return rng.choice((told, told, body, f"<think>\n{body}", f"{body}<|audio_code_5|>"))


def take_sheet(case: Any, folder: Path) -> None:
    if isinstance(case, str):
        found = read_sheet(case)
        lyrics_of(case)
    elif isinstance(case, dict):
        found, _ = normalised(case)
    else:
        return
    _check_domains(found)
    again = read_sheet(f"<think>\n{as_text(found.text())}\n</think>")
    expected = found.only([n for n in found.values() if n != "genres"])
    caption = found.caption or ""  # of digits alone it is a number, and one sign is never text
    if again != expected and not caption.isdecimal() and "\ufdd0" not in caption:
        raise Wrong(f"read back as {again!r:.300}, it was {expected!r:.300}")


def _check_domains(found: Sheet) -> None:
    fine = (
        found.bpm is None or BPM[0] <= found.bpm <= BPM[1],
        found.duration is None or SECONDS[0] <= found.duration <= SECONDS[1],
        found.keyscale in (None, *KEYS),
        found.language in (None, *LANGUAGES),
        found.timesignature in (None, *SIGNATURES),
        found.caption is None or ("\n" not in found.caption and found.caption.strip() != ""),
    )
    if not all(fine):
        raise Wrong(f"a value out of bounds: {found!r:.300}")


# --- .env --------------------------------------------------------------------------------------

_SECRET = "hunter2hunter2"
_FOREIGN = (
    f"PASSWORD={_SECRET}", f"MY-VAR={_SECRET}", f"export API_KEY='{_SECRET}'", f"# {_SECRET}",
    f"key: {_SECRET}", f"- {_SECRET}", f"DATABASE_URL=postgres://u:{_SECRET}@h/x", f"{_SECRET}=1",
    f'KEY="-----BEGIN\n{_SECRET}\n-----END"', f"'{_SECRET}", f'X="{_SECRET}', f"${{{_SECRET}}}",
    f"HEADROM_TOKEN={_SECRET}", f"A={_SECRET}\\", f"{_SECRET}", f"[{_SECRET}]", f"B=${_SECRET}",
)  # fmt: skip
_OURS = ("HEADROOM", "ACESTEP", "MAX_", "GPU_IDLE", "LM_", "HF_", "LOCALAPPDATA")


@cache
def _settings() -> tuple[str, ...]:
    return tuple(spelt for _, one in declared() for spelt in (one.name, *one.replaces))


def env(rng: Random) -> Any:
    """The bytes of a file, and variables of the environment."""
    names = _settings()
    lines = []
    for _ in range(rng.choice((0, 1, 2, 4, 12))):
        if rng.random() < 0.5:
            lines.append(rng.choice(_FOREIGN))
        else:
            name = rng.choice(names)
            name = name if rng.random() < 0.8 else mangled(rng, name, 50)
            one = rng.choice(("8", "true", "cpu", "auto", "", "out", "1e300", text(rng, 300)))
            lines.append(f"{name}={rng.choice(('', chr(39), chr(34)))}{one}")
    said = rng.choice(("\n", "\n", "\r\n", "\r", "\n\n", " \n")).join(lines)
    if rng.random() < 0.3:
        said = mangled(rng, said, 2000)
    environ = {rng.choice(names): text(rng, 300) for _ in range(rng.choice((0, 0, 0, 1)))}
    return torn(rng, as_bytes(said)), environ


def take_env(case: Any, folder: Path) -> None:
    raw, environ = case
    path = folder / ".env"
    path.write_bytes(raw)
    heard: list[str] = []
    refusal: HeadroomError | None = None
    try:
        heard += read_env(path).remarks
        settings = load({"HEADROOM_CACHE_DIR": "cache", **environ}, path)
        heard += settings.warnings
        heard += [] if _shares_a_line(raw) else [f"{row}" for row in settings.rows()]
    except HeadroomError as error:
        refusal = error
        heard.append(str(error))
    for sentence in heard:
        if _SECRET in sentence and not _shares_a_line(raw):
            raise Wrong(f"text of the file is told: {sentence[:300]!r}")
    if refusal is not None:
        raise refusal
    for sentence in settings.warnings:
        if visible(sentence) != sentence or "\n" in sentence or len(sentence) > 2000:
            raise Wrong(f"an odd warning: {sentence[:300]!r}")


def _shares_a_line(raw: bytes) -> bool:
    """Whether the secret stands in a line of ours: then it may be told, as our value."""
    lines = re.split(r"[\r\n]", raw.replace(b"\0", b"").decode("utf-8", "replace").upper())
    return any(_SECRET.upper() in line and any(o in line for o in _OURS) for line in lines)


# --- LRC ---------------------------------------------------------------------------------------


def lyrics(rng: Random) -> Any:
    """Lyrics, and where a tokenizer's pieces end in their prompt."""
    said = mangled(rng, rng.choice(_LYRICS)) if rng.random() < 0.9 else text(rng)
    prompt = lyric_prompt(rng.choice(LANGUAGES), said)
    spans, at = list[tuple[int, int]](), 0
    most = rng.choice((len(prompt), len(prompt), rng.randint(0, len(prompt))))
    longest = rng.choice((1, 4, 9))
    while at < most and len(spans) < 2047:
        end = min(len(prompt), at + rng.randint(1, longest))
        if rng.random() < 0.97:
            spans += [(at, end)] * rng.choice((1, 1, 1, 2))
        at = end
    return said, prompt, [*spans, (0, 0)]


_STAMPED = re.compile(r"\[(\d{2,}):(\d{2})\.(\d{2})\](.*)", re.DOTALL)


def take_lyrics(case: Any, folder: Path) -> None:
    said, prompt, spans = case
    found = lyric_tokens(prompt, spans)
    has_voice(said)
    times = [number * 1.2345 for number in range(len(found.lines) + 1)]
    timed = [TimedText(line.text, times[i], times[i + 1]) for i, line in enumerate(found.lines)]
    rows = lrc(timed).splitlines()
    if len(rows) != len(timed):
        raise Wrong(f"{len(timed)} lines are {len(rows)} in the file")
    for row, one in zip(rows, timed, strict=True):
        parts = _STAMPED.fullmatch(row)
        if parts is None or not is_seen(parts[4]) or parts[4] != visible(one.text):
            raise Wrong(f"not a line of LRC: {row[:200]!r}")
        if abs(int(parts[1]) * 60 + float(f"{parts[2]}.{parts[3]}") - one.start) > 0.0051:
            raise Wrong(f"{row[:20]!r} for {one.start} s")
