"""What models and songs take, from the released sizes and the planner."""

from __future__ import annotations

from docs.words import Words, table
from headroom.cli.plan import SIZES
from headroom.engine.forecast import Answer, answered
from headroom.engine.options import EngineOptions
from headroom.hardware.machine import card
from headroom.memory.footprint import Component
from headroom.models.acestep.catalogue import USUAL_DIT
from headroom.models.acestep.cost.components import (
    Networks,
    components,
    decoder_weights,
    encoder_weights,
)
from headroom.models.acestep.cost.lm_cost import component
from headroom.models.acestep.cost.unopened import DTYPE, networks
from headroom.models.acestep.networks.component_names import CONDITIONER, DIT, TEXT_ENCODER, TIME
from headroom.models.acestep.networks.released import released_lm
from headroom.models.acestep.requests.songs import Text2Music
from headroom.models.acestep.requests.variants import VARIANTS
from headroom.models.acestep.tiers import LM_SIZES, tier_of
from headroom.models.acestep.unopened import released
from headroom.settings import Settings
from headroom.units import GIB, clock

XL = "acestep-v15-xl-turbo"
LARGE = 24.0  # GB of a card that holds everything
SECONDS = 60.0


def table_of_models(say: Words) -> str:
    """Bytes of each network's weights, as released and in int8, beside the published budgets."""
    turbo, xl = networks(VARIANTS[USUAL_DIT]), networks(VARIANTS[XL])
    vae = turbo.size * (encoder_weights(turbo.vae) + decoder_weights(turbo.vae))
    of_turbo, of_xl = weights_of(turbo), weights_of(xl)
    named = [
        (f"DiT (`{USUAL_DIT}`)", summed(of_turbo, DIT, CONDITIONER, TIME), "3–4"),
        (f"DiT (`{XL}`)", summed(of_xl, DIT, CONDITIONER, TIME), "—"),
        ("VAE", (vae, vae), "1–2"),
        (say("Text encoder"), of_turbo[TEXT_ENCODER], "0.5"),
        *(
            (f"LM {lm}", whole_and_int8(component(released_lm(lm), DTYPE)), budget)
            for lm, budget in zip(LM_SIZES, ("3", "8", "12"), strict=True)
        ),
    ]
    rows = [
        [name, size(whole, say), size(small, say) if small < whole else "—",
         published.replace(".", say("."))]
        for name, (whole, small), published in named
    ]  # fmt: skip
    head = ["Model", "Weights as released, GiB", "With int8, GiB", "Published budget, GB"]
    return table([say(word) for word in head], rows)


def weights_of(networks: Networks) -> dict[str, tuple[int, int]]:
    """Bytes of each component that any song needs: as released, and converted to int8."""
    return {part.name: whole_and_int8(part) for part in components((), networks)}


def whole_and_int8(part: Component) -> tuple[int, int]:
    """Bytes as released, and in int8 where it can be converted, else the same again."""
    forms = {form.precision: form.bytes for form in part.forms}
    return part.bytes, forms.get("int8", part.bytes)


def summed(weights: dict[str, tuple[int, int]], *names: str) -> tuple[int, int]:
    """The same of several components together."""
    return sum(weights[name][0] for name in names), sum(weights[name][1] for name in names)


def table_of_operations(say: Words) -> str:
    """What a song of a minute takes of a card that holds everything, and of the smallest one."""
    asked = [
        (say("A song, no LM"), Text2Music(caption="x", duration=SECONDS), None, 4.0),
        *((say("A song with the LM {}").format(size),
           Text2Music(caption="x", duration=SECONDS, thinking=True), size, smallest)
          for size, smallest in zip(LM_SIZES, (6.0, 12.0, 20.0), strict=True)),
        (say("Two songs at once, no LM"),
         Text2Music(caption="x", duration=SECONDS, batch_size=2), None, 8.0),
    ]  # fmt: skip
    rows = []
    for name, request, lm, smallest in asked:
        large = planned(request, LARGE, lm, "off")
        small = planned(request, smallest, lm, "auto")
        rows.append(
            [name, size(peak(large), say), f"{smallest:g} GB", size(peak(small), say),
             size(host(small), say)]
        )  # fmt: skip
    head = ["Work (60 s of music)", "Everything on the card, GiB", "Small card",
            "Its peak, GiB", "Main memory, GiB"]  # fmt: skip
    return table([say(word) for word in head], rows)


def table_of_cards(say: Words) -> str:
    """What each class of card does by default, and what a song of a minute is planned to take."""
    rows = []
    for gigabytes in SIZES:
        tier = tier_of(float(gigabytes))
        found = planned(Text2Music(caption="x", duration=SECONDS), float(gigabytes), None, "auto")
        assert found.plan is not None
        rows.append([
            f"{gigabytes} GB", tier.recommended or say("none"),
            " / ".join(f"{seconds / 60:g} min" for seconds in tier.seconds),
            " / ".join(map(str, tier.batch)), f"{size(peak(found), say)} GiB",
            clock(found.plan.seconds),
        ])  # fmt: skip
    head = [
        "Card", "Language model", "Longest song (with it / without)",
        "Songs at once (with it / without)", "A minute of music takes", "Planned time",
    ]  # fmt: skip
    return table(head, rows)


def planned(request: Text2Music, gigabytes: float, lm: str | None, offload: str) -> Answer:
    """The plan of a request on a card of that size, under the published policy."""
    flags = EngineOptions(
        policy="published",
        lm_model=None if lm is None else f"acestep-5Hz-lm-{lm}",
        init_lm=True if lm is not None else None,
        offload=False if offload == "off" else None,
        offload_dit=False if offload == "off" else None,
        quantization="none" if offload == "off" else None,
    )
    return answered(request, released(VARIANTS[USUAL_DIT]), card(gigabytes), flags, Settings())


def peak(answer: Answer) -> int:
    """Bytes of the card at the worst moment."""
    assert answer.plan is not None
    return answer.plan.peak


def host(answer: Answer) -> int:
    """Bytes of main memory for weights."""
    assert answer.plan is not None
    return answer.plan.host_peak


def size(count: int, say: Words) -> str:
    """Bytes in GiB, as a table says them."""
    return f"{count / GIB:.2f}".replace(".", say("."))
