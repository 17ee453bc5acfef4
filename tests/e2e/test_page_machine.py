"""The machine on the page, in a browser: cards, memory, models, and a first visit without a model.

An engine process plays the tone family or the bundled model, or none runs. Models come from a hub
on this machine, which publishes the bundled one under the names of released ones.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from headroom.models.acestep.catalogue import BUNDLED, CATALOGUE
from headroom.service import fetching
from headroom.settings import load
from support.live import Live
from support.visitors import SOON, Visitor, config_of
from unit.weights.downloads import hugging_face
from unit.weights.hub import Hub, serving

playwright = pytest.importorskip("playwright.sync_api")
expect = playwright.expect
expect.set_options(timeout=SOON)
pytestmark = pytest.mark.browser
TURBO, LM = "acestep-v15-turbo", "acestep-5Hz-lm-0.6B"
PUBLISHED = {
    TURBO: "acestep-v15-nano", LM: "acestep-5Hz-lm-nano", "vae": "vae",
    "Qwen3-Embedding-0.6B": "Qwen3-Embedding-0.6B",
}  # fmt: skip


@pytest.fixture
def visit(visit: Any) -> Iterator[Any]:
    """Opens pages that have planned; in the end nothing was complained of."""
    visitors: list[Visitor] = []

    def begin(live: Live, **options: Any) -> Any:
        visitors.append(visit(live, **options))
        return visitors[-1].ready()

    yield begin
    for visitor in visitors:
        assert visitor.complaints == []


@pytest.fixture(scope="module")
def planning(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """A service of songs on a card of 8 GB, without an engine."""
    live = Live(config_of(tmp_path_factory.mktemp("cards"), "acestep"))
    live.start()
    yield live
    live.stop()


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with serving(Hub(_repositories())) as served:
        monkeypatch.setattr(fetching, "sources", lambda *_: (hugging_face(served),))
        yield served


def _repositories() -> dict[str, dict[str, bytes]]:
    repositories: dict[str, dict[str, bytes]] = {}
    for name, bundled in PUBLISHED.items():
        model = CATALOGUE.models[name]
        before = f"{model.inside}/" if model.inside else ""
        files = {before + one.name: one.read_bytes() for one in (BUNDLED / bundled).iterdir()}
        repositories.setdefault(model.repo, {}).update(files)
    return repositories


@pytest.fixture
def songs(tmp_path: Path) -> Iterator[Live]:
    """A service of songs with an engine, on a machine that has only the bundled model."""
    live = Live(config_of(tmp_path, "acestep"))
    live.start()
    with live.working():
        yield live
    live.stop()


def at_machine(page: Any) -> Any:
    page.get_by_role("tab", name="Machine").click()
    expect(page.locator("#about-machine dd").first).to_be_visible()
    return page


def choose(page: Any, size: str) -> None:
    page.locator("#vram input").click()
    page.get_by_role("option", name=re.compile(rf"^{size} GB")).click()


@pytest.mark.parametrize(
    ("card", "lm", "recommended", "seconds"),
    [("4", False, None, "4:00 / 6:00"), ("12", True, "1.7B", "8:00 / 10:00")],
)
def test_another_card_is_tried(
    visit: Any, planning: Live, card: str, lm: bool, recommended: str | None, seconds: str
) -> None:
    page = at_machine(visit(planning))
    box = page.locator("#init_lm input")
    expect(box).to_be_checked()
    choose(page, card)
    expect(page.locator("#about-machine dd").nth(1)).to_have_text(seconds)
    expect(box).to_be_checked(checked=lm)
    expect(box).to_be_enabled(enabled=lm)
    if recommended:
        expect(page.locator("#lm input")).to_have_value(
            f"acestep-5Hz-lm-{recommended} (recommended for this tier)"
        )
    expect(page.locator("#command textarea")).to_have_value(
        re.compile("--lm-model acestep" if lm else "--lm-model none")
    )
    page.get_by_role("tab", name="Make").click()
    expect(page.locator("#length input[type=range]")).to_have_attribute(
        "max", "600" if lm else "360"
    )


def test_a_choice_that_does_not_fit_falls_back_with_a_warning_that_is_seen(
    visit: Any, tmp_path: Path
) -> None:
    named = {
        "HEADROOM_DATA_DIR": str(tmp_path), "HEADROOM_CACHE_DIR": str(tmp_path / "c"),
        "HEADROOM_LM_MODEL": "acestep-5Hz-lm-4B",
    }  # fmt: skip
    live = Live(replace(config_of(tmp_path, "acestep"), settings=load(named)))
    live.start()
    try:
        page = visit(live)
        expect(page.locator(".outlook ul.notes")).to_contain_text("4B")
    finally:
        live.stop()


def test_memory_is_given_back(visit: Any, tmp_path: Path) -> None:
    config = config_of(tmp_path, "tone")
    managed = load({
        "HEADROOM_DATA_DIR": str(tmp_path), "HEADROOM_CACHE_DIR": str(tmp_path / "c"),
        "HEADROOM_GPU_MANAGEMENT": "true",
    })  # fmt: skip
    live = Live(replace(config, settings=managed))
    live.start()
    try:
        with live.working():
            page = visit(live)
            page.locator("#go").click()
            expect(page.locator(".job[data-state=done]").first).to_be_visible()
            page.get_by_role("tab", name="Machine").click()
            page.get_by_role("button", name="🔄 Refresh status").click()
            status = page.locator("#gpu-status textarea")
            expect(status).to_have_value(re.compile(r"on the card|in host memory"))
            expect(status).to_have_value(re.compile(r"idle for \d+ s"))
            expect(status).to_have_value(re.compile("leave the card after 600 s"))
            page.get_by_role("button", name="💾 Offload to CPU").click()
            expect(status).to_have_value(re.compile("in host memory"))
            expect(status).not_to_have_value(re.compile("on the card"))
            page.get_by_role("button", name="🗑️ Release completely").click()
            expect(status).to_have_value(re.compile("not loaded"))
    finally:
        live.stop()


def test_without_its_flag_there_is_no_panel(visit: Any, planning: Live) -> None:
    page = at_machine(visit(planning))
    expect(page.locator("#gpu")).to_have_count(0)


def test_a_first_visit_downloads_a_model_and_uses_it(songs: Live, hub: Hub, visit: Any) -> None:
    place = songs.config.settings.cache_dir / "checkpoints"
    place.mkdir(parents=True)
    page = visit(songs)
    first = page.locator(".first")
    expect(first).to_contain_text(f"{TURBO}, {LM}")
    with FileLock(place / ".headroom-downloads"):  # so that the download waits
        first.get_by_role("button", name="Download and use").click()
        expect(first.get_by_role("button", name="Stop")).to_be_visible()
        page.locator("#length input[type=number]").fill("10")
        page.locator("#go").click()  # music meanwhile
        expect(page.locator(".job[data-state=done]").first).to_be_visible()
        another = visit(songs)  # who comes later sees the download
        expect(another.locator(".first").get_by_role("button", name="Stop")).to_be_visible()
    expect(first).to_have_count(0)
    at_machine(page)
    row = page.locator("ul.models li", has=page.get_by_text(TURBO, exact=True))
    expect(row).to_contain_text("installed · in use · loaded")


def test_a_hub_that_cannot_be_reached_is_told(songs: Live, hub: Hub, visit: Any) -> None:
    hub.status = {"": [503] * 1000}
    page = at_machine(visit(songs))
    row = page.locator("ul.models li", has=page.get_by_text("vae", exact=True))
    row.get_by_role("button", name="Download").click()
    expect(row.get_by_role("status")).to_contain_text("could not be downloaded")
    expect(row.get_by_role("button", name="Download")).to_be_enabled()
