"""A second family of models is one folder and one line: every command knows it."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest

from headroom.cli.compile import song_words
from headroom.cli.main import main
from headroom.models import registry
from unit.cli.conftest import Cli

TONE = Path(__file__).parents[3] / "examples" / "tone_model"
SHORT = ("--family", "bell", "--device", "cpu", "--lasting", "0.2")
# Fields of the copy that have other names than in the original.
RENAMED = {"duration": "lasting", "batch_size": "copies"}


@pytest.fixture
def bell(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> str:
    """The tone model under another package name, and its line in the registry."""
    place = tmp_path_factory.mktemp("families")
    folder = place / "bell_model"
    shutil.copytree(TONE, folder, ignore=shutil.ignore_patterns("__pycache__"))
    for file in folder.glob("*.py"):
        text = file.read_text(encoding="utf-8").replace("tone_model", "bell_model")
        for name, other in RENAMED.items():
            text = text.replace(name, other)
        file.write_text(text.replace('"tone"', '"bell"'), encoding="utf-8")
    monkeypatch.syspath_prepend(str(place))
    monkeypatch.setitem(registry.FAMILIES, "bell", "bell_model.family:FAMILY")  # the one line
    for name in [name for name in sys.modules if name.startswith("bell_model")]:
        monkeypatch.delitem(sys.modules, name)
    return "bell"


def test_it_makes_a_song(bell: str, home: Path, cli: Cli) -> None:
    done = cli("generate", *SHORT, "--frequency", "440", "--seed", "3", "-o", "bell.flac")
    assert done.code == 0, done.err
    made = json.loads((home / "bell.json").read_text(encoding="utf-8"))["provenance"]
    assert (made["family"], made["model"], made["seed"]) == ("bell", "bell", 3)
    again = cli("generate", "--replay", "bell.flac", "-o", "again.flac")
    assert again.code == 0, again.err
    assert (home / "again.flac").is_file()


def test_its_songs_get_names(bell: str, home: Path, cli: Cli) -> None:
    done = cli("generate", *SHORT, "--copies", "2", "--json")
    assert done.code == 0, done.err
    songs = json.loads(done.out)["outputs"]
    assert len(songs) == 2 and all(Path(song["path"]).is_file() for song in songs)
    assert all("bell" in Path(song["path"]).name for song in songs)


def test_requests_and_a_configuration_come_from_files(bell: str, home: Path, cli: Cli) -> None:
    (home / "two.jsonl").write_text('{"lasting": 0.2}\n{"length": 0.3, "frequency": 330}\n')
    done = cli("generate", "--family", "bell", "--requests", "two.jsonl", "-o", "out", "--json")
    assert done.code == 0, done.err
    assert len(list((home / "out").glob("*.flac"))) == 2
    (home / "bell.toml").write_text("lasting = 0.2\novertones = 1\n")
    done = cli("generate", "--family", "bell", "--config", "bell.toml", "-o", "one.flac")
    assert done.code == 0, done.err


def test_limits_reach_its_fields_by_what_they_mean(
    bell: str, home: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEADROOM_MAX_DURATION", "2")
    monkeypatch.setenv("HEADROOM_MAX_BATCH_SIZE", "2")
    monkeypatch.setenv("HEADROOM_BATCH_SIZE", "3")
    said = {"lasting": "HEADROOM_MAX_DURATION is 2", "copies": "HEADROOM_MAX_BATCH_SIZE is 2"}
    done = cli("plan", "--family", "bell", "--vram", "8", "--lasting", "5", "--json")
    planned = json.loads(done.out)
    notes = {note["field"]: note["why"] for note in planned["notes"]}
    assert (planned["duration"], said["lasting"]) == (2.0, notes["lasting"]), done.err
    short = ("--family", "bell", "--device", "cpu", "--lasting", "2.1")
    done = cli("generate", *short, "--json")
    songs = json.loads(done.out)["outputs"]
    assert [song["duration"] for song in songs] == [2.0, 2.0], done.err
    assert all(why in done.err + done.out for why in said.values())
    done = cli("generate", *short, "--copies", "1", "--seeds", "1,2")
    assert (done.code, "as many as copies says (1)" in done.err) == (2, True), done.err


def test_what_it_does_not_know_is_refused_by_name(bell: str, home: Path, cli: Cli) -> None:
    done = cli("generate", *SHORT, "slow bossa nova")
    assert (done.code, "takes no other words" in done.err) == (2, True), done.err
    done = cli("generate", *SHORT, "--lyrics", "la")
    assert (done.code, "--lyrics" in done.err) == (2, True), done.err
    done = cli("generate", *SHORT, "--example", "example_05")
    assert (done.code, "bell has no examples" in done.err) == (2, True), done.err


def test_it_is_planned(bell: str, home: Path, cli: Cli) -> None:
    done = cli("plan", "--family", "bell", "--vram", "8", "--lasting", "5")
    assert done.code == 0, done.err
    assert "bell: bell, 1 song of 5 s" in done.out and "oscillator" in done.out
    assert "policy adaptive, no tier" in done.out, "it publishes no tiers"
    done = cli("plan", "--family", "bell", "--all", "--json")
    assert done.code == 0, done.err
    rows = json.loads(done.out)
    assert len(rows) == 28 and all(row["fits"] for row in rows)


@pytest.mark.parametrize("mode", ["profile", "benchmark"])
def test_it_is_profiled(bell: str, home: Path, cli: Cli, mode: str) -> None:
    more = ("--steps", "2", "--copies", "1") if mode == "benchmark" else ()
    done = cli(
        "profile", *SHORT, "--mode", mode, "--no-warmup", "--benchmark-output", "out.json", *more
    )
    assert done.code == 0, done.err
    found = json.loads((home / "out.json").read_text(encoding="utf-8"))
    assert found["request"]["task"] == "bell"
    if mode == "benchmark":
        (row,) = found["benchmark"]["rows"]
        assert row["success"] and row["config"]["inference_steps"] == 2


@pytest.mark.parametrize("mode", ["tier-test", "understand", "create_sample", "format_sample"])
def test_modes_it_has_nothing_for_are_refused(bell: str, home: Path, cli: Cli, mode: str) -> None:
    done = cli("profile", *SHORT, "--mode", mode)
    assert (done.code, "bell has no language model" in done.err) == (2, True), done.err


def test_it_has_no_folders(bell: str, home: Path, cli: Cli) -> None:
    done = cli("models", "list", "--family", "bell")
    assert (done.code, "bell has no model folders" in done.out) == (0, True), done.err
    done = cli("models", "list", "--family", "bell", "--json")
    assert json.loads(done.out)["models"] == []
    done = cli("models", "download", "main", "--family", "bell")
    assert (done.code, "family" in done.err) == (2, True), done.err
    done = cli("doctor", "--family", "bell", "--json")
    assert json.loads(done.out)["model"] == "bell"


@pytest.mark.parametrize("command", ["generate", "plan", "profile"])
def test_its_help_lists_its_fields_and_no_others(
    bell: str, home: Path, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([command, "--family", "bell", "--help-all"]) == 0
    said = capsys.readouterr().out
    assert "--overtones" in said and "--lyrics" not in said


def test_its_schema_follows_from_its_fields(bell: str) -> None:
    family = registry.family_named("bell")
    (kind,) = family.requests.values()
    schema = kind.model_json_schema()
    assert schema["properties"]["overtones"]["maximum"] == 16
    assert family.request({"length": 3}).model_dump()["lasting"] == 3.0


def test_what_a_shell_completes_are_its_fields(bell: str, home: Path, cli: Cli) -> None:
    done = cli("completion", "bash", "--family", "bell")
    assert done.code == 0, done.err
    assert "--overtones" in done.out and "--inference-steps" not in done.out


def test_the_song_that_is_compiled_for_is_one_of_its_own(bell: str, home: Path, cli: Cli) -> None:
    assert song_words(registry.family_named("bell"), 2) == ["--lasting", "2"]
    assert song_words(registry.family_named(), 30) == [
        "--caption", "a song", "--duration", "30"
    ]  # fmt: skip
    done = cli("compile", "--family", "bell", "--duration", "700")
    assert (done.code, "a number from 0.1 to 600" in done.err) == (2, True), done.err


def test_the_wizard_has_no_questions_for_it(bell: str, home: Path, cli: Cli) -> None:
    done = cli("wizard", "--family", "bell")
    assert (done.code, "a song with a caption and lyrics" in done.err) == (2, True), done.err


def test_a_family_that_is_not_there_is_refused(home: Path, cli: Cli) -> None:
    for command in ("generate", "plan", "profile"):
        done = cli(command, "--family", "gong")
        assert (done.code, "family" in done.err) == (2, True), done.err
