from __future__ import annotations

import subprocess
import sys

import pytest

import headroom


def test_every_public_name_is_there_and_listed():
    for name in headroom.__all__:
        assert getattr(headroom, name).__name__ == name
    assert set(headroom.__all__) <= set(dir(headroom))
    with pytest.raises(AttributeError, match="no attribute 'Motor'"):
        headroom.Motor  # noqa: B018


def test_what_a_person_asks_and_what_fits_are_known_without_torch():
    program = (
        "import sys, headroom, headroom.hardware.machine, headroom.memory.planner,"
        " headroom.models.base, headroom.models.registry, headroom.models.acestep.family,"
        " headroom.runtime.events;"
        "from headroom import Text2Music, Plan, Note, DoesNotFit;"
        "Text2Music(caption='x', duration=30);"
        "assert 'torch' not in sys.modules, 'torch was imported'"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
