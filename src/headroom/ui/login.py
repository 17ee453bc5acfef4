"""The form for a key, as one page without anything of Gradio."""

from __future__ import annotations

from functools import cache
from html import escape
from pathlib import Path

from headroom.ui.words import Words

_TEMPLATE = Path(__file__).parent / "static" / "login.html"
_KEYS = ("sign_in", "sign_in_about", "key", "key_wrong")


@cache
def form(words: Words) -> str:
    """The page in a language."""
    html = _TEMPLATE.read_text(encoding="utf-8")
    texts = {"language": words.language, "direction": words.direction}
    texts |= {key: words(key) for key in _KEYS}
    for name, text in texts.items():
        html = html.replace(f"%{name}%", escape(text))
    return html
