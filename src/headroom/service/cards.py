"""Finds the cards to start engine processes for; a child process asks, as that imports torch.

A process works on one card, or on a group of cards.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass

from headroom.log import log
from headroom.settings import card_named

_ONE = ("cpu", "simulated", "mps")  # kinds of which there is one on a machine, or none
_SECONDS = 120.0  # that torch may take to find the cards of a machine that is busy


@dataclass(frozen=True, slots=True)
class CardName:
    """A card, or a group: the word by which an engine is opened on it, and the identities of its
    cards on this machine, which do not depend on which cards a process sees."""

    word: str
    identities: tuple[str, ...]


def cards(word: str, groups: str | None = None) -> tuple[CardName, ...]:
    """The cards that `device` means, each for itself: all of a kind where it names no index; or the
    one group that it names. `groups`: instead, as `service_cards` names them."""
    word = word.strip().lower()
    if groups is not None:
        return _grouped(groups.split())
    if "," in word:
        return _grouped([word])
    if word.partition(":")[0] in _ONE:
        return (CardName(word, (word,)),)
    return tuple(CardName(one, (id,)) for one, id in _listed(word)) or (CardName(word, (word,)),)


def _grouped(groups: list[str]) -> tuple[CardName, ...]:
    words = [word for group in groups for word in group.split(",")]
    kinds = {word.partition(":")[0] for word in words}.difference(_ONE)
    known = {one: id for kind in sorted(kinds) for one, id in _listed(kind)}

    def identity(word: str) -> str:
        return known.get(card_named(word), word)

    return tuple(CardName(one, tuple(map(identity, one.split(",")))) for one in groups)


def _listed(word: str) -> list[tuple[str, str]]:
    """The word and the identity of each card that a word means; none if they cannot be listed."""
    ask = [sys.executable, "-m", "headroom.service.cards", word]
    try:
        done = subprocess.run(
            ask, stdin=subprocess.DEVNULL, capture_output=True, check=True, timeout=_SECONDS
        )
        return [(str(one), str(id)) for one, id in json.loads(done.stdout)]
    except (subprocess.SubprocessError, OSError, ValueError, TypeError) as error:
        log.warning("the cards of this machine cannot be listed (%s)", type(error).__name__)
        return []


def main(word: str) -> None:
    """Print the cards that a word means, as JSON."""
    from headroom.device.open import AUTO, identities, present

    kind = present()[0] if word == AUTO else word
    known = identities()
    chosen = {one: id for one, id in known.items() if one == kind or one.split(":")[0] == kind}
    sys.stdout.write(json.dumps(list(chosen.items()) or [(kind, known.get(f"{kind}:0", kind))]))


if __name__ == "__main__":
    main(sys.argv[1])
