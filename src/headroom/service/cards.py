"""Finds the cards to start engine processes for; a child process asks, as that imports torch."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass

from headroom.log import log

_ONE = ("cpu", "simulated", "mps")  # kinds of which there is one on a machine, or none
_SECONDS = 120.0  # that torch may take to find the cards of a machine that is busy


@dataclass(frozen=True, slots=True)
class CardName:
    """A card: the word by which an engine is opened on it, and its identity on this machine, which
    does not depend on which cards a process sees."""

    word: str
    identity: str


def cards(word: str) -> tuple[CardName, ...]:
    """The cards that `device` means: all of a kind where it names no index."""
    word = word.strip().lower()
    if word.partition(":")[0] in _ONE:
        return (CardName(word, word),)
    ask = [sys.executable, "-m", "headroom.service.cards", word]
    try:
        done = subprocess.run(
            ask, stdin=subprocess.DEVNULL, capture_output=True, check=True, timeout=_SECONDS
        )
        return tuple(CardName(*pair) for pair in json.loads(done.stdout))
    except (subprocess.SubprocessError, OSError, ValueError, TypeError) as error:
        log.warning("the cards of this machine cannot be listed (%s)", type(error).__name__)
        return (CardName(word, word),)


def main(word: str) -> None:
    """Print what `cards` answers, as JSON."""
    from headroom.device.open import AUTO, identities, present

    kind = present()[0] if word == AUTO else word
    known = identities()
    chosen = {one: id for one, id in known.items() if one == kind or one.split(":")[0] == kind}
    sys.stdout.write(json.dumps(list(chosen.items()) or [(kind, known.get(f"{kind}:0", kind))]))


if __name__ == "__main__":
    main(sys.argv[1])
