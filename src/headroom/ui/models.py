"""The models of a family as a part of the page: what is here, what may be downloaded and used, and
where to begin on a machine that has none."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from html import escape

from pydantic import JsonValue

from headroom.memory.tiers import Tier, Tiers
from headroom.models.family import Family
from headroom.ui import outlook
from headroom.ui.answers import number, objects
from headroom.ui.rest import Json
from headroom.ui.words import Words

_LANGUAGE = "lm"  # the kind of language models
Row = Mapping[str, JsonValue]


def language_models(models: Json) -> tuple[str, ...]:
    """The names of the released and the installed language models."""
    return tuple(str(row["name"]) for row in _rows(models) if row["kind"] == _LANGUAGE)


def fitting(tier: Tier, tiers: Tiers, names: Iterable[str]) -> tuple[tuple[str, ...], str | None]:
    """Of language models those that a tier may load, and the one it recommends; None: it loads
    none, or the recommended one is not among them."""
    allowed = tuple(name for name in names if tiers.lm_size(name) in tier.lms)
    sizes = {tiers.lm_size(name): name for name in reversed(allowed)}
    return allowed, sizes.get(tier.recommended)


def listed(models: Json, family: Family, tier: Tier | None, words: Words) -> str:
    """The list, with what can be done with each on a card of this tier."""
    usual = next((str(row["name"]) for row in _rows(models) if row["is_default"]), None)
    there = [row for row in _rows(models) if row["bytes"] or row["installed"]]
    there.sort(key=lambda row: not row["installed"])
    rows = [_row(row, family, tier, words, usual) for row in there]
    head = escape(words("models"))
    return f"<h2>{head}</h2><ul class='models'>{''.join(rows)}</ul>" if rows else ""


def first_visit(models: Json, family: Family, tier: Tier | None, words: Words) -> str:
    """What to download for a card of this tier where only a model that came with the program is
    here; else nothing."""
    folders, rows = family.folders, {str(row["name"]): row for row in _rows(models)}
    best = rows.get(str(models.get("best")))
    if folders is None or tier is None or (best is not None and not best["bundled"]):
        return ""
    catalogue = folders.catalogue
    lm = fitting(tier, family.tiers, language_models(models))[1]
    names = [catalogue.usual, *([lm] if lm else [])]
    company = [one for name in names for one in catalogue.models[name].kind.beside]
    size = sum(number(rows[name]["bytes"]) for name in {*names, *company} if name in rows)
    texts = (
        words("first_about"),
        words(
            "first_models", models=words.isolated(", ".join(names)), size=outlook.size(size, words)
        ),
    )
    given = {"act": "begin", "model": catalogue.usual, "lm": lm or ""}
    return (
        f"<section class='first'><h2>{escape(words('first_title'))}</h2>"
        + "".join(f"<p>{escape(text)}</p>" for text in texts)
        + _buttons(family, names, given)
        + "</section>"
    )


def _row(row: Row, family: Family, tier: Tier | None, words: Words, usual: str | None) -> str:
    name, is_lm = str(row["name"]), row["kind"] == _LANGUAGE
    size = family.tiers.lm_size(name) if is_lm else None
    too_large = tier is not None and size is not None and size not in tier.lms
    marks = [words("here") if row["installed"] else words("not_here")]
    if row["is_default"]:
        marks.append(words("in_use"))
    if row["is_loaded"]:
        marks.append(words("model_loaded"))
    if tier is not None and size is not None and size == tier.recommended:
        marks.append(words("recommended"))
    if too_large:
        marks.append(words("too_large"))
    can = "" if too_large else _buttons(family, [name], _act(row, family, usual))
    return (
        f"<li><b>{escape(name)}</b> <span>{outlook.size(number(row['bytes']), words)}</span>"
        f" <span>{escape(' · '.join(marks))}</span>{can}</li>"
    )


def _act(row: Row, family: Family, usual: str | None) -> dict[str, str]:
    """What can be done with a model: nothing, to download it, or to use it."""
    name, folders = str(row["name"]), family.folders
    if not row["installed"]:
        return {"act": "download"}
    if not row["ready"] or row["is_loaded"] or folders is None:
        return {}
    if row["kind"] == folders.catalogue.core.name:
        return {} if row["is_default"] else {"act": "use", "model": name}
    if row["kind"] == _LANGUAGE and not row["bundled"]:
        return {"act": "use", "model": usual or "", "lm": name}
    return {}


def _buttons(family: Family, names: Iterable[str], given: Mapping[str, str]) -> str:
    """A place for the buttons, which a script makes."""
    if not given:
        return ""
    told = {"family": family.name, "models": " ".join(names), **given}
    data = " ".join(f'data-{key}="{escape(value)}"' for key, value in told.items())
    return f"<headroom-model {data}></headroom-model>"


def _rows(models: Json) -> list[Json]:
    return objects(models.get("models"))
