from __future__ import annotations

import pytest
import torch
from torch import Tensor

from headroom.diffusion import guidance
from headroom.diffusion.schedule import guided_times, linear
from headroom.errors import InvalidRequest


def random(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


V_C, V_N, X = (random(k, 2, 20, 6) for k in range(3))


def test_plain_cfg_by_hand() -> None:
    got = guidance.guidance_rule("cfg", X)(V_C, V_N, X, 0.5, 3.0)
    torch.testing.assert_close(got, 3 * V_C - 2 * V_N)


def test_apg_adds_only_what_is_orthogonal_and_bounded() -> None:
    push = guidance.guidance_rule("apg", X)(V_C * 9, V_N * 9, X, 0.5, 2.0) - V_C * 9
    assert (push * V_C).sum(1).abs().max() < 1e-4
    assert torch.linalg.vector_norm(push, dim=1).max() <= 2.5 + 1e-5
    assert push.abs().max() > 0.1


def test_apg_momentum_moves_once_a_call_and_resets() -> None:
    rule = guidance.guidance_rule("apg", X)
    assert isinstance(rule, guidance.Apg)
    address = rule.running.data_ptr()
    first = rule(V_C, V_N, X, 1.0, 4.0)
    second = rule(V_C, V_N, X, 0.9, 4.0)
    torch.testing.assert_close(rule.running, 0.25 * (V_C - V_N))
    assert (first - second).abs().max() > 1e-3
    rule.reset()
    assert torch.equal(rule(V_C, V_N, X, 1.0, 4.0), first)
    assert rule.running.data_ptr() == address


def test_apg_projection_without_fp64_agrees(monkeypatch: pytest.MonkeyPatch) -> None:
    want = guidance._orthogonal(V_C, V_C + 1e-3 * V_N)
    monkeypatch.setattr(guidance, "_wide", lambda x: torch.float32)
    along = V_C + 1e-3 * V_N
    got = guidance._orthogonal(V_C, along)
    assert (got - want).abs().max() < 1e-6
    assert (got * along).sum(1).abs().max() < 1e-6


@pytest.mark.parametrize("name", ["adg", "adg_w_norm", "adg_wo_clip"])
def test_adg_is_finite_where_both_estimates_agree_or_vanish(name: str) -> None:
    rule = guidance.guidance_rule(name, X)
    same = rule(V_C, V_C, X, 0.5, 4.0)
    assert same.isfinite().all()
    silent = torch.zeros(1, 20, 6)
    assert torch.equal(rule(silent, silent, silent, 0.5, 4.0), silent)
    assert rule(V_C, V_N, X, 0.5, 4.0).dtype == torch.float32


def test_adg_holds_the_angle_within_its_clip() -> None:
    """At a high scale every variant goes its own way, and without the clip further."""
    moved = {
        name: (guidance.guidance_rule(name, X)(V_C, V_N, X, 0.5, 9.0) - V_C).abs().mean()
        for name in ("adg", "adg_w_norm", "adg_wo_clip")
    }
    assert moved["adg"] < moved["adg_wo_clip"]
    assert len({round(float(m), 4) for m in moved.values()}) == 3


def test_adg_at_the_end_point_is_plain_cfg() -> None:
    got = guidance.guidance_rule("adg", X)(V_C, V_N, X, 0.0, 3.0)
    torch.testing.assert_close(got, 3 * V_C - 2 * V_N)


def test_the_unguided_half_is_not_run_where_it_would_be_dropped() -> None:
    calls: list[tuple[str, int]] = []

    def pair(x: Tensor, k: int) -> tuple[Tensor, Tensor]:
        calls.append(("pair", k))
        return V_C, V_N

    def single(x: Tensor, k: int) -> Tensor:
        calls.append(("single", k))
        return V_C

    schedule = linear(4, 1.0)
    rule = guidance.guidance_rule("apg", X)
    velocity = guidance.guide(pair, single, rule, 7.0, schedule, guided_times(schedule, 0, 0.5))
    for k in range(4):
        velocity(X, k)
    assert calls == [("single", 0), ("single", 1), ("pair", 2), ("pair", 3)]
    assert guidance.guide(pair, single, rule, 1.0, schedule, (True,) * 5) is single


def test_heun_looks_ahead_by_plain_cfg_only_for_apg() -> None:
    assert guidance.look_ahead_rule(guidance.guidance_rule("apg", X)) == guidance.Cfg()
    adg = guidance.guidance_rule("adg", X)
    assert guidance.look_ahead_rule(adg) is adg


def test_an_unknown_rule_is_refused_by_name() -> None:
    with pytest.raises(InvalidRequest, match=r"guidance_variant: 'pag'.*apg, adg"):
        guidance.guidance_rule("pag", X)
