"""Keeps what is decoded of a song where clients can hear it, while the rest is being decoded."""

from __future__ import annotations

import json
from queue import Empty, SimpleQueue
from threading import Event as Flag
from threading import Thread
from typing import Self

import torch

from headroom.engine.wire import event_json
from headroom.engine.wire.events import AudioStored
from headroom.errors import ClaimLost, DatabaseFailed, StorageFailed, StorageFull
from headroom.jobs.pieces import Piece, Pieces
from headroom.jobs.values import Claim, Told
from headroom.jobs.worker import Worker
from headroom.log import log
from headroom.runtime.events import AudioReady, Event, Tell

KEEP_SECONDS = 0.5  # between two pieces; what is decoded meanwhile is one piece of each song
MOST_BYTES = 128 << 20  # that one job keeps: 11 min of stereo at 48 kHz; more is not kept
_FULL = (1 << 15) - 1


class Previews:
    """The listener for the work on a job, within a block: keeps the sound that it hears, and passes
    all other events on to `tell`. At the end of the block nothing is left of the sound.

    A thread writes; the work does not wait for it. A storage that fails ends the listening, not the
    work.
    """

    def __init__(self, worker: Worker, pieces: Pieces, claim: Claim, tell: Tell) -> None:
        self._worker, self._pieces, self._claim, self._tell = worker, pieces, claim, tell
        self._decoded: SimpleQueue[AudioReady] = SimpleQueue()
        self._over = Flag()
        self._thread: Thread | None = None
        self._left = MOST_BYTES

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *why: object) -> None:
        self._over.set()
        if self._thread is None:
            return
        self._thread.join()
        try:
            self._pieces.remove(self._claim)
        except (DatabaseFailed, StorageFull) as failed:  # they are swept later
            log.warning("previews of job %s: %s", self._claim.job, failed)

    def __call__(self, event: Event) -> None:
        if not isinstance(event, AudioReady):
            self._tell(event)
        elif self.is_listening:
            self._decoded.put(event)
            if self._thread is None:
                self._thread = Thread(target=self._run, name="previews", daemon=True)
                self._thread.start()

    @property
    def is_listening(self) -> bool:
        """Whether it keeps what it hears from now on."""
        return self._thread is None or self._thread.is_alive()

    def _run(self) -> None:
        try:
            while not self._over.wait(KEEP_SECONDS):
                for piece in _joined(self._taken()):
                    self._keep(piece)
                    if self._over.is_set() or self._left <= 0:
                        return
        except ClaimLost:
            return  # whoever has the job now keeps its own
        except (DatabaseFailed, StorageFailed, StorageFull) as error:
            log.warning("previews of job %s: %s", self._claim.job, error)

    def _taken(self) -> list[AudioReady]:
        taken = []
        while True:
            try:
                taken.append(self._decoded.get_nowait())
            except Empty:
                return taken

    def _keep(self, piece: Piece) -> None:
        self._left -= len(piece.data)
        if self._left < 0:
            return
        self._pieces.add(self._claim, piece)
        stored = AudioStored(piece.song, piece.start, piece.channels, piece.frames, piece.rate)
        text = json.dumps(event_json(stored, self._claim.job))
        self._worker.tell(self._claim, [Told(text, passing=True)])


def _joined(decoded: list[AudioReady]) -> list[Piece]:
    """What was decoded, in order; what follows in the same song as one piece."""
    made: list[Piece] = []
    for event in decoded:
        last = made[-1] if made else None
        data = _samples(event)
        if last and (last.song, last.start + last.frames) == (event.song, event.start):
            made[-1] = Piece(last.song, last.start, last.channels, last.rate, last.data + data)
        else:
            audio = event.audio
            made.append(Piece(event.song, event.start, audio.channels, audio.rate, data))
    return made


def _samples(event: AudioReady) -> bytes:
    """The samples [channels, n] as those of a piece. A preview may exceed ±1."""
    whole = (event.audio.samples.clamp(-1, 1) * _FULL).round().to(torch.int16)
    data: bytes = whole.T.contiguous().numpy().astype("<i2").tobytes()
    return data
