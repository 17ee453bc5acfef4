"""Turns engine options and settings into the terms the planner works under, and plans with them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from headroom.errors import DoesNotFit, InvalidRequest
from headroom.hardware.machine import Machine
from headroom.lm.backend import choose, mlx_is_here
from headroom.memory.explain import faster
from headroom.memory.footprint import DECODE, Footprint
from headroom.memory.limits import Choices, Terms, terms
from headroom.memory.plan import NO_WISHES, Cut, Plan, Residency, StagePlan, Wish, Wishes
from headroom.memory.planner import plan
from headroom.params.clamp import Note
from headroom.runtime.recovery import Ladder
from headroom.settings import BACKENDS, Policy, Settings
from headroom.units import GIB

NO_CHOICES = Choices()


@dataclass(frozen=True, slots=True)
class Planned:
    """A plan, the inputs for tighter plans, how it differs from the request, and what would be
    faster.

    whole   the plan including what comes `before` the rendering; so is `ladder`
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


def choices_of(said: Choices, settings: Settings) -> Choices:
    """The options that were given, and the settings for those that were not."""
    quantization = None if settings.quantization == "auto" else settings.quantization
    backend = None if settings.lm_backend == "auto" else settings.lm_backend
    return Choices(
        offload=settings.offload if said.offload is None else said.offload,
        offload_dit=settings.offload_dit if said.offload_dit is None else said.offload_dit,
        quantization=said.quantization or quantization,
        compile=settings.compile if said.compile is None else said.compile,
        lm=said.lm or settings.lm_model,
        lm_backend=said.lm_backend or backend,
        init_lm=settings.init_lm if said.init_lm is None else said.init_lm,
        lm_size=said.lm_size,
    )


def terms_in_force(
    machine: Machine, policy: Policy, said: Choices, settings: Settings, captures: bool
) -> Terms:
    """The terms in force on a machine: `terms` with a loop that is available there, and a note on
    the card where a setting states its size. `said` is what `choices_of` returned; `captures` says
    whether the device can capture graphs.
    """
    found = with_backend(terms(machine, policy, said), said, machine.kind, captures)
    found = replace(found, lm_off=_without_language_model(found, said, settings))
    note = _card_note(machine, found, settings)
    return found if note is None else replace(found, notes=(note, *found.notes))


def _card_note(machine: Machine, found: Terms, settings: Settings) -> Note | None:
    limit = settings.vram_limit(machine.kind if machine.accelerated else "simulated")
    if limit is None or found.tier is None or machine.card_bytes is None:
        return None
    name, asked = limit
    size = machine.card_bytes / GIB
    why = [f"{found.tier.label} of the published table is in force"]
    if found.policy == "adaptive":
        why = ["under the adaptive policy no limits of the table are in force"]
    if size < asked - 0.01:
        why.append(f"the card has {size:.3g} GB")
    if not machine.accelerated:
        why.append("the host computes with its own memory")
    return Note("card", f"{asked:g} GB by {name}", found.tier.label, "; ".join(why))


def _without_language_model(found: Terms, said: Choices, settings: Settings) -> str | None:
    """Why no language model is loaded by default, and what loads one; None where one is."""
    if found.init_lm:
        return None
    if said.lm == "none":
        own = settings.lm_model == "none"
        why = (
            f"{settings.spelt('lm_model')} is none"
            if own
            else "it was turned off (--lm-model none)"
        )
        return f"{why}; --lm-model with a name loads one"
    if said.init_lm is False:
        own = settings.init_lm is False
        why = f"{settings.spelt('init_lm')} is false" if own else "it was turned off (--no-init-lm)"
        return f"{why}; --init-lm loads a language model"
    tier = "the policy" if found.tier is None else found.tier.label
    return f"{tier} loads none by itself; --init-lm loads a language model"


def with_backend(found: Terms, said: Choices, kind: str, captures: bool) -> Terms:
    """The terms with the language model's loop that is available on this kind of device; a note
    where another was requested. `captures` says whether the device can capture graphs.

    Raises InvalidRequest for an unknown name.
    """
    if found.lm_backend not in BACKENDS:
        raise InvalidRequest("lm_backend", found.lm_backend, "one of " + ", ".join(BACKENDS))
    choice = choose(found.lm_backend, kind, captures, mlx_is_here())
    notes = found.notes
    if choice.why is not None and said.lm_backend not in (None, "auto"):
        notes += (Note("lm_backend", found.lm_backend, choice.backend, choice.why),)
    return replace(found, lm_backend=choice.backend, notes=notes)


