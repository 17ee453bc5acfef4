"""What a request will take, as a part of the page: in words, a bar a stage, notes, alternatives."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from html import escape

from pydantic import JsonValue

from headroom.ui.answers import number, objects
from headroom.ui.words import SOURCE, Words
from headroom.units import GIB, MIB, clock

Plan = Mapping[str, JsonValue]
_CODE = re.compile(r"`([^`]+)`")
_NOTICED = 0.01  # s: a smaller difference is not worth a word


def shown(plan: Plan, words: Words) -> str:
    """A plan of the service as HTML; every text in it is escaped."""
    return f'<section class="outlook" aria-live="polite">{"".join(_parts(plan, words))}</section>'


def refused(text: str) -> str:
    """The same where there is no plan, and why."""
    return f'<section class="outlook refused" role="status">{_line("p", text)}</section>'


def _parts(plan: Plan, words: Words) -> Iterator[str]:
    fits = bool(plan["fits"])
    budget = number(plan["budget_bytes"])
    length, songs = _clock(number(plan["duration"]), words), int(number(plan["songs"]))
    many = (
        words("songs_one", length=length)
        if songs == 1
        else words("songs_many", songs=songs, length=length)
    )
    yield _line("p", many, "what")
    if not fits:
        need, have = size(number(plan["least_bytes"]), words), size(budget, words)
        yield _line("p", words("does_not_fit", need=need, have=have), "wrong")
    else:
        yield from _figures(plan, words, budget)
        yield "<ol class='stages'>"
        yield from (_stage(stage, words) for stage in objects(plan["stages"]))
        yield "</ol>"
        where = [_placed(one, words) for one in objects(plan["placements"])]
        yield _folded(words("where"), where)
    notes = [words.note(note) for note in objects(plan["notes"])]
    if notes:
        yield "<ul class='notes'>" + "".join(_line("li", one) for one in notes) + "</ul>"
    if fits:
        others = list(dict.fromkeys(_other(one, words) for one in objects(plan["alternatives"])))
        if plan.get("advice") and words.language == SOURCE:
            others.append(str(plan["advice"]))
        yield _folded(words("alternatives"), others)


def _figures(plan: Plan, words: Words, budget: float) -> Iterator[str]:
    peak, seconds = number(plan["peak_bytes"]), plan.get("seconds")
    takes = "—" if seconds is None else about(number(seconds), words)
    share = words.isolated(f"{min(100.0, 100 * peak / budget) if budget else 0.0:.0f} %")
    yield (
        "<dl class='figures'>"
        f"<div>{_line('dt', words('takes_time'))}{_line('dd', takes)}</div>"
        f"<div>{_line('dt', words('takes_memory'))}{_line('dd', size(peak, words))}</div>"
        f"<div>{_line('dt', words('takes_share'))}{_line('dd', share)}</div></dl>"
    )


def _stage(stage: Plan, words: Words) -> str:
    peak, seconds = number(stage["peak"]), stage.get("seconds")
    budget = number(stage["budget_bytes"])  # of its card
    share = min(100.0, 100 * peak / budget) if budget else 0.0
    time = "" if not seconds else f" · {about(number(seconds), words)}"
    pieces = int(number(stage["pieces"]))
    cut = "" if pieces < 2 else f" · {words('pieces', pieces=pieces)}"
    figures = f"{size(peak, words)}{time}{cut}"
    name = words.find("stages", str(stage["stage"])) or str(stage["stage"])
    return (
        f"<li>{_line('span', name, 'name')}{_line('span', figures, 'figures')}"
        f"<span class='bar' aria-hidden='true'><i style='inline-size:{share:.1f}%'></i></span></li>"
    )


def _placed(one: Plan, words: Words) -> str:
    where = words(str(one["residency"]), section="places")
    said = words.isolated(f"{one['precision']}, {gigabytes(number(one['bytes']))}")
    name = words.component(str(one["component"]))
    return f"{name}: {where} ({said})"


def _other(one: Plan, words: Words) -> str:
    more, seconds = number(one["bytes"]), number(one["seconds"])
    if one["kind"] == "nothing":
        return words("nothing_changes")
    change = (
        words("as_long")
        if abs(seconds) < _NOTICED or not one["timed"]
        else words("shorter" if seconds < 0 else "longer", time=_short(abs(seconds), words))
    )
    if one["kind"] == "one card":
        said = words("on_one_card", change=change)
    else:
        side = "with_more" if more > 0 else "with_less"
        said = words(side, size=size(abs(more), words), change=change)
    return f"{said.removesuffix('.')} ({one['what']})." if words.language == SOURCE else said


def _short(seconds: float, words: Words) -> str:
    return words.isolated(f"{seconds * 1000:.0f} ms") if seconds < 1 else _clock(seconds, words)


def _clock(seconds: float, words: Words) -> str:
    return clock(seconds).replace(" s", f" {words.unit('s')}")


def _folded(title: str, lines: list[str]) -> str:
    if not lines:
        return ""
    items = "".join(_line("li", one) for one in lines)
    return f"<details>{_line('summary', title)}<ul>{items}</ul></details>"


def about(seconds: float, words: Words) -> str:
    """A time that is an estimate."""
    if seconds < 1:
        return words("under_a_second")
    return words("seconds", seconds=round(seconds)) if seconds < 100 else clock(seconds)


def gigabytes(size: float) -> str:
    """Bytes as people say them: 2.4 GB."""
    if size >= GIB / 10:
        return f"{size / GIB:.1f} GB"
    return f"{size / MIB:.0f} MB" if size >= MIB or not size else f"{size / MIB:.1f} MB"


def size(count: float, words: Words) -> str:
    """The same in a sentence."""
    return words.isolated(gigabytes(count))


def _line(tag: str, text: str, kind: str = "") -> str:
    named = f" class='{kind}'" if kind else ""
    shown = _CODE.sub(r"<code>\1</code>", escape(text))
    return f"<{tag}{named}>{shown}</{tag}>"
