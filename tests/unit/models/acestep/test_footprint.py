"""What is planned beside what is: parameters counted, and bytes alive while a stage works.

Stages run with the released sizes on `meta`, which takes the ways an accelerator takes and
allocates nothing. Attention counts its inputs and its output, as a fused kernel does.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from headroom.audio.wave import Audio
from headroom.memory.footprint import Footprint
from headroom.memory.plan import StagePlan
from headroom.models.acestep import finish, footprint, render
from headroom.models.acestep.codes import Codes
from headroom.models.acestep.compose import compose
from headroom.models.acestep.conditions import Conditions, encode_conditions
from headroom.models.acestep.config import AceStepConfig, dit_config, text_encoder_config
from headroom.models.acestep.dit import DiT, TimePath
from headroom.models.acestep.encoders import Conditioner, text_encoder
from headroom.models.acestep.footprint import DECODE_TILES, Networks
from headroom.models.acestep.material import Material, Sounds, encode_sounds
from headroom.models.acestep.parts import (
    CODES,
    CONDITIONER,
    DIT,
    TEXT_ENCODER,
    TIME,
    VAE_DECODER,
    VAE_ENCODER,
)
from headroom.models.acestep.prompts import PromptTokenizer
from headroom.models.acestep.requests import AnyMusicRequest, Cover, Repaint, Text2Music
from headroom.models.acestep.song import Song
from headroom.models.acestep.variants import VARIANTS
from headroom.nn import attention
from headroom.nn.oobleck import Decoder, Encoder
from headroom.nn.oobleck_layout import OobleckConfig
from headroom.runtime.events import never, tell_nobody
from headroom.runtime.run import Step
from support.tiny import PRESETS, REAL_2B, REAL_XL, TextSizes, VaeSizes
from support.tokenizer import byte_tokenizer

META = torch.device("meta")
DTYPE = torch.bfloat16
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
            CODES: Codes(config),
            TIME: TimePath(config.dit.width),
            DIT: DiT(config),
            VAE_ENCODER: Encoder(sizes.vae),
            VAE_DECODER: Decoder(sizes.vae),
        }


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
def test_blocks_are_the_layers(name: str) -> None:
    sizes = SIZES[name]
    found = {c.name: c for c in footprint.components(songs(Text2Music()), sizes)}
    parts = modules(sizes)
    for part in (DIT, TEXT_ENCODER):
        layers = [count(layer) * sizes.size for layer in parts[part].layers]
        assert list(found[part].blocks) == layers
    encoder = parts[CONDITIONER].encoder
    layers = [*encoder.lyric_encoder.layers, *encoder.timbre_encoder.layers]
    assert list(found[CONDITIONER].blocks) == [count(layer) * sizes.size for layer in layers]


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
        plan: Footprint = footprint.footprint(songs(request), sizes)
        assert {c.name for c in plan.components} == always | more
        last = ["condition", "schedule", "denoise", "decode"]
        assert [s.name for s in plan.stages] == [*first, *last]
        assert {u for s in plan.stages for u in s.uses} == always | more


# --- bytes alive while a stage works -------------------------------------------------------


class Alive(TorchDispatchMode):
    """Bytes of every tensor made on `meta` since it began, at their peak.

    What would be read back to the host becomes any tensor there.
    """

    def __init__(self) -> None:
        super().__init__()
        self.storages: dict[int, tuple[StorageWeakRef, int]] = {}
        self.total = self.peak = 0

    def __torch_dispatch__(
        self, func: Any, types: object, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        name = func._schema.name
        if name in ("aten::to", "aten::_to_copy", "aten::cpu") and args[0].is_meta:
            if "cpu" in map(str, (*args[1:], *kwargs.values())):
                return torch.empty(args[0].shape, dtype=args[0].dtype)
        if name == "aten::copy_" and args[1].is_meta and not args[0].is_meta:
            return args[0]
        out = func(*args, **kwargs)
        for tensor in tree_leaves(out):
            if isinstance(tensor, Tensor) and tensor.is_meta:
                self._see(tensor.untyped_storage())
        return out

    def _see(self, storage: torch.UntypedStorage) -> None:
        ref = StorageWeakRef(storage)
        known = self.storages.get(ref.cdata)
        if known is not None and not known[0].expired():
            return
        self.storages[ref.cdata] = ref, storage.nbytes()
        self.total += storage.nbytes()
        if self.total > self.peak:  # only then is it worth looking which are gone
            self.storages = {k: v for k, v in self.storages.items() if not v[0].expired()}
            self.total = sum(size for _, size in self.storages.values())
            self.peak = max(self.peak, self.total)


@pytest.fixture(autouse=True)
def fused_attention(monkeypatch: pytest.MonkeyPatch) -> None:
    def attend(q: Tensor, k: Tensor, v: Tensor, **_: object) -> Tensor:
        return torch.empty_like(q)

    functions = types.SimpleNamespace(**{**vars(F), "scaled_dot_product_attention": attend})
    monkeypatch.setattr(attention, "F", functions)


@pytest.fixture(scope="module")
def real() -> Mapping[str, nn.Module]:
    return {name: module.to(DTYPE).eval() for name, module in modules(SIZES["2b"]).items()}


class Nobody:
    """A run that keeps nothing."""

    def keep(self, name: str, tensor: Tensor) -> None:
        pass


def step(name: str, tile: int | None = None) -> Step:
    return Step(StagePlan(name, (), 1, tile, 0, 0.0), META, tell_nobody, never)


def planned(made: Sequence[Song], name: str) -> tuple[int, ...]:
    return next(s for s in footprint.stages(made, SIZES["2b"]) if s.name == name).workspace


def held(name: str, workspace: int, measured: int, most: float = 3.0) -> None:
    """The plan is no smaller than what is alive, and not much larger."""
    assert measured > 0
    assert measured <= workspace <= most * measured, f"{name}: {workspace / measured:.2f} of it"


LYRICS = "la la la, a line to sing\n" * 80
CASES: dict[str, tuple[Callable[[Callable[[int], Path]], AnyMusicRequest], bool, int]] = {
    "turbo 10 s": (lambda r: Text2Music(caption="x", duration=10), False, 1),
    "turbo 240 s": (lambda r: Text2Music(caption="x", lyrics=LYRICS, duration=240), False, 1),
    "turbo 600 s": (lambda r: Text2Music(caption="x", lyrics=LYRICS, duration=600), False, 1),
    "turbo 60 s × 8": (lambda r: Text2Music(caption="x", lyrics=LYRICS, duration=60), False, 8),
    "base 30 s": (lambda r: Text2Music(caption="x", duration=30), True, 1),
    "base 240 s × 2": (lambda r: Text2Music(caption="x", duration=240), True, 2),
    "base angle sde": (
        lambda r: Text2Music(
            caption="x", duration=240, guidance_variant="adg_w_norm", infer_method="sde",
            dcw_enabled=True, velocity_ema_factor=0.1,
        ),
        True, 1,
    ),
    "base heun switched": (
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
}  # fmt: skip


def case(name: str, recording: Callable[[int], Path]) -> tuple[Song, ...]:
    request, base, number = CASES[name]
    asked = request(recording).model_copy(update={"inference_steps": 2})
    return songs(asked, base, *range(number))


def conditions(made: Sequence[Song], config: AceStepConfig) -> Conditions:
    """As many rows as the plan expects, on the device."""
    rows = footprint.condition_rows(made[0], config)
    packed = torch.empty(rows, config.encoder.width, dtype=DTYPE, device=META)
    null = torch.empty(1, 1, config.encoder.width, dtype=DTYPE, device=META)
    return Conditions(
        (packed, (rows,)),
        None if made[0].instruction_after is None else (packed.clone(), (rows,)),
        (len(made),),
        null if any(made[0].sampling.guided) else None,
    )


@pytest.mark.parametrize("name", CASES)
def test_denoising_stays_within_its_plan(
    name: str,
    real: Mapping[str, nn.Module],
    recording: Callable[[int], Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = case(name, recording)
    config, dit, time = SIZES["2b"].config, real[DIT], real[TIME]
    latents = torch.empty(len(made), made[0].frames, config.latent_channels)
    monkeypatch.setattr(render, "draw", lambda *_: latents)
    sources = None if made[0].source is None else latents
    material = Material(latents, latents, latents, sources, ((),), Sounds({}, {}))
    assert isinstance(dit, DiT) and isinstance(time, TimePath)
    with torch.inference_mode(), Alive() as alive:
        times = time(made[0].sampling.times)
        alive.peak = 0
        before = conditions(made, config)
        render._denoise(made, Nobody(), step("denoise"), dit, times, before, material)  # type: ignore[arg-type]
    held(name, planned(made, "denoise")[0], alive.peak, 2.0)


@pytest.mark.parametrize("base", [True, False])
def test_the_table_of_a_long_schedule_is_planned(base: bool, real: Mapping[str, nn.Module]) -> None:
    made = songs(Text2Music(caption="x", duration=10, inference_steps=200), base)
    dit = real[DIT]
    assert isinstance(dit, DiT)
    with torch.inference_mode(), Alive() as alive:
        times = real[TIME](made[0].sampling.times)
        alive.peak = 0
        dit.modulation(*times)
    assert alive.peak <= planned(made, "denoise")[0]


@pytest.mark.parametrize("steps", [1, 8, 200])
def test_the_schedule_stays_within_its_plan(steps: int, real: Mapping[str, nn.Module]) -> None:
    made = songs(Text2Music(inference_steps=steps))
    with torch.inference_mode(), Alive() as alive:
        real[TIME](made[0].sampling.times)
    held("schedule", planned(made, "schedule")[0], alive.peak)


@pytest.mark.parametrize("name", ["turbo 10 s", "turbo 600 s", "base heun switched"])
@pytest.mark.parametrize("references", [0, 2])
def test_conditions_stay_within_their_plan(
    name: str, references: int, real: Mapping[str, nn.Module], recording: Callable[[int], Path]
) -> None:
    request, base, number = CASES[name]
    files = (recording(6),) * references
    made = songs(
        request(recording).model_copy(update={"reference_audio": files}), base, *range(number)
    )
    silence = torch.empty(750, 64)
    timbre = [(silence,) * references] * number
    tokenizer = PromptTokenizer(byte_tokenizer())
    with torch.inference_mode(), Alive() as alive:
        encode_conditions(
            made,
            timbre,
            silence,
            real[TEXT_ENCODER],
            real[CONDITIONER],
            tokenizer,
            META,  # type: ignore[arg-type]
        )
    held(name, planned(made, "condition")[0], alive.peak)


@pytest.mark.parametrize("seconds", [10, 600])
def test_codes_stay_within_their_plan(
    seconds: int, real: Mapping[str, nn.Module], recording: Callable[[int], Path]
) -> None:
    (song,) = songs(Cover(source_audio=recording(seconds)))
    latents, silence = torch.empty(song.frames, 64), torch.empty(1, 15_000, 64)
    with torch.inference_mode(), Alive() as alive:
        render._hints(song, latents, real[CODES], silence, META)  # type: ignore[arg-type]
    held("codes", planned((song,), "codes")[0], alive.peak)


@pytest.mark.parametrize("seconds", [10, 20])
@pytest.mark.parametrize("references", [0, 1])
def test_encoding_stays_within_its_plan(
    seconds: int,
    references: int,
    real: Mapping[str, nn.Module],
    recording: Callable[[int], Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    files = (recording(seconds),) * references
    made = songs(Cover(source_audio=recording(seconds), reference_audio=files))
    audio = Audio(torch.full((2, seconds * 48_000), 0.5), 48_000)
    sounds = Sounds({s.source: audio for s in made if s.source}, {str(f): audio for f in files})
    with torch.inference_mode(), Alive() as alive:
        encode_sounds(made, sounds, torch.empty(1, 15_000, 64), real[VAE_ENCODER], step("encode"))  # type: ignore[arg-type]
    held("encode", planned(made, "encode")[0], alive.peak)


@pytest.mark.parametrize(("index", "tile"), list(enumerate(DECODE_TILES)))
def test_decoding_stays_within_its_plan(
    index: int, tile: int, real: Mapping[str, nn.Module], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = songs(Text2Music(duration=12))
    monkeypatch.setattr(finish, "finished", lambda song, samples, sounds: samples)
    material = Material(*[torch.empty(0)] * 3, None, ((),), Sounds({}, {}))
    with torch.inference_mode(), Alive() as alive:
        latents = torch.ones(1, 300, 64)
        render._decode(made, latents, material, step("decode", tile), real[VAE_DECODER])  # type: ignore[arg-type]
    held(f"tile {tile}", planned(made, "decode")[index], alive.peak)


def test_what_is_alive_is_counted_once_and_only_while_it_lives() -> None:
    with Alive() as alive:
        x = torch.empty(1000, device=META)
        y = x.view(10, 100)[3:]
        assert alive.peak == 4000
        z = torch.empty(500, device=META)
        del x, y
        z = z + 1
    assert alive.peak == 6000 and z.shape == (500,)
