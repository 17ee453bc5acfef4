"""The list of models offers what fits the card, and a first visit what to begin with."""

from __future__ import annotations

import re
from typing import Any

import pytest

from headroom.models.registry import family_named
from headroom.ui.models import first_visit, listed
from headroom.ui.words import Words

FAMILY = family_named("acestep")
NANO = "acestep-v15-nano"


def row(name: str, kind: str = "dit", **more: Any) -> dict[str, Any]:
    plain = {
        "name": name, "kind": kind, "installed": False, "ready": False, "bundled": False,
        "bytes": 1 << 30, "is_loaded": False, "is_default": False,
    }  # fmt: skip
    return {**plain, **more}


def known(*more: dict[str, Any], best: str = NANO) -> dict[str, Any]:
    here = {"installed": True, "ready": True}
    rows = [
        row(NANO, bundled=True, is_default=best == NANO, **here),
        row("acestep-v15-turbo"),
        row("vae", "vae"),
        row("Qwen3-Embedding-0.6B", "text_encoder"),
        *(row(f"acestep-5Hz-lm-{size}", "lm") for size in ("1.7B", "0.6B", "4B")),
    ]
    named = {one["name"]: one for one in (*rows, *more)}
    return {"best": best, "models": list(named.values())}


def acts(html: str) -> dict[str, str]:
    """What can be done, by the models that it is done with."""
    found = re.findall(r"<headroom-model ([^>]*)>", html)
    data = [dict(re.findall(r'data-(\w+)="([^"]*)"', one)) for one in found]
    return {one["models"]: one["act"] for one in data}


@pytest.mark.parametrize(
    ("card", "lms"),
    [(4, ()), (6, ()), (8, ("0.6B",)), (12, ("0.6B", "1.7B")), (20, ("0.6B", "1.7B", "4B"))],
)
def test_language_models_that_do_not_fit_are_not_offered(card: int, lms: tuple[str, ...]) -> None:
    html = listed(known(), FAMILY, FAMILY.tiers.of(card), Words())
    offered = {name for name in acts(html) if "-lm-" in name}
    assert offered == {f"acestep-5Hz-lm-{size}" for size in lms}
    assert html.count("too large for this tier") == 3 - len(lms)
    assert html.count("recommended for this tier") == (1 if lms else 0)


def test_what_is_here_is_used_and_what_is_not_is_downloaded() -> None:
    here = {"installed": True, "ready": True}
    models = known(
        row("acestep-v15-turbo", is_default=True, is_loaded=True, **here),
        row("acestep-v15-sft", **here),
        row("acestep-v15-base", installed=True, ready=False),
        row("acestep-5Hz-lm-0.6B", "lm", **here),
        best="acestep-v15-turbo",
    )
    html = listed(models, FAMILY, FAMILY.tiers.of(8), Words())
    assert acts(html) == {
        NANO: "use", "acestep-v15-sft": "use", "acestep-5Hz-lm-0.6B": "use", "vae": "download",
        "Qwen3-Embedding-0.6B": "download",
    }  # fmt: skip
    assert "installed · in use · loaded" in html
    assert 'data-model="acestep-v15-turbo" data-lm="acestep-5Hz-lm-0.6B"' in html


@pytest.mark.parametrize(
    ("card", "lm", "size"), [(4, "", "3.0 GB"), (8, "acestep-5Hz-lm-0.6B", "4.0 GB")]
)
def test_a_first_visit_tells_what_to_download_for_the_card(card: int, lm: str, size: str) -> None:
    html = first_visit(known(), FAMILY, FAMILY.tiers.of(card), Words())
    assert acts(html) == {f"acestep-v15-turbo {lm}".strip(): "begin"}
    assert f'data-lm="{lm}"' in html and size in html
    assert "toy" in html


def test_who_has_a_model_is_not_told_where_to_begin() -> None:
    turbo = row("acestep-v15-turbo", installed=True, ready=True, is_default=True)
    models = known(turbo, best="acestep-v15-turbo")
    assert first_visit(models, FAMILY, FAMILY.tiers.of(8), Words()) == ""
    tone = family_named("tone")
    assert first_visit({"best": None, "models": []}, tone, None, Words()) == ""


def test_names_are_escaped() -> None:
    html = listed(known(row('<i a="b">')), FAMILY, None, Words())
    assert "<i" not in html and "&lt;i a=&quot;b&quot;&gt;" in html
