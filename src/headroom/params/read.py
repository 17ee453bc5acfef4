"""From what somebody wrote to a request: every face comes in through here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from headroom.errors import InvalidRequest
from headroom.params.describe import TASK, describe
from headroom.params.request import Request, snake, spellings

R = TypeVar("R", bound=Request)
Family = Mapping[str, type[Request]]


def validate(model: type[R], given: Mapping[str, object]) -> R:
    """The request a mapping stands for. Raises InvalidRequest: field, value, what is allowed."""
    try:
        return model.model_validate(dict(given))
    except ValidationError as error:
        raise faults(model, error)[0] from error


def faults(model: type[BaseModel], error: ValidationError) -> tuple[InvalidRequest, ...]:
    """Every fault of a validation error as a sentence; there is at least one."""
    return tuple(_fault(model, detail) for detail in error.errors(include_url=False))


def read(family: Family, given: Mapping[str, object], usual: str) -> Request:
    """The request of a family (task -> model) that `given["task"]` names; `usual` without one.

    Raises InvalidRequest, also for a field that only other tasks have: the sentence names them.
    """
    rest = dict(given)
    task = rest.pop(TASK, usual)
    model = family.get(task) if isinstance(task, str) else None
    if model is None:
        raise InvalidRequest(TASK, task, "one of " + ", ".join(family))
    for name, value in rest.items():
        check_belongs(family, str(task), name, value)
    return validate(model, rest)


def check_belongs(family: Family, task: str, name: str, value: object) -> None:
    """Raise InvalidRequest for a field that this task lacks and other tasks have."""
    if snake(name) in spellings(family[task]):
        return
    others = [other for other, model in family.items() if snake(name) in spellings(model)]
    if others:
        raise InvalidRequest(name, value, f"only with task {' or '.join(others)}, not {task}")


def _fault(model: type[BaseModel], detail: ErrorDetails) -> InvalidRequest:
    context = detail.get("ctx", {})
    place = [str(part) for part in detail["loc"]]
    field = str(context.get("field", place[0] if place else "request"))
    value = context.get("value", detail["input"])
    if detail["type"] == "missing":
        value = None
    if detail["type"] == "headroom":
        return InvalidRequest(field, value, str(context["allowed"]))
    param = next((p for p in describe(model) if p.name == field), None)
    return InvalidRequest(field, value, param.allowed() if param else detail["msg"])
