"""Step-Audio-EditX as the layers above the models see it. No torch."""

from __future__ import annotations

from headroom.models.family import Family
from headroom.models.stepaudio.requests.speech import REQUESTS

FAMILY = Family(
    name="stepaudio",
    requests=REQUESTS,
    usual="clone",
    opens="headroom.models.stepaudio.model:open_model",
    plans="headroom.models.stepaudio.unopened:subject",
    words="text",
)