def merged(found: Terms, said: Wishes, footprint: Footprint, settings: Settings) -> Wishes:
    """The policy's wishes, overridden by those made directly."""
    parts = []
    for policy in found.wishes(footprint).components:
        own = said.wish(policy.component)
        where = policy.residencies if said.residency is None else ()
        precisions = policy.precisions if said.precision is None else ()
        if own is not None:
            where, precisions = own.residencies or where, own.precisions or precisions
        parts.append(Wish(policy.component, where, precisions))
    wishes = replace(said, components=tuple(parts))
    stage = next((s for s in footprint.stages if s.name == DECODE), None)
    if stage is None:
        return wishes
    if settings.decode_tile is not None and not wishes.cuts:
        offered = {way.tile for way in stage.ways if way.tile is not None}
        if offered:
            tile = min(offered, key=lambda t: abs(t - (settings.decode_tile or t)))
            wishes = replace(wishes, cuts=(Cut(DECODE, 1, tile),))
    if settings.vae_on_cpu:
        on_host = tuple(Wish(name, (Residency.HOST,)) for name in stage.uses)
        others = tuple(w for w in wishes.components if w.component not in stage.uses)
        wishes = replace(wishes, components=(*others, *on_host))
    return wishes


def first_plan(
    footprint: Footprint, machine: Machine, found: Terms, said: Wishes, settings: Settings
) -> tuple[Plan, Wishes, tuple[Note, ...]]:
    """The plan under the policy, the wishes it was made for, and a note if it sets the tier aside.

    A tier gives way if it does not fit, unless wishes were made directly. Raises DoesNotFit.
    """
    wishes = merged(found, said, footprint, settings)
    try:
        return plan(footprint, machine, wishes), wishes, ()
    except DoesNotFit:
        if found.policy != "published" or said != NO_WISHES:
            raise
    why = "what the tier says does not fit here, so the plan is free"
    note = Note("policy", "published", "adaptive", why)
    return plan(footprint, machine, said), said, (note,)


def advice(
    made: Plan,
    footprint: Footprint,
    machine: Machine,
    policy: Policy,
    choices: Choices,
    said: Wishes,
    settings: Settings,
) -> str | None:
    """What the adaptive policy would do better than the published one; None if nothing."""
    if policy != "published" or not machine.accelerated:
        return None
    free = terms(machine, "adaptive", choices)
    try:
        other = plan(footprint, machine, merged(free, said, footprint, settings))
    except DoesNotFit:
        return None
    words = faster(made, other)
    return None if words is None else f"--policy adaptive would take {words}"


def with_language_model(
    names: Sequence[str],
    build: Callable[[str], Footprint],
    render: Footprint | None,
    machine: Machine,
    found: Terms,
    said: Wishes,
    settings: Settings,
) -> tuple[str, Footprint]:
    """The language model chosen from these, and what it needs together with the rendering after
    it, if there is one.

    The first model that fits unconverted and computes on the device is chosen; if there is none,
    the smallest, however it then computes.
    """
    built: dict[str, Footprint] = {}
    for name in names:
        own = build(name)
        both = built[name] = own if render is None else own.then(render)
        if len(names) == 1:
            return name, both
        try:
            made, _, _ = first_plan(both, machine, found, said, settings)
        except DoesNotFit:
            continue
        if all(_is_whole(made, both, stage) for stage in made.stages[: len(own.stages)]):
            return name, both
    smallest = min(built, key=lambda name: sum(part.bytes for part in built[name].components))
    return smallest, built[smallest]


def _is_whole(made: Plan, footprint: Footprint, stage: StagePlan) -> bool:
    """Whether a stage computes on the device with its parts in their released precision."""
    own = {part.name: part.precision for part in footprint.components}
    return not stage.host and all(made.placement(n).precision == own[n] for n in stage.uses)


def same_precision(found: Plan, wishes: Wishes) -> tuple[Wish, ...]:
    """The wishes for parts, with the precisions of a plan, since those decide how a song sounds."""

    def wish(component: str, precision: str) -> Wish:
        before = wishes.wish(component)
        return Wish(component, before.residencies if before else (), (precision,))

    return tuple(wish(p.component, p.precision) for p in found.placements)
