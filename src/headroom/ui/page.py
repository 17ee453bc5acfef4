"""The page: its parts in their places, the language of each reader, and what leads to what."""

from __future__ import annotations

import json
from typing import Any

import gradio as gr
from pydantic import JsonValue

from headroom.models.family import Family
from headroom.models.registry import family_named
from headroom.settings import Settings
from headroom.settings.serving import LANGUAGES
from headroom.ui.gpu import Memory, MemoryHandlers, memory
from headroom.ui.machine import Panel, PanelHandlers, command, panel
from headroom.ui.make import Form, form
from headroom.ui.making import Handlers, Kept, forget, keep, preset
from headroom.ui.rest import Rest
from headroom.ui.seen import ARRANGE
from headroom.ui.texts import Texts
from headroom.ui.words import Words

# Not in Gradio's queue: each event is one request and its answer, which `ui.events` gives.
_QUIET: dict[str, Any] = {
    "api_visibility": "private", "show_progress": "hidden", "queue": False
}  # fmt: skip
_SPEAK = "language => { window.headroom.speak(language) }"
_SAVE = "text => { if (text) window.headroom.save(text) }"
_PREVIEWED = "told => { if (told) window.headroom.previewed(JSON.parse(told)) }"
_LEFT = "text => window.headroom.left(JSON.parse(text), {ids})"
_SWEEP = "text => { if (text) window.headroom.sweep(text) }"
# A script of the page tells that there are other models now.
_FRESH = """
window.addEventListener('headroom-models', () => {
  props.value = String(Date.now());
  trigger('change');
});
"""
_FOLLOW = "id => { if (id) window.headroom.follow(id) }"


def build(rest: Rest, settings: Settings, family: str) -> gr.Blocks:
    """The page of a service."""
    page: gr.Blocks
    texts, found = Texts(Words.of(settings.ui_language)), family_named(family)
    with gr.Blocks(title="headroom", analytics_enabled=False, fill_width=True) as page:
        # In the browser; what it is called there is no secret.
        kept = gr.BrowserState({}, storage_key="headroom", secret="headroom")
        language = _head(texts)
        with gr.Tabs(elem_id="places"):
            with texts.keyed(gr.Tab, {"label": "tab_make"}, id="make", elem_id="tab-make"):
                first = gr.HTML("", elem_id="first")
                fresh = gr.HTML(
                    "", html_template="<span></span>", js_on_load=_FRESH, visible="hidden"
                )
                making = form(found, texts)
            with texts.keyed(gr.Tab, {"label": "tab_songs"}, id="songs", elem_id="tab-songs"):
                gr.HTML(html_template="<headroom-library></headroom-library>", js_on_load=None)
            with texts.keyed(gr.Tab, {"label": "tab_machine"}, id="machine"):
                given_back = memory(texts) if settings.gpu_management else None
                machine = panel(found, texts, first)
        wired = _Wired(page, texts, language, kept, rest, found, making, machine)
        wired.connect()
        wired.refresh(fresh.change(lambda: None, None, None, **_QUIET))
        if given_back is not None:
            wired.connect_memory(given_back)
    page.queue(api_open=False)
    return page


def _head(texts: Texts) -> gr.Dropdown:
    with gr.Row(elem_id="head"):
        gr.HTML(html_template="<headroom-brand></headroom-brand>", js_on_load=None)
        language = texts.keyed(
            gr.Dropdown,
            {"label": "language"},
            choices=[(Words.of(one)("name"), one) for one in LANGUAGES],
            value=texts.words.language,
            filterable=False,
            elem_id="language",
            min_width=120,
        )
        gr.HTML(html_template="<headroom-tools></headroom-tools>", js_on_load=None)
    return language


