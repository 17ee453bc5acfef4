"""Settings from environment variables and `.env`, each declared once.

In: the environment and a `.env` file, read by `load` and nowhere else. Out: `Settings`, typed and
frozen, which records where each value came from; and the text of `.env.example`.
"""

from headroom.settings.declaration import AUTO as AUTO
from headroom.settings.declaration import GROUPED as GROUPED
from headroom.settings.declaration import MOST_CARDS as MOST_CARDS
from headroom.settings.declaration import Declared as Declared
from headroom.settings.declaration import Setting as Setting
from headroom.settings.declaration import Takes as Takes
from headroom.settings.declaration import card_named as card_named
from headroom.settings.declaration import settings_of as settings_of
from headroom.settings.fields import DEFAULT as DEFAULT
from headroom.settings.fields import GIVEN as GIVEN
from headroom.settings.fields import LM_PROMPTS as LM_PROMPTS
from headroom.settings.fields import LMPrompt as LMPrompt
from headroom.settings.fields import Row as Row
from headroom.settings.fields import Settings as Settings
from headroom.settings.fields import declared as declared
from headroom.settings.fields import example as example
from headroom.settings.four_gb import FOUR_GB as FOUR_GB
from headroom.settings.four_gb import MODE as MODE
from headroom.settings.four_gb import write_env as write_env
from headroom.settings.loading import load as load
from headroom.settings.options import GROUP as GROUP
from headroom.settings.options import NO_LM as NO_LM
from headroom.settings.options import OF_TIER as OF_TIER
from headroom.settings.options import POLICIES as POLICIES
from headroom.settings.options import QUANTIZATIONS as QUANTIZATIONS
from headroom.settings.options import Options as Options
from headroom.settings.options import PolicyName as PolicyName
