"""The panel of the machine sets what the published table says for each size of card."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import gradio as gr
import pytest

from headroom.models.registry import family_named
from headroom.ui.machine import CARDS, Choices, PanelHandlers, command, panel, updates
from headroom.ui.rest import Rest
from headroom.ui.texts import Texts
from headroom.ui.words import Words
from support.blocks import built
from support.web import Service

FAMILY = family_named("acestep")
LMS = ("acestep-5Hz-lm-1.7B", "acestep-5Hz-lm-0.6B", "acestep-5Hz-lm-4B", "acestep-5Hz-lm-nano")
ALL = ("vllm", "pt", "mlx")
# The published table: card, language models, the recommended one, backend, backends, what is
# offloaded, quantisation.
TABLE = (
    (4, (), None, "pt", ("pt", "mlx"), (True, True), "int8"),
    (6, (), None, "pt", ("pt", "mlx"), (True, True), "int8"),
    (7, ("0.6B",), "0.6B", "pt", ("pt", "mlx"), (True, True), "int8"),
    (8, ("0.6B",), "0.6B", "vllm", ALL, (True, True), "int8"),
    (12, ("1.7B", "0.6B"), "1.7B", "vllm", ALL, (True, False), "int8"),
    (16, ("1.7B", "0.6B"), "1.7B", "vllm", ALL, (True, False), "int8"),
    (20, ("1.7B", "0.6B", "4B"), "1.7B", "vllm", ALL, (False, False), "none"),
    (24, ("1.7B", "0.6B", "4B"), "4B", "vllm", ALL, (False, False), "none"),
)


def choices(card: float) -> Choices:
    tier = FAMILY.tiers.of(card)
    assert tier is not None
    return Choices.of(tier, FAMILY.tiers, LMS)


@pytest.mark.parametrize("row", TABLE, ids=lambda row: f"{row[0]} GB")
def test_a_card_is_set_as_the_table_says(row: tuple[Any, ...]) -> None:
    card, lms, lm, backend, backends, offload, quantization = row
    found = choices(card)
    assert found.lms == tuple(f"acestep-5Hz-lm-{size}" for size in lms)
    assert found.lm == (None if lm is None else f"acestep-5Hz-lm-{lm}")
    assert (found.backend, set(found.backends)) == (backend, set(backends))
    assert (found.offload, found.offload_dit) == offload
    assert (found.quantization, found.compile) == (quantization, True)


def test_every_card_that_can_be_tried_is_in_the_table() -> None:
    assert {row[0] for row in TABLE} >= set(CARDS)


@pytest.mark.parametrize("card", CARDS)
def test_the_box_of_the_language_model_is_ticked_from_tier_3_on(card: int) -> None:
    box, lm, backend, *_ = updates(choices(card), Words())
    with_lm = card > 6
    assert (box["value"], box["interactive"]) == (with_lm, with_lm)
    assert lm["interactive"] is with_lm and backend["interactive"] is with_lm
    marked = [label for label, _ in lm["choices"] if "recommended" in label]
    assert len(marked) == (1 if with_lm else 0)


def test_the_command_starts_it_so() -> None:
    found = choices(8)
    said = command(
        found.init_lm, found.lm, found.backend, found.offload, found.offload_dit,
        found.quantization, found.compile,
    )  # fmt: skip
    assert said == (
        "acestep ui --lm-model acestep-5Hz-lm-0.6B --lm-backend vllm --offload=on "
        "--offload-dit=on --quantization int8 --compile"
    )
    from headroom.cli.parser import engine_flags, spelt
    from headroom.cli.ui import parser, today

    options = engine_flags(parser().parse_args(list(today(spelt(said.split()[2:])))))
    assert (options.lm_model, options.lm_backend) == ("acestep-5Hz-lm-0.6B", "vllm")
    assert (options.offload, options.offload_dit, options.compile) == (True, True, True)
    assert "--lm-model none" in command(False, None, None, True, True, "int8", False)


# What the published table allows: card, tier, longest songs and songs at once, with a language
# model and without.
ALLOWED = (
    ("", "tier 4", "8:00 / 10:00", "2 / 4"),
    ("4", "tier 1", "4:00 / 6:00", "1 / 1"),
    ("6", "tier 2", "8:00 / 10:00", "1 / 1"),
    ("8", "tier 4", "8:00 / 10:00", "2 / 4"),
    ("12", "tier 5", "8:00 / 10:00", "2 / 4"),
    ("16", "tier 6a", "8:00 / 10:00", "4 / 8"),
    ("20", "tier 6b", "8:00 / 8:00", "4 / 8"),
    ("24", "no limits", "10:00 / 10:00", "8 / 8"),
)


@pytest.mark.parametrize(("vram", "tier", "seconds", "songs"), ALLOWED)
def test_the_panel_is_what_rest_says_of_the_card(
    service: Service, vram: str, tier: str, seconds: str, songs: str
) -> None:
    made = built(lambda: panel(FAMILY, Texts(Words()), gr.HTML()))
    browser = SimpleNamespace(headers={"host": "127.0.0.1:8001"}, client=SimpleNamespace(
        host="127.0.0.1", port=4000))  # fmt: skip
    handlers = PanelHandlers(Rest(service.app), FAMILY, made)
    about, models, *_ = asyncio.run(handlers.looked(gr.Request(cast("Any", browser)), "en", vram))
    assert [one.split("</dd>")[0] for one in about.split("<dd>")[1:]] == [tier, seconds, songs]
    assert "acestep-v15-turbo" in models and "not installed" in models
    assert models.count("recommended for this tier") == (0 if vram in ("4", "6") else 1)


def test_what_is_still_shown_of_another_card_is_no_error() -> None:
    made = built(lambda: panel(FAMILY, Texts(Words()), gr.HTML()))
    for one in (made.lm, made.backend):
        assert one.preprocess("of another card") == "of another card"
