"""Every request of ACE-Step by its task, and how one is read from what a user wrote. No torch."""

from __future__ import annotations

from collections.abc import Mapping

from headroom.errors import InvalidRequest
from headroom.models.acestep.requests.language_requests import LANGUAGE_TASKS
from headroom.models.acestep.requests.recording_requests import RECORDING_TASKS
from headroom.models.acestep.requests.songs import TASKS, is_task, named_task, request_from
from headroom.params.describe import TASK
from headroom.params.read import read
from headroom.params.request import Request

OTHERS: Mapping[str, type[Request]] = {**LANGUAGE_TASKS, **RECORDING_TASKS}
REQUESTS: Mapping[str, type[Request]] = {**TASKS, **OTHERS}


def any_request_from(values: Mapping[str, object]) -> Request:
    """The request for what the user wrote, under any spelling; text2music if no task is given.

    Raises InvalidRequest with the field, its value and what is allowed.
    """
    task = named_task(values)
    if task in OTHERS:
        rest = {name: value for name, value in values.items() if not is_task(name)}
        return read(OTHERS, {**rest, TASK: task}, str(task))
    try:
        return request_from(values)
    except InvalidRequest as error:
        if error.field != TASK:
            raise
        raise InvalidRequest(TASK, error.value, "one of " + ", ".join(REQUESTS)) from error
