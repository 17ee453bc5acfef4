"""Odd words, numbers and values, and what can be done to a good example to make it odd."""

from __future__ import annotations

import json
import math
from random import Random
from typing import Any

TOKENS = (
    "", " ", "\t", "\n", "\r\n", "\r", "\0", "\x07", "\x08", "\x0b", "\x0c", "\x1c", "\x7f",
    "\x1b[2J", "\x1b]0;x\x07", "\x85", "\x9b31m", "\xa0", "\xad", "\u2028", "\u2029", "\ufeff",
    "\u200b", "\u200d", "\u202e", "\u2066", "\u3000", "\ud800", "\udfff", "\ud83d", "\udc80",
    "\ufdd0", "\uffff", "\U0010ffff", "\U000e0041", "e\u0301", "\u0301" * 40, "\u0345", "عود",
    "שיר", "春の歌", "노래", "привет", "👩\u200d🎤", "٣", "²", "½", "Ⅷ", "１２０", "ß", "İ", "ﬁ",
    "-1", "0", "1", "7", "-0.0", "1e300", "1e400", "-1e308", "1e-400", "9" * 400, "0." + "3" * 400,
    "9" * 5000, "nan", "NaN", "inf", "-inf", "Infinity", "0x10", "1_000", "1,5", "1:30", "9:99:99",
    "00:00", "120 BPM", "2 min", "90s", "-1 s", "true", "false", "yes", "on", "null", "none",
    "auto", "N/A", "unknown", "[]", "{}", "[", "]", "{", "}", '"', "'", "`", '"""', "'''", "#",
    " #", ":", ": ", ",", ";", "|", ">", "|-", "- ", "-", "--", "---", "...", "&a", "*a", "<<: *a",
    "!!python/object/apply:os.getcwd []", "!!binary x", "%TAG ! x", "? ", "@", "@@", "@.",
    "@nothing", "~", "~nobody-of-that-name", "$HOME", "${X:-y}", "$(x)", "%s", "{0}", "%(x)s", "\\",
    "\\n", "\\u0000", "\\ud800", "\\x", "=", "==", "export ", "../../etc/passwd", "..\\..\\x",
    "..", ".", "C:\\x", "c:x", "con.txt", "nul", "lpt1.json", "aux.", "x .json ", ".hidden",
    "file:///x", "http://[", "//elsewhere.invalid/x", "<|im_end|>", "<|im_start|>",
    "<|audio_code_5|>", "<|audio_code_99999999999999999999|>", "<think>", "</think>", "<",
    "[Verse]", "[[Verse]]", "[" * 9, "](", "(((", "(instrumental)", "Instrumental", "# Lyric\n",
    "# Languages\n", "x" * 300, "version https://git-lfs.github.com/spec/v1\n", "C maj",
    "Si bemol", "F♯ minor", "4/4", "en-US",
)  # fmt: skip

NUMBERS = (
    0, -1, 1, 2, 7, 8, 10, 600, 601, 1 << 31, (1 << 31) - 1, 1 << 32, 1 << 53, (1 << 63) - 1,
    1 << 63, 1 << 64, (1 << 64) - 1, -(1 << 63), 10**18, 10**30, 10**308, 10**400, 10**5000,
    0.1, 0.5, 1.5, 8.0, -0.0, 1e-9, 5e-324, 1e18, 1e300, -1e300, math.nan, math.inf,
    -math.inf, True, False,
)  # fmt: skip


def power(rng: Random, most: int) -> int:
    """A number from 1 to `most`, small ones as likely as large ones."""
    return round(math.exp(rng.random() * math.log(most)))


def text(rng: Random, most: int = 20_000) -> str:
    """A word or several, seldom one of them over and over up to `most` characters."""
    if rng.random() < 0.04:
        token = "".join(rng.choices(TOKENS, k=rng.randint(1, 3))) or "x"
        return (token * power(rng, most))[:most]
    if rng.random() < 0.2:
        return "".join(
            chr(rng.choice((rng.randrange(128), rng.randrange(0x3000)))) for _ in range(9)
        )
    return "".join(rng.choices(TOKENS, k=rng.choice((1, 1, 1, 2, 3, 8))))


def deep(rng: Random, most: int = 3000) -> Any:
    """Lists and objects inside each other."""
    value: Any = rng.choice(NUMBERS)
    for _ in range(power(rng, most)):
        value = [value] if rng.random() < 0.5 else {"a": value}
    return value


def value(rng: Random, depth: int = 2) -> Any:
    """Anything that JSON has, and the numbers that Python's reader takes too."""
    kind = rng.random()
    if kind < 0.35:
        return text(rng)
    if kind < 0.65:
        return rng.choice(NUMBERS)
    if kind < 0.75:
        return rng.choice((None, True, False, "", [], {}, [[]], [None], [{}], {"": None}))
    if kind < 0.77:
        return deep(rng)
    if kind < 0.79:
        return [rng.choice((0, 1, "x", None, 0.5))] * power(rng, 20_000)
    if depth and kind < 0.9:
        return [value(rng, depth - 1) for _ in range(rng.randint(0, 4))]
    if depth:
        return {text(rng, 200): value(rng, depth - 1) for _ in range(rng.randint(0, 4))}
    return rng.randint(-1000, 1000)


