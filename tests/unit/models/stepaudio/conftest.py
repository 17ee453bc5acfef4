"""Shared by the tests of Step-Audio-EditX: a made vocabulary."""

from __future__ import annotations

import pytest

from headroom.models.stepaudio.text.vocabulary import Vocabulary
from support.speech import made_pieces


@pytest.fixture(scope="session")
def words() -> Vocabulary:
    return Vocabulary(made_pieces())
