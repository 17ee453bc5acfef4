"""The request fields that concern the planner language model. No torch."""

from __future__ import annotations

from typing import Annotated

from headroom.models.acestep.reasons import reason
from headroom.models.acestep.requests.common_fields import SEED, Fields
from headroom.models.acestep.text.lm_prompts import NOTHING
from headroom.params.knob import Knob, Limit
from headroom.reasons import reason as shared

_GROUP = "Language model"
CALM = 0.3  # temperature for describing codes: it should report, not invent

Temperature = Annotated[
    float,
    Limit(0, 2, reason("lm_temperature"), least=0),
    Knob(
        _GROUP,
        "How freely it writes; 0: always the likeliest.",
        step=0.01,
        old=("temperature",),
    ),
]


class SamplingFields(Fields):
    """How the language model draws its tokens."""

    use_constrained_decoding: Annotated[
        bool,
        Knob(
            _GROUP,
            "Keep what it writes to the form of a song sheet.",
            off="no-constrained-decoding",
            basic=True,
            old=("constrained_decoding", "constrained"),
        ),
    ] = True
    lm_temperature: Temperature = 0.85
    lm_top_k: Annotated[
        int,
        Limit(0, 1000, reason("lm_top_k"), least=0),
        Knob(_GROUP, "Draw from so many likeliest tokens; 0: from all.", step=1, old=("top_k",)),
    ] = 0
    lm_top_p: Annotated[
        float,
        Limit(0, 1, shared("share"), least=0),
        Knob(
            _GROUP,
            "Draw from the likeliest tokens that hold this share; 1: all.",
            step=0.01,
            old=("top_p",),
        ),
    ] = 0.9
    lm_repetition_penalty: Annotated[
        float,
        Limit(1, 2, reason("lm_repetition"), least=0.1),
        Knob(
            _GROUP,
            "Makes codes that were written less likely; 1: not at all.",
            step=0.01,
            old=("repetition_penalty",),
        ),
    ] = 1.0


class LanguageFields(SamplingFields):
    """How the language model writes a song sheet and codes, if it plans at all."""

    plan_metadata: Annotated[
        bool,
        Knob(
            _GROUP,
            "Let it fill in the song sheet alone and write no audio codes; thinking does both.",
        ),
    ] = False
    use_cot_metas: Annotated[
        bool, Knob(_GROUP, "Let it choose tempo, key, time signature and length left open.")
    ] = True
    use_cot_caption: Annotated[
        bool, Knob(_GROUP, "Let it put the caption in its own words.", old=("cot_caption",))
    ] = True
    use_cot_language: Annotated[
        bool, Knob(_GROUP, "Let it tell the language that is sung.", old=("cot_language",))
    ] = True
    lm_shared_metadata: Annotated[
        bool,
        Knob(_GROUP, "One song sheet for all songs of a batch; off: each song has its own."),
    ] = True
    lm_seed: Annotated[
        int | None,
        SEED,
        Knob(
            _GROUP,
            "Same number, same plan, whatever the seeds of the songs.",
            left_open="the seed of each song",
        ),
    ] = None
    lm_cfg_scale: Annotated[
        float,
        Limit(1, 3, reason("lm_guidance"), least=0),
        Knob(
            _GROUP,
            "How firmly codes follow the prompt; 1: no guidance.",
            step=0.1,
            old=("cfg_scale",),
        ),
    ] = 2.0
    lm_negative_prompt: Annotated[
        str, Knob(_GROUP, "What codes are guided away from.", lines=2)
    ] = NOTHING
