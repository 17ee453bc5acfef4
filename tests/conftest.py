"""Fixtures that several folders of tests share. Importing this file imports no torch."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

# How long an example takes depends on what else the machine does.
settings.register_profile("headroom", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("headroom")

# Models that the machine has in huggingface_hub's cache are no part of any test.
os.environ["HF_HUB_CACHE"] = str(Path(__file__).parent / "no-such-cache")

# Processes that tests start do not read pytest's settings, and find the tone family all the same.
_EXAMPLES = str(Path(__file__).resolve().parent.parent / "examples")
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (_EXAMPLES, os.environ.get("PYTHONPATH"))))

if TYPE_CHECKING:
    import torch

    from support.oracle import Tree

Trees = Callable[..., "Tree"]


@pytest.fixture(autouse=True)
def _log_as_it_was() -> Iterator[None]:
    """The program's log, which its command line sets up, is put back after every test."""
    log = logging.getLogger("headroom")
    handlers, level, propagate = log.handlers[:], log.level, log.propagate
    yield
    log.handlers[:], log.propagate = handlers, propagate
    log.setLevel(level)


@pytest.fixture(scope="session")
def trees(tmp_path_factory: pytest.TempPathFactory) -> Trees:
    """`trees(size, **options)` of `support.oracle.build_tree`, each written once a session.

    The directory is shared: a test that changes files builds a tree of its own.
    """
    made: dict[tuple[object, ...], Tree] = {}

    def get(size: str = "2b-like", **options: bool | str | int | torch.dtype) -> Tree:
        from support.oracle import build_tree  # brings diffusers, which takes seconds

        key = (size, *sorted(options.items(), key=lambda pair: pair[0]))
        if key not in made:
            made[key] = build_tree(tmp_path_factory.mktemp("checkpoints"), size, **options)  # type: ignore[arg-type]
        return made[key]

    return get
