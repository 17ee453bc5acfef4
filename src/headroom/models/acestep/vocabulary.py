"""Words ACE-Step 1.5 was trained with: languages, keys, tracks, metadata. Data, no torch.

Source: ACE-Step 1.5, released constants.
"""

from __future__ import annotations

import re

LANGUAGES: tuple[str, ...] = tuple(
    "ar az bg bn ca cs da de el en es fa fi fr he hi hr ht hu id is it ja ko la lt ms ne nl no pa "
    "pl pt ro ru sa sk sr sv sw ta te th tl tr uk ur vi yue zh unknown".split()
)

KEYS: tuple[str, ...] = tuple(
    f"{note}{accidental} {mode}"
    for note in "ABCDEFG"
    for accidental in ("", "#", "b", "♯", "♭")
    for mode in ("major", "minor")
)

TRACKS: tuple[str, ...] = tuple(
    "woodwinds brass fx synth strings percussion keyboard guitar bass drums backing_vocals vocals"
    .split()
)  # fmt: skip

METAS = ("bpm", "duration", "keyscale", "timesignature")  # of a song sheet, beside its words

_KEY = re.compile(r"([A-Ga-g])\s*([#b♯♭]?)\s*(major|minor|maj|min|m)?", re.IGNORECASE)
_MINOR = ("minor", "min", "m")


def key_of(text: str) -> str | None:
    """A key in the model's words: `am`, `Am`, `A min` → `A minor`; None where it is none."""
    found = _KEY.fullmatch(text.strip())
    if found is None:
        return None
    mode = "minor" if (found[3] or "").lower() in _MINOR else "major"
    key = f"{found[1].upper()}{found[2].lower()} {mode}"
    return key if key in KEYS else None


def known_key(value: object) -> object:
    """The same of anything; what is no key stays what it is."""
    return value if not isinstance(value, str) else key_of(value) or value
