"""What people might write to ask for a made song, and the two texts the model reads of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from headroom.models.acestep.requests.tasks import GENERATE
from headroom.models.acestep.text.prompts import (
    INSTRUMENTAL,
    Metas,
    caption_prompt,
    lyric_prompt,
)
from music.piece import Facts

# Beats a minute from which on the next word holds: slow, medium, fast.
SLOW, FAST = 85, 125


@dataclass(frozen=True, slots=True)
class Words:
    """One language: its patterns and what it calls things, in the order of English."""

    patterns: tuple[str, ...]  # with {speed}, {mood}, {melody}, {chords}, {drums}
    speeds: tuple[str, str, str]
    moods: tuple[str, str]  # major, minor
    drums: tuple[str, str]  # with, without
    instruments: tuple[str, ...]  # of INSTRUMENTS


INSTRUMENTS = (
    "piano", "electric piano", "guitar", "organ", "strings", "violin", "flute", "clarinet",
    "trumpet", "marimba", "music box", "synth lead",
)  # fmt: skip

LANGUAGES: dict[str, Words] = {
    "en": Words(
        (
            "a {speed}, {mood} tune on {melody}, with {chords} and bass, {drums}",
            "{melody} melody over {chords} chords, {speed} and {mood}, {drums}",
            "{mood} instrumental: {melody}, {chords}, bass; {drums}; {speed}",
            "{speed} {mood} music played by {melody}, accompanied by {chords}, {drums}",
        ),
        ("slow", "medium tempo", "fast"),
        ("happy", "sad"),
        ("with drums", "no drums"),
        INSTRUMENTS,
    ),
    "de": Words(
        (
            "ein {mood}es Stück, {speed}, Melodie: {melody}, Begleitung: {chords}, {drums}",
            "{melody} über Akkorden ({chords}), {speed}, {mood}, {drums}",
        ),
        ("langsam", "mittleres Tempo", "schnell"),
        ("fröhlich", "traurig"),
        ("mit Schlagzeug", "ohne Schlagzeug"),
        (
            "Klavier", "E-Piano", "Gitarre", "Orgel", "Streicher", "Geige", "Flöte", "Klarinette",
            "Trompete", "Marimba", "Spieluhr", "Synthesizer",
        ),
    ),
    "fr": Words(
        (
            "un air {mood}, {speed}, mélodie : {melody}, accords : {chords}, {drums}",
            "{melody} avec {chords} et basse, {speed}, {mood}, {drums}",
        ),
        ("lent", "tempo moyen", "rapide"),
        ("joyeux", "triste"),
        ("avec batterie", "sans batterie"),
        (
            "piano", "piano électrique", "guitare", "orgue", "cordes", "violon", "flûte",
            "clarinette", "trompette", "marimba", "boîte à musique", "synthétiseur",
        ),
    ),
    "es": Words(
        (
            "una pieza {mood}, tempo {speed}, melodía: {melody}, acordes: {chords}, {drums}",
            "{melody} con {chords} y bajo, {speed}, {mood}, {drums}",
        ),
        ("lento", "medio", "rápido"),
        ("alegre", "triste"),
        ("con batería", "sin batería"),
        (
            "piano", "piano eléctrico", "guitarra", "órgano", "cuerdas", "violín", "flauta",
            "clarinete", "trompeta", "marimba", "caja de música", "sintetizador",
        ),
    ),
    "zh": Words(
        (
            "{speed}、{mood}的音乐，{melody}主旋律，{chords}和弦，{drums}",
            "{melody}与{chords}，{mood}，{speed}，{drums}",
        ),
        ("慢速", "中速", "快速"),
        ("欢快", "悲伤"),
        ("有鼓", "无鼓"),
        (
            "钢琴", "电钢琴", "吉他", "风琴", "弦乐", "小提琴", "长笛", "单簧管", "小号", "马林巴",
            "八音盒", "合成器主音",
        ),
    ),
    "ja": Words(
        ("{speed}で{mood}曲、メロディは{melody}、伴奏は{chords}、{drums}",),
        ("ゆっくり", "中くらいのテンポ", "速いテンポ"),
        ("明るい", "悲しい"),
        ("ドラムあり", "ドラムなし"),
        (
            "ピアノ", "エレクトリックピアノ", "ギター", "オルガン", "ストリングス", "バイオリン",
            "フルート", "クラリネット", "トランペット", "マリンバ", "オルゴール", "シンセリード",
        ),
    ),
}  # fmt: skip

LYRICS = (  # language and words
    ("en", "[Verse]\nThe morning light is on the hill\nand all the town is sleeping still"),
    ("en", "[Chorus]\nCome back to me, come back tonight"),
    ("en", "la la la"),
    ("de", "[Strophe]\nDer Mond ist aufgegangen\nund über uns die Nacht"),
    ("fr", "[Couplet]\nLa mer se lève sous le vent"),
    ("es", "[Estribillo]\nVuelve conmigo al río"),
    ("zh", "[Verse]\n月光落在窗前\n我想起了从前"),
    ("ja", "[Verse]\n夜の海をわたる風"),
)


@dataclass(frozen=True, slots=True)
class Prompts:
    """The two texts of a song, as the text encoder reads them."""

    caption: str
    lyrics: str


def caption(known: Facts, seed: int, language: str | None = None) -> str:
    """A caption; half of them are English where no language is asked for."""
    draw = np.random.default_rng((seed, 2))
    if language is None:
        others = [name for name in LANGUAGES if name != "en"]
        language = "en" if draw.random() < 0.5 else others[int(draw.integers(len(others)))]
    words = LANGUAGES[language]
    named = dict(zip(INSTRUMENTS, words.instruments, strict=True))
    speed = (known.bpm >= SLOW) + (known.bpm >= FAST)
    return words.patterns[int(draw.integers(len(words.patterns)))].format(
        speed=words.speeds[speed],
        mood=words.moods[known.mode == "minor"],
        melody=named[known.melody],
        chords=named[known.chords],
        drums=words.drums[not known.drums],
    )


def prompts(
    known: Facts,
    seed: int,
    *,
    share_told: float = 0.8,
    share_sung: float = 0.0,
    instruction: str = GENERATE,
    language: str | None = None,
) -> Prompts:
    """The texts of a song. Each of tempo, metre and key is told as often as `share_told`.

    As often as `share_sung` there are lyrics, although nobody sings them: a model that has seen
    some is not led astray by a user's.
    """
    draw = np.random.default_rng((seed, 3))
    told = draw.random(3) < share_told
    metas = Metas(
        known.bpm if told[0] else None,
        str(known.metre) if told[1] else None,
        known.key if told[2] else None,
        known.seconds,
    )
    spoken, lyrics = "unknown", INSTRUMENTAL
    if draw.random() < share_sung:
        spoken, lyrics = LYRICS[int(draw.integers(len(LYRICS)))]
    return Prompts(
        caption_prompt(instruction, caption(known, seed, language), metas),
        lyric_prompt(spoken, lyrics),
    )
