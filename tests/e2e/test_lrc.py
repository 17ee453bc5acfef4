"""When lines are sung: from a request to a file beside the song, with the bundled model."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from itertools import accumulate, pairwise
from pathlib import Path

import pytest
import torch
from torch import Tensor

from headroom import Engine, Result, Text2Music
from headroom.audio.wave import Audio
from headroom.errors import Cancelled, InvalidOutput, InvalidRequest
from headroom.memory.plan import Residency, Wishes
from headroom.models.acestep.model import AceStep
from headroom.models.acestep.rendering import render
from headroom.models.acestep.song.song import Song
from headroom.models.acestep.text.lyric_tokens import Line, LyricTokens
from headroom.models.acestep.timestamps import timestamps
from headroom.models.acestep.timestamps.alignment import Consensus
from headroom.models.outputs import Timestamps
from headroom.runtime.events import Event, Replanned, StageDone
from headroom.settings import load
from tone_model.requests import Tone
from unit.cli.conftest import Cli, cli, home

__all__ = ["cli", "home"]
LYRICS = "[Verse]\nla la la in the sea\n海の歌を歌う\n\n[Chorus]\nsing with me [solo] all night\n"
LINES = ["la la la in the sea", "海の歌を歌う", "sing with me all night"]
ASKED = Text2Music(caption="slow", lyrics=LYRICS, duration=10, inference_steps=1, seed=3)
SHORT = ("--duration", "10", "--inference-steps", "1", "--seed", "3")


def read(path: Path) -> list[tuple[float, str]]:
    """An LRC file as a player reads it."""
    found = []
    for line in path.read_bytes().decode("utf-8").splitlines():
        parts = re.fullmatch(r"\[(\d\d):([0-5]\d\.\d\d)\](.+)", line)
        assert parts is not None, line
        found.append((int(parts[1]) * 60 + float(parts[2]), parts[3]))
    return found


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    made = Engine("cpu", "float32", settings=load({}, None))
    yield made
    made.close()


@pytest.fixture(scope="module")
def result(engine: Engine) -> Result:
    return engine.generate(ASKED)


def planted(path: list[int]) -> object:
    """Stands in for what a head looks at: in frame n the token `path[n]`."""

    def probabilities(q: Tensor, k: Tensor, head: int, keys: slice) -> Tensor:
        p = torch.full((len(q), keys.stop - keys.start), 0.001)
        p[torch.arange(len(q)), torch.tensor(path)] = 0.9
        return p

    return probabilities


# --- times ---------------------------------------------------------------------------------


def test_planted_attention_gives_planted_times(
    engine: Engine, result: Result, monkeypatch: pytest.MonkeyPatch
) -> None:
    """10 s are 125 frames of attention. Each line is given its own stretch."""
    tokens = [token.text for token in engine.timestamps(result).tokens]
    begins = list(accumulate(map(len, tokens), initial=0))
    starts = [begins.index(LYRICS.index(words)) for words in ("la la la", "海", "sing with")]
    at = [25, 50, 100]  # 2 s, 4 s, 8 s
    edges = [(0, 0), *zip(at, starts, strict=True), (125, len(tokens))]
    path: list[int] = []
    for (frame, token), (next_frame, next_token) in pairwise(edges):
        share = (next_token - token) / (next_frame - frame)
        path += [token + int(n * share) for n in range(next_frame - frame)]
    monkeypatch.setattr(timestamps, "probabilities", planted(path))
    found = engine.timestamps(result)
    assert [line.text for line in found.lines] == LINES
    assert [line.start for line in found.lines] == pytest.approx([2.0, 4.0, 8.0])
    assert found.notes == ()
    assert found.lrc == "".join(
        f"[00:0{n}.00]{line}\n" for n, line in zip((2, 4, 8), LINES, strict=True)
    )
    assert found.lines[0].end <= 4.0 and found.lines[2].end <= 10.0


@pytest.mark.parametrize("seed", range(4))
def test_times_never_go_back_and_stay_in_the_song(
    engine: Engine, result: Result, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """Also where heads point anywhere."""
    generator = torch.Generator().manual_seed(seed)

    def anywhere(q: Tensor, k: Tensor, head: int, keys: slice) -> Tensor:
        drawn = torch.randn(len(q), keys.stop - keys.start, generator=generator)
        return (8 * drawn).softmax(-1)

    monkeypatch.setattr(timestamps, "probabilities", anywhere)
    found = engine.timestamps(result)
    assert [line.text for line in found.lines] == LINES and found.notes == ()
    for words in (found.lines, found.tokens):
        edges = [(word.start, word.end) for word in words]
        assert all(0 <= start < end <= 10.0 for start, end in edges)
        assert [a for a, _ in edges] == sorted(a for a, _ in edges)
        assert [b for _, b in edges] == sorted(b for _, b in edges)
    assert "".join(token.text for token in found.tokens) == LYRICS


def test_heads_that_say_nothing_are_not_believed(engine: Engine, result: Result) -> None:
    """Those of random weights: the lines are spread evenly, and a note says so."""
    found = engine.timestamps(result)
    (note,) = found.notes
    assert note.field == "lrc" and "follows the words" in note.sentence()
    lengths = {round(token.end - token.start, 6) for token in found.tokens}
    assert len(lengths) == 1 and found.tokens[-1].end == 10.0


def test_a_song_that_was_made_longer_than_asked_is_watched_where_it_is_heard(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Codes of 3 s: 128 frames are computed, 75 are the song."""
    asked = Text2Music(lyrics="la la\nthe sea", audio_codes="<|audio_code_1|>" * 15, seed=1)
    made = engine.generate(asked.model_copy(update={"inference_steps": 1}))
    (song,) = made.songs
    assert (song.frames, song.kept) == (128, 75)  # type: ignore[attr-defined]
    seen: list[tuple[int, ...]] = []
    plain = Consensus.add
    monkeypatch.setattr(
        Consensus, "add", lambda self, p: (seen.append(tuple(p.shape)), plain(self, p))[1]
    )
    found = engine.timestamps(made)
    assert set(seen) == {(38, len(found.tokens))} and len(found.tokens) > 4
    assert found.tokens[-1].end == made.audio.seconds == 3.0


