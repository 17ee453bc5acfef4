"""The grammar of audio codes: groups of two linguistic and three semantic ids, then the end.

An id that was written twice or more within the last ten, and last, is not allowed next: the model
was published with that rule, which ends loops.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import torch
from torch import Tensor

from headroom.models.stepaudio.text.audio_ids import (
    AUDIO_START,
    AUDIO_STOP,
    GROUP,
    PAIR,
    SEMANTIC_START,
)
from headroom.models.stepaudio.text.vocabulary import EOT

LOOK_BACK = 10  # ids, those of the prompt included
REPEATS = 2  # of the last id among them

WORDS = slice(EOT, AUDIO_STOP)  # the part of the vocabulary that logits are needed for


class CodesGrammar:
    """A `Constraint` for the ids after a prompt.

    least  groups before the end is allowed
    """

    def __init__(self, prompt: Sequence[int], least: int = 1) -> None:
        self._least = least * GROUP
        self._recent = deque(prompt[-LOOK_BACK:], maxlen=LOOK_BACK)
        self._sets: dict[tuple[int, int, bool, int | None], Tensor] = {}
        self.written: list[int] = []
        self.done = False

    def forced(self) -> tuple[int, ...]:
        """Nothing: every id is the model's choice."""
        return ()

    def allowed(self) -> Tensor:
        """Ids [n] that may come next."""
        place = len(self.written) % GROUP
        ends = place == 0 and len(self.written) >= self._least
        first, stop = (
            (AUDIO_START, SEMANTIC_START) if place < PAIR else (SEMANTIC_START, AUDIO_STOP)
        )
        banned = self._banned()
        if banned is not None and not first <= banned < stop:
            banned = None
        key = first, stop, ends, banned
        if key not in self._sets:
            ids = [EOT] * ends + [n for n in range(first, stop) if n != banned]
            self._sets[key] = torch.tensor(ids)
        return self._sets[key]

    def take(self, token: int) -> None:
        """Accept the sampled id."""
        self._recent.append(token)
        if token == EOT:
            self.done = True
        else:
            self.written.append(token)

    def whole(self) -> tuple[int, ...]:
        """What is written, without an unfinished group."""
        return tuple(self.written[: len(self.written) // GROUP * GROUP])

    def _banned(self) -> int | None:
        """The last id, if it came too often."""
        if not self._recent:
            return None
        last = self._recent[-1]
        return last if self._recent.count(last) >= REPEATS else None
