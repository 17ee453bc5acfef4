"""Whether to compile is decided by what was measured, once, and said where it is left out."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from headroom.device import Device
from headroom.device.open import open_device
from headroom.runtime import compile_choice
from headroom.runtime.compile_choice import CompileChoice, Pair, key, recall, remember

MODEL, DTYPE = "acestep-v15-turbo", "bfloat16"


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Device:
    """The host, with a compiler whatever is installed."""
    monkeypatch.setattr(compile_choice, "compiler", lambda device: "g++")
    return open_device("cpu")


def measured(folder: Path, device: Device, eager: float, compiled: float) -> None:
    remember(folder, key(device, MODEL, DTYPE), Pair(eager, compiled, 30.0))


def test_what_somebody_said_is_done(host: Device, tmp_path: Path) -> None:
    measured(tmp_path, host, eager=10.0, compiled=5.0)
    assert not CompileChoice(host, False, True, tmp_path).decide(MODEL, DTYPE)
    measured(tmp_path, host, eager=5.0, compiled=10.0)
    assert CompileChoice(host, True, False, tmp_path).decide(MODEL, DTYPE)


@pytest.mark.parametrize(
    ("eager", "compiled", "pays"), [(10.0, 9.0, True), (10.0, 9.9, False), (10.0, 12.0, False)]
)
def test_left_open_it_compiles_where_a_song_was_faster(
    host: Device, tmp_path: Path, eager: float, compiled: float, pays: bool
) -> None:
    measured(tmp_path, host, eager, compiled)
    choice = CompileChoice(host, None, True, tmp_path)
    assert choice.decide(MODEL, DTYPE) is pays
    why = choice.why_not(MODEL, DTYPE)
    assert (why is None) is pays
    if why is not None:
        assert f"{compiled:.1f} s compiled" in why and f"{eager:.1f} s without" in why


def test_left_open_it_does_not_compile_what_was_never_measured(
    host: Device, tmp_path: Path
) -> None:
    measured(tmp_path, host, eager=10.0, compiled=5.0)
    choice = CompileChoice(host, None, True, tmp_path)
    assert choice.decide(MODEL, DTYPE)
    assert not choice.decide("acestep-v15-xl-turbo", DTYPE)
    assert not choice.decide(MODEL, "float32")
    assert "acestep compile" in (choice.why_not(MODEL, "float32") or "")
    assert not CompileChoice(host, None, True, tmp_path / "none").decide(MODEL, DTYPE)
    assert not CompileChoice(host, None, True, None).decide(MODEL, DTYPE)


def test_a_reason_is_given_where_it_was_asked_for_or_promised(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(compile_choice, "compiler", lambda device: None)
    host = open_device("cpu")
    for wish, promised in ((True, False), (True, True), (None, True)):
        why = CompileChoice(host, wish, promised).why_not(MODEL, DTYPE)
        assert why is not None and "no compiler" in why
    assert CompileChoice(host, None, False).why_not(MODEL, DTYPE) is None
    assert CompileChoice(host, False, True).why_not(MODEL, DTYPE) is None


@pytest.mark.parametrize(
    "text", ["", "[]", "[" * 100_000, "{", '{"x": 1}', '{"KEY": {"fast": 1}}', '{"KEY": 3}']
)
def test_a_file_of_something_else_counts_as_nothing_measured(
    host: Device, tmp_path: Path, text: str
) -> None:
    name = key(host, MODEL, DTYPE)
    (tmp_path / compile_choice.FILE).write_text(text.replace("KEY", name), "utf-8")
    assert recall(tmp_path, name) is None
    measured(tmp_path, host, 2.0, 1.0)
    assert recall(tmp_path, name) == Pair(2.0, 1.0, 30.0)
    assert [path.name for path in tmp_path.iterdir()] == [compile_choice.FILE]


def test_measurements_hold_for_one_version_of_torch(
    host: Device, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured(tmp_path, host, 2.0, 1.0)
    monkeypatch.setattr(torch, "__version__", "99.0")
    assert not CompileChoice(host, None, True, tmp_path).decide(MODEL, DTYPE)
