"""The song sheet as text: written as it was trained, read back, and values put right."""

from __future__ import annotations

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from headroom.models.acestep.language.sheet import FIELDS, Sheet, lyrics_of, normalised, read_sheet
from headroom.models.acestep.text.vocabulary import KEYS, LANGUAGES, parse_key

LONG = "a slow bossa nova with a nylon guitar, brushed drums and a voice that is near to whispering"


def test_it_is_written_as_it_was_trained() -> None:
    sheet = Sheet(120, LONG, 30, None, "F# minor", "no", "6")
    assert sheet.text() == (
        "bpm: 120\n"
        "caption: a slow bossa nova with a nylon guitar, brushed drums and a voice that is\n"
        "  near to whispering\n"
        "duration: 30\nkeyscale: F# minor\nlanguage: 'no'\ntimesignature: 6"
    )
    assert Sheet(genres="rock").text() == Sheet().text() == ""
    assert Sheet(caption="key: value").text() == "caption: 'key: value'"
    assert Sheet(caption="# 1").text() == "caption: '# 1'"
    assert Sheet(caption="春の歌 🎸", keyscale="B♭ major").text().startswith("caption: 春の歌")
    assert Sheet(timesignature="6").values() == {"timesignature": 6}


UNSTATED = ("none", "n/a")

sheets = st.builds(
    Sheet,
    bpm=st.none() | st.integers(30, 300),
    caption=st.none()
    | st.text(st.characters(exclude_categories=("C", "Z")), min_size=1)
    .map(str.strip)
    .filter(
        # A number in the form of the training text; a word by which models say that there is none.
        lambda text: not text.isdecimal() and text.lower() not in UNSTATED
    )
    | st.just(LONG)
    | st.sampled_from(["yes", "null", "1.5", "it's", "a: b", "'quoted'", "- x", "{a}", "no"]),
    duration=st.none() | st.integers(10, 600),
    keyscale=st.none() | st.sampled_from(KEYS),
    language=st.none() | st.sampled_from(LANGUAGES),
    timesignature=st.none() | st.sampled_from("2346"),
)


@given(sheets)
def test_what_is_written_is_read_back(sheet: Sheet) -> None:
    assert read_sheet(f"<think>\n{sheet.text()}\n</think>\n\n<|audio_code_5|>") == sheet
    assert read_sheet(f"<think>\n{sheet.text()}") == sheet  # the turn ended instead
    if sheet.text():
        assert list(yaml.safe_load(sheet.text())) == [n for n in FIELDS if n in sheet.values()]


@pytest.mark.parametrize("caption", ["none", "NONE", "N/a"])
def test_a_given_caption_is_kept_whatever_is_read_of_it(caption: str) -> None:
    given_sheet = Sheet(caption=caption)
    back = read_sheet(given_sheet.text())
    assert back == Sheet() and given_sheet.over(back) == given_sheet


WORDS = (
    "slow", "bossa", "nova:", "#1", "-", "don't", "'said", '"loud"', "春の歌", "夜", "노래", "🎸",
    "\U0001f469\u200d\U0001f3a4", "B♭", "été", "привет", "عود", "[x]", "{y}", "&z", "*", "!", "%",
    "@", "`", "|", ">", "?", "~", "no", "yes", "null", "1.5", "0x1f", "12:30", "---", "...", "a: b",
    "\\n", "<think>x", "x" * 90,
)  # fmt: skip


@given(st.lists(st.sampled_from(WORDS), min_size=1, max_size=60))
def test_captions_of_many_lines_are_read_back(words: list[str]) -> None:
    """Folded at 80 columns, in quotes or not, whatever begins a line or ends one."""
    caption = " ".join(words)
    sheet = Sheet(bpm=90, caption=caption, language="no", timesignature="4")
    lines = sheet.text().split("\n")
    assert lines[0] == "bpm: 90" and lines[-2:] == ["language: 'no'", "timesignature: 4"]
    assert all(line.startswith("  ") for line in lines[2:-2])
    assert all(line.rfind(" ") <= 81 for line in lines)  # no word begins further out
    assert read_sheet(f"<think>\n{sheet.text()}\n</think>\n\n<|audio_code_5|>") == sheet


@pytest.mark.parametrize("space", ["\t", "\n", "\n\n", "  ", " \t\n ", "\u3000", "\u00a0"])
@pytest.mark.parametrize("before", ["a slow", "春の" * 30, "key: value " * 9, "it's 🎸", "#"])
def test_space_of_any_kind_is_read_back_as_one(before: str, space: str) -> None:
    sheet = Sheet(caption=f"{before}{space}song {before}", duration=30)
    text = f"<think>\n{sheet.text()}\n</think>"
    assert "\t" not in text and sheet.text().split("\n")[-1] == "duration: 30"
    assert read_sheet(text) == Sheet(caption=f"{before.strip()} song {before.strip()}", duration=30)


