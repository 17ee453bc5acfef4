"""What may be written next, as a grammar tells the loop."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor


class Constraint(Protocol):
    """A grammar at some point of a text. It is asked, in turn: `forced`, then `allowed`, and told
    what was drawn by `take`, until it is `done`."""

    @property
    def done(self) -> bool:
        """The text is at its end."""

    def forced(self) -> tuple[int, ...]:
        """Tokens that follow whatever the model would say; they count as written."""

    def allowed(self) -> Tensor:
        """Ids [n] of which the next is one, on the host. The same object for the same set, so that
        it is brought to a device once. Never empty."""

    def take(self, token: int) -> None:
        """This one was drawn."""
