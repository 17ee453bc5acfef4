from __future__ import annotations

import json
from pathlib import Path

import mutagen
import pytest
import soundfile
import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from headroom.audio.encode import FORMATS, Format, write_audio
from headroom.audio.files import read_audio
from headroom.audio.tags import PROVENANCE, read_tags, write_tags
from headroom.audio.wave import Audio
from headroom.errors import InvalidSource
from support import synth

CODES = "".join(f"<|audio_code_{i * 37 % 64_000}|>" for i in range(6000))
TAGS = {
    "title": "Ébène ♪ 夜",
    "artist": "headroom",
    "comment": "two\nlines",
    PROVENANCE: json.dumps({"seed": 2**63, "codes": CODES}),
}


@pytest.fixture(scope="module")
def sound() -> Audio:
    return Audio(torch.from_numpy(synth.voice(0.5)), 48_000)


def own(path: Path) -> dict[str, str]:
    return {k: v for k, v in read_tags(path).items() if k != "ENCODER"}  # the codec library's


@pytest.mark.parametrize("format", FORMATS)
def test_tags_come_back_even_long_ones(tmp_path: Path, sound: Audio, format: Format) -> None:
    assert len(TAGS[PROVENANCE]) > 100_000
    path = write_audio(tmp_path / "a", sound, format, tags=TAGS)
    assert own(path) == TAGS


@pytest.mark.parametrize("format", FORMATS)
def test_tags_do_not_touch_the_sound(tmp_path: Path, sound: Audio, format: Format) -> None:
    plain = write_audio(tmp_path / "a", sound, format)
    tagged = write_audio(tmp_path / "b", sound, format, tags=TAGS)
    assert torch.equal(read_audio(plain).samples, read_audio(tagged).samples)


@pytest.mark.parametrize("format", FORMATS)
def test_a_tag_is_replaced_and_the_others_stay(
    tmp_path: Path, sound: Audio, format: Format
) -> None:
    path = write_audio(tmp_path / "a", sound, format, tags=TAGS)
    write_tags(path, {"title": "new", "comment": "c", "HEADROOM": "{}"})
    assert own(path) == {"title": "new", "artist": "headroom", "comment": "c", PROVENANCE: "{}"}


@pytest.mark.parametrize("format", FORMATS)
def test_a_file_without_tags_has_none(tmp_path: Path, sound: Audio, format: Format) -> None:
    assert own(write_audio(tmp_path / "a", sound, format)) == {}


@pytest.mark.parametrize(("ending", "key"), [("flac", "title"), ("mp3", "TIT2"), ("wav", "TIT2")])
def test_other_programs_find_the_title(tmp_path: Path, sound: Audio, ending: str, key: str) -> None:
    path = write_audio(tmp_path / f"a.{ending}", sound, tags=TAGS)
    tags = mutagen.File(path).tags
    assert tags is not None and str(tags[key][0]) == TAGS["title"]


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@example(text="\0")
@given(text=st.text(alphabet=st.characters(exclude_categories=["Cs"]), min_size=1))
@pytest.mark.parametrize("format", ["wav", "flac", "opus"])
def test_any_text_comes_back(tmp_path: Path, format: Format, text: str) -> None:
    path = tmp_path / "a"
    if not path.exists():
        write_audio(path, Audio(torch.zeros(1, 100), 48_000), format)
    write_tags(path, {"title": text, "X": text})
    kept = text.replace("\0", "")
    # A text of which nothing is left may be no tag at all.
    said = {name: value for name, value in own(path).items() if value}
    assert said == ({"title": kept, "X": kept} if kept else {})


def test_half_a_character_is_left_out(tmp_path: Path, sound: Audio) -> None:
    assert own(write_audio(tmp_path / "a.flac", sound, tags={"title": "a\udc80b"})) == {
        "title": "ab"
    }


@pytest.mark.parametrize("name", ["", "Title", "two words", "A=B", "É"])
def test_names_of_tags(tmp_path: Path, sound: Audio, name: str) -> None:
    path = write_audio(tmp_path / "a.flac", sound)
    with pytest.raises(ValueError, match="word in capitals"):
        write_tags(path, {name: "x"})


def test_files_that_hold_no_tags(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("words")
    (tmp_path / "a.flac").write_bytes(b"fLaC")
    soundfile.write(tmp_path / "a.aiff", [0.0, 0.5], 48_000)
    for name in ("a.txt", "a.flac", "a.aiff", "none", "."):
        with pytest.raises(InvalidSource, match=r"^replay: .*; allowed: a wav, flac,"):
            read_tags(tmp_path / name, "replay")
    with pytest.raises(ValueError, match="no file that holds tags"):
        write_tags(tmp_path / "a.txt", {"title": "x"})
    with pytest.raises(OSError):
        write_tags(tmp_path / "a.flac", {"title": "x"})
