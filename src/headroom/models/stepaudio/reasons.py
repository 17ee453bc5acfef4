"""The texts of this family's limits, by code. No torch."""

from __future__ import annotations

from headroom.reasons import Reasons

reason = Reasons(
    {
        "random_weights": "the weights that came with the program are drawn at random, and what "
        "they make is noise; {model} speaks",
        "speech_length": "the model was made for parts of half a minute",
        "versions_at_once": "one run makes at most {most} versions",
        "text_in_parts": "longer texts are better spoken in parts",
        "words_dissolve": "above it the words dissolve",
        "audio_codes_known": "there are no more audio codes",
        "passes_change_nothing": "more passes change no more",
    }
)
