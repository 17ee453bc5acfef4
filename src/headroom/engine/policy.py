"""Resolves the policy in force on a machine, and plans work under it and the user's wishes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from headroom.errors import DoesNotFit
from headroom.hardware.machine import Machine
from headroom.lm.backend import choose_backend, mlx_is_here
from headroom.memory.explain import faster
from headroom.memory.footprint import DECODE, Footprint
from headroom.memory.plan import NO_WISHES, Cut, Plan, Residency, StagePlan, Wish, Wishes
from headroom.memory.planner import plan
from headroom.memory.policy import Policy, resolve_policy
from headroom.memory.tiers import Tiers
from headroom.params.clamp import Note
from headroom.reasons import Reason, joined, reason
from headroom.settings import GIVEN, NO_LM, Settings
from headroom.units import GIB

if TYPE_CHECKING:
    from headroom.runtime.recovery import Ladder


@dataclass(frozen=True, slots=True)
class ExecutionPlan:
    """A plan of work, and what it takes to carry it out.

    whole   the plan including what comes `before` the rendering
    ladder  what makes tighter plans of the whole, if memory runs out
    notes   how the plan differs from what was requested
    advice  a faster way than this plan; None: none is known
    """

    whole: Plan
    ladder: Ladder
    notes: tuple[Note, ...]
    advice: str | None = None
    before: Footprint | None = None

    @property
    def plan(self) -> Plan:
        """The plan of the rendering alone."""
        return replace(self.whole, stages=self.whole.stages[self._first :])

    @property
    def rest(self) -> Ladder:
        """The ladder of the rendering alone."""
        needs = self.ladder.footprint
        return replace(
            self.ladder, footprint=Footprint(needs.components, needs.stages[self._first :])
        )

    @property
    def _first(self) -> int:
        return 0 if self.before is None else len(self.before.stages)


def policy_in_force(
    machine: Machine,
    settings: Settings,
    captures: bool,
    tiers: Tiers,
    lm_size: str | None = None,
) -> Policy:
    """The policy in force on a machine: that of the settings, with a language-model loop that is
    available there, and a note on the card where a setting states its size.

    captures  whether the device can capture graphs
    tiers     those of the model family
    lm_size   as for `resolve_policy`
    """
    policy = resolve_policy(machine, settings.policy, settings, tiers, lm_size)
    policy = with_available_loop(policy, settings.lm_backend is not None, machine.kind, captures)
    policy = replace(policy, lm_off=_why_no_language_model(policy, settings))
    note = _card_note(machine, policy, settings)
    return policy if note is None else replace(policy, notes=(note, *policy.notes))


def _card_note(machine: Machine, policy: Policy, settings: Settings) -> Note | None:
    limit = settings.vram_limit(machine.kind if machine.accelerated else "simulated")
    if limit is None or policy.tier is None or machine.card_bytes is None:
        return None
    setting, gigabytes = limit
    size = machine.card_bytes / GIB
    why = [reason("tier_in_force", tier=policy.tier.label)]
    if policy.name == "adaptive":
        why = [reason("no_limits_of_tiers")]
    if size < gigabytes - 0.01:
        why.append(reason("card_size", gigabytes=size))
    if not machine.accelerated:
        why.append(reason("host_memory"))
    return Note("card", f"{gigabytes:g} GB by {setting}", policy.tier.label, joined(why))


def _why_no_language_model(policy: Policy, settings: Settings) -> Reason | None:
    """Why no language model is loaded by default, and what loads one; None where one is."""
    if policy.init_lm:
        return None
    if settings.lm_model == NO_LM:
        if settings.source("lm_model") != GIVEN:
            return reason("lm_model_setting_none", setting=settings.spelt("lm_model"))
        return reason("lm_model_none")
    if settings.init_lm is False:
        if settings.source("init_lm") != GIVEN:
            return reason("init_lm_setting_false", setting=settings.spelt("init_lm"))
        return reason("init_lm_false")
    if policy.tier is None:
        return reason("policy_loads_no_language_model")
    return reason("tier_loads_no_language_model", tier=policy.tier.label)


def with_available_loop(policy: Policy, requested: bool, kind: str, captures: bool) -> Policy:
    """The policy with a language-model loop that is available on this kind of device; a note where
    a different one was `requested`. `captures` says whether the device can capture graphs.
    """
    choice = choose_backend(policy.lm_loop, kind, captures, mlx_is_here())
    notes = policy.notes
    if choice.why is not None and requested:
        notes += (Note("lm_backend", policy.lm_loop, choice.backend, choice.why),)
    return replace(policy, lm_loop=choice.backend, notes=notes)


def merged_wishes(policy: Policy, user: Wishes, footprint: Footprint, settings: Settings) -> Wishes:
    """The policy's wishes, overridden by those of the user."""
    parts = []
    for wish in policy.wishes(footprint).components:
        residencies = wish.residencies if user.residency is None else ()
        precisions = wish.precisions if user.precision is None else ()
        override = user.wish(wish.component)
        if override is not None:
            residencies = override.residencies or residencies
            precisions = override.precisions or precisions
        parts.append(Wish(wish.component, residencies, precisions))
    wishes = replace(user, components=tuple(parts))
    stage = next((s for s in footprint.stages if s.name == DECODE), None)
    if stage is None:
        return wishes
    if settings.decode_tile is not None and not wishes.cuts:
        tiles = {way.tile for way in stage.ways if way.tile is not None}
        if tiles:
            tile = min(tiles, key=lambda t: abs(t - (settings.decode_tile or t)))
            wishes = replace(wishes, cuts=(Cut(DECODE, 1, tile),))
    if settings.vae_on_cpu:
        on_host = tuple(Wish(name, (Residency.HOST,)) for name in stage.uses)
        others = tuple(w for w in wishes.components if w.component not in stage.uses)
        wishes = replace(wishes, components=(*others, *on_host))
    return wishes