# --- plans ---------------------------------------------------------------------------------

PLANS = (Residency.RESIDENT, Residency.SWAPPED, Residency.STREAMED)


@pytest.fixture
def shares(monkeypatch: pytest.MonkeyPatch) -> list[Tensor]:
    """What every head that is watched looks at. Songs are not decoded, which takes most time."""
    seen: list[Tensor] = []
    plain = Consensus.add

    def add(self: Consensus, p: Tensor) -> None:
        seen.append(p)
        plain(self, p)

    def decode(songs: Sequence[Song], *_: object) -> tuple[Audio, ...]:
        return tuple(Audio(torch.zeros(2, song.kept), 48_000) for song in songs)

    monkeypatch.setattr(Consensus, "add", add)
    monkeypatch.setattr(render, "decode", decode)
    return seen


@pytest.mark.ci
def test_every_plan_watches_the_same(shares: list[Tensor]) -> None:
    """Weights stay, come and go, or pass through; and memory that runs out in the middle."""
    latents, heads = [], 0
    for residency in PLANS:
        made = Engine(
            "simulated", "float32", wishes=Wishes(residency),
            quantization="none", settings=load({}),
        )  # fmt: skip
        result = made.generate(ASKED)
        assert isinstance(made.model, AceStep)
        heads = sum(map(len, timestamps.heads_of(made.model.config).values()))
        device, heard = made.device, list[Event]()
        before = device.allocations  # type: ignore[attr-defined]
        made.timestamps(result, on_event=heard.append)
        count = device.allocations - before  # type: ignore[attr-defined]
        done = [event for event in heard if isinstance(event, StageDone)]
        assert [event.stage for event in done] == ["schedule", "align"]
        assert all(event.measured <= event.planned for event in done), residency
        made._pool.check_integrity()
        heard.clear()
        device.fail_at = device.allocations + count * 4 // 5  # type: ignore[attr-defined]
        made.timestamps(result, on_event=heard.append)
        assert any(isinstance(event, Replanned) for event in heard), residency
        # A pass that ended early left the blocks in order: the song is made again as it was.
        latents += [result.kept["latents"], made.generate(ASKED).kept["latents"]]
        made.close()
        assert device.memory_allocated() == made._pool.floor
        assert torch.equal(torch.stack(shares[:heads]), torch.stack(shares[-heads:])), residency
    assert len(shares) > 2 * heads * len(PLANS) - 1
    assert all(torch.equal(one, latents[0]) for one in latents)


@pytest.mark.ci
@pytest.mark.parametrize(("frames", "rows"), [(250, 2305), (15_000, 2305), (15_000, 30)])
def test_a_small_model_takes_no_more_than_is_planned(frames: int, rows: int) -> None:
    """What each token gives each row may be most of what is taken."""
    made = Engine("simulated", "float32", quantization="none", settings=load({}))
    model = made.model
    assert isinstance(model, AceStep)
    line = LyricTokens((0, 3), ("la",) * 3, (Line("la", 0, 2),), 0)
    heads = timestamps.heads_of(model.config)
    shapes = ((frames, 64), (rows, model.config.encoder.width), (frames, 128))
    latents, condition, context = (torch.zeros(shape) for shape in shapes)
    heard = list[Event]()
    task = timestamps.Timing(latents, condition, context, line, frames, 0.125, heads)
    made.carry_out(model.find_words(task), heard.append)
    parts = sum(part.device_bytes for part in made.status())
    done = next(e for e in heard if isinstance(e, StageDone) and e.stage == "align")
    taken, planned = done.measured - parts, done.planned - parts
    assert 0 < taken <= planned <= 4 * taken
    made.close()


def test_watching_can_be_stopped(engine: Engine, result: Result) -> None:
    with pytest.raises(Cancelled):
        engine.timestamps(result, cancel=lambda: True)


