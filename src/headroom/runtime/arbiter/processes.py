"""The processes that keep the account of a card, as people and programs are told of them."""

from __future__ import annotations

import os
import socket
import time
from dataclasses import dataclass
from pathlib import Path

from headroom import paths
from headroom.runtime.arbiter.account import Member
from headroom.runtime.arbiter.folder import RECORD, Account, AccountLost


@dataclass(frozen=True, slots=True)
class OnCard:
    """A process on a card, in bytes and seconds.

    card    the card, as its account is named; `host`: the machine or container, by its name
    here    whether it is this process
    idle    what it holds and no work uses; `idle_seconds`: since when
    leased  reserved for its work; `needs`: what it waits for
    gives   whether it gives idle bytes back when asked
    """

    card: str
    pid: int
    host: str
    name: str
    here: bool
    idle: int
    idle_seconds: float | None
    leased: int
    needs: int
    gives: bool


def on_card(card: str, member: Member, now: float) -> OnCard:
    """What a member's record tells; `now` by the wall clock."""
    seconds = max(0.0, now - member.used) if member.idle and not member.leased else None
    here = (member.pid, member.host) == (os.getpid(), socket.gethostname())
    return OnCard(
        card, member.pid, member.host, member.name, here,
        member.idle, seconds, member.leased, member.need, member.gives > 0,
    )  # fmt: skip


def on_all_cards(root: Path) -> tuple[OnCard, ...]:
    """The members of all accounts below a folder. An account that cannot be read has none."""
    found: list[OnCard] = []
    for folder in sorted(root.iterdir()) if paths.is_dir(root) else ():
        try:
            if any(folder.glob(f"*{RECORD}")):
                account = Account(folder)
                members = account.within(account.members)
                account.close()
                found += [on_card(folder.name, one, time.time()) for one in members]
        except (OSError, AccountLost):
            continue
    return tuple(found)
