"""What happens in the form: planned while it is filled in, sent, kept, shown again.

A handler asks the service what the browser behind its event may ask, and decides nothing itself.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr
from pydantic import JsonValue

from headroom.engine.seeds import settle
from headroom.errors import InvalidRequest
from headroom.files import parse_json
from headroom.models.family import Family
from headroom.params.describe import TASK, describe, in_role, task_of
from headroom.ui import events, outlook
from headroom.ui.fields import Bounds, about, same, sent
from headroom.ui.make import MOODS, Form, tasks
from headroom.ui.rest import Json, Refused, Rest
from headroom.ui.seen import EXPERT, SIMPLE
from headroom.ui.words import Words

Update = dict[str, Any]
Kept = dict[str, JsonValue] | None
"""What a browser keeps: the language, the last request with its form and mood, requests by name."""
_PRESETS = 50
_FEW = 4  # steps of a preview, or half of those of the song


@dataclass(frozen=True, slots=True)
class Handlers:
    """The handlers of the events of a form."""

    rest: Rest
    family: Family
    form: Form

    def request(self, mode: str, task: str, mood: str | None, *shown: object) -> Json:
        """The request that the controls show. In the simple form the mood joins the sentence."""
        simple = mode == SIMPLE
        made = sent(self.form.fields, self.family.usual if simple else task, shown)
        said = in_role(self.family.requests[self.family.usual], "words")
        if simple and mood and said is not None:
            before = str(made.get(said.name, ""))
            made[said.name] = f"{before}, {mood}" if before else mood
        return made

    @property
    def seconds(self) -> list[Any]:
        """The control of the length of a song, if the usual request has one."""
        param = in_role(self.family.requests[self.family.usual], "seconds")
        return [f.control for f in self.form.fields if param and f.param.name == param.name]

    def text(self, *asked: Any) -> str:
        """The request that the controls show, as the text of a file."""
        return json.dumps(self.request(*asked), ensure_ascii=False, indent=2)

    async def plan(self, event: gr.Request, language: str, vram: str, *asked: Any) -> str:
        """What the request will take, as a part of the page."""
        words = Words.of(language)
        try:
            found = await self.rest.ask(
                event, "POST", "/v1/plan", self.request(*asked), **self._for(vram)
            )
        except Refused as refusal:
            return outlook.refused(words.error(refusal.form))
        return outlook.shown(found, words)

    async def make(self, event: gr.Request, language: str, kept: Kept, *asked: Any) -> list[Any]:
        """Ask for it: the job's id, what the browser keeps from now on, and a refusal if any."""
        return await self._sent(event, language, kept, asked, self.request(*asked))

    async def preview(self, event: gr.Request, language: str, kept: Kept, *asked: Any) -> list[Any]:
        """Ask for the same with few steps: as `make`, and the id of the job with the request that
        makes the whole song with the same seeds, as JSON text."""
        shown = self.request(*asked)
        try:
            whole, quick = halves(self.family, shown)
        except InvalidRequest:  # the service tells what is wrong
            whole = quick = shown
        id, *rest = await self._sent(event, language, kept, asked, quick)
        told = json.dumps({"id": id, "whole": whole}) if id and quick is not shown else ""
        return [id, *rest, told]

    async def _sent(
        self, event: gr.Request, language: str, kept: Kept, asked: tuple[Any, ...], request: Json
    ) -> list[Any]:
        """What `make` answers, for a request that may differ from the one that is shown."""
        try:
            job = await self.rest.ask(event, "POST", "/v1/jobs", request, family=self.family.name)
        except Refused as refusal:
            text = Words.of(language).error(refusal.form)
            return ["", gr.skip(), outlook.refused(text)]
        mode, task, mood, *shown = asked
        last = self.request(mode, task, None, *shown)
        now = {**(kept or {}), "last": last, "mode": mode, "mood": mood or ""}
        return [job["id"], now, gr.skip()]

    def shown(self, language: str, text: object) -> list[Any]:
        """The form with a request in it, which comes as JSON: of `shows`, in order."""
        try:
            values = parse_json(str(text).encode())
            if not isinstance(values, dict):
                raise InvalidRequest("request", text, 'a JSON object, as in {"caption": "…"}')
            return self._filled(values, Words.of(language))
        except (InvalidRequest, ValueError) as error:
            told = Words.of(language)("cannot_read", why=error)
            return [gr.skip()] * (len(self.shows) - 1) + [outlook.refused(told)]

    @property
    def shows(self) -> list[Any]:
        """The components that `shown` answers for."""
        form = self.form
        folds = [fold for fold, _ in form.folds]
        return [form.mode, form.task, *folds, *form.controls, form.outlook]

    def _filled(self, values: Mapping[str, JsonValue], words: Words) -> list[Any]:
        """The form with these values. Its task is offered, whatever this machine can do: `bounded`
        says so afterwards. Raises InvalidRequest."""
        request = self.family.request(values)
        task = task_of(request)
        held = request.model_dump(mode="json", exclude_unset=True)
        updates = [gr.update(value=EXPERT), gr.update(**tasks(self.family, words), value=task)]
        for _, names in self.form.folds:
            is_set = any(name in held for name in names)
            updates.append(gr.update(open=True) if is_set else gr.skip())
        for field in self.form.fields:
            value = held.get(field.param.name)
            if field.param.kind is Path and not _is_here(value):
                value = None
            updates.append(gr.update(value=field.show(value)))
        return [*updates, gr.skip()]

    def needed(self, task: str) -> list[Any]:
        """The headings, opened where this task cannot do without a field below one."""
        kind = self.family.requests.get(task)
        required = {one.name for one in describe(kind) if one.required} if kind else set[str]()
        return [
            gr.update(open=True) if required & set(names) else gr.skip()
            for _, names in self.form.folds
        ]

    def opened(self, language: str, kept: Kept) -> list[Any]:
        """The form as this browser left it, and the names of its presets: of `opens`."""
        held = kept or {}
        names = gr.update(choices=same(_presets(held)), value=None)
        last = held.get("last")
        if not isinstance(last, dict):
            return [names, *([gr.skip()] * (len(self.opens) - 1))]
        mode, *rest = self.shown(language, json.dumps(last))
        if held.get("mode") != EXPERT:
            mode = gr.update(value=SIMPLE)
        mood = gr.update(value=held["mood"]) if held.get("mood") in MOODS else gr.skip()
        lasts = in_role(self.family.requests[self.family.usual], "seconds")
        return [
            names,
            mode,
            *rest,
            mood,
            _length(self.form.length, last.get(lasts.name) if lasts else None),
        ]

    @property
    def opens(self) -> list[Any]:
        """The components that `opened` answers for."""
        return [self.form.presets.chosen, *self.shows, self.form.mood, self.form.length]

    def left(self, language: str, kept: Kept) -> str:
        """What `opened` answers, as JSON, for a script that leaves out what somebody has changed
        meanwhile."""
        made = zip(self.opened(language, kept), self.opens, strict=True)
        return json.dumps([events.told(one, control) for one, control in made])

    @property
    def opens_at(self) -> list[list[str]]:
        """The ids in the page of what each answer of `opened` is about. How long a song is stands
        in two places."""
        both = [self.form.length, *self.seconds]
        ids = [one.elem_id for one in both]
        return [ids if one in both else [one.elem_id] if one.elem_id else [] for one in self.opens]

    async def bounded(self, event: gr.Request, language: str, vram: str, task: str) -> list[Any]:
        """The limits of this machine on the controls, and what its model can do: of `bounds`."""
        words = Words.of(language)
        try:
            limits = await self.rest.ask(event, "GET", "/v1/limits", task=task, **self._for(vram))
            models = await self.rest.ask(event, "GET", "/v1/models", family=self.family.name)
        except Refused:
            return [gr.skip()] * len(self.bounds)
        bounds: Bounds = limits["limits"]  # type: ignore[assignment]
        able, model = _able(self.family, models)
        lm = bool(limits.get("language_model"))
        grey = {one: "not_with_model" for one in self.family.requests if one not in able}
        if not lm:
            kinds = self.family.requests
            grey |= {one: "needs_lm" for one in able if kinds[one].uses_language_model}
        listed = tuple(one for one in able if one not in grey)
        return [
            self._longest(bounds),
            gr.update(**tasks(self.family, words, listed), **self._still(task, listed)),
            _greyed(grey, model, words),
            *(
                gr.update(info=about(one.param, words, bounds))
                for one in self.form.fields
                if one.has_bounds
            ),
        ]

    def _still(self, task: str, listed: tuple[str, ...]) -> Update:
        """The chosen task as an update: another one where it is not offered any more."""
        return {} if task in listed or not listed else {"value": listed[0]}

    @property
    def bounds(self) -> list[Any]:
        """The components that `bounded` answers for."""
        form = self.form
        with_bounds = [one.control for one in form.fields if one.has_bounds]
        return [form.length, form.task, form.grey, *with_bounds]

    def _longest(self, bounds: Bounds) -> Update:
        seconds = in_role(self.family.requests[self.family.usual], "seconds")
        limit = bounds.get(seconds.name) if seconds else None
        most = None if limit is None else limit.get("maximum")
        return gr.update(maximum=most) if isinstance(most, int | float) else gr.update()

    def _for(self, vram: str) -> dict[str, Any]:
        return {"family": self.family.name, "vram": vram or None}


