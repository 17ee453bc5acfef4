"""Songs that an engine has made, as far as a service knows: the test itself plays the engine."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping

import httpx2
import numpy as np
import soundfile

from headroom.jobs.values import Made
from support.live import Live

RATE, SECONDS = 48000, 4
WORDS = {"caption": "calm piano", "lyrics": "[Verse]\nover the hills", "keyscale": "C major"}


def sound(*pitches: float) -> np.ndarray:
    """Two tones, as 16-bit samples have them: (frames, channels)."""
    time = np.arange(RATE * SECONDS) / RATE
    tones = [0.2 * np.sin(2 * np.pi * pitch * time) for pitch in pitches or (220, 330)]
    return np.round(np.stack(tones, axis=1) * 2**15) / 2**15


def ask(live: Live, words: Mapping[str, str] = WORDS) -> None:
    """Ask for a song."""
    answer = httpx2.post(f"{live.url}/v1/jobs", json={"task": "text2music", **words})
    assert answer.status_code == 202, answer.text


def finish(live: Live, title: str, words: Mapping[str, str] = WORDS, *pitches: float) -> str:
    """Play the engine for the job that waits: a song of four seconds; the job's id."""
    assert live.doors is not None
    worker = live.worker(title)
    claim = worker.claim()
    assert claim is not None
    values = {**words, "task": "text2music"}
    asked = [{"kind": "Text2Music", "values": values, "set_fields": list(words)}]
    tags = json.dumps({"provenance": {"song": 0, "seed": 7, "requests": asked}})
    out = io.BytesIO()
    soundfile.write(out, sound(*pitches), RATE, format="FLAC")
    with live.doors.files.receive(claim.key, "song.flac") as incoming:
        incoming.write(out.getvalue())
        file = incoming.keep("audio/flac", float(SECONDS))
    made = Made(file.id, title, tags, caption=words["caption"], lyrics=words["lyrics"])
    worker.finish(claim, "{}", [made])
    return claim.job


def song_of(live: Live, title: str, words: Mapping[str, str] = WORDS, *pitches: float) -> str:
    """Ask for a song and make it; its id in the library."""
    ask(live, words)
    return f"{finish(live, title, words, *pitches)}.1"