def test_quotes_are_as_in_training() -> None:
    """What forces quotes, and which."""
    for said in ("key: value", "# 1", "- x", "ends:", "yes", "no", "null", "1.5", "'x'"):
        inside = said.replace("'", "''")
        assert Sheet(caption=said).text() == f"caption: '{inside}'", said
    for plain in ("6/8", "春の歌", "a 🎸 b", "B♭ major", "F# minor", "it's", 'say "x"'):
        assert Sheet(caption=plain).text() == f"caption: {plain}"
    assert Sheet(caption="a\tb").text() == 'caption: "a\\tb"'
    assert Sheet(language="no", keyscale="F# minor").text() == "keyscale: F# minor\nlanguage: 'no'"


def test_a_quoted_caption_is_not_quoted_again() -> None:
    """Read, and written: the same text, where the reference adds quotes each time."""
    for caption in ("key: value", "no", "'x'", "it's: so", 'a\t"b"'):
        once = Sheet(caption=caption).text()
        again = read_sheet(f"<think>\n{once}\n</think>")
        assert again.caption == " ".join(caption.split())
        assert read_sheet(f"<think>\n{again.text()}\n</think>") == again


def test_quotes_are_undone_line_by_line_too() -> None:
    """One field that is no YAML does not leave the others in their quotes."""
    broken = "genres: \"rock\nkeyscale: C major\nlanguage: 'no'"
    for caption, said in (
        ("'it''s: so'", "it's: so"),
        ('"a\\tb \\u266d"', "a b ♭"),
        ("'open", "'open"),
        ("'a' and 'b'", "'a' and 'b'"),
        ('"x" # y: z', None),
    ):
        found = read_sheet(f"<think>\ncaption: {caption}\n{broken}\n</think>")
        assert (found.genres, found.keyscale, found.language) == ('"rock', "C major", "no")
        assert said is None or found.caption == said


def test_the_longest_sheet_of_a_model_that_never_closed_it_is_read() -> None:
    text = "<think>\nbpm: 90\ncaption: a slow\n  song\nduration: 30\nkeyscale: C maj"
    assert read_sheet(text) == Sheet(90, "a slow song", 30, None, "C major")
    assert read_sheet(text + "\n<|audio_code_7|>bpm: 50") == read_sheet(text)


def test_what_is_no_yaml_is_read_line_by_line() -> None:
    text = "<think>\nbpm: 90\ncaption: loud: and fast\n  and long\nkeyscale: H\nwhat: x\n</think>"
    assert read_sheet(text) == Sheet(bpm=90, caption="loud: and fast and long")
    assert read_sheet("bpm: 70\n<|audio_code_3|>") == Sheet(bpm=70)
    assert read_sheet("nothing") == Sheet()
    assert read_sheet("<think>\nbpm: 999\nlanguage: xx\nduration: many\n</think>") == Sheet()


@pytest.mark.parametrize("heading", ["", "# Lyric\n", "# Lyrics\n", "# Languages\nen\n\n# Lyric\n"])
def test_lyrics_are_what_stands_behind(heading: str) -> None:
    text = f"<think>\nbpm: 90\n</think>\n{heading}[Verse]\nla la\n<|im_end|>"
    assert lyrics_of(text) == "[Verse]\nla la"
    assert lyrics_of("<think>\nbpm: 90") == ""


def test_values_that_people_give_are_put_right() -> None:
    sheet, bad = normalised(
        {"bpm": 999, "keyscale": "Am", "timesignature": "4/4", "duration": "12.4", "language": "EN"}
    )
    assert sheet == Sheet(300, None, 12, None, "A minor", "en", "4") and bad == ()
    sheet, bad = normalised(
        {"bpm": -5, "keyscale": "H", "mood": "x", "caption": "N/A", "language": ""}
    )
    assert sheet == Sheet() and bad == ("bpm", "keyscale", "mood")
    assert normalised({"timesignature": 4, "bpm": None})[0] == Sheet(timesignature="4")
    assert normalised({"bpm": 10**5000, "key": 10**5000}) == (Sheet(), ("bpm", "keyscale"))


@pytest.mark.parametrize(
    ("text", "key"),
    [("C", "C major"), ("c# min", "C# minor"), ("B♭ Major", "B♭ major"), ("gm", "G minor"),
     ("Bb", "Bb major"), ("H", None), ("", None), ("A minor scale", None)],
)  # fmt: skip
def test_keys_are_known_by_many_names(text: str, key: str | None) -> None:
    assert parse_key(text) == key