def _length(slider: gr.Slider, seconds: JsonValue) -> Any:
    """The length of the simple form, from a value of a request, within the slider."""
    try:
        wanted = float(str(seconds))
    except ValueError:  # it is open
        return gr.skip()
    if not math.isfinite(wanted):
        return gr.skip()
    return gr.update(value=min(max(wanted, slider.minimum), slider.maximum))


def halves(family: Family, made: Json) -> tuple[Json, Json]:
    """A request for songs with all its seeds, and the same with few steps. Raises InvalidRequest;
    one that makes no songs has no preview."""
    request, _, _ = settle(family.song(made))
    field = family.steps_field
    whole: Json = request.model_dump(mode="json", exclude_unset=True)
    whole[TASK] = task_of(request)
    param = next((one for one in describe(type(request)) if one.name == field), None)
    if param is None:
        return whole, whole
    steps = getattr(request, param.name) or param.knob.stand_in or 2 * _FEW
    return whole, {**whole, param.name: max(1, min(_FEW, int(steps) // 2))}


def keep(kept: Kept, name: str, request: Json) -> tuple[dict[str, JsonValue], Update]:
    """A request under a name, in what the browser keeps; the newest are kept."""
    held = kept or {}
    named = {**_presets(held), name.strip(): request} if name.strip() else _presets(held)
    named = dict(list(named.items())[-_PRESETS:])
    chosen = name.strip() or None
    return {**held, "presets": named}, gr.update(choices=same(named), value=chosen)


def forget(kept: Kept, name: str | None) -> tuple[dict[str, JsonValue], Update]:
    """What the browser keeps, without the request of this name."""
    held = kept or {}
    named = {one: request for one, request in _presets(held).items() if one != name}
    return {**held, "presets": named}, gr.update(choices=same(named), value=None)


def preset(kept: Kept, name: str | None) -> str:
    """A request that is kept, as JSON text."""
    return json.dumps(_presets(kept or {}).get(name or "", {}))


def _presets(held: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
    named = held.get("presets")
    return dict(named) if isinstance(named, dict) else {}


def _able(family: Family, models: Json) -> tuple[tuple[str, ...], str]:
    """The tasks of the model that is used, and its name; all where nothing is known of it."""
    rows = models.get("models")
    best = str(models.get("best") or "")
    for row in rows if isinstance(rows, list) else []:
        if isinstance(row, dict) and row["name"] == best and isinstance(row["tasks"], list):
            return tuple(one for one in family.requests if one in row["tasks"]), best
    return tuple(family.requests), best


def _greyed(grey: Mapping[str, str], model: str, words: Words) -> str:
    lines = []
    for why in dict.fromkeys(grey.values()):
        named = ", ".join(words.task(task) for task, other in grey.items() if other == why)
        lines.append(f"<p><b>{escape(named)}</b> {escape(words(why, model=model))}</p>")
    return "".join(lines)


def _is_here(value: JsonValue) -> bool:
    """Whether files are named by ids of the service, and not by their places elsewhere."""
    names = value if isinstance(value, list) else [value]
    return all(isinstance(one, str) and not set(one) & set("./\\") for one in names)
