"""The panel of the machine: its card and tier, what another card would mean, the models, memory.

The choices are those that the tier allows. They are for planning and for the next start: the panel
writes the command that starts the service so.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from html import escape
from shlex import quote
from typing import Any

import gradio as gr

from headroom.memory.tiers import Tier, Tiers
from headroom.models.family import Family
from headroom.settings.options import BACKENDS, NO_LM, PRECISION_WORDS
from headroom.ui.answers import number
from headroom.ui.fields import same
from headroom.ui.models import first_visit, fitting, language_models, listed
from headroom.ui.rest import Refused, Rest
from headroom.ui.texts import Texts
from headroom.ui.words import Words
from headroom.units import GIB, clock

CARDS = (4, 6, 8, 12, 16, 20, 24)  # GB, of the cards that can be tried out
_NARROW = ("pt", "mlx")  # the backends of tiers for which only these are meant


@dataclass(frozen=True, slots=True)
class Choices:
    """What a tier sets, and what may be chosen in it.

    lm  the language model that is recommended, of those in `lms`; None: none is loaded
    """

    init_lm: bool
    lm: str | None
    lms: tuple[str, ...]
    backend: str
    backends: tuple[str, ...]
    offload: bool
    offload_dit: bool
    quantization: str
    compile: bool

    @classmethod
    def of(cls, tier: Tier, tiers: Tiers, names: Iterable[str]) -> Choices:
        """Those of a tier; `names` are the language models that there are, here or to download."""
        lms, recommended = fitting(tier, tiers, names)
        return cls(
            init_lm=tier.init_lm,
            lm=recommended,
            lms=lms,
            backend=tier.backend,
            backends=_NARROW if tier.backends == "pt_mlx_only" else BACKENDS[1:],
            offload=tier.offload != "none",
            offload_dit=tier.offload == "cpu+dit",
            quantization=tier.quantization or "none",
            compile=tier.compile,
        )


@dataclass(frozen=True, slots=True)
class Panel:
    """The controls of the panel. `first` stands elsewhere: where to begin on a machine without a
    model."""

    vram: gr.Dropdown
    about: gr.HTML
    init_lm: gr.Checkbox
    lm: gr.Dropdown
    backend: gr.Dropdown
    offload: gr.Checkbox
    offload_dit: gr.Checkbox
    quantization: gr.Dropdown
    compile: gr.Checkbox
    command: gr.Textbox
    models: gr.HTML
    first: gr.HTML

    @property
    def chosen(self) -> list[Any]:
        """What the command is written from."""
        return [
            self.init_lm, self.lm, self.backend, self.offload, self.offload_dit,
            self.quantization, self.compile,
        ]  # fmt: skip


def panel(family: Family, texts: Texts, first: gr.HTML) -> Panel:
    """Lay the panel out. It is called where its components belong, `first` apart."""
    with gr.Row(elem_id="machine"):
        with gr.Column(scale=2, min_width=300):
            vram = texts.made(
                gr.Dropdown, lambda words: _cards(family, words), value="", elem_id="vram"
            )
            about = gr.HTML("", elem_id="about-machine")
            models = gr.HTML("", elem_id="models")
        with gr.Column(scale=2, min_width=300):
            init_lm = texts.keyed(gr.Checkbox, _keys("init_lm"), elem_id="init_lm")
            # Their choices change with the card: what is still shown of another one is no error.
            changing: dict[str, Any] = {"allow_custom_value": True}
            lm = texts.keyed(gr.Dropdown, _keys("lm"), choices=[], elem_id="lm", **changing)
            backend = texts.keyed(
                gr.Dropdown, _keys("backend"), choices=list(BACKENDS[1:]), elem_id="backend",
                **changing,
            )  # fmt: skip
            with gr.Row():
                offload = texts.keyed(gr.Checkbox, _keys("offload"), elem_id="offload")
                dit = texts.keyed(gr.Checkbox, _keys("offload_dit"), elem_id="offload_dit")
            quantization = texts.keyed(
                gr.Dropdown,
                _keys("quantization"),
                choices=list(PRECISION_WORDS[1:]),
                elem_id="quantization",
            )
            compile = texts.keyed(gr.Checkbox, _keys("compile"), elem_id="compile")
            command = texts.keyed(
                gr.Textbox,
                {"label": "command"},
                lines=3,
                interactive=False,
                elem_id="command",
            )
    return Panel(
        vram, about, init_lm, lm, backend, offload, dit, quantization, compile, command, models,
        first,
    )  # fmt: skip


def _keys(name: str) -> dict[str, str]:
    return {"label": name, "info": f"{name}_about"}


def _cards(family: Family, words: Words) -> dict[str, Any]:
    named = [(words("this_machine"), "")]
    for size in CARDS:
        tier = family.tiers.of(size)
        label = f"{size} GB" if tier is None else f"{size} GB · {words.tier(tier.name)}"
        named.append((label, str(size)))
    return {"label": words("card"), "info": words("card_about"), "choices": named}


def command(
    init_lm: bool,
    lm: str | None,
    backend: str | None,
    offload: bool,
    offload_dit: bool,
    quantization: str | None,
    compile: bool,
) -> str:
    """The command that starts the page so."""
    said = ["acestep ui"]
    said += [f"--lm-model {quote(lm)}" if init_lm and lm else f"--lm-model {NO_LM}"]
    if init_lm and backend:
        said.append(f"--lm-backend {quote(backend)}")
    said.append(f"--offload={'on' if offload else 'off'}")
    said.append(f"--offload-dit={'on' if offload_dit else 'off'}")
    if quantization:
        said.append(f"--quantization {quantization}")
    said.append("--compile" if compile else "--no-compile")
    return " ".join(said)


@dataclass(frozen=True, slots=True)
class PanelHandlers:
    """The handlers of the events of the panel."""

    rest: Rest
    family: Family
    panel: Panel

    async def looked(self, event: gr.Request, language: str, vram: str) -> list[Any]:
        """The panel for this machine, or for a card of `vram` GB: of `shows`, in order."""
        words, family = Words.of(language), self.family
        card = vram or None
        try:
            limits = await self.rest.ask(event, "GET", "/v1/limits", family=family.name, vram=card)
            models = await self.rest.ask(event, "GET", "/v1/models", family=family.name)
            ready = await self.rest.ask(event, "GET", "/health/ready")
        except Refused as refusal:
            told = f"<p role='status'>{escape(words.error(refusal.form))}</p>"
            return [told, *([gr.skip()] * (len(self.shows) - 1))]
        name = limits.get("tier")
        size = float(card) if card else number(limits.get("card_bytes")) / GIB
        tier = family.tiers.named(str(name)) if name else family.tiers.of(size)
        machine = None if card else str(ready.get("machine") or "")
        about = _about(machine, tier, words)
        first = gr.skip() if card else first_visit(models, family, tier, words)
        shown = [about, listed(models, family, tier, words), first]
        if tier is None:
            return [*shown, *([gr.skip()] * (len(self.shows) - len(shown)))]
        found = Choices.of(tier, family.tiers, language_models(models))
        return [*shown, *updates(found, words)]

    @property
    def shows(self) -> list[Any]:
        """The components that `looked` answers for."""
        return [self.panel.about, self.panel.models, self.panel.first, *self.panel.chosen]


def updates(found: Choices, words: Words) -> list[dict[str, Any]]:
    """The controls of the panel as a tier sets them."""
    named = [
        (f"{name} ({words('recommended')})" if name == found.lm else name, name)
        for name in found.lms
    ]
    return [
        gr.update(value=found.init_lm, interactive=found.init_lm),
        gr.update(choices=named, value=found.lm, interactive=found.init_lm),
        gr.update(choices=same(found.backends), value=found.backend, interactive=found.init_lm),
        gr.update(value=found.offload),
        gr.update(value=found.offload_dit),
        gr.update(value=found.quantization),
        gr.update(value=found.compile),
    ]


def _about(machine: str | None, tier: Tier | None, words: Words) -> str:
    lines = [] if not machine else [f"<p class='machine'>{escape(machine)}</p>"]
    if tier is not None:
        figures = (
            ("tier", words.tier(tier.name)),
            ("most_seconds", " / ".join(clock(one) for one in tier.seconds)),
            ("most_songs", " / ".join(map(str, tier.batch))),
        )
        cells = "".join(
            f"<div><dt>{escape(words(key))}</dt><dd>{escape(value)}</dd></div>"
            for key, value in figures
        )
        lines.append(f"<dl class='figures'>{cells}</dl>")
    return "".join(lines)
