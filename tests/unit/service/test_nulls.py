"""Null for a field of a request: as if it was left out, or refused by name; and documented so."""

from __future__ import annotations

from typing import Any

import pytest
from jsonschema import Draft202012Validator

from headroom.models.registry import FAMILIES, family_named
from headroom.params.describe import TASK, Param, describe
from support.web import Service, Start

ASKED = [(family, task) for family in sorted(FAMILIES) for task in family_named(family).requests]
# What some tasks need although their fields have a default.
NEEDED = {"audio_codes": "<|audio_code_1|>", "lyrics": "la la", "caption": "a song"}
NEEDED_BY = {"edit": {"edit_info": "happy"}}


@pytest.fixture(scope="module")
def answers() -> dict[str, Any]:
    """Documents by family, as making one takes a while."""
    return {}


def asked_for(kind: Any, task: str) -> dict[str, Any]:
    """A request of a task that is answered."""
    params = describe(kind)
    needed = {p.name: p.choices[0] if p.choices else "i" * 20 for p in params if p.required}
    given = NEEDED | NEEDED_BY.get(task, {})
    return {TASK: task, **{p.name: given[p.name] for p in params if p.name in given}, **needed}


def is_null_allowed(document: dict[str, Any], kind: Any, param: Param) -> bool:
    field = document["components"]["schemas"][kind.__name__]["properties"][param.name]
    schema = {"components": document["components"], **field}
    return Draft202012Validator(schema).is_valid(None)


@pytest.mark.parametrize(("family", "task"), ASKED)
def test_null_means_left_out_in_every_field_and_stands_in_the_document(
    start: Start, family: str, task: str, answers: dict[str, Any]
) -> None:
    service = start(family=family)
    document = answers.setdefault(family, service.app.openapi())
    kind = family_named(family).requests[task]
    whole = asked_for(kind, task)
    for param in describe(kind):
        with_null = _limits(service, whole | {param.name: None})
        without = {name: value for name, value in whole.items() if name != param.name}
        left_out = _limits(service, without)
        assert with_null[0] == left_out[0], param.name
        if left_out[0] == 200:
            assert with_null == left_out, param.name
        else:
            assert with_null[1]["values"]["field"] == param.name
            assert with_null[1]["values"]["allowed"] in with_null[1]["message"]
        assert is_null_allowed(document, kind, param) != param.required, param.name
    assert _limits(service, whole)[0] == 200


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_null_for_the_task_means_the_usual_one(start: Start, family: str) -> None:
    service, named = start(family=family), family_named(family)
    usual = named.requests[named.usual]
    fields = {n: v for n, v in asked_for(usual, named.usual).items() if n != TASK}
    assert _limits(service, fields | {TASK: None}) == _limits(service, fields)
    assert _limits(service, fields)[0] == 200
    parts = service.app.openapi()["components"]["schemas"]
    for task, kind in named.requests.items():
        is_usual = task == named.usual
        assert (TASK in parts[kind.__name__]["required"]) != is_usual
        accepts = Draft202012Validator(parts[kind.__name__]["properties"][TASK])
        assert accepts.is_valid(None) == is_usual and accepts.is_valid(task)


def _limits(service: Service, request: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    answer = service.client.post("/v1/limits", json=request)
    told = answer.json()
    told.pop("request_id", None)
    return answer.status_code, told
