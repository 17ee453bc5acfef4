"""Lyrics as people paste them: what is no voice, and what of a line can be seen."""

from __future__ import annotations

import pytest

from headroom.models.acestep.requests.songs import Text2Music
from headroom.models.acestep.song.compose import sung_lyrics
from headroom.models.acestep.text.lyric_text import has_voice, is_seen, stripped

NONE = (
    "", " \n\t", "[Instrumental]", "Instrumental", "INSTRUMENTAL", "instrumental.", "[inst]",
    "Inst",
    "(instrumental)", "[Instrumental]\n\n[Instrumental]\n", "\ufeff", "\ufeff[Instrumental]",
    "\u200b\u200c\u200d\u2060", "\u200b\n\u2028\ufeff", "\u3164\u2800\xad", "Instru\u200bmental",
    "[Pure Music]", "\U000e0041", "\x00\x1b", "[no vocals]",
)  # fmt: skip
SOME = (
    "la", "[Verse]", "[Verse]\nla", "[Instrumental]\nla", "instrumental love", "\ufeffla",
    "[Intro]\n[Instrumental]\n[Outro]", "é", "海", "🎵", "...", "i",
)  # fmt: skip


@pytest.mark.parametrize("lyrics", NONE)
def test_these_are_no_voice(lyrics: str) -> None:
    assert not has_voice(lyrics)
    assert sung_lyrics(Text2Music(lyrics=lyrics)) == "[Instrumental]"


@pytest.mark.parametrize("lyrics", SOME)
def test_these_are_sung_as_they_stand(lyrics: str) -> None:
    assert has_voice(lyrics)
    assert sung_lyrics(Text2Music(lyrics=lyrics)) == lyrics.removeprefix("\ufeff")
    assert sung_lyrics(Text2Music(lyrics=lyrics, instrumental=True)) == "[Instrumental]"


def test_what_is_not_seen_is_taken_off_both_sides() -> None:
    text = "ab \u200b la \u2600\ufe0f \ufeff\u2028cd"
    assert stripped(text, 2, len(text) - 2) == (5, 10)
    assert stripped(text, 2, 5) is None and not is_seen(text[2:5])
