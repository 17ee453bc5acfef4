"""What is planned beside what is: parameters counted, and bytes alive while a stage works.

Stages run at the released sizes on the simulated device, over fake tensors: it takes the ways an
accelerator takes, and accounts for every allocation.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from footprint.traces import model, trace, trace_timing
from footprint.traces import songs as traced_songs
from torch import nn

from headroom.hardware.machine import card
from headroom.memory.footprint import Footprint, Stage
from headroom.memory.planner import plan
from headroom.memory.precision import CONVERTED
from headroom.models.acestep.blueprint import Blueprint
from headroom.models.acestep.cost import footprint
from headroom.models.acestep.cost.components import Networks
from headroom.models.acestep.cost.measures import prompt_tokens
from headroom.models.acestep.cost.timestamps_cost import timing_footprint
from headroom.models.acestep.networks.codes import CodesNetwork
from headroom.models.acestep.networks.component_names import (
    CODES,
    CONDITIONER,
    DIT,
    TEXT_ENCODER,
    TIME,
    VAE_DECODER,
    VAE_ENCODER,
)
from headroom.models.acestep.networks.config import dit_config, text_encoder_config
from headroom.models.acestep.networks.dit import DiT, TimePath
from headroom.models.acestep.networks.encoders import Conditioner, text_encoder
from headroom.models.acestep.networks.released import released_size
from headroom.models.acestep.requests.songs import AnyMusicRequest, Cover, Repaint, Text2Music
from headroom.models.acestep.requests.variants import VARIANTS
from headroom.models.acestep.song.compose import compose
from headroom.models.acestep.song.song import Song
from headroom.models.acestep.timestamps.timestamps import heads_of
from headroom.nn.oobleck import Decoder, Encoder
from headroom.nn.oobleck_cost import decode_flops
from headroom.nn.oobleck_layout import OobleckConfig
from support.tiny import PRESETS, REAL_2B, REAL_XL, TextSizes, VaeSizes

META = torch.device("meta")
REAL_TEXT = TextSizes(
    hidden_size=1024, intermediate_size=3072, num_hidden_layers=28, num_attention_heads=16,
    num_key_value_heads=8, head_dim=128, vocab_size=151_669,
)  # fmt: skip
REAL_VAE = VaeSizes(
    encoder_hidden_size=128, channel_multiples=(1, 2, 4, 8, 16), decoder_channels=128,
    decoder_input_channels=64,
)  # fmt: skip
TURBO, BASE = VARIANTS["acestep-v15-turbo"], VARIANTS["acestep-v15-base"]


def networks(dit: object, text: TextSizes, vae: VaeSizes, dtype: str = "bfloat16") -> Networks:
    config = dit_config(dit.config())  # type: ignore[attr-defined]
    codec = OobleckConfig.parse(vae.config())
    return Networks(config, text_encoder_config(text.config()), codec, dtype)


SIZES = {
    "2b": networks(REAL_2B, REAL_TEXT, REAL_VAE),
    "xl": networks(REAL_XL, REAL_TEXT, REAL_VAE, "float32"),
    **{n: networks(s.dit, s.text, s.vae, "float32") for n, s in PRESETS.items()},
}


def modules(sizes: Networks) -> dict[str, nn.Module]:
    config = sizes.config
    with META:
        return {
            TEXT_ENCODER: text_encoder(sizes.text_encoder),
            CONDITIONER: Conditioner(config),
            CODES: CodesNetwork(config),
            TIME: TimePath(config.dit.width),
            DIT: DiT(config),
            VAE_ENCODER: Encoder(sizes.vae),
            VAE_DECODER: Decoder(sizes.vae),
        }


def matrices(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters() if p.dim() == 2)


def count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], Path]:
    folder = tmp_path_factory.mktemp("recordings")

    def make(seconds: int) -> Path:
        path = folder / f"{seconds}.wav"
        soundfile.write(path, np.full(seconds * 1000, 0.5, np.float32), 1000)
        return path

    return make


def songs(request: AnyMusicRequest, base: bool = False, *seeds: int) -> tuple[Song, ...]:
    return compose(request, BASE if base else TURBO, seeds or (1,)).songs


# --- weights -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", SIZES)
def test_every_component_is_as_large_as_its_module(
    name: str, recording: Callable[[int], Path]
) -> None:
    sizes = SIZES[name]
    found = {
        c.name: c for c in footprint.components(songs(Cover(source_audio=recording(6))), sizes)
    }
    parts = modules(sizes)
    assert found.keys() == parts.keys()
    for part, module in parts.items():
        assert found[part].bytes == count(module) * sizes.size, part
        assert found[part].precision == sizes.dtype


@pytest.mark.parametrize("name", ["2b", "xl"])
def test_blocks_are_the_matrices_of_the_layers(name: str) -> None:
    sizes = SIZES[name]
    found = {c.name: c for c in footprint.components(songs(Text2Music()), sizes)}
    parts = modules(sizes)
    for part in (DIT, TEXT_ENCODER):
        assert list(found[part].blocks) == [matrices(b) * sizes.size for b in parts[part].layers]
    encoder = parts[CONDITIONER].encoder
    layers = [*encoder.lyric_encoder.layers, *encoder.timbre_encoder.layers]
    assert list(found[CONDITIONER].blocks) == [matrices(b) * sizes.size for b in layers]


def test_the_released_models_in_megabytes() -> None:
    for name, millions in (("2b", 1575.458880), ("xl", 4168.897088)):
        found = {c.name: c.bytes / SIZES[name].size / 1e6 for c in
                 footprint.components(songs(Text2Music()), SIZES[name])}  # fmt: skip
        assert round(found[DIT] + found[TIME], 6) == millions


def test_only_what_is_used_is_planned(recording: Callable[[int], Path]) -> None:
    sizes, path = SIZES["2b"], recording(6)
    always = {TEXT_ENCODER, CONDITIONER, TIME, DIT, VAE_DECODER}
    cases: list[tuple[AnyMusicRequest, set[str], list[str]]] = [
        (Text2Music(), set(), []),
        (Text2Music(audio_codes="<|audio_code_1|>"), {CODES}, ["codes"]),
        (Text2Music(reference_audio=(path,)), {VAE_ENCODER}, ["encode"]),
        (Repaint(source_audio=path), {VAE_ENCODER}, ["encode"]),
        (Cover(source_audio=path), {VAE_ENCODER, CODES}, ["encode", "codes"]),
    ]
    for request, more, first in cases:
        plan: Footprint = footprint.songs_footprint(songs(request), sizes)
        assert {c.name for c in plan.components} == always | more
        last = ["condition", "schedule", "denoise", "decode"]
        assert [s.name for s in plan.stages] == [*first, *last]
        assert {u for s in plan.stages for u in s.uses} == always | more


# --- bytes alive while a stage works -------------------------------------------------------

LYRICS = "la la la, a line to sing\n"


def planned(made: Blueprint, batch: Sequence[Song]) -> dict[str, Stage]:
    return {stage.name: stage for stage in made.footprint(tuple(batch)).stages}


def plain(seconds: float, batch: int, size: str, guided: bool, lines: int = 20) -> None:
    made, device, pool = model(size, guided, "bfloat16")
    asked = Text2Music(caption="x", lyrics=LYRICS * lines, duration=seconds, inference_steps=2)
    made_songs = traced_songs(made, [asked], batch)
    needs = planned(made, made_songs)
    found = trace(made, device, pool, made_songs, until="denoise")
    for name, stage in found.items():
        assert needs[name].ways[0].workspace == stage.peak, name
        assert needs[name].result == stage.left, name


@pytest.mark.parametrize("size", ["2b", "xl"])
@pytest.mark.parametrize("guided", [False, True])
@pytest.mark.parametrize(
    ("seconds", "batch"), [(10, 1), (11.32, 2), (60, 1), (77.4, 3), (95.04, 1), (240, 2), (600, 1)]
)
def test_plain_work_is_known_to_the_byte(
    size: str, guided: bool, seconds: float, batch: int
) -> None:
    plain(seconds, batch, size, guided)


@pytest.mark.parametrize("lines", [0, 1, 30, 80, 200])
def test_words_of_any_length_are_known_to_the_byte(lines: int) -> None:
    plain(20, 1, "2b", False, lines)


@pytest.mark.parametrize(("seconds", "tile"), [(12, 64), (30, 256), (10, 512), (8, 1536)])
def test_decoding_is_known_to_the_byte(seconds: float, tile: int) -> None:
    made, device, pool = model("2b", False, "bfloat16")
    batch = traced_songs(made, [Text2Music(duration=seconds, inference_steps=1)], 1)
    (way,) = [
        w for w in planned(made, batch)["decode"].ways if w.leaves and _same(w.tile, tile, batch)
    ]
    found = trace(made, device, pool, batch, until="decode", tile=tile)["decode"]
    assert way.workspace == found.peak
    assert found.left == 0


def _same(offered: int | None, tile: int, batch: Sequence[Song]) -> bool:
    """Tiles larger than the song are one and the same."""
    frames = batch[0].frames
    return offered == tile or (offered is not None and offered >= frames and tile >= frames)


def test_a_song_nobody_wants_in_tiles_is_decoded_whole_where_that_fits() -> None:
    made, device, pool = model("2b", False, "bfloat16")
    asked = Text2Music(duration=90, inference_steps=1, use_tiled_decode=False)
    batch = traced_songs(made, [asked], 1)
    frames = batch[0].frames
    ways = planned(made, batch)["decode"].ways
    assert ways[0].tile == frames and not ways[0].leaves
    found = trace(made, device, pool, batch, until="decode", tile=frames)["decode"]
    (whole,) = [w for w in ways if w.tile == frames and w.leaves]
    assert whole.workspace == found.peak
    needs = made.footprint(batch)
    large, small = (plan(needs, card(size)).stage("decode").tile for size in (24, 4))
    assert large == frames and small is not None and small < frames
    tiled = traced_songs(made, [asked.model_copy(update={"use_tiled_decode": True})], 1)
    assert frames not in {w.tile for w in planned(made, tiled)["decode"].ways}


@pytest.mark.ci
@pytest.mark.parametrize("pieces", [2, 3, 5])
def test_a_batch_in_pieces_is_known_to_the_byte(pieces: int) -> None:
    made, device, pool = model("2b", False, "bfloat16")
    batch = traced_songs(made, [Text2Music(duration=20, inference_steps=2)], 5)
    for precision in ("bfloat16", "int8"):
        (way,) = [
            w
            for w in planned(made, batch)["denoise"].ways
            if (w.pieces, w.precision) == (pieces, precision)
        ]
        seen = trace(made, device, pool, batch, until="denoise", pieces=pieces, precision=precision)
        assert way.workspace == seen["denoise"].peak


@pytest.mark.parametrize(("batch", "lines"), [(1, 0), (2, 300)])
def test_a_negative_prompt_is_known_to_the_byte(batch: int, lines: int) -> None:
    made, device, pool = model("2b", True, "bfloat16")
    asked = Text2Music(
        caption="x", lyrics="la la\n" * lines, duration=30, inference_steps=2,
        negative_prompt="loud drums " * 20,
    )  # fmt: skip
    songs = traced_songs(made, [asked], batch)
    needs = planned(made, songs)
    for stage, seen in trace(made, device, pool, songs, until="denoise").items():
        assert seen.peak == needs[stage].ways[0].workspace, stage
        assert seen.left == needs[stage].result, stage


CASES: dict[str, tuple[Callable[[Callable[[int], Path]], AnyMusicRequest], bool, int]] = {
    "angle sde": (
        lambda r: Text2Music(
            caption="x", duration=240, guidance_variant="adg_w_norm", infer_method="sde",
            dcw_enabled=True, velocity_ema_factor=0.1,
        ),
        True, 1,
    ),
    "heun switched": (
        lambda r: Cover(
            caption="x", lyrics=LYRICS, source_audio=r(60), sampler_mode="heun", dcw_enabled=True,
            audio_cover_strength=0.5,
        ),
        True, 2,
    ),
    "repaint": (
        lambda r: Repaint(caption="x", source_audio=r(120), start=3, end=9, dcw_enabled=True),
        False, 1,
    ),
    "references": (
        lambda r: Text2Music(caption="x", duration=30, reference_audio=(r(40), r(7))), False, 2,
    ),
    "negative prompt": (
        lambda r: Text2Music(
            caption="x", duration=30, negative_prompt="loud drums " * 20, reference_audio=(r(7),)
        ),
        True, 2,
    ),
    "codes": (lambda r: Cover(source_audio=r(60), caption="x"), False, 1),
    "given codes": (
        lambda r: Text2Music(duration=60, audio_codes="<|audio_code_7|>" * 300), False, 1,
    ),
}  # fmt: skip


@pytest.mark.ci
@pytest.mark.parametrize("name", CASES)
def test_other_work_never_takes_more_than_is_planned(
    name: str, recording: Callable[[int], Path]
) -> None:
    request, guided, number = CASES[name]
    made, device, pool = model("2b", guided, "bfloat16")
    asked = request(recording).model_copy(update={"inference_steps": 2})
    batch = traced_songs(made, [asked], number)
    needs = planned(made, batch)
    for stage, seen in trace(made, device, pool, batch, until="denoise").items():
        assert seen.peak <= needs[stage].ways[0].workspace <= 3 * seen.peak, stage
        assert seen.left <= needs[stage].result, stage


@pytest.mark.long
@pytest.mark.parametrize("precision", CONVERTED)
@pytest.mark.parametrize(
    ("guided", "seconds", "batch", "lines"),
    [(False, 10, 1, 0), (True, 95, 2, 0), (False, 10, 1, 90)],
)
def test_converted_weights_never_take_more_than_is_planned(
    precision: str, guided: bool, seconds: float, batch: int, lines: int
) -> None:
    made, device, pool = model("2b", guided, "bfloat16")
    asked = Text2Music(duration=seconds, lyrics=LYRICS * lines, inference_steps=2)
    work = traced_songs(made, [asked], batch)
    (way,) = [
        w for w in planned(made, work)["denoise"].ways if (w.pieces, w.precision) == (1, precision)
    ]
    seen = trace(made, device, pool, work, until="denoise", precision=precision)["denoise"]
    assert seen.peak <= way.workspace <= 3 * seen.peak


ALIGNED = (
    (250, 90),
    (200, 2300),
    (251, 2305),
    (1500, 300),
    (2376, 40),
    (6001, 1000),
)  # frames, rows


@pytest.mark.parametrize("size", ["2b", "xl"])
@pytest.mark.parametrize(("frames", "rows"), ALIGNED)
def test_watching_heads_is_known_to_the_byte(size: str, frames: int, rows: int) -> None:
    made, device, pool = model(size, False, "bfloat16")
    layers = max(heads_of(made.config)) + 1
    needs = timing_footprint(frames, rows, layers, made.networks).stages[-1]
    for precision in ("bfloat16", "int8"):
        (way,) = [w for w in needs.ways if w.precision == precision]
        seen = trace_timing(made, device, pool, frames, rows, precision)
        assert (way.workspace, 0) == (seen.peak, seen.left)


@pytest.mark.parametrize("precision", [*CONVERTED, None])
@pytest.mark.parametrize(("frames", "rows"), [(250, 2305), (2376, 300)])
def test_watching_in_other_precisions_never_takes_more_than_is_planned(
    precision: str | None, frames: int, rows: int
) -> None:
    """None: float32, which was not traced."""
    made, device, pool = model("2b", False, "bfloat16" if precision else "float32")
    layers = max(heads_of(made.config)) + 1
    needs = timing_footprint(frames, rows, layers, made.networks).stages[-1]
    (way,) = [w for w in needs.ways if w.precision == (precision or "float32")]
    seen = trace_timing(made, device, pool, frames, rows, precision)
    assert seen.peak <= way.workspace <= 3 * seen.peak


@pytest.mark.parametrize("size", ["2b", "xl"])
@pytest.mark.parametrize("seconds", [10, 33.4, 240, 600])
def test_a_song_that_could_be_made_can_be_watched(size: str, seconds: float) -> None:
    made, _, _ = model(size, False, "bfloat16")
    asked = Text2Music(caption="x", lyrics=LYRICS * 30, duration=seconds, inference_steps=8)
    batch = traced_songs(made, [asked], 1)
    rows = sum(one.rows for one in prompt_tokens(batch, made.assets.tokenizer))
    layers = max(heads_of(made.config)) + 1
    watching = timing_footprint(batch[0].frames, rows, layers, made.networks).stages[-1]
    for way in planned(made, batch)["denoise"].ways:
        (same,) = [w for w in watching.ways if w.precision == way.precision]
        assert same.workspace <= way.workspace
    assert watching.flops < planned(made, batch)["denoise"].flops / 8 / 2


def test_ragged_songs_never_take_more_than_is_planned() -> None:
    made, device, pool = model("2b", False, "bfloat16")
    asked = [
        Text2Music(caption=c, duration=n, inference_steps=2)
        for c, n in (("a", 95), ("b", 30), ("c", 12.04))
    ]
    batch = traced_songs(made, asked, 1)
    needs = planned(made, batch)
    for stage, seen in trace(made, device, pool, batch, until="denoise").items():
        assert seen.peak <= needs[stage].ways[0].workspace <= 3 * seen.peak, stage


@pytest.mark.long
def test_sizes_that_nobody_released_are_estimated_from_above() -> None:
    for name in PRESETS:
        assert released_size(SIZES[name].config, SIZES[name].text_encoder, SIZES[name].vae) is None
    made, device, pool = model("2b", True, "float32")  # a precision that was not traced
    for seconds, lines in ((100, 0), (10, 90)):
        asked = Text2Music(duration=seconds, lyrics=LYRICS * lines, inference_steps=2)
        batch = traced_songs(made, [asked], 2)
        needs = planned(made, batch)
        for stage, seen in trace(made, device, pool, batch, until="denoise").items():
            assert seen.peak <= needs[stage].ways[0].workspace <= 3 * seen.peak, (stage, lines)


def test_the_operations_of_decoding_are_those_of_the_specification() -> None:
    sizes = SIZES["2b"]
    assert decode_flops(sizes.vae, 1) / 1e9 == pytest.approx(4.87, rel=0.01)
    assert footprint.dit_flops(
        songs(Text2Music(duration=240)), 300, sizes.config
    ) / 1e12 == pytest.approx(9.9, rel=0.05)  # windows without their hidden pairs