@pytest.mark.parametrize("index", [-1, 1, 7])
def test_a_song_that_is_not_there_is_refused(engine: Engine, result: Result, index: int) -> None:
    with pytest.raises(InvalidRequest, match="index"):
        engine.timestamps(result, index)


def test_what_cannot_be_timed_is_refused(result: Result) -> None:
    tones = Engine(device="cpu", family="tone")
    made = tones.generate(Tone(duration=0.2, seeds=(5,)))
    with pytest.raises(InvalidRequest, match="family"):
        tones.timestamps(made)
    with pytest.raises(InvalidRequest, match="result"):
        tones.timestamps(result)


# --- files ---------------------------------------------------------------------------------


def test_the_command_writes_a_file_beside_the_song(cli: Cli, home: Path) -> None:
    words = ("generate", "slow", "--lyrics", LYRICS, *SHORT, "--lrc")
    done = cli(*words, "-o", "a.wav", "--json")
    assert done.code == 0, done.err
    (output,) = json.loads(done.out)["outputs"]
    assert Path(output["lrc"]) == Path("a.lrc")
    found = read(home / "a.lrc")
    assert [text for _, text in found] == LINES
    times = [time for time, _ in found]
    assert times == sorted(times) and 0 <= times[0] and times[-1] <= 10
    assert cli(*words, "-o", "b.wav", "--quiet").code == 0
    assert (home / "b.lrc").read_bytes() == (home / "a.lrc").read_bytes()
    again = cli("generate", "--replay", "a.wav", "-o", "c.wav", "--lrc", "--quiet")
    assert again.code == 0, again.err
    assert (home / "c.lrc").read_bytes() == (home / "a.lrc").read_bytes()
    assert sorted(p.suffix for p in home.iterdir()) == [".json"] * 3 + [".lrc"] * 3 + [".wav"] * 3


def test_every_song_of_every_request_has_its_own(cli: Cli, home: Path) -> None:
    rows = [
        {"caption": "one", "lyrics": "la la\nthe sea", "duration": 10, "seeds": [1, 2]},
        {"caption": "two", "lyrics": "別の歌", "duration": 12, "seed": 3},
        {"caption": "three", "duration": 10, "seed": 4},
    ]
    text = "\n".join(json.dumps({**row, "inference_steps": 1}) for row in rows)
    (home / "all.jsonl").write_text(text, encoding="utf-8")
    done = cli("generate", "--requests", "all.jsonl", "-o", "songs", "--lrc", "--json")
    assert done.code == 0, done.err
    written = {p.name: [text for _, text in read(p)] for p in (home / "songs").glob("*.lrc")}
    both = ["la la", "the sea"]
    assert written == {"one-1.lrc": both, "one-1-2.lrc": both, "two-3.lrc": ["別の歌"]}
    told = json.loads(done.out)
    assert ["lrc" in output for output in told["outputs"]] == [True, True, True, False]


@pytest.mark.parametrize("lyrics", [(), ("--lyrics", "[Instrumental]"), ("--instrumental",)])
def test_a_song_that_nobody_sings_has_none_and_a_note_says_why(
    cli: Cli, home: Path, lyrics: tuple[str, ...]
) -> None:
    done = cli("generate", "slow", *lyrics, *SHORT, "-o", "a.wav", "--lrc")
    assert done.code == 0 and "no words are sung" in done.err, done.err
    assert "align" not in done.err  # and nothing was computed for it
    assert sorted(p.name for p in home.iterdir()) == ["a.json", "a.wav"]


def test_lines_beyond_what_the_model_reads_are_said(cli: Cli, home: Path) -> None:
    lyrics = "\n".join(f"line {n} of a very long song" for n in range(120))
    done = cli("generate", "x", "--lyrics", lyrics, *SHORT, "-o", "a.wav", "--lrc")
    assert done.code == 0, done.err
    found = read(home / "a.lrc")
    assert 60 < len(found) < 120 and f"asked 120 lines, used {len(found)} lines" in done.err


def test_without_the_flag_there_is_no_file(cli: Cli, home: Path) -> None:
    assert cli("generate", "x", "--lyrics", "la", *SHORT, "-o", "a.wav", "--quiet").code == 0
    assert sorted(p.name for p in home.iterdir()) == ["a.json", "a.wav"]


def test_a_place_that_cannot_take_it_is_refused_before_anything_runs(cli: Cli, home: Path) -> None:
    (home / "a.lrc").mkdir()
    done = cli("generate", "x", "--lyrics", "la", *SHORT, "-o", "a.wav", "--lrc")
    assert done.code == 2 and "lrc" in done.err and "is a folder" in done.err, done.err
    assert "denoise" not in done.err and not (home / "a.wav").exists()


def test_a_failure_leaves_nothing_half_written(
    engine: Engine, result: Result, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    timed = engine.timed(result)
    (tmp_path / "a.lrc").mkdir()
    with pytest.raises(InvalidOutput):
        timed.save(tmp_path / "a.wav")
    assert [p.name for p in tmp_path.iterdir()] == ["a.lrc"]
    assert isinstance(timed.timestamps[0], Timestamps)
