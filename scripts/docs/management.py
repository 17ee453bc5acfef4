"""What the guides say of the 4 GB mode and of memory management, from the code."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

from docs.memory import peak, planned, size, summed, weights_of
from docs.samples import kept
from docs.words import Words, table
from headroom.cli.four_gb import menu
from headroom.cli.memory_test import LIMITED, OFF, WORKS, MemoryTest, Row
from headroom.engine.options import NO_OPTIONS
from headroom.models.acestep.catalogue import USUAL_DIT
from headroom.models.acestep.cost.components import decoder_weights, encoder_weights
from headroom.models.acestep.cost.unopened import networks
from headroom.models.acestep.networks.component_names import CONDITIONER, DIT, TEXT_ENCODER, TIME
from headroom.models.acestep.requests.songs import Text2Music
from headroom.models.acestep.requests.variants import VARIANTS
from headroom.settings import FOUR_GB, Settings, load
from headroom.units import GIB, clock

ROOT = Path(__file__).resolve().parents[2]
START = ROOT / "start_with_gpu_management.sh"
CHECKS = ROOT / "test_gpu_management.py"
SMALL = 4.0  # GB
LENGTHS = (60, 120, 180, 360)  # seconds
LINKS = (("PCIe 3", 12), ("PCIe 4", 24), ("PCIe 5", 55))  # GB a second of page-locked memory
SIGNS = {WORKS: "✅", OFF: "❌", LIMITED: "⚠️"}
# Of the published table of limits, row by row.
PUBLISHED_LIMITS = ("✅", "✅", "❌", "❌", "❌", "✅", "❌")
SETTING = re.compile(r'^([A-Z_]+)="\$\{\1:-([^}]*)\}" *# (.+)$', re.MULTILINE)
FIGURE = re.compile(r"[\d.]+ [GM]iB|\b(?:ACESTEP|MAX)_[A-Z_]+")


def the_menu(say: Words) -> str:
    """The menu of the 4 GB mode, as it is printed."""
    return f"```text\n{menu(Settings()).rstrip()}\n```"


def env(say: Words) -> str:
    """The lines of the mode's `.env`."""
    return "```ini\n" + "\n".join(f"{name}={value}" for name, value in FOUR_GB.items()) + "\n```"


def table_of_limits(say: Words) -> str:
    """What the 4 GB mode allows: as published, and here."""
    rows = []
    for published, row in zip(PUBLISHED_LIMITS, tested(), strict=True):
        figure = FIGURE.search(row.why)
        shown = "—" if figure is None else figure[0]
        shown = shown.replace(".", say(".")) if "iB" in shown else shown
        code = f"`{shown}`" if "_" in shown else shown
        rows.append([say(row.what), published, f"{SIGNS[row.status]} {say(row.status)}", code])
    head = ["Wanted", "Published", "Here", "Memory of the card, or the setting"]
    return table([say(word) for word in head], rows)


def table_of_lengths(say: Words) -> str:
    """What songs of several lengths take of a card of 4 GB."""
    rows = []
    for seconds, count, took in lengths():
        rows.append([f"{seconds} s", size(count, say), clock(took).replace(".", say("."))])
    head = ["Longest song", "Peak on a card of 4 GB, GiB", "Planned time"]
    return table([say(word) for word in head], rows)


@cache
def tested() -> tuple[Row, ...]:
    """The rows of the memory test in the 4 GB mode."""
    return tuple(MemoryTest(load(FOUR_GB), NO_OPTIONS).rows())


@cache
def lengths() -> tuple[tuple[int, int, float], ...]:
    """Lengths with the bytes at the peak and the planned seconds."""
    found = []
    for seconds in LENGTHS:
        answer = planned(Text2Music(caption="x", duration=seconds), SMALL, None, "auto")
        assert answer.plan is not None
        found.append((seconds, peak(answer), answer.plan.seconds))
    return tuple(found)


def table_of_settings(say: Words) -> str:
    """The variables of the start script, with their defaults."""
    found = SETTING.findall(START.read_text("utf-8"))
    rows = [
        [f"`{name}`", f"`{usual.replace('$here', '.')}`" if usual else "—", say(about)]
        for name, usual, about in found
    ]
    head = ["Variable", "Default", "Meaning"]
    return table([say(word) for word in head], rows)


def table_of_returns(say: Words) -> str:
    """How long parts take to come back to the card, by the speed of the link."""
    turbo = networks(VARIANTS[USUAL_DIT])
    weights = weights_of(turbo)
    vae = turbo.size * (encoder_weights(turbo.vae) + decoder_weights(turbo.vae))
    parts = [
        (f"DiT (`{USUAL_DIT}`)", summed(weights, DIT, CONDITIONER, TIME)[0]),
        (say("Text encoder"), weights[TEXT_ENCODER][0]),
        ("VAE", vae),
    ]
    parts.append((say("all"), sum(count for _, count in parts)))
    rows = [
        [name, size(count, say),
         *(f"{count / (speed * 1e9):.2f} s".replace(".", say(".")) for _, speed in LINKS)]
        for name, count in parts
    ]  # fmt: skip
    head = [say("Model"), say("Weights as released, GiB")]
    return table([*head, *(f"{name}, {speed} GB/s" for name, speed in LINKS)], rows)


def comparison(say: Words) -> str:
    """The published comparison, and the same as measured here."""
    ((loaded, managed),) = ((row["loaded"], row["managed"]) for row in kept("management"))
    flag = "`--enable-gpu-management`"

    def gib(count: int) -> str:
        return f"{count / GIB:.2f} GiB".replace(".", say("."))

    def seconds(value: float) -> str:
        return f"{value:.2f} s".replace(".", say("."))

    rows = [
        [say("Flag"), "—", flag, "—", flag],
        [say("Card, idle"), "40 GB", "1 GB", gib(loaded["idle"]), gib(managed["idle"])],
        [say("Card, in use"), "40 GB", "40 GB", gib(loaded["peak"]), gib(managed["peak"])],
        [say("First response"), "24 s", "24 s", seconds(loaded["first"]),
         seconds(managed["first"])],
        [say("Later responses"), "24 s", "26–29 s", seconds(loaded["later"]),
         seconds(managed["later"])],
        [say("Panel in the page"), "—", "✅", "—", "✅"],
    ]  # fmt: skip
    head = ["", "Published, without", "Published, with", "Here, without", "Here, with"]
    return table([word and say(word) for word in head], rows)


def checks(say: Words) -> str:
    """What the test script prints where all is well."""
    tree = ast.parse(CHECKS.read_text("utf-8"))
    names = [node.name for node in tree.body if isinstance(node, ast.FunctionDef)]
    passed = [name.removeprefix("test_").replace("_", " ") for name in names if "test_" in name]
    lines = [f"passed  {words}" for words in passed]
    return "\n".join(("```text", *lines, f"{len(lines)} passed, 0 failed", "```"))
