"""A control for recordings: files go to the service from the browser, the form holds their ids."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import gradio as gr

from headroom.ui.texts import Texts
from headroom.ui.words import Words

# Constants alone: the ids go in and out as the component's value, names of files by textContent.
_TEMPLATE = "<headroom-drop {many}></headroom-drop>"
_ON_LOAD = """
const place = element.querySelector('headroom-drop');
place.value = props.value; place.label = props.said;
place.addEventListener('picked', event => { props.value = event.detail; trigger('change'); });
watch(['value', 'said'], () => {
  const now = element.querySelector('headroom-drop');
  now.value = props.value; now.label = props.said;
});
"""


def drop(
    texts: Texts, said: Callable[[Words], Mapping[str, Any]], many: bool, more: Mapping[str, Any]
) -> gr.HTML:
    """The control of a field whose value is a file, or several."""

    def shown(words: Words) -> Mapping[str, Any]:
        text = said(words)
        return {"said": f"{text['label']}\n{text['info']}"}

    template = _TEMPLATE.format(many="many" if many else "")
    return texts.made(gr.HTML, shown, value="", html_template=template, js_on_load=_ON_LOAD, **more)