def first_plan(
    footprint: Footprint, machine: Machine, policy: Policy, user: Wishes, settings: Settings
) -> tuple[Plan, Wishes, tuple[Note, ...]]:
    """The plan under the policy and the user's wishes, the wishes it was made for, and a note if it
    sets the tier aside.

    A tier gives way if it does not fit, unless the user has wishes. Raises DoesNotFit.
    """
    wishes = merged_wishes(policy, user, footprint, settings)
    try:
        return plan(footprint, machine, wishes), wishes, ()
    except DoesNotFit:
        if policy.name != "published" or user != NO_WISHES:
            raise
    note = Note("policy", "published", "adaptive", reason("policy_set_aside"))
    return plan(footprint, machine, user), user, (note,)


def advice(
    current: Plan,
    footprint: Footprint,
    machine: Machine,
    policy: Policy,
    user: Wishes,
    settings: Settings,
) -> str | None:
    """What the adaptive policy would do better than the current plan; None if nothing."""
    if policy.name != "published" or not machine.accelerated:
        return None
    adaptive = resolve_policy(machine, "adaptive", settings, policy.tiers)
    try:
        other = plan(footprint, machine, merged_wishes(adaptive, user, footprint, settings))
    except DoesNotFit:
        return None
    gain = faster(current, other)
    return None if gain is None else f"--policy adaptive would take {gain}"


def choose_language_model(
    names: Sequence[str],
    build: Callable[[str], Footprint],
    render: Footprint | None,
    machine: Machine,
    policy: Policy,
    user: Wishes,
    settings: Settings,
) -> tuple[str, Footprint]:
    """The language model chosen from these, and what it needs together with the rendering after
    it, if there is one.

    The first model that fits unconverted and computes on the device is chosen; if there is none,
    the smallest, however it then computes.
    """
    footprints: dict[str, Footprint] = {}
    for name in names:
        work = build(name)
        footprint = footprints[name] = work if render is None else work.then(render)
        if len(names) == 1:
            return name, footprint
        try:
            current, _, _ = first_plan(footprint, machine, policy, user, settings)
        except DoesNotFit:
            continue
        if all(_is_whole(current, footprint, s) for s in current.stages[: len(work.stages)]):
            return name, footprint
    smallest = min(footprints, key=lambda name: sum(p.bytes for p in footprints[name].components))
    return smallest, footprints[smallest]


def _is_whole(current: Plan, footprint: Footprint, stage: StagePlan) -> bool:
    """Whether a stage computes on the device with its parts in their released precision."""
    released = {part.name: part.precision for part in footprint.components}
    return not stage.host and all(
        current.placement(name).precision == released[name] for name in stage.uses
    )


def same_precision(current: Plan, wishes: Wishes) -> tuple[Wish, ...]:
    """The wishes for parts, with the precisions of a plan, since those decide how a song sounds."""

    def wish(component: str, precision: str) -> Wish:
        before = wishes.wish(component)
        return Wish(component, before.residencies if before else (), (precision,))

    return tuple(wish(p.component, p.precision) for p in current.placements)