def places(found: Any, most: int = 400) -> list[tuple[Any, Any]]:
    """Every container and key within a value, not below `most` of them."""
    todo, seen = [found], list[tuple[Any, Any]]()
    while todo and len(seen) < most:
        one = todo.pop(0)
        keys = (
            list(one) if isinstance(one, dict) else range(len(one)) if isinstance(one, list) else ()
        )
        for key in list(keys)[:50]:
            seen.append((one, key))
            todo.append(one[key])
    return seen


def changed(rng: Random, found: Any, names: tuple[str, ...] = ()) -> Any:
    """The value with a few things in it replaced, taken out, doubled or put in. `names`: keys that
    are known somewhere. It is changed in place."""
    for _ in range(rng.choice((0, 0, 1, 1, 1, 2, 3, 6))):
        spots = places(found)
        if not spots or rng.random() < 0.01:
            return value(rng)
        box, key = rng.choice(spots)
        act = rng.random()
        if act < 0.55:
            box[key] = nudged(rng, box[key])
        elif act < 0.7:
            del box[key]
        elif isinstance(box, list):
            box.insert(rng.randint(0, len(box)), value(rng) if act < 0.85 else box[key])
        else:
            name = rng.choice(names) if names and rng.random() < 0.7 else text(rng, 200)
            box[name] = value(rng) if act < 0.85 else box[key]
    return found


def nudged(rng: Random, one: Any) -> Any:
    """Another value in a value's place: often a neighbour of it, else anything."""
    act = rng.random()
    if act < 0.5 or (isinstance(one, float) and not math.isfinite(one)):
        return value(rng)
    if isinstance(one, bool) or one is None:
        return rng.choice((None, True, False, "true", "false", 0, 1, "None"))
    if isinstance(one, int | float) and abs(one) < 1e100:
        return rng.choice(
            (-one, one + 1, one - 1, float(one), str(one), [one], one * 10**6, one / 7)
        )
    if isinstance(one, str):
        return mangled(rng, one, 200) if act < 0.9 else rng.choice((one.upper(), f" {one} ", [one]))
    if isinstance(one, list):
        return rng.choice((one * 2, one[::-1], one[:1], [one], dict.fromkeys("ab", 1)))
    return [one]


def mangled(rng: Random, said: str, most: int = 20_000) -> str:
    """A text with pieces put in, taken out, doubled or exchanged."""
    for _ in range(rng.choice((0, 1, 1, 2, 4, 9))):
        a = rng.randint(0, len(said))
        b = min(len(said), a + power(rng, 40) - 1)
        act = rng.random()
        if act < 0.45:
            said = said[:a] + text(rng, most) + said[a:]
        elif act < 0.6:
            said = said[:a] + said[b:]
        elif act < 0.7:
            said = said[:a] + said[a:b] * rng.choice((2, 2, 3, power(rng, 300))) + said[b:]
        elif act < 0.8:
            said = said[:a] + text(rng, most) + said[b:]
        elif act < 0.9:
            lines = said.split("\n")
            rng.shuffle(lines)
            said = "\n".join(lines)
        elif act < 0.95:
            said = said[:a]
        else:
            said = said.replace(rng.choice(said or " "), rng.choice(TOKENS), 40)
    return said


def torn(rng: Random, said: bytes) -> bytes:
    """Bytes with some of them changed, in front, behind or missing."""
    act = rng.random()
    if act < 0.6:
        return said
    if act < 0.7:
        return rng.choice((b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff", b"\0", b"\n")) + said
    if act < 0.8:
        return said[: rng.randint(0, len(said))]
    if act < 0.85:
        encoding = rng.choice(("utf-16", "utf-32", "utf-16-be", "utf-7"))
        return said.decode("utf-8", "replace").encode(encoding, "replace")
    at = rng.randint(0, len(said))
    return said[:at] + rng.randbytes(rng.randint(1, 9)) + said[at + rng.randint(0, 9) :]


def json_text(rng: Random, found: Any) -> str:
    """A value as JSON: compact or not, sometimes with a key twice, broken, or nested deeply."""
    try:
        said = json.dumps(
            found, ensure_ascii=rng.random() < 0.5, indent=rng.choice((None, None, 1))
        )
    except (RecursionError, ValueError):
        return "[" * 5000
    act = rng.random()
    if act < 0.75:
        return said
    if act < 0.82 and said.startswith("{") and len(said) > 2:
        return said[:-1] + "," + said[1:]
    if act < 0.84:
        return rng.choice(("[", '{"a":', "[[],")) * power(rng, 100_000)
    if act < 0.86:
        return said.replace("1", "9" * power(rng, 6000), 1)
    return mangled(rng, said, 2000)


def as_bytes(said: str) -> bytes:
    """UTF-8, lone surrogates as they are written by programs that do not look."""
    return said.encode("utf-8", "surrogatepass")
