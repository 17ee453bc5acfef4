"""The layouts of the codes' prompts: today's by default, the older ones behind a setting.

The expected texts are written out here as ACE-Step's programs make them.
"""

from __future__ import annotations

import pytest

from headroom.models.acestep.catalogue import BUNDLED
from headroom.models.acestep.language.folder import Language
from headroom.models.acestep.language.lm_planning import _thought
from headroom.models.acestep.language.sheet import Sheet
from headroom.models.acestep.language.song_task import song_task
from headroom.models.acestep.requests.songs import Text2Music
from headroom.models.acestep.text import lm_prompts
from headroom.settings import LM_PROMPTS, LMPrompt, Settings

LANGUAGE = Language("nano", BUNDLED / "acestep-5Hz-lm-nano", "float32")
SYSTEM = (
    "<|im_start|>system\n# Instruction\n"
    "Generate audio semantic tokens based on the given conditions:\n\n<|im_end|>\n"
)
ASKED = "<|im_start|>user\n# Caption\nslow\n\n# Lyric\nla la\n<|im_end|>\n<|im_start|>assistant\n"
NEGATIVE = (
    "<|im_start|>user\n# Caption\nloud\n\n# Lyric\nla la\n<|im_end|>\n<|im_start|>assistant\n"
)
NOTHING = "<|im_start|>user\nNO USER INPUT<|im_end|>\n<|im_start|>assistant\n"
BARE = "<|im_start|>user\nloud<|im_end|>\n<|im_start|>assistant\n"
SHEET = "<think>\nbpm: 90\nduration: 12\n</think>\n\n"
EMPTY = "<think>\n\n</think>\n\n"
CLOSED = "<|im_end|>\n"

# (what codes follow, what they are guided away from) without a negative prompt, and with `loud`
EXPECTED: dict[LMPrompt, tuple[str, str, str]] = {
    "current": (ASKED + SHEET, NOTHING + EMPTY, BARE + EMPTY),
    "legacy": (ASKED + SHEET, ASKED + EMPTY, NEGATIVE + EMPTY),
    "closed": (ASKED + SHEET + CLOSED, ASKED + EMPTY + CLOSED, NEGATIVE + EMPTY + CLOSED),
}


def prompts(layout: LMPrompt, negative: str) -> tuple[str, str]:
    """Both prompts of a request, as the language model reads them."""
    given = {"caption": "slow", "lyrics": "la la", "bpm": 90, "duration": 12, "thinking": True}
    request = Text2Music.model_validate({**given, "lm_negative_prompt": negative})
    task = song_task(request, (1,), 600, LANGUAGE, layout)
    words, against = LANGUAGE.words, task.against
    assert against is not None and task.cost.away == len(against)
    codes = (*task.prompt, *_thought(task, Sheet(bpm=90, duration=12), words))
    longest = max(len(codes), len(against)) + 12 * 5
    assert longest <= task.cost.tokens()  # what is planned for a row holds them
    return words.decode(codes), words.decode(against)


@pytest.mark.parametrize("layout", LM_PROMPTS)
@pytest.mark.parametrize("nothing", ["", "NO USER INPUT", "  NO USER INPUT "])
def test_prompts_of_a_layout(layout: LMPrompt, nothing: str) -> None:
    told, against, negative = EXPECTED[layout]
    assert prompts(layout, nothing) == (SYSTEM + told, SYSTEM + against)
    assert prompts(layout, "loud") == (SYSTEM + told, SYSTEM + negative)


def test_a_long_negative_prompt_is_planned_for() -> None:
    _, against = prompts("current", "very loud " * 120)
    assert len(LANGUAGE.words.ids(against)) > 1200


def test_todays_layout_is_in_force_unless_somebody_says_otherwise() -> None:
    assert Settings().lm_prompt == "current" == LM_PROMPTS[0]
    assert lm_prompts.against("", "slow", "la", "current") == lm_prompts.away_from("")
    assert lm_prompts.before_codes("bpm: 90", "current") == lm_prompts.thought("bpm: 90")


def test_metadata_are_asked_for_alike_in_all() -> None:
    request = Text2Music(caption="slow", thinking=True)
    tasks = [song_task(request, (1,), 600, LANGUAGE, layout) for layout in LM_PROMPTS]
    assert len({task.prompt for task in tasks}) == 1
