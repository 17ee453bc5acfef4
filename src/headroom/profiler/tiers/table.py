"""A second, independent copy of the published tiers, which `memory.tiers` is checked against.

Typed in separately from ACE-Step 1.5's guide to GPU compatibility (2026-02-10), not derived from
the other table, so that a mistake in either shows. No torch.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from headroom.memory.limits import Terms, limits
from headroom.memory.plan import Plan, Residency
from headroom.memory.precision import NATIVE
from headroom.profiler.tiers.rows import Variant

# Columns: tier; its least GiB (a card reports up to half a GiB less than its name); language
# models, the recommended one marked; backend; minutes and songs, with a language model and
# without; what leaves the card while idle; precision of the DiT.
_TABLE = """
tier1      0     -               pt    4/6    1/1  cpu+dit  int8
tier2      4<    -               pt    8/10   1/1  cpu+dit  int8
tier3      6<    *0.6B           pt    8/10   1/2  cpu+dit  int8
tier4      7.5   *0.6B           vllm  8/10   2/4  cpu+dit  int8
tier5      11.5  0.6B,*1.7B      vllm  8/10   2/4  cpu      int8
tier6a     15.5  0.6B,*1.7B      vllm  8/10   4/8  cpu      int8
tier6b     19.5  0.6B,*1.7B,4B   vllm  8/8    4/8  none     none
unlimited  23.5  0.6B,1.7B,*4B   vllm  10/10  8/8  none     none
"""


@dataclass(frozen=True, slots=True)
class Published:
    """A row. `seconds` and `songs`: with a language model, and without."""

    name: str
    begins: float
    behind: bool  # the boundary itself belongs to the tier below
    lms: tuple[str, ...]
    recommended: str | None
    backend: str
    seconds: tuple[int, int]
    songs: tuple[int, int]
    offload: str
    quantization: str


def _read(line: str) -> Published:
    name, edge, lms, backend, minutes, songs, offload, quantization = line.split()
    sizes = () if lms == "-" else tuple(lms.replace("*", "").split(","))
    marked = next((size[1:] for size in lms.split(",") if size[0] == "*"), None)
    with_lm, without = (int(n) for n in minutes.split("/"))
    most, alone = (int(n) for n in songs.split("/"))
    begins, behind = float(edge.rstrip("<")), edge.endswith("<")
    return Published(
        name, begins, behind, sizes, marked, backend, (60 * with_lm, 60 * without), (most, alone),
        offload, quantization,
    )  # fmt: skip


PUBLISHED = tuple(map(_read, _TABLE.strip().splitlines()))


def published(gibibytes: float) -> Published:
    """The row of a card of that size."""
    fitting = [
        row
        for row in PUBLISHED
        if gibibytes > row.begins or (gibibytes == row.begins and not row.behind)
    ]
    return fitting[-1] if fitting else PUBLISHED[0]


def detected(row: Published, found: Terms) -> Iterator[str]:
    """The differences between detected and published values, one sentence each."""
    tier = found.tier
    if tier is None or tier.name != row.name:
        yield f"{'no tier' if tier is None else tier.name} was detected, and it is {row.name}"
        return
    with_lm, without = (limits(found, uses_lm) for uses_lm in (True, False))
    pairs: dict[str, tuple[object, object]] = {
        "language models": (tier.lms, row.lms),
        "recommended language model": (found.lm, row.recommended),
        "loading one": (found.init_lm, bool(row.lms)),
        "backend": (found.lm_backend, row.backend),
        "longest song": (
            (with_lm["duration"].maximum, without["duration"].maximum),
            row.seconds,
        ),
        "largest batch": (
            (with_lm["batch_size"].maximum, without["batch_size"].maximum),
            row.songs,
        ),
        "offload": ((found.offload, found.offload_dit), _leaving(row)),
        "quantization": (found.quantization, row.quantization),
    }
    for what, (ours, theirs) in pairs.items():
        if ours != theirs:
            yield f"{what}: {_words(ours)} here, {_words(theirs)} published for {row.name}"


def planned(row: Published, variant: Variant, core: str, plan: Plan) -> Iterator[str]:
    """Where the plan differs from the row and the variant; `core` is the DiT's name."""
    where = {p.component: p.residency for p in plan.placements}
    stay = {name for name, how in where.items() if how is Residency.RESIDENT}
    idle, idle_dit = _leaving(row)
    if variant == "no-offload":
        idle = idle_dit = False
    expected = {name for name in where if not (idle_dit if name == core else idle)}
    if stay != expected:
        yield f"staying on the card: {_words(sorted(stay))}; expected: {_words(sorted(expected))}"
    precision = plan.placement(core).precision
    converted = variant in ("default", "batch") and row.quantization != "none"
    good = precision == row.quantization if converted else precision in NATIVE
    if not good:
        yield f"the {core} is in {precision}, not in {row.quantization if converted else 'its own'}"


def _leaving(row: Published) -> tuple[bool, bool]:
    """Whether idle parts leave the card, and whether the DiT does."""
    return row.offload != "none", row.offload == "cpu+dit"


def _words(value: object) -> str:
    if isinstance(value, tuple | list):
        return ", ".join(map(str, value)) or "none"
    return str(value)
