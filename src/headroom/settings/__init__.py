"""Settings from environment variables and `.env`, each declared once.

In: the environment and a `.env` file, read by `load` and nowhere else. Out: `Settings`, typed and
frozen, which records where each value came from; and the text of `.env.example`.
"""

from headroom.settings.declaration import DEVICES as DEVICES
from headroom.settings.declaration import Setting as Setting
from headroom.settings.fields import DEFAULT as DEFAULT
from headroom.settings.fields import LM_PROMPTS as LM_PROMPTS
from headroom.settings.fields import LMPrompt as LMPrompt
from headroom.settings.fields import Row as Row
from headroom.settings.fields import Settings as Settings
from headroom.settings.fields import declared as declared
from headroom.settings.fields import example as example
from headroom.settings.loading import load as load
from headroom.settings.memory import BACKENDS as BACKENDS
from headroom.settings.memory import POLICIES as POLICIES
from headroom.settings.memory import PRECISION_WORDS as PRECISION_WORDS
from headroom.settings.memory import QUANTIZATIONS as QUANTIZATIONS
from headroom.settings.memory import Policy as Policy
