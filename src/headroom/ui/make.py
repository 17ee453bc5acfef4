"""The place where songs are made: the form, what it will take, the button, the jobs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import gradio as gr
from gradio.blocks import Block
from gradio.components import Component

from headroom.models.family import Family
from headroom.params.describe import Param, describe, in_role, stand_in
from headroom.ui.fields import Field, control, headings, tasks_of
from headroom.ui.seen import EXPERT, ONLY_EXPERT, ONLY_SIMPLE, SIMPLE, classes
from headroom.ui.texts import Texts
from headroom.ui.words import Words

MOODS = ("calm", "bright", "tender", "dreamy", "melancholic", "dark", "driving", "epic")
# What scripts of the page send in: a request as JSON text, to be shown in the form.
_INBOX = """
window.addEventListener('headroom-apply', event => {
  props.value = event.detail;
  trigger('change');
});
"""


@dataclass(frozen=True, slots=True)
class Presets:
    """The controls of what is kept: named requests, and files."""

    chosen: gr.Dropdown
    name: gr.Textbox
    keep: gr.Button
    forget: gr.Button
    save: gr.Button
    saved: gr.Textbox


@dataclass(frozen=True, slots=True)
class Form:
    """The controls of the form.

    fields  of all requests
    grey    what the model cannot do, and why
    folds   the headings that can be closed, with the names of the fields below each
    later   what only the larger form has, which is put into the page when the rest stands there
    first   the button for a preview, of few steps
    made    the id of the job that was asked for last; `inbox`: a request to be shown
    previewed  the id of a preview, and the request that makes the whole song, as JSON
    left    the answers that show the form as this browser left it, as JSON
    sweep   pressed by a script that wants the request
    """

    mode: gr.Radio
    task: gr.Radio
    grey: gr.HTML
    mood: gr.Radio
    length: gr.Slider
    fields: tuple[Field, ...]
    folds: tuple[tuple[gr.Accordion, tuple[str, ...]], ...]
    later: tuple[Block, ...]
    presets: Presets
    outlook: gr.HTML
    button: gr.Button
    first: gr.Button
    made: gr.Textbox
    previewed: gr.Textbox
    inbox: gr.HTML
    left: gr.Textbox
    sweep: gr.Button

    @property
    def controls(self) -> list[Component]:
        """Of the fields, in their order."""
        return [field.control for field in self.fields if field.control is not None]

    @property
    def asked(self) -> list[Component]:
        """What a request is read from."""
        return [self.mode, self.task, self.mood, *self.controls]


def form(family: Family, texts: Texts) -> Form:
    """Lay the place out. It is called where its components belong."""
    with gr.Row(elem_id="make"):
        with gr.Column(scale=3, min_width=300, elem_id="form"):
            mode = texts.made(gr.Radio, _modes, value=SIMPLE, elem_id="mode")
            task = texts.made(
                gr.Radio, lambda words: tasks(family, words), value=family.usual, elem_id="task",
                elem_classes=ONLY_EXPERT, visible=False,
            )  # fmt: skip
            grey = gr.HTML("", elem_id="grey", elem_classes=ONLY_EXPERT, visible=False)
            mood, length, fields, folds, later = _fields(family, texts)
            presets = _presets(texts)
            gr.HTML(
                html_template="<headroom-sweep></headroom-sweep>", js_on_load=None,
                elem_classes=ONLY_EXPERT,
            )  # fmt: skip
            sweep = gr.Button(visible="hidden", elem_id="sweep")
        with gr.Column(scale=2, min_width=300, elem_id="aside"):
            texts.made(gr.HTML, lambda words: {"value": f"<h2>{words('outlook')}</h2>"})
            outlook = gr.HTML("", elem_id="outlook")
            button = texts.keyed(gr.Button, {"value": "make"}, variant="primary", elem_id="go")
            first = texts.keyed(
                gr.Button, {"value": "make_preview"}, visible=family.steps_field is not None,
                elem_id="go-preview",
            )  # fmt: skip
            made = gr.Textbox(visible="hidden", elem_id="made")
            previewed = gr.Textbox(visible="hidden", elem_id="previewed")
            left = gr.Textbox(visible="hidden", elem_id="left")
            gr.HTML(html_template="<headroom-parts></headroom-parts>", js_on_load=None)
            inbox = gr.HTML("", html_template="<span></span>", js_on_load=_INBOX, visible="hidden")
        with gr.Column(min_width=300, elem_id="mine"):
            gr.HTML(html_template="<headroom-jobs></headroom-jobs>", js_on_load=None)
    later = (task, grey, *later)
    return Form(
        mode, task, grey, mood, length, fields, folds, later, presets, outlook, button, first,
        made, previewed, inbox, left, sweep,
    )  # fmt: skip


def tasks(family: Family, words: Words, able: tuple[str, ...] = ()) -> dict[str, Any]:
    """The tasks to choose from: those that can be done, or all."""
    named = [(words.task(one), one) for one in able or family.requests]
    return {"label": words("task"), "choices": named}


def _modes(words: Words) -> Mapping[str, Any]:
    return {"label": words("mode"), "choices": [(words(one), one) for one in (SIMPLE, EXPERT)]}


def _fields(
    family: Family, texts: Texts
) -> tuple[
    gr.Radio,
    gr.Slider,
    tuple[Field, ...],
    tuple[tuple[gr.Accordion, tuple[str, ...]], ...],
    tuple[Block, ...],
]:
    """The fields of the first heading stand open, with what only the simple form shows."""
    having = tasks_of(family)
    usual = family.requests[family.usual]
    text, seconds = in_role(usual, "words"), in_role(usual, "seconds")
    needed = {one.name for one in describe(usual) if one.required}
    in_simple = needed | ({text.name} if text is not None else set())

    def made(param: Param, visible: bool = True) -> Field:
        shown = {
            "elem_classes": classes(having[param.name], param.name in in_simple),
            "visible": visible,
        }
        return Field(param, control(param, texts, shown), having[param.name])

    (_, first), *rest = headings(family).items()
    ahead = [param for param in first if text is not None and param.name == text.name]
    fields = [made(param) for param in ahead]
    mood = texts.made(
        gr.Radio, _moods, value="", visible=family.describes, elem_id="mood",
        elem_classes=ONLY_SIMPLE,
    )  # fmt: skip
    length = _length(seconds, usual, texts)
    fields += [made(param, visible=False) for param in first if param not in ahead]
    later: list[Any] = [field.control for field in fields[len(ahead) :]]
    folds = []
    for heading, params in rest:
        tasks_here = frozenset[str]().union(*(having[param.name] for param in params))
        simple = any(param.name in needed for param in params)
        fold = texts.made(
            gr.Accordion, _headed(heading), open=simple, elem_classes=classes(tasks_here, simple),
            visible=simple,
        )  # fmt: skip
        if not simple:
            later.append(fold)
        with fold:
            fields += [made(param) for param in params]
        folds.append((fold, tuple(param.name for param in params)))
    return mood, length, tuple(fields), tuple(folds), tuple(later)


def _headed(heading: str) -> Any:
    return lambda words: {"label": words.group(heading)}


def _moods(words: Words) -> Mapping[str, Any]:
    named = [(words(f"mood_{one}"), one) for one in MOODS]
    return {"label": words("mood"), "choices": [(words("mood_none"), ""), *named]}


def _length(param: Param | None, usual: type[Any], texts: Texts) -> gr.Slider:
    value = None if param is None else stand_in(usual, param.name)
    return texts.keyed(
        gr.Slider,
        {"label": "length"},
        minimum=param.minimum if param else 1,
        maximum=param.maximum if param else 2,
        value=float(value or 1),
        step=1,
        visible=param is not None,
        elem_id="length",
        elem_classes=ONLY_SIMPLE,
    )


def _presets(texts: Texts) -> Presets:
    with texts.keyed(gr.Accordion, {"label": "presets"}, open=False, elem_id="presets"):
        with gr.Row():
            chosen = texts.keyed(gr.Dropdown, {"label": "preset"}, choices=[], value=None)
            name = texts.keyed(gr.Textbox, {"label": "preset_name"}, max_length=60)
        with gr.Row():
            keep = texts.keyed(gr.Button, {"value": "preset_keep"}, size="sm")
            forget = texts.keyed(gr.Button, {"value": "preset_forget"}, size="sm")
            save = texts.keyed(gr.Button, {"value": "save_file"}, size="sm", elem_id="save")
            gr.HTML(html_template="<headroom-load></headroom-load>", js_on_load=None)
        saved = gr.Textbox(visible="hidden", elem_id="saved")
    return Presets(chosen, name, keep, forget, save, saved)
