"""A parameter that is refused is named, with its value and what is allowed."""

from __future__ import annotations

from typing import Literal

import pytest
from pydantic import BaseModel, Field, ValidationError

from headroom.service.allowed import _WORDS, allowed
from support.web import Service


@pytest.mark.parametrize(
    ("query", "field", "words"),
    [
        ("/v1/jobs?most=many", "most", "a whole number"),
        ("/v1/library/songs?most=0", "most", "a number from 1 on"),
        ("/v1/library/songs?most=100000", "most", "a number up to"),
        ("/v1/library/songs?q=" + "x" * 5000, "q", "at most"),
        ("/v1/library/songs?deleted=perhaps", "deleted", "true or false"),
    ],
)
def test_a_parameter_is_refused_in_words(
    service: Service, query: str, field: str, words: str
) -> None:
    answer = service.client.get(query)
    told = answer.json()
    assert answer.status_code == 422 and told["values"]["field"] == field
    assert words in told["values"]["allowed"] and "nput should" not in told["message"]


class Every(BaseModel, extra="forbid"):
    flag: bool
    strict: bool = Field(strict=True)
    whole: int
    part: float
    text: str = Field(min_length=1, max_length=2)
    some: list[int] = Field(max_length=1)
    table: dict[str, int]
    kind: Literal["a", "b"]
    low: int = Field(ge=1)
    high: int = Field(le=1)
    above: int = Field(gt=1)
    below: int = Field(lt=1)


def test_every_kind_of_fault_has_words() -> None:
    given = {
        "flag": "x", "strict": 1, "whole": "x", "part": "x", "text": "xyz", "some": [1, 2],
        "table": 3, "kind": "c", "low": 0, "high": 2, "above": 1, "below": 1, "more": 1,
    }  # fmt: skip
    seen = {}
    for values in (given, {**given, "text": "", "whole": 1.5, "some": 3}, {**given, "text": 3}):
        with pytest.raises(ValidationError) as raised:
            Every.model_validate(values)
        seen |= {fault["type"]: allowed(fault) for fault in raised.value.errors()}
    assert not [text for text in seen.values() if "nput should" in text or "{" in text]
    assert set(seen) <= set(_WORDS)
    assert seen["literal_error"] == "'a' or 'b'" and seen["less_than_equal"] == "a number up to 1"