class _Wired:
    """Connects the events of a page to their handlers."""

    def __init__(
        self,
        page: gr.Blocks,
        texts: Texts,
        language: gr.Dropdown,
        kept: gr.BrowserState,
        rest: Rest,
        family: Family,
        making: Form,
        machine: Panel,
    ) -> None:
        self.page, self.texts, self.language, self.kept = page, texts, language, kept
        self.rest, self.form, self.panel = rest, making, machine
        self.handlers = Handlers(rest, family, making)
        self.looking = PanelHandlers(rest, family, machine)
        self.command = (command, [*machine.chosen], [machine.command])

    def connect_memory(self, memory: Memory) -> None:
        """Connect the panel of memory management. Its status is told when the page opens too."""
        handlers, shown = MemoryHandlers(self.rest), ([self.language], [memory.status])
        self.restored.then(handlers.look, *shown, **_QUIET)
        memory.refresh.click(handlers.look, *shown, **_QUIET)
        memory.offload.click(handlers.offload, *shown, **_QUIET)
        memory.release.click(handlers.release, *shown, **_QUIET)

    def connect(self) -> None:
        """Connect everything."""
        self._connect_languages()
        self._connect_form()
        self._connect_presets()
        self._connect_panel()

    def _connect_languages(self) -> None:
        texts, language, kept = self.texts, self.language, self.kept
        first, shown = (
            texts.words.language,
            [one for one in texts.components if one is not language],
        )
        at = texts.components.index(language)

        def said(chosen: str) -> list[dict[str, Any]]:
            updates = texts.updates(Words.of(chosen))
            return [{**updates[at], "value": chosen}, *updates[:at], *updates[at + 1 :]]

        def spoken(chosen: str, held: Kept) -> list[Any]:
            return [{**(held or {}), "language": chosen}, *said(chosen)]

        def remembered(held: Kept) -> list[Any]:
            chosen = Words.of((held or {}).get("language", first)).language
            return [gr.skip()] * (1 + len(shown)) if chosen == first else said(chosen)

        everything: list[Any] = [language, *shown]
        language.input(None, [language], js=_SPEAK, **_QUIET)
        changed = language.input(spoken, [language, kept], [kept, *everything], **_QUIET)
        self.refresh(changed)
        opened = self.page.load(remembered, [kept], everything, **_QUIET)
        opened.then(None, [language], js=_SPEAK, **_QUIET)
        left = self.form.left
        found = opened.then(self.handlers.left, [language, kept], [left], **_QUIET)
        self.restored = restored = found.then(
            None,
            [left],
            self.handlers.opens,
            js=_LEFT.format(ids=json.dumps(self.handlers.opens_at)),
            **_QUIET,
        )
        planned = self._plan(self.page.load)  # before anything else is known
        later: list[Any] = list(self.form.later)
        planned.then(lambda: [gr.update(visible=True)] * len(later), None, later, **_QUIET)
        self.refresh(restored)

    def refresh(self, after: Any) -> None:
        """What depends on the language, the card and the model, anew."""
        language, vram = self.language, self.panel.vram
        looked = after.then(self.looking.looked, [language, vram], self.looking.shows, **_QUIET)
        looked.then(*self.command, **_QUIET)
        self._plan(self._bound(looked).then)

    def _bound(self, after: Any) -> Any:
        """The limits of this machine, and what its model can do, on the form."""
        asked = [self.language, self.panel.vram, self.form.task]
        return after.then(self.handlers.bounded, asked, self.handlers.bounds, **_QUIET)

    def _plan(self, event: Any) -> Any:
        asked = [self.language, self.panel.vram, *self.form.asked]
        return event(self.handlers.plan, asked, [self.form.outlook], **_QUIET)

    def _connect_form(self) -> None:
        form, handlers, language = self.form, self.handlers, self.language
        changes = [one.change for one in form.asked]  # type: ignore[attr-defined]
        asked = [language, self.panel.vram, *form.asked]
        gr.on(changes, handlers.plan, asked, [form.outlook], trigger_mode="always_last", **_QUIET)
        gr.on(
            [form.mode.change, form.task.change], None, [form.mode, form.task], js=ARRANGE, **_QUIET
        )
        form.task.input(
            handlers.bounded, [language, self.panel.vram, form.task], handlers.bounds, **_QUIET
        )
        folds = [fold for fold, _ in form.folds]
        form.task.input(handlers.needed, [form.task], folds, **_QUIET)
        seconds = handlers.seconds
        if seconds:
            form.length.input(lambda value: value, [form.length], seconds, **_QUIET)
        made = form.button.click(
            handlers.make,
            [language, self.kept, *form.asked],
            [form.made, self.kept, form.outlook],
            **_QUIET,
        )
        made.then(None, [form.made], js=_FOLLOW, **_QUIET)
        previewed = form.first.click(
            handlers.preview,
            [language, self.kept, *form.asked],
            [form.made, self.kept, form.outlook, form.previewed],
            **_QUIET,
        )
        previewed.then(None, [form.previewed], js=_PREVIEWED, **_QUIET)
        shown = form.inbox.change(handlers.shown, [language, form.inbox], handlers.shows, **_QUIET)
        self._bound(shown)

    def _connect_presets(self) -> None:
        presets, form, handlers, kept = self.form.presets, self.form, self.handlers, self.kept

        def kept_now(
            held: dict[str, JsonValue] | None, name: str, *asked: Any
        ) -> tuple[dict[str, JsonValue], dict[str, Any]]:
            return keep(held, name, handlers.request(*asked))

        def text(*asked: Any) -> str:
            return handlers.text(*asked)

        presets.keep.click(
            kept_now, [kept, presets.name, *form.asked], [kept, presets.chosen], **_QUIET
        )
        presets.forget.click(forget, [kept, presets.chosen], [kept, presets.chosen], **_QUIET)
        picked = presets.chosen.input(preset, [kept, presets.chosen], [presets.saved], **_QUIET)
        shown = [self.language, presets.saved]
        self._bound(picked.then(handlers.shown, shown, handlers.shows, **_QUIET))
        saved = presets.save.click(text, form.asked, [presets.saved], **_QUIET)
        saved.then(None, [presets.saved], js=_SAVE, **_QUIET)
        swept = form.sweep.click(text, form.asked, [presets.saved], **_QUIET)
        swept.then(None, [presets.saved], js=_SWEEP, **_QUIET)

    def _connect_panel(self) -> None:
        panel = self.panel
        self.refresh(panel.vram.input(lambda: None, None, None, **_QUIET))
        # Not on every change: a tier that sets all of them would ask once for each.
        told = [one.input for one in panel.chosen]
        gr.on(told, *self.command, trigger_mode="always_last", **_QUIET)
