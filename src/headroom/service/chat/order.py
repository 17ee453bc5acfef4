"""Makes the request to a model family out of what a chat asks for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import JsonValue

from headroom.errors import InvalidRequest
from headroom.models.registry import family_named
from headroom.params.describe import TASK, Param, describe
from headroom.params.note import Note
from headroom.params.request import spellings
from headroom.reasons import reason
from headroom.service.chat.ask import SAMPLE, Ask
from headroom.service.chat.wish import wish_in

LYRICS = "lyrics"  # the field of words to sing, in families that have it
_NO_LM = "false: no language model is used on this machine"


@dataclass(frozen=True, slots=True)
class Order:
    """The fields of a request to a family.

    first  the fields of a request for a song sheet, which fills what `values` leaves open
    notes  on what of the chat is not used
    """

    values: dict[str, JsonValue]
    first: dict[str, JsonValue] | None
    notes: tuple[Note, ...]


def order_of(ask: Ask, ids: Sequence[str], has_language_model: Callable[[], bool]) -> Order:
    """The request for what a chat asks for; `ids` are the files of its recordings.

    A text that is neither tagged nor marked as lyrics is the caption; where a language model is
    used, it makes a song sheet of it, unless lyrics are given or the task is not the usual one.
    Raises InvalidRequest.
    """
    task = next(t for t, kind in family_named(ask.family).requests.items() if kind is ask.kind)
    files, notes = _placed(ask, task, ids)
    values: dict[str, JsonValue] = {TASK: task, **ask.values, **files}
    wish = wish_in(ask.said.text)
    lyrics = _joined(ask.lyrics, wish.lyrics)
    sheet = ask.sheet
    is_wish = bool(wish.words) and not lyrics and task == family_named(ask.family).usual
    if sheet is not None and not has_language_model():
        name = "sample_mode" if sheet == SAMPLE else "use_format"
        raise InvalidRequest(name, True, _NO_LM)
    if sheet is None and is_wish and _writes(ask, SAMPLE) and has_language_model():
        sheet = SAMPLE
    if sheet is None:
        notes += _worded(ask, task, values, wish.text, lyrics)
        return Order(values, None, (*ask.notes, *notes))
    first: dict[str, JsonValue] = {TASK: sheet}
    _worded(ask, sheet, first, wish.text, lyrics)
    if sheet == SAMPLE and lyrics:  # which the sheet does not replace
        values[LYRICS] = lyrics
    first |= _for_sheet(ask, sheet)
    spent = _language_fields(ask) & first.keys()
    return Order({n: v for n, v in values.items() if n not in spent}, first, (*ask.notes, *notes))


def _for_sheet(ask: Ask, sheet: str) -> dict[str, JsonValue]:
    """The fields of a song that its sheet is to agree with, and those of the language model."""
    known = spellings(family_named(ask.family).requests[sheet])
    values = {name: value for name, value in ask.values.items() if name in known}
    seeds = ask.values.get("seeds")
    return values if seeds is None else {"seed": str(seeds).partition(",")[0], **values}


def _language_fields(ask: Ask) -> set[str]:
    """The fields of no use to a song with a sheet, unless a language model plans it as well."""
    planned = any(ask.values.get(name) for name in ("thinking", "plan_metadata"))
    return set() if planned else set(family_named(ask.family).language_fields)


def _writes(ask: Ask, sheet: str) -> bool:
    return sheet in family_named(ask.family).requests


def _joined(field: str, said: str) -> str:
    """The lyrics. Raises InvalidRequest for a field and a message that both have some."""
    if field and said and field != said:
        raise InvalidRequest(LYRICS, field, "lyrics in this field or in the messages")
    return field or said


def _worded(
    ask: Ask, task: str, values: dict[str, JsonValue], text: str, lyrics: str
) -> tuple[Note, ...]:
    """Put a caption and lyrics into the fields of a task; notes on those that it does not have.

    Raises InvalidRequest for a caption that stands in a field already.
    """
    family = family_named(ask.family)
    known, notes = family.requests[task].model_fields, []
    for name, value in ((family.words, text), (LYRICS, lyrics)):
        if not value:
            continue
        if name is None or name not in known:
            why = reason("chat_no_words", task=task)
            notes.append(Note("messages", value, None, why))
        elif values.get(name) not in (None, "", value):
            raise InvalidRequest(name, values[name], f"{name} in this field or in the messages")
        else:
            values[name] = value
    return tuple(notes)


def _placed(
    ask: Ask, task: str, ids: Sequence[str]
) -> tuple[dict[str, JsonValue], tuple[Note, ...]]:
    """The fields for the recordings: the first is the source of a task that has one, all others are
    references. Raises InvalidRequest for too many and for none where one is needed."""
    params = [param for param in describe(ask.kind) if param.kind is Path]
    source = next((param for param in params if not param.many), None)
    others = next((param for param in params if param.many), None)
    rest, values, notes = list(ids), dict[str, JsonValue](), tuple[Note, ...]()
    if source is not None and not rest and ask.said.before is not None:
        rest.append(ask.said.before)
    elif ask.said.before is not None:
        sent = source is not None
        why = reason("chat_recording_sent") if sent else reason("chat_no_source", task=task)
        notes = (Note("messages", f"the song {ask.said.before}", None, why),)
    if source is not None and rest:
        values[source.name] = rest.pop(0)
    if source is not None and source.required and not {source.name} & {*values, *ask.values}:
        raise InvalidRequest("messages", None, f"an input_audio part, which {task} needs")
    if rest and others is None:
        raise InvalidRequest("messages", f"{len(ids)} recordings", _most(task, source))
    if rest and others is not None:
        values[others.name] = list(rest)
    return values, notes


def _most(task: str, source: Param | None) -> str:
    return f"{'none' if source is None else 'one'} with the task {task}"
