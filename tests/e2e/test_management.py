"""Idle management and the 4 GB mode, through the engine, on the simulated device."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import soundfile

from headroom.engine.engine import Engine
from headroom.models.acestep.requests.songs import Cover, Text2Music
from headroom.runtime.entry import State
from headroom.settings import load

# Engines compute in float32: convolutions in bfloat16 take minutes on processors that lack it.
ASKED = Text2Music(caption="slow", duration=10, seed=3, inference_steps=1)


def test_managed_memory_goes_back_after_each_request(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "headroom"):
        engine = Engine("simulated", "float32", settings=load({"HEADROOM_GPU_MANAGEMENT": "true"}))
    assert "🚀 GPU 管理已启用" in caplog.text
    assert all(part.state is State.ABSENT for part in engine.status())  # lazy
    engine.generate(ASKED)
    assert {part.state for part in engine.status()} <= {State.HOST, State.ABSENT}
    assert engine.device.memory_allocated() == engine._pool.floor
    engine.generate(ASKED)  # restored
    engine.release()
    assert all(part.state is State.ABSENT for part in engine.status())
    engine.close()


def test_by_default_nothing_is_managed(caplog: pytest.LogCaptureFixture) -> None:
    engine = Engine("simulated", "float32", settings=load({"HEADROOM_MAX_VRAM": "24"}))
    engine.generate(ASKED)
    assert "GPU 管理" not in caplog.text
    assert any(part.state is State.DEVICE for part in engine.status())  # all stays at 24 GB
    engine.offload("dit")
    assert {p.name: p.state for p in engine.status()}["dit"] is State.HOST
    engine.close()
    assert engine.device.memory_allocated() == engine._pool.floor


FOUR_GB = {
    "MAX_CUDA_VRAM": "4",
    "ACESTEP_INIT_LM_DEFAULT": "false",
    "ACESTEP_OFFLOAD_TO_CPU": "true",
    "ACESTEP_OFFLOAD_DIT_TO_CPU": "true",
    "ACESTEP_MAX_DURATION": "180",
    "ACESTEP_MAX_BATCH_SIZE": "1",
}


@pytest.mark.ci
def test_the_four_gigabyte_mode(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = Engine("simulated", "float32", settings=load(FOUR_GB))
    assert engine.policy.tier.name == "tier1" and not engine.policy.init_lm
    result = engine.generate(ASKED.model_copy(update={"lyrics": "[Verse]\nmy own words"}))
    assert result.audio.seconds == pytest.approx(10)
    assert engine.device.memory_allocated() == engine._pool.floor  # offloaded after use
    asked = Text2Music(caption="x", duration=240, batch_size=2, inference_steps=1, seeds=(1, 2))
    prepared = engine._settle(asked.model_copy(update={"seeds": ()}))
    said = {note.field: note for note in prepared.notes}
    assert said["duration"].used == 180 and "ACESTEP_MAX_DURATION is 180" in said["duration"].why
    assert said["batch_size"].used == 1
    path = tmp_path / "source.wav"
    result.save(path)
    # A cover of the first two seconds: encoding sound is what takes long.
    monkeypatch.setattr("headroom.models.acestep.song.compose.LEAST_FRAMES", 50)
    start = tmp_path / "start.wav"
    soundfile.write(start, soundfile.read(path, frames=2 * 48_000)[0], 48_000)
    cover = Cover(caption="x", source_audio=start, inference_steps=1, seed=1)
    assert engine.generate(cover).audio.seconds == pytest.approx(2)
    engine.close()