def test_what_is_said_goes_over_what_is_not() -> None:
    assert Sheet(bpm=90).over(Sheet(bpm=80, caption="x")) == Sheet(bpm=90, caption="x")


def test_a_caption_of_digits_alone_is_a_number() -> None:
    """As in the official sheets; leading zeros are none of a number."""
    for said, written in (("1984", "1984"), ("007", "7"), ("0", "0"), ("１２", "12")):
        assert Sheet(caption=said).text() == f"caption: {written}"
        assert read_sheet(f"<think>\n{Sheet(caption=said).text()}\n</think>").caption == written
    assert Sheet(caption="1984 is the year").text() == "caption: 1984 is the year"
    assert Sheet(caption="9" * 5000).text().startswith("caption: '999")


def thought(text: str) -> Sheet:
    return read_sheet(f"<think>\n{text}\n</think>\n\n<|audio_code_5|>")


@pytest.mark.parametrize(
    ("text", "caption"),
    [
        ("caption: hip hop # 1 in the charts", "hip hop # 1 in the charts"),
        ("caption: [dark, slow]", "[dark, slow]"),
        ("caption:\n- dark\n- slow: very\n- 'it''s'", "dark, slow: very, it's"),
        ("caption:\n  - dark\n  - slow", "dark, slow"),
        ("caption: a slow\nsong about: love\nand loss", "a slow song about: love and loss"),
        ("caption: |\n  a slow\n  song", "a slow song"),
        ("caption: >-\n  a slow\n  song", "a slow song"),
        ('caption: "Hello" is what she says', '"Hello" is what she says'),
        ("caption: {a song}", "{a song}"),
        ("caption: *bold* & @loud", "*bold* & @loud"),
        ("Caption: a song", "a song"),
        ("**Caption**: a song", "a song"),
        ("- caption: a song", "a song"),
        ("prompt: a song", "a song"),
        ('{"caption": "a # song", "bpm": 120}', "a # song"),
        ('```json\n{\n  "caption": "a song",\n  "bpm": 120\n}\n```', "a song"),
        ("caption: 'null'", "null"),
        ("caption: null", None),
        ("caption: N/A", None),
        ("caption:", None),
    ],
)
def test_a_caption_is_read_whole_however_it_is_written(text: str, caption: str | None) -> None:
    assert thought(f"{text}\nbpm: 120").caption == caption
    if "{" not in text:
        assert thought(f"{text}\nbpm: 120").bpm == 120
        assert thought(f"bpm: 120\n{text}\nlanguage: en").language == "en"


@pytest.mark.parametrize(
    ("text", "sheet"),
    [
        ("tempo: 120 BPM", Sheet(bpm=120)),
        ("BPM: ~98", Sheet(bpm=98)),
        ("bpm: 120.4", Sheet(bpm=120)),
        ("bpm: about 90 bpm", Sheet(bpm=90)),
        ("bpm: 120-130", Sheet()),
        ("bpm: 1e999", Sheet()),
        ("key: Am", Sheet(keyscale="A minor")),
        ("key_scale: F♯ minor", Sheet(keyscale="F♯ minor")),
        ("Key Scale: CM", Sheet(keyscale="C major")),
        ("time_signature: 4/4", Sheet(timesignature="4")),
        ("Time Signature: 6 / 8", Sheet(timesignature="6")),
        ("duration: 1:30", Sheet(duration=90)),
        ("duration: 95 s", Sheet(duration=95)),
        ("length: 2 min", Sheet(duration=120)),
        ("language: English", Sheet(language="en")),
        ("vocal_language: pt-BR", Sheet(language="pt")),
        (
            "{bpm: 120, key: Am, genres: [rock, pop]}",
            Sheet(120, None, None, "rock, pop", "A minor"),
        ),
        ("genre: rock\nmood: dark", Sheet(genres="rock")),
    ],
)
def test_fields_are_known_by_other_names_and_with_units(text: str, sheet: Sheet) -> None:
    assert thought(text) == sheet


def test_people_say_values_by_the_same_names() -> None:
    sheet, bad = normalised(
        {"tempo": "120 BPM", "key": "Am", "time_signature": "4/4", "duration": "1:30"}
    )
    assert sheet == Sheet(120, None, 90, None, "A minor", None, "4") and bad == ()


@given(st.text(st.sampled_from("ab:#-[]{}'\"|>&*!%@`,\n \t<\u2028"), max_size=60))
def test_no_text_of_a_model_is_too_odd_to_be_read(text: str) -> None:
    found = read_sheet(f"<think>\nbpm: 90\ncaption: {text}")
    assert found.bpm in (90, None)
