"""What the text of a message is: a caption, lyrics, or a wish in a person's own words."""

from __future__ import annotations

import re
from dataclasses import dataclass

_TAGGED = re.compile(r"<(prompt|lyrics)>(.*?)</\1>", re.IGNORECASE | re.DOTALL)
_MARK = re.compile(
    r"^[ \t]*\[(?:verse|chorus|bridge|intro|outro|hook|pre-?chorus|refrain|inst)[^\]\n]*\]",
    re.IGNORECASE | re.MULTILINE,
)


@dataclass(frozen=True, slots=True)
class Wish:
    """A text, taken apart. At most one of `caption` and `words` has a text.

    caption  the music in words, said to be that
    lyrics   to be sung
    words    a wish that is neither: a caption, or what a language model makes a song sheet of
    """

    caption: str = ""
    lyrics: str = ""
    words: str = ""

    @property
    def text(self) -> str:
        """What is no lyrics."""
        return self.caption or self.words


def wish_in(text: str) -> Wish:
    """Take a text apart. Tags decide, else section marks such as [Verse]: what stands before the
    first of them is the caption. However many lines it has, a text without either is never sung."""
    found = _TAGGED.findall(text)
    if found:
        parts: dict[str, list[str]] = {"prompt": [], "lyrics": []}
        for tag, inside in found:
            parts[tag.lower()].append(inside.strip())
        parts["prompt"].append(_TAGGED.sub("", text).strip())
        joined = {tag: "\n".join(filter(None, some)) for tag, some in parts.items()}
        return Wish(caption=joined["prompt"], lyrics=joined["lyrics"])
    mark = _MARK.search(text)
    if mark is None:
        return Wish(words=text.strip())
    return Wish(caption=text[: mark.start()].strip(), lyrics=text[mark.start() :].strip())
