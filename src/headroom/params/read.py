"""Builds a validated request from user input; all interfaces use these functions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from headroom.errors import InvalidRequest, written
from headroom.params.describe import TASK
from headroom.params.request import Request, snake, spellings
from headroom.params.request import faults as faults

R = TypeVar("R", bound=Request)
Family = Mapping[str, type[Request]]


def validate(model: type[R], given: Mapping[str, object]) -> R:
    """The request given by a mapping. Raises InvalidRequest: field, value, what is allowed."""
    return model.model_validate(dict(given))


def read(family: Family, given: Mapping[str, object], usual: str) -> Request:
    """The request of a family (task -> model) for the task `given["task"]`; None means `usual`.

    Raises InvalidRequest, also for a field that only other tasks have: the message names them.
    """
    rest = {written(name): value for name, value in given.items()}
    task = rest.pop(TASK, None)
    task = usual if task is None else task
    model = family.get(task) if isinstance(task, str) else None
    if model is None:
        raise InvalidRequest(TASK, task, "one of " + ", ".join(family))
    for name, value in rest.items():
        check_belongs(family, str(task), name, value)
    return validate(model, rest)


def check_belongs(family: Family, task: str, name: str, value: object) -> None:
    """Raise InvalidRequest for a field that this task lacks but other tasks have."""
    if snake(name) in spellings(family[task]):
        return
    others = [other for other, model in family.items() if snake(name) in spellings(model)]
    if others:
        raise InvalidRequest(name, value, f"only with task {' or '.join(others)}, not {task}")
