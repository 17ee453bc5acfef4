"""The published tiers as tables, from the family."""

from __future__ import annotations

import math

from docs.words import Words, table
from headroom.memory.tiers import Tier
from headroom.models.acestep.tiers import TIERS

OFFLOADS = {"cpu+dit": "CPU + DiT", "cpu": "CPU"}
NONE = "none"


def table_of_tiers(say: Words) -> str:
    """What each class of card gets."""
    head = ["Card", "Tier", "Language models", "Recommended", "Backend",
            "Longest song, minutes (with LM / without)", "Songs at once (with LM / without)",
            "Offload", "Weights of the DiT"]  # fmt: skip
    rows = [
        [
            card(tier),
            f"`{tier.name}`",
            ", ".join(tier.lms) or say(NONE),
            tier.recommended or "—",
            f"`{tier.backend}`",
            " / ".join(f"{seconds / 60:g}" for seconds in tier.seconds),
            " / ".join(map(str, tier.batch)),
            OFFLOADS.get(tier.offload) or say(NONE),
            tier.quantization or say("as released"),
        ]
        for tier in TIERS.rows
    ]
    return table([say(word) for word in head], rows)


def table_of_edges(say: Words) -> str:
    """Which tier a card belongs to, by the memory it reports."""
    rows = []
    for before, tier in zip((None, *TIERS.rows), TIERS.rows, strict=False):
        low = "" if before is None else f"{before.upto:g} {'<' if closed(before) else '≤'} "
        high = "" if tier.upto == math.inf else f" {'≤' if closed(tier) else '<'} {tier.upto:g}"
        low, high = (bound.replace(".", say(".")) for bound in (low, high))
        rows.append([f"`{tier.name}`", card(tier), f"{low}GiB{high}"])
    return table([say("Tier"), say("Card"), say("Reported memory")], rows)


def card(tier: Tier) -> str:
    """The class of cards, as it is sold."""
    at = TIERS.rows.index(tier)
    if at == 0:
        return f"≤ {tier.upto:g} GB"
    low = edge(TIERS.rows[at - 1])
    return f"≥ {low:g} GB" if tier.upto == math.inf else f"{low:g}–{edge(tier):g} GB"


def edge(tier: Tier) -> float:
    """Where a class ends and the next begins, in GB: what the names of cards say."""
    return tier.upto if closed(tier) else TIERS.rows[TIERS.rows.index(tier) + 1].lower


def closed(tier: Tier) -> bool:
    """Whether a card of exactly its last size still belongs to it."""
    return tier.closed
