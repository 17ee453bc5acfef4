from __future__ import annotations

import pytest

from headroom.hardware.machine import DType, Features, Kind, Machine, fast_dtype, writing_dtype
from headroom.units import GIB


def card(total: float, free: float | None = None, cap: float | None = None) -> Machine:
    room = total if free is None else free
    capped = None if cap is None else int(cap * GIB)
    return Machine("card", "cuda", int(total * GIB), int(room * GIB), GIB, GIB, cap=capped)


@pytest.mark.parametrize(
    ("machine", "gib"),
    [
        (card(24), 23.5 * 0.96),
        (card(24, free=10), 10 * 0.96),
        (card(24, cap=8), 7.5 * 0.96),
        (card(4), 3.5 - 0.25),
        (card(24, free=2), 2 - 0.25),
        (card(8, cap=80), 7.5 * 0.96),
        (card(0.5), 0),
        (Machine("host", "cpu", 16 * GIB, 16 * GIB, 16 * GIB, 16 * GIB), 16 * 0.96),
    ],
)
def test_the_budget_is_what_is_left_after_the_reserve(machine, gib):
    assert machine.budget == pytest.approx(gib * GIB, abs=2)


def test_bfloat16_only_where_the_machine_is_fast_at_it():
    assert fast_dtype(card(8)) == "float32"
    fast = Machine("card", "cuda", GIB, GIB, GIB, GIB, features=Features(bfloat16=True))
    assert fast_dtype(fast) == "bfloat16"


@pytest.mark.parametrize(
    ("kind", "isa", "asked", "dtype"),
    [
        ("cpu", ("avx2",), None, "bfloat16"),
        ("cpu", ("avx2", "avx512_f"), None, "bfloat16"),
        ("cpu", (), None, "float32"),  # not measured there
        ("cpu", ("avx2",), "float32", "float32"),
        ("cpu", ("avx2",), "float16", "float16"),
        ("mps", ("avx2",), None, "float32"),
    ],
)
def test_a_host_writes_tokens_in_bfloat16_even_if_it_only_emulates_it(
    kind: Kind, isa: tuple[str, ...], asked: DType | None, dtype: DType
) -> None:
    machine = Machine("x", kind, GIB, GIB, GIB, GIB, features=Features(isa=isa))
    assert fast_dtype(machine) == "float32" and writing_dtype(asked, machine) == dtype


def test_a_machine_that_cannot_be_is_refused():
    with pytest.raises(ValueError, match="free is -1 bytes"):
        Machine("card", "cuda", 1, -1, 1, 1)
    with pytest.raises(ValueError, match="0 cores"):
        Machine("card", "cuda", 1, 1, 1, 1, cores=0)


def test_a_line_for_a_person():
    assert card(8, 7, 6).describe() == "card (cuda): 7.00 GiB of 8.00 GiB free, capped at 6.00 GiB"


def test_a_cap_above_the_card_is_the_card() -> None:
    whole, capped = card(8), card(8, cap=64)
    assert (capped.limit, capped.budget) == (whole.limit, whole.budget)
