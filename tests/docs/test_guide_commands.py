"""Every command line of the guides is understood by the program as it stands there."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile

from headroom.cli.main import main
from headroom.profiler.options import Options
from headroom.settings import declared
from support.guide_pages import LANGUAGES, Command, commands, every_command, part, text

COMMANDS = every_command()
TOOL = ("python", "-m", "json.tool")
Typed = Callable[[Command], int]


@pytest.fixture
def type_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Typed:
    """Types a command into a folder that has the files it names; nothing is run but plans."""
    for _, setting in declared():
        for name in (setting.name, *setting.replaces):
            monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    soundfile.write(tmp_path / "song.flac", np.zeros(4800, np.float32), 48000)
    for name in ("before.json", "after.json"):
        (tmp_path / name).write_text("{}", encoding="utf-8")

    def measured(options: Options, face: object) -> SimpleNamespace:
        return SimpleNamespace(stopped=False, ok=True)

    monkeypatch.setattr("headroom.profiler.main.run", measured)
    monkeypatch.setattr("headroom.profiler.compare.read", lambda path: path.read_text("utf-8"))
    monkeypatch.setattr("headroom.profiler.compare.compared", lambda first, second: first + second)
    examined = SimpleNamespace(problems=())
    monkeypatch.setattr("headroom.cli.doctor.examine", lambda settings, folder, family: examined)
    monkeypatch.setattr("headroom.cli.doctor._text", lambda found: "")

    def typed(command: Command) -> int:
        for name, value in command.set:
            monkeypatch.setenv(name, value)
        return main(list(command.program))

    return typed


@pytest.mark.parametrize("command", COMMANDS, ids=str)
def test_a_command_is_understood(
    command: Command, type_in: Typed, capsys: pytest.CaptureFixture[str]
) -> None:
    if command.words[:3] == TOOL:  # Python's own
        assert command.words[3:] == ("benchmark_results.json",)
        return
    code = type_in(command)
    said = capsys.readouterr()
    assert code == 0, said.err
    if command.tier is not None:
        assert f"published, {command.tier.replace('tier', 'tier ')}\n" in said.out


def test_there_are_commands_of_every_mode() -> None:
    lines = [str(command) for command in COMMANDS]
    modes = ("profile", "benchmark", "tier-test", "understand", "create_sample", "format_sample")
    assert all(any(f"--mode {mode}" in line for line in lines) for mode in modes)
    sizes = [dict(c.set).get("MAX_CUDA_VRAM") for c in COMMANDS if c.words[:2] == ("uv", "run")]
    assert sizes == ["4", "6", "8", "12", "16"]


@pytest.mark.parametrize("language", LANGUAGES)
def test_notes_are_shown_as_their_command_tells_them(
    language: str, type_in: Typed, capsys: pytest.CaptureFixture[str]
) -> None:
    page = text("GPU_COMPATIBILITY", language)
    before, _, _ = page.partition("<!-- notes:begin -->")
    assert type_in(list(commands(before))[-1]) == 0
    shown = part(page, "notes").removeprefix("```text\n").removesuffix("```\n").splitlines()
    said = capsys.readouterr().err.splitlines()
    assert len(shown) == 3 and [line for line in said if line.startswith("note:")] == shown


def test_what_is_said_of_six_gigabytes_is_so(capsys: pytest.CaptureFixture[str]) -> None:
    for language in LANGUAGES:
        every = commands(text("GPU_COMPATIBILITY", language))
        (command,) = (command for command in every if "--vram 6 " in str(command))
        assert "1.7B" in command.remark and "6 GB" in command.remark
    assert main([*command.program, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    precision = {place["component"]: place["precision"] for place in found["placements"]}
    assert found["language_model"] == "1.7B" and precision["dit"] == "bfloat16"
