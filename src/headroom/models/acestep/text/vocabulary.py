"""ACE-Step 1.5's vocabulary of languages, keys, tracks and metadata, with common synonyms. No
torch.

Source: ACE-Step 1.5, released constants.
"""

from __future__ import annotations

import re
import unicodedata

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

TRACK_WORDS: tuple[tuple[str, str], ...] = tuple(
    (word, track)
    for track, words in (
        ("woodwinds", "woodwind,winds,flute,clarinet,oboe,bassoon,sax,saxophone"),
        ("brass", "horn,horns,brasses,trumpet,trombone,tuba,french horn"),
        ("fx", "effects,effect,sfx,sound effects,sound fx"),
        ("synth", "synths,synthesizer,synthesizers,synthesiser,synthesisers,pad,pads,synth pad,"
                  "synth lead,arp"),
        ("strings", "string,violin,violins,viola,cello,orchestra,string section"),
        ("percussion", "percussions,perc"),
        ("keyboard", "keyboards,keys,piano,pianos,organ,electric piano,grand piano,rhodes"),
        ("guitar", "guitars,electric guitar,acoustic guitar,lead guitar,rhythm guitar"),
        ("bass", "basses,bass guitar,bassline,bass line,electric bass"),
        ("drums", "drum,drum kit,drumkit,drum set,kit,beat,beats"),
        ("backing_vocals", "backing vocal,backing,backings,background vocals,background vocal,"
                           "backup vocals,bgv,bvs,choir,harmony vocals,harmonies"),
        ("vocals", "vocal,voice,voices,vox,singing,singer,lead vocals,lead vocal,main vocals"),
    )
    for word in words.split(",")
)  # fmt: skip

METAS = ("bpm", "duration", "keyscale", "timesignature")  # of a song sheet, besides its texts

_KEY = re.compile(r"([A-Ga-g])(\s*[#♯♭]|[bB]|[\s_-]*(?:sharp|flat))?[\s_-]*([a-z]*)", re.IGNORECASE)
_MODES = {"major": "major", "maj": "major", "minor": "minor", "min": "minor"}
_SIGNS = {"sharp": "#", "flat": "b"}


def parse_key(text: str) -> str | None:
    """A key in the model's spelling: `Am`, `a min` → `A minor`, `CM`, `c maj` → `C major`; None if
    it is not a key. For a single letter after the note, its case gives the mode."""
    match = _KEY.fullmatch(unicodedata.normalize("NFKC", text).strip())
    if match is None:
        return None
    note, sign, mode = match[1].upper(), (match[2] or "").strip(" \t_-").lower(), match[3]
    if mode in ("m", "M"):
        mode = "minor" if mode == "m" else "major"
    else:
        mode = _MODES.get(mode.lower() or "major", "")
    key = f"{note}{_SIGNS.get(sign, sign)} {mode}"
    return key if key in KEYS else None


def known_key(value: object) -> object:
    """The key that a value names; any other value is returned unchanged."""
    return value if not isinstance(value, str) else parse_key(value) or value
