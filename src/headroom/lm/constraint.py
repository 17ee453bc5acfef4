"""The protocol by which a grammar tells the loop what may be written next."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor


class Constraint(Protocol):
    """A grammar at some point of a text. Until it is `done`, the loop calls `forced`, then
    `allowed`, then `take` with the sampled token."""

    @property
    def done(self) -> bool:
        """Whether the text is complete."""

    def forced(self) -> tuple[int, ...]:
        """Tokens that follow whatever the model would predict; they count as written."""

    def allowed(self) -> Tensor:
        """Ids [n] of the allowed next tokens, on the host. The same object for the same set, so
        that each set is copied to a device once. Never empty."""

    def take(self, token: int) -> None:
        """Accept the sampled token."""
