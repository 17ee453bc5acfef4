"""An engine on the processor gives way to those that answer; one on a card does not."""

from __future__ import annotations

import subprocess
import sys

import psutil
import pytest

from headroom.service.priority import NICE, give_way

# The share of its session, where the system has one, follows.
TELL = """
import psutil, sys
from headroom.service.priority import _SESSION, give_way
def share():
    return _SESSION.read_text().split()[-1] if _SESSION.exists() else None
before = share()
give_way(sys.argv[1])
print(int(psutil.Process().nice()))
print(share() != before)
print(before is not None)
"""


@pytest.mark.parametrize(
    ("device", "lower"), [("cpu", True), ("simulated", True), ("cuda:0", False), ("mps", False)]
)
def test_only_what_computes_on_the_processor_gives_way(device: str, lower: bool) -> None:
    mine = int(psutil.Process().nice())
    told = subprocess.run(
        [sys.executable, "-c", TELL, device],
        capture_output=True,
        check=True,
        text=True,
        start_new_session=sys.platform != "win32",  # as the supervisor starts one
    )
    process, changed, shared = told.stdout.split("\n")[:3]
    if sys.platform == "win32":
        assert (int(process) != mine) is lower
    else:
        assert int(process) == (max(NICE, mine) if lower else mine)
    assert (changed == "True") is (lower and shared == "True")


def test_a_system_that_refuses_leaves_the_process_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(self: psutil.Process, value: int | None = None) -> None:
        raise psutil.AccessDenied(self.pid)

    before = psutil.Process().nice()
    with monkeypatch.context() as patched:
        patched.setattr(psutil.Process, "nice", refused)
        give_way("cpu")
    assert psutil.Process().nice() == before
