"""The JSON form of what passes between processes: events, notes, plans, limits, results, errors.

Each has one form, written and read here, whichever program shows it; `schemas` describes them all.
A reader ignores keys it does not know, so a form may gain keys: `FORMAT` changes where one is
renamed or left out. A text for people has a code and values beside it to translate by. No torch.
"""

from headroom.engine.wire.errors import error_from, error_json
from headroom.engine.wire.events import event_from, event_json, plan_from, plan_json
from headroom.engine.wire.forms import FORMAT, Json, plain
from headroom.engine.wire.notes import limits_from, limits_json, note_from, note_json
from headroom.engine.wire.results import Outcome, result_from, result_json, schemas

__all__ = [
    "FORMAT",
    "Json",
    "Outcome",
    "error_from",
    "error_json",
    "event_from",
    "event_json",
    "limits_from",
    "limits_json",
    "note_from",
    "note_json",
    "plain",
    "plan_from",
    "plan_json",
    "result_from",
    "result_json",
    "schemas",
]
