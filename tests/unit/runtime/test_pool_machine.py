"""A pool under whatever operations Hypothesis thinks of, beside a model of what it is to do."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    MultipleResults,
    RuleBasedStateMachine,
    consumes,
    invariant,
    multiple,
    precondition,
    rule,
)

from headroom.memory.plan import Placement, Residency
from support.pool_driver import Lease, Rig
from support.pool_model import BLOCKS, IDLE, NAMES, PRECISIONS, ROOM, placed

MOST = 4  # leases at a time
names = st.sampled_from(NAMES)
one_or_all = st.sampled_from([*((name,) for name in NAMES), NAMES])
placements = st.lists(
    st.builds(
        placed,
        names,
        st.sampled_from(Residency),
        st.sampled_from(PRECISIONS),
        st.integers(0, BLOCKS - 1),
    ),
    min_size=1,
    max_size=2,
    unique_by=lambda placement: placement.component,
)


class PoolMachine(RuleBasedStateMachine):
    """Each rule is done on a pool and on its model; they are compared after each."""

    leases: Bundle[Lease] = Bundle("leases")

    def __init__(self) -> None:
        super().__init__()
        self.rig = Rig()

    def _room(self) -> bool:
        return len(self.rig.held) < MOST

    def _leased(
        self, wanted: list[Placement], refuse: int | None = None, cap: int = ROOM
    ) -> Lease | MultipleResults[Lease]:
        lease = self.rig.lease(wanted, refuse, cap)
        return multiple() if lease is None else lease

    @precondition(_room)
    @rule(target=leases, wanted=placements)
    def lease(self, wanted: list[Placement]) -> Lease | MultipleResults[Lease]:
        return self._leased(wanted)

    @precondition(_room)
    @rule(target=leases, wanted=placements, refuse=st.integers(1, 8))
    def lease_where_an_allocation_is_refused(
        self, wanted: list[Placement], refuse: int
    ) -> Lease | MultipleResults[Lease]:
        return self._leased(wanted, refuse=refuse)

    @precondition(_room)
    @rule(target=leases, wanted=placements, cap=st.integers(0, ROOM))
    def lease_under_a_cap(
        self, wanted: list[Placement], cap: int
    ) -> Lease | MultipleResults[Lease]:
        return self._leased(wanted, cap=cap)

    @rule(lease=consumes(leases))
    def give_back(self, lease: Lease) -> None:
        self.rig.give_back(lease)

    @rule(wanted=placements, residents=st.sets(names))
    def use(self, wanted: list[Placement], residents: set[str]) -> None:
        self.rig.use(wanted, residents=sorted(residents))

    @rule(wanted=placements, stop_after=st.integers(0, BLOCKS - 1))
    def cancel(self, wanted: list[Placement], stop_after: int) -> None:
        self.rig.use(wanted, stop_after, residents=NAMES)

    @rule(wanted=placements, refuse=st.integers(1, 30))
    def use_where_an_allocation_is_refused(self, wanted: list[Placement], refuse: int) -> None:
        self.rig.use(wanted, refuse=refuse, residents=NAMES)

    @rule(seconds=st.sampled_from((IDLE / 2, IDLE)))
    def expire(self, seconds: float) -> None:
        self.rig.expire(seconds)

    @rule(residents=st.sets(names))
    def make_room(self, residents: set[str]) -> None:
        self.rig.move("make_room", sorted(residents))

    @rule(which=one_or_all)
    def offload(self, which: tuple[str, ...]) -> None:
        self.rig.move("offload", which)

    @rule(which=one_or_all)
    def release(self, which: tuple[str, ...]) -> None:
        self.rig.move("release", which)

    @invariant()
    def the_pool_is_as_its_model(self) -> None:
        self.rig.check()

    def teardown(self) -> None:
        self.rig.finish()


TestPoolMachine = pytest.mark.long(PoolMachine.TestCase)
TestPoolMachine.settings = settings(max_examples=50, stateful_step_count=30, deadline=None)
