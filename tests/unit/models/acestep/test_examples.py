"""The bundled examples: each a whole request, found in a checkout and from a wheel."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import unicodedata
import zipfile
from pathlib import Path

import pytest

from headroom.errors import InvalidRequest
from headroom.models.acestep.requests import examples
from headroom.models.acestep.requests.songs import Cover, Text2Music, request_from
from headroom.models.acestep.text.prompts import INSTRUMENTAL, LYRIC_TOKENS, lyric_prompt
from headroom.models.acestep.text.vocabulary import LANGUAGES
from headroom.models.acestep.tiers import TIERS
from headroom.params.clamp import clamp
from unit.cli.conftest import Cli, cli, home  # fixtures

__all__ = ["cli", "home"]

ROOT = Path(__file__).resolve().parents[4]
NAMES = examples.names()
KEYS = {  # as ACE-Step's example files have them
    "think": bool,
    "caption": str,
    "lyrics": str,
    "bpm": int,
    "duration": int,
    "keyscale": str,
    "language": str,
    "timesignature": str,
}
SCRIPTS = {  # how the names of a language's letters begin, where they are not Latin
    "zh": ("CJK",),
    "ja": ("CJK", "HIRAGANA", "KATAKANA"),
    "ko": ("HANGUL",),
    "ru": ("CYRILLIC",),
    "uk": ("CYRILLIC",),
    "hi": ("DEVANAGARI",),
    "ar": ("ARABIC",),
}
SECTION = re.compile(r"\[[A-Z][A-Za-z]*(?:[ -][A-Z][a-z]*)?(?: \d)?\]")


def text(name: str, key: str) -> str:
    value = examples.record(name)[key]
    assert isinstance(value, str)
    return value


def request(name: str) -> Text2Music:
    made = request_from(examples.fields(name))
    assert isinstance(made, Text2Music)
    return made


def sung(lyrics: str) -> list[str]:
    return [line for line in lyrics.splitlines() if line and not SECTION.fullmatch(line)]


# --- the files -----------------------------------------------------------------------------


def test_there_are_enough_of_them_and_they_are_numbered() -> None:
    assert NAMES == tuple(f"example_{number:02}" for number in range(1, len(NAMES) + 1))
    assert len(NAMES) >= 24
    assert examples.folder() == ROOT / "examples" / "text2music"
    assert {path.suffix for path in examples.folder().iterdir()} == {".json"}


@pytest.mark.parametrize("name", NAMES)
def test_a_file_is_a_request_within_all_limits(name: str) -> None:
    said = examples.record(name)
    assert {key: type(value) for key, value in said.items()} == KEYS
    made = request(name)
    assert clamp(made) == (made, ())
    assert {
        "think": made.thinking,
        "caption": made.caption,
        "lyrics": made.lyrics,
        "bpm": made.bpm,
        "duration": made.duration,
        "keyscale": made.keyscale,
        "language": made.vocal_language,
        "timesignature": made.timesignature,
    } == said
    assert made.duration is not None
    assert made.duration <= min(seconds for tier in TIERS.rows for seconds in tier.seconds)


@pytest.mark.parametrize("name", NAMES)
def test_lyrics_have_sections_and_are_read_whole(name: str) -> None:
    language, lyrics = text(name, "language"), text(name, "lyrics")
    assert SECTION.match(lyrics)
    assert not [line for line in lyrics.splitlines() if line != line.strip()]
    # A tokenizer over bytes makes at most a token of each.
    assert len(lyric_prompt(language, lyrics).encode()) <= LYRIC_TOKENS
    lines = sung(lyrics)
    if lyrics == INSTRUMENTAL:
        assert language == "unknown"
        return
    seconds = request(name).duration
    assert seconds is not None
    assert len(lines) >= 4 and 4 <= seconds / len(lines) <= 10, "too much or too little to sing"


@pytest.mark.parametrize("name", NAMES)
def test_what_is_sung_is_written_in_its_language(name: str) -> None:
    language = text(name, "language")
    letters = {letter for line in sung(text(name, "lyrics")) for letter in line if letter.isalpha()}
    begins = SCRIPTS.get(language, ("LATIN",))
    others = {x for x in letters if not unicodedata.name(x).startswith(begins)}
    assert others - set("ー々") == set()  # signs of Japanese that have no script of their own
    assert unicodedata.is_normalized("NFC", json.dumps(examples.record(name), ensure_ascii=False))


def test_they_differ_from_each_other_in_words_and_in_kind() -> None:
    captions = [text(name, "caption") for name in NAMES]
    songs = [text(name, "lyrics") for name in NAMES if text(name, "lyrics") != INSTRUMENTAL]
    assert len({caption.casefold() for caption in captions}) == len(captions)
    assert len({sung(lyrics)[0].casefold() for lyrics in songs}) == len(songs)
    assert len(captions) - len(songs) >= 3
    languages = {text(name, "language") for name in NAMES} - {"unknown"}
    assert languages <= {*LANGUAGES}
    assert languages >= {"en", "zh", "ja", "ko", "pt", "es", "fr", "de", "it", "ru", "hi", "ar"}
    lengths = [examples.record(name)["duration"] for name in NAMES]
    assert 15 in lengths and 240 in lengths
    assert {text(name, "timesignature") for name in NAMES} == {"2", "3", "4", "6"}
    assert {examples.record(name)["think"] for name in NAMES} == {True, False}


def test_the_profilers_example_is_a_whole_song() -> None:
    made = request(examples.USUAL)
    assert made.lyrics.count("[Chorus]") >= 2 and "[Verse 2]" in made.lyrics
    assert made.duration is not None and made.duration >= 60
    assert made.vocal_language == "en"


# --- the loader ----------------------------------------------------------------------------


def test_by_name_with_and_without_the_ending_and_by_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    whole = examples.record("example_05")
    assert examples.record("example_05.json") == whole
    assert examples.record(examples.folder() / "example_05") == whole
    Path("example_05.json").write_text('{"caption": "mine"}', encoding="utf-8")
    Path("tune.json").write_text('\ufeff{"prompt": "a tune"}', encoding="utf-8")
    Path("tune.txt").write_text('{"caption": "other"}', encoding="utf-8")
    assert examples.record("example_05") == whole
    assert examples.record("./example_05") == whole  # the same word for a path
    assert examples.record(tmp_path / "example_05") == {"caption": "mine"}
    assert examples.fields("tune") == {"task": "text2music", "caption": "a tune"}
    assert examples.fields("tune.txt") == {"task": "text2music", "caption": "other"}


def test_any_field_under_any_spelling(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    said = {"task_type": "text2music", "prompt": "a", "audioDuration": -1, "use_adg": True}
    path.write_text(json.dumps({**said, "key": "c# MINOR", "seeds": [1, 2]}), encoding="utf-8")
    assert examples.fields(path) == {
        "task": "text2music",
        "caption": "a",
        "keyscale": "C# minor",
        "duration": None,
        "seeds": (1, 2),
        "guidance_variant": "adg",
    }
    path.write_text('{"task": "extract", "source": "a.wav", "track": "drums"}', encoding="utf-8")
    assert examples.fields(path)["task"] == "extract"


@pytest.mark.parametrize("name", ["example_99", "EXAMPLE", "nowhere/example_05", "", ".", "\0"])
def test_an_unknown_example_is_answered_with_all_there_are(name: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        examples.fields(name)
    assert (caught.value.field, caught.value.value) == ("example", name)
    assert caught.value.allowed == f"one of {', '.join(NAMES)}, or the path of a JSON file"


def test_without_the_bundled_ones_a_path_still_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(examples, "PLACE", Path("nowhere"))
    (tmp_path / "x.json").write_text("{}", encoding="utf-8")
    assert examples.names() == ()
    assert examples.record(tmp_path / "x") == {}
    with pytest.raises(InvalidRequest, match=r"allowed: the path of a JSON file\.$"):
        examples.record("example_05")


@pytest.mark.parametrize(
    ("content", "field", "why"),
    [
        (b'{"caption": ', "example", "is not JSON: Expecting value: line 1 column 13"),
        (b"\xff\xfe{}", "example", "not UTF-8 text"),
        (b'["caption"]', "example", "a JSON object"),
        (b"", "example", "a JSON object"),
        (b'{"captoin": "a"}', "x.json, captoin", "did you mean 'caption'?"),
        (b'{"caption": "a", "mood": 1}', "x.json, mood", "a known field"),
        (b'{"bpm": "fast"}', "x.json, bpm", "from 30 to 300"),
        (b'{"bpm": NaN}', "x.json, bpm", "from 30 to 300"),
        (b'{"language": "xx"}', "x.json, vocal_language", "one of ar, az"),
        (b'{"keyscale": "H dur"}', "x.json, keyscale", "one of A major"),
        (b'{"think": true, "thinking": false}', "x.json, thinking", "one value for it"),
        (b'{"task": "dance"}', "x.json, task", "one of text2music, cover"),
    ],
)
def test_a_file_that_is_no_request_says_why(
    tmp_path: Path, content: bytes, field: str, why: str
) -> None:
    path = tmp_path / "x.json"
    path.write_bytes(content)
    with pytest.raises(InvalidRequest) as caught:
        examples.fields(path)
    assert caught.value.field == field
    assert why in str(caught.value)


def test_what_is_said_goes_before_the_example_under_any_spelling() -> None:
    whole = examples.fields("example_05")
    said = {"prompt": "other", "language": "de", "think": False, "seed": 3, "audio-duration": "20"}
    made = request_from(examples.filled(said, "example_05"))
    kept = {name: value for name, value in whole.items() if name != "task"}
    expected = Text2Music.model_validate(
        {**kept, "caption": "other", "vocal_language": "de", "thinking": False}
        | {"seed": 3, "duration": 20}
    )
    assert made == expected
    assert made.lyrics == whole["lyrics"] != ""


def test_another_task_takes_the_words_of_an_example() -> None:
    said = {"task": "cover", "src_audio": "a.wav", "duration": None}
    made = request_from(examples.filled(said, "example_05"))
    assert isinstance(made, Cover)
    assert made.lyrics == text("example_05", "lyrics") and made.duration is None


# --- the command line and the wheel ---------------------------------------------------------


def test_generate_makes_an_example_and_flags_go_before_it(cli: Cli, home: Path) -> None:
    flags = ("--duration", "10", "--no-thinking", "--inference-steps", "1", "--threads", "1")
    done = cli("generate", "--example", "example_09", "--key", "A minor", *flags, "-o", "a.wav")
    assert done.code == 0, done.err
    written = json.loads((home / "a.json").read_text(encoding="utf-8"))
    asked = written["provenance"]["requests"][0]["values"]
    whole = examples.fields("example_09")
    assert {name: asked[name] for name in ("caption", "lyrics", "bpm")} == {
        name: whole[name] for name in ("caption", "lyrics", "bpm")
    }
    assert (asked["keyscale"], asked["duration"], asked["vocal_language"]) == ("A minor", 10, "fr")
    assert asked["timesignature"] == "3"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--example", "polka"), "error: example: 'polka' is not allowed; allowed: one of exam"),
        (("--example", "example_01", "--requests", "a.jsonl"), "allowed: with one request only."),
        (("--example", "example_01", "--replay", "a.wav"), "allowed: nothing with --replay"),
    ],
)
def test_generate_says_what_is_wrong_with_an_example(
    cli: Cli, words: tuple[str, ...], sentence: str
) -> None:
    done = cli("generate", *words)
    assert (done.code, done.out) == (2, "")
    assert sentence in done.err


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what a wheel of this tree installs."""
    pytest.importorskip("hatchling", reason="the build backend is not here")
    folder = tmp_path_factory.mktemp("wheel")
    code = f"from hatchling.build import build_wheel; print(build_wheel({str(folder)!r}))"
    made = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    site = folder / "site"
    with zipfile.ZipFile(folder / made.stdout.split()[-1]) as wheel:
        wheel.extractall(site)
    return site


def test_an_installed_package_finds_them_without_torch(installed: Path, tmp_path: Path) -> None:
    ask = (
        f"import sys, json; sys.path.insert(0, {str(installed)!r})\n"
        "from headroom.models.acestep.requests import examples as e\n"
        "found = {n: e.record(n) for n in e.names()}\n"
        "print(json.dumps([str(e.folder()), 'torch' in sys.modules, found]))"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-c", ask], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    folder, torch, found = json.loads(done.stdout)
    assert Path(folder) == installed / "headroom" / "examples" / "text2music"
    assert torch is False
    assert found == {name: examples.record(name) for name in NAMES}


def test_the_wheel_has_the_two_packages_whole_and_no_third(installed: Path) -> None:
    top = {path.name.partition("-")[0] for path in installed.iterdir()}
    assert top == {"headroom", "acestep", "headroom_audio"}
    kinds = (".py", ".typed", ".json", ".safetensors", ".pt")
    here = [path for path in (ROOT / "src").rglob("*") if path.suffix in kinds]
    wanted = [path.relative_to(ROOT / "src") for path in here]
    assert Path("headroom/models/acestep/requests/examples.py") in wanted
    assert [str(path) for path in wanted if not (installed / path).is_file()] == []
