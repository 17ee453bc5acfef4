"""Which loop writes the codes: what can be had of what is asked for, and who is told."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import pytest

from headroom.device import Kind
from headroom.engine.policy import with_available_loop
from headroom.errors import InvalidRequest
from headroom.hardware.machine import Machine, card
from headroom.lm.backend import HOW, Choice, choose_backend
from headroom.memory.policy import Policy, resolve_policy
from headroom.models.acestep.tiers import TIERS
from headroom.settings import Options, PolicyName

RECORDS = "it records the loop in graphs, and {} records none"
ELSEWHERE = "mlx-lm computes on cpu and mps here, not on {}"
CUDA, CPU, MPS = ("cuda", True), ("cpu", False), ("mps", False)
OTHERS = ("xpu", False), ("simulated", False)
MISSING = f"mlx-lm is not installed: {HOW}"


@pytest.mark.parametrize("mlx", [True, False])
@pytest.mark.parametrize(("kind", "captures"), [CUDA, CPU, MPS, *OTHERS])
def test_the_plain_loop_is_there_everywhere(kind: str, captures: bool, mlx: bool) -> None:
    assert choose_backend("pt", kind, captures, mlx) == Choice("pt")


@pytest.mark.parametrize(
    ("device", "mlx", "expected"),
    [
        (CUDA, True, Choice("vllm")),
        (CUDA, False, Choice("vllm")),
        (CPU, True, Choice("pt", RECORDS.format("cpu"))),
        (MPS, True, Choice("mlx", RECORDS.format("mps"))),
        (MPS, False, Choice("pt", RECORDS.format("mps"))),
        (OTHERS[0], True, Choice("pt", RECORDS.format("xpu"))),
        (OTHERS[1], True, Choice("pt", RECORDS.format("simulated"))),
    ],
)
def test_graphs_need_a_device_that_records(
    device: tuple[str, bool], mlx: bool, expected: Choice
) -> None:
    assert choose_backend("vllm", *device, mlx) == expected


@pytest.mark.parametrize(
    ("device", "mlx", "expected"),
    [
        (MPS, True, Choice("mlx")),
        (CPU, True, Choice("mlx")),
        (MPS, False, Choice("pt", MISSING)),
        (CPU, False, Choice("pt", MISSING)),
        (CUDA, True, Choice("vllm", ELSEWHERE.format("cuda"))),
        (CUDA, False, Choice("vllm", ELSEWHERE.format("cuda"))),
        (OTHERS[0], True, Choice("pt", ELSEWHERE.format("xpu"))),
        (OTHERS[1], False, Choice("pt", ELSEWHERE.format("simulated"))),
    ],
)
def test_mlx_needs_its_package_and_its_devices(
    device: tuple[str, bool], mlx: bool, expected: Choice
) -> None:
    assert choose_backend("mlx", *device, mlx) == expected


# --- with what holds on a machine ------------------------------------------------------------


def machine(kind: Kind, size: float = 24) -> Machine:
    return replace(card(size), kind=kind)


def in_force(
    monkeypatch: pytest.MonkeyPatch,
    kind: Kind,
    said: str | None,
    mlx: bool,
    policy: PolicyName = "adaptive",
    size: float = 24,
) -> Policy:
    monkeypatch.setattr("headroom.engine.policy.mlx_is_here", lambda: mlx)
    choices = Options(lm_backend=said)
    found = resolve_policy(machine(kind, size), policy, choices, TIERS)
    return with_available_loop(found, said not in (None, "auto"), kind, captures=kind == "cuda")


@pytest.mark.parametrize("said", [None, "auto"])
@pytest.mark.parametrize("policy", ["published", "adaptive"])
@pytest.mark.parametrize(
    ("kind", "mlx", "expected"),
    [
        ("cuda", True, "vllm"),
        ("cuda", False, "vllm"),
        ("mps", True, "mlx"),
        ("mps", False, "pt"),
        ("xpu", True, "pt"),
        ("simulated", True, "pt"),
        ("cpu", True, "pt"),
        ("cpu", False, "pt"),
    ],
)
def test_nobody_is_told_of_what_nobody_asked(
    monkeypatch: pytest.MonkeyPatch,
    kind: Kind,
    mlx: bool,
    expected: str,
    policy: PolicyName,
    said: str | None,
) -> None:
    found = in_force(monkeypatch, kind, said, mlx, policy)
    assert (found.lm_loop, found.notes) == (expected, ())


@pytest.mark.parametrize(
    ("kind", "said", "mlx", "used"),
    [
        ("cpu", "vllm", True, "pt"),
        ("cpu", "mlx", False, "pt"),
        ("cuda", "mlx", True, "vllm"),
        ("mps", "vllm", True, "mlx"),
    ],
)
def test_who_asked_is_told(
    monkeypatch: pytest.MonkeyPatch, kind: Kind, said: str, mlx: bool, used: str
) -> None:
    found = in_force(monkeypatch, kind, said, mlx)
    (note,) = found.notes
    assert (note.field, note.asked, note.used) == ("lm_backend", said, used) and note.why
    assert found.lm_loop == used


@pytest.mark.parametrize(("kind", "said"), [("cuda", "vllm"), ("cuda", "pt"), ("cpu", "mlx")])
def test_who_got_it_is_not(monkeypatch: pytest.MonkeyPatch, kind: Kind, said: str) -> None:
    found = in_force(monkeypatch, kind, said, mlx=True)
    assert (found.lm_loop, found.notes) == (said, ())


def test_a_tier_without_graphs_says_so_first(monkeypatch: pytest.MonkeyPatch) -> None:
    found = in_force(monkeypatch, "cuda", "vllm", False, "published", 6.9)
    (note,) = found.notes
    assert (note.asked, note.used, found.lm_loop) == ("vllm", "pt", "pt")
    assert "is for pt and mlx" in note.why


def test_a_name_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InvalidRequest, match=r"lm_backend.*onnx.*one of auto, vllm, pt, mlx"):
        in_force(monkeypatch, "cpu", "onnx", True)


def test_asking_whether_mlx_is_here_imports_neither_it_nor_torch() -> None:
    code = (
        "import sys; from headroom.lm.backend import mlx_is_here; mlx_is_here(); "
        "print([name for name in ('mlx.core', 'mlx_lm', 'torch') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
