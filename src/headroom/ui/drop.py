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
const fill = () => {
  const place = element.querySelector('headroom-drop');
  if (place) { place.value = props.value; place.label = props.said; }
};
element.addEventListener('picked', event => { props.value = event.detail; trigger('change'); });
watch(['value', 'said'], fill);
new MutationObserver(fill).observe(element, {childList: true}); // Gradio may make the place anew
fill();
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
