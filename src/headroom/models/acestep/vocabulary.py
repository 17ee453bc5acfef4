"""Words ACE-Step 1.5 was trained with: languages, keys, tracks, metadata. Data, no torch.

Source: ACE-Step 1.5, released constants.
"""

from __future__ import annotations

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
