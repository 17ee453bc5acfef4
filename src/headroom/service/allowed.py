"""What a parameter may be, in words, where the framework refused it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_WORDS: Mapping[str, str] = {
    "bool_parsing": "true or false",
    "bool_type": "true or false",
    "int_parsing": "a whole number",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_parsing": "a number",
    "float_type": "a number",
    "string_type": "a text",
    "dict_type": "an object with fields",
    "list_type": "a list",
    "missing": "a value, which it needs",
    "extra_forbidden": "no field of this name",
    "literal_error": "{expected}",
    "enum": "{expected}",
    "greater_than": "a number above {gt}",
    "greater_than_equal": "a number from {ge} on",
    "less_than": "a number below {lt}",
    "less_than_equal": "a number up to {le}",
    "too_long": "at most {max_length} of them",
    "string_too_long": "at most {max_length} characters",
    "string_too_short": "at least {min_length} characters",
}


def allowed(fault: Mapping[str, Any]) -> str:
    """What would have been allowed, by one of pydantic's errors; its own message where it is of a
    kind that has no words here."""
    words = _WORDS.get(fault["type"])
    return str(fault["msg"]) if words is None else words.format_map(fault.get("ctx", {}))
