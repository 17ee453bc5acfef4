"""Compatible `acestep.constants`: ACE-Step's constants, taken from where headroom defines them."""

from __future__ import annotations

from acestep.gpu_config import LM_MEMORY_GB
from headroom.models.acestep.catalogue import USUAL_DIT
from headroom.models.acestep.requests.songs import Text2Music
from headroom.models.acestep.requests.tasks import GENERATE, SEMANTIC, TASKS
from headroom.models.acestep.requests.variants import VARIANTS
from headroom.models.acestep.text import lm_prompts
from headroom.models.acestep.text.prompts import END, lyric_prompt
from headroom.models.acestep.text.vocabulary import KEYS, LANGUAGES, TRACKS
from headroom.models.acestep.tiers import LM_NAMES, LM_SIZES
from headroom.params.describe import describe

VALID_LANGUAGES = list(LANGUAGES)

KEYSCALE_NOTES = ["A", "B", "C", "D", "E", "F", "G"]
KEYSCALE_ACCIDENTALS = ["", "#", "b", "♯", "♭"]
KEYSCALE_MODES = ["major", "minor"]
VALID_KEYSCALES = set(KEYS)

_FIELDS = {param.name: param for param in describe(Text2Music)}


def _range(name: str) -> tuple[int, int]:
    limit = _FIELDS[name].limit
    if limit is None:
        raise TypeError(f"{name} has no limit")
    return int(limit.minimum), int(limit.maximum)


BPM_MIN, BPM_MAX = _range("bpm")
DURATION_MIN, DURATION_MAX = _range("duration")
VALID_TIME_SIGNATURES = [int(choice) for choice in _FIELDS["timesignature"].choices]

_WITHOUT_CODES = "cover-nofsq"


def _with_it(tasks: tuple[str, ...]) -> list[str]:
    """The tasks plus the cover of a recording's own latents, which ACE-Step lists as a task."""
    order = ("text2music", "repaint", "cover", _WITHOUT_CODES, "extract", "lego", "complete")
    return [task for task in order if task in tasks or task == _WITHOUT_CODES]


TASK_TYPES = _with_it(tuple(TASKS))
TASK_TYPES_TURBO = _with_it(VARIANTS[USUAL_DIT].tasks)
TASK_TYPES_BASE = _with_it(VARIANTS["acestep-v15-base"].tasks)

MODE_TO_TASK_TYPE = {
    "Simple": "text2music",
    "Custom": "text2music",
    "Remix": "cover",
    "Repaint": "repaint",
    "Extract": "extract",
    "Lego": "lego",
    "Complete": "complete",
}
GENERATION_MODES_BASE = list(MODE_TO_TASK_TYPE)
GENERATION_MODES_TURBO = [
    mode for mode, task in MODE_TO_TASK_TYPE.items() if task in TASK_TYPES_TURBO
]

DEFAULT_DIT_INSTRUCTION = GENERATE
DEFAULT_LM_INSTRUCTION = lm_prompts.GENERATE
DEFAULT_LM_UNDERSTAND_INSTRUCTION = lm_prompts.UNDERSTAND
DEFAULT_LM_INSPIRED_INSTRUCTION = lm_prompts.INSPIRE
DEFAULT_LM_REWRITE_INSTRUCTION = lm_prompts.FORMAT

_PLACE = {"extract": "{TRACK_NAME}", "lego": "{TRACK_NAME}", "complete": "{TRACK_CLASSES}"}
TASK_INSTRUCTIONS = {
    name: task.instruction.replace("{tracks}", _PLACE.get(name, "")) for name, task in TASKS.items()
}
TASK_INSTRUCTIONS |= {f"{name}_default": TASKS[name].alone for name in _PLACE}
TASK_INSTRUCTIONS[_WITHOUT_CODES] = SEMANTIC

TRACK_NAMES = list(TRACKS)
SFT_GEN_PROMPT = f"# Instruction\n{{}}\n\n# Caption\n{{}}\n\n# Metas\n{{}}{END}\n"
LYRIC_GEN_PROMPT = lyric_prompt("{}", "{}")

# Upper bounds in GB; above the last one nothing is limited. `acestep.gpu_config` has finer tiers.
GPU_TIER_THRESHOLDS = {"tier1": 4, "tier2": 6, "tier3": 8, "tier4": 12, "tier5": 16, "tier6": 24}
LM_MODEL_MEMORY_GB = dict(LM_MEMORY_GB)
LM_MODEL_NAMES = dict(zip(LM_SIZES, LM_NAMES, strict=True))

TENSOR_DEBUG_MODE = "OFF"
DEBUG_API_SERVER = DEBUG_INFERENCE = DEBUG_TRAINING = DEBUG_DATASET = DEBUG_AUDIO = "OFF"
DEBUG_LLM = DEBUG_UI = DEBUG_MODEL_LOADING = DEBUG_GPU = "OFF"
