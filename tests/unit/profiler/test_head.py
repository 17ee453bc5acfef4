"""What stands above the tables says what was asked and what is in force."""

from __future__ import annotations

from headroom.engine.engine import Engine
from headroom.engine.opening import Opening
from headroom.models.acestep.requests.songs import Text2Music
from headroom.profiler.main import _head
from headroom.profiler.options import Options
from headroom.settings import load


def rows(request: Text2Music, **environment: str) -> dict[str, str]:
    """The rows of the header, on a simulated card."""
    settings = load({"MAX_CUDA_VRAM": "4", **environment}, None)
    engine = Engine("simulated", settings=settings)
    text = _head(Options(Opening(settings)), engine, request)
    return {line[2:12].strip(): line[12:] for line in text.splitlines()}


def test_what_is_clamped_is_said_beside_what_was_asked() -> None:
    told = rows(Text2Music(caption="x", duration=600, batch_size=4))
    assert told["Length"] == "600 s asked, 360 s in force"
    assert told["Batch"] == "4 asked, 1 in force"
    assert told["Thinking"] == "off" and told["LM"] == "not used (nobody asked for one)"
    told = rows(Text2Music(caption="x", duration=60))
    assert (told["Length"], told["Batch"]) == ("60 s", "1")


def test_a_language_model_that_is_not_loaded_is_said() -> None:
    asked = Text2Music(caption="x", duration=60, thinking=True)
    told = rows(asked)
    assert told["Thinking"].startswith("thinking") and told["Thinking"].endswith(" asked, off")
    assert told["LM"].startswith("not used (tier 1 loads none by itself")
    told = rows(asked, ACESTEP_INIT_LM_DEFAULT="false")
    assert told["LM"].startswith("not used (ACESTEP_INIT_LM_DEFAULT is false")
    told = rows(asked, ACESTEP_INIT_LM_DEFAULT="true")
    assert not told["Thinking"].endswith("off") and told["LM"].startswith("used: ")
