"""The Oobleck VAE against diffusers' AutoencoderOobleck, every parameter random."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderOobleck
from torch import Tensor, nn

from headroom.errors import InvalidCheckpoint
from headroom.host_compiler import host_compiler
from headroom.nn import oobleck, snake
from headroom.nn.minimal_filter import MinimalConv
from headroom.nn.oobleck import Conv, Decoder, Encoder, FoldedKeys, filter_minimally, folded_conv
from headroom.nn.oobleck_cost import decode_bytes, encode_bytes, unit_rows
from headroom.nn.oobleck_layout import OobleckConfig
from headroom.nn.oobleck_tiles import (
    Pieces,
    decode_tiled,
    encode_tiled,
    prepare,
    windows,
)
from support.alive import Alive
from support.near import ULP, assert_agrees, assert_near, exactly, half_excess, is_fault, twice

TINY: dict[str, object] = {
    "encoder_hidden_size": 16,
    "downsampling_ratios": [2, 4, 4, 6, 10],
    "channel_multiples": [1, 2, 2, 2, 2],
    "decoder_channels": 4,
    "decoder_input_channels": 8,
    "audio_channels": 2,
    "sampling_rate": 48000,
}
REAL = TINY | {
    "encoder_hidden_size": 128,
    "channel_multiples": [1, 2, 4, 8, 16],
    "decoder_channels": 128,
    "decoder_input_channels": 64,
}
CONFIG = OobleckConfig.parse(TINY)
# A matrix library sums in another order for another number of rows, on some processors.
FP64_ROUNDING = 1e-13
MINIMAL_TIMES = 16.0  # minimal filters lose that much more than plain convolutions, at most


def reference(fields: dict[str, object]) -> AutoencoderOobleck:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # its weight norm is the old one
        return AutoencoderOobleck(**fields).eval()


@pytest.fixture(scope="module")
def theirs() -> AutoencoderOobleck:
    model = reference(TINY)
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            if name.endswith(("alpha", "beta")):
                parameter.copy_(0.2 * noise)
            elif name.endswith("weight_g"):
                gain = 0.6 if name.startswith("decoder") else 0.3  # outputs of order 1
                parameter.copy_(gain + 0.2 * noise.abs())
            else:
                parameter.copy_(0.3 * noise)
    return model


def ours(part: nn.Module, theirs: AutoencoderOobleck, prefix: str) -> nn.Module:
    """Filled as a loader does it, from the other's tensors; every key below `prefix` is used."""
    keys, state = FoldedKeys(prefix), theirs.state_dict()
    left = {key for key in state if key.startswith(prefix)}
    for name, parameter in list(part.named_parameters()):
        needed = keys.needs(name)
        built = keys.build(name, *(state[key] for key in needed))
        assert built.shape == parameter.shape, name
        owner, _, leaf = name.rpartition(".")
        setattr(part.get_submodule(owner), leaf, nn.Parameter(built, requires_grad=False))
        left -= set(needed)
    assert not left
    return part.eval()


def meta(kind: type[Decoder] | type[Encoder], config: OobleckConfig) -> nn.Module:
    with torch.device("meta"):
        return kind(config)


def new_decoder(theirs: AutoencoderOobleck) -> Decoder:
    part = ours(meta(Decoder, CONFIG), theirs, "decoder.")
    assert isinstance(part, Decoder)
    return part


def new_encoder(theirs: AutoencoderOobleck) -> Encoder:
    part = ours(meta(Encoder, CONFIG), theirs, "encoder.")
    assert isinstance(part, Encoder)
    return part


@pytest.fixture(scope="module")
def decoder(theirs: AutoencoderOobleck) -> Decoder:
    return new_decoder(theirs)


@pytest.fixture(scope="module")
def encoder(theirs: AutoencoderOobleck) -> Encoder:
    return new_encoder(theirs)


@pytest.fixture(autouse=True)
def inference() -> Iterator[None]:
    with torch.inference_mode():
        yield


def noise(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(len(shape)), dtype=dtype)


def worst(a: Tensor, b: Tensor) -> float:
    assert a.shape == b.shape
    return float((a.double() - b.double()).abs().max())


@pytest.mark.parametrize("frames", [1, 2, 17])
def test_decode_equals_the_reference(
    theirs: AutoencoderOobleck, decoder: Decoder, frames: int
) -> None:
    latents = noise(2, 8, frames)
    expected, exact = twice(lambda: theirs.decode(latents).sample)
    assert expected.shape == (2, 2, 1920 * frames)
    assert expected.std() > 0.01
    assert_agrees(decoder(latents), expected, exact)


@pytest.mark.parametrize("samples", [1920, 1921, 5 * 1920 - 1, 12 * 1920 + 777])
def test_encode_equals_the_reference(
    theirs: AutoencoderOobleck, encoder: Encoder, samples: int
) -> None:
    audio = 0.3 * noise(2, 2, samples)
    expected, exact = twice(lambda: theirs.encode(audio).latent_dist)
    mean, std = encoder(audio)
    assert mean.shape == std.shape == (2, 8, samples // 1920)
    assert_agrees(mean, expected.mean, exact.mean)
    assert_agrees(std, expected.std, exact.std)
    assert 0.01 < expected.mean.std() < 10


def test_all_365_keys_of_the_real_size_are_used() -> None:
    config = OobleckConfig.parse(REAL)
    with torch.device("meta"):
        theirs = reference(REAL)
    needed: list[str] = []
    for kind, prefix in ((Decoder, "decoder."), (Encoder, "encoder.")):
        part, keys, state = meta(kind, config), FoldedKeys(prefix), theirs.state_dict()
        for name, parameter in part.named_parameters():
            tensors = [state[key] for key in keys.needs(name)]
            assert keys.build(name, *tensors).shape == parameter.shape
            needed += keys.needs(name)
    assert len(needed) == len(set(needed)) == 365
    assert set(needed) == set(theirs.state_dict())


def test_the_norm_of_a_transposed_convolution_runs_per_input_channel(
    theirs: AutoencoderOobleck, monkeypatch: pytest.MonkeyPatch
) -> None:
    def per_output(weight_g: Tensor, weight_v: Tensor) -> Tensor:
        return weight_g * weight_v / weight_v.norm(dim=(0, 2), keepdim=True)

    latents = noise(1, 8, 3)
    monkeypatch.setattr(oobleck, "fold", per_output)
    assert is_fault(new_decoder(theirs)(latents), lambda: theirs.decode(latents).sample)


def test_the_epsilon_stands_beside_the_gain_it_guards() -> None:
    alpha, beta = torch.zeros(1, 1, 1), torch.full((1, 1, 1), -60.0)
    layer = snake.Snake(1)
    layer.rate.data, layer.gain.data = snake.rate_from(alpha), snake.gain_from(beta)
    peak = layer(torch.full((1, 1, 1, 1), torch.pi / 2))
    assert float(peak) == pytest.approx(1e9, rel=1e-5)  # 1 / (0 + 1e-9), neither 1e26 nor inf


def test_halos_follow_from_strides_and_dilations() -> None:
    assert (CONFIG.decode_halo, CONFIG.encode_halo) == (9, 7)
    assert (CONFIG.hop, CONFIG.deep_rate, CONFIG.wide_halo) == (1920, 60, 15)


@pytest.mark.parametrize("frames", [1, 8, 9, 10, 27, 61])
def test_a_tiled_decode_is_the_whole_one(decoder: Decoder, frames: int) -> None:
    latents = noise(1, 8, frames)
    tiled = decode_tiled(decoder, latents, 9, pieces=Pieces(decoder.wide, 1))
    assert_near(tiled, lambda: decoder(latents))


def test_tiles_are_exact_in_fp64_and_a_smaller_halo_is_not(
    theirs: AutoencoderOobleck,
) -> None:
    latents = noise(1, 8, 40, dtype=torch.float64)
    decoder = new_decoder(theirs).double()
    whole = decoder(latents)

    def error(halo: int) -> float:
        return worst(
            decode_tiled(decoder, latents, 8, halo=halo, pieces=Pieces(decoder.wide, 3)), whole
        )

    assert error(9) <= FP64_ROUNDING
    assert error(8) > 1e3 * FP64_ROUNDING


def test_the_wide_halo_is_exact_and_the_least(
    theirs: AutoencoderOobleck, monkeypatch: pytest.MonkeyPatch
) -> None:
    latents = noise(1, 8, 30, dtype=torch.float64)
    decoder = new_decoder(theirs).double()
    whole = decoder(latents)

    def error() -> float:
        return worst(decode_tiled(decoder, latents, 64, pieces=Pieces(decoder.wide, 2)), whole)

    assert error() <= FP64_ROUNDING
    monkeypatch.setattr(OobleckConfig, "wide_halo", 14)
    assert error() > 1e3 * FP64_ROUNDING


def test_encode_tiles_are_exact_in_fp64_and_a_smaller_halo_is_not(
    theirs: AutoencoderOobleck,
) -> None:
    audio = 0.3 * noise(1, 2, 30 * 1920 + 1919, dtype=torch.float64)
    encoder = new_encoder(theirs).double()
    whole = encoder(audio)

    def error(halo: int) -> float:
        tiled = encode_tiled(encoder, audio, 6, halo=halo)
        return max(worst(a, b) for a, b in zip(tiled, whole, strict=True))

    assert error(7) <= FP64_ROUNDING
    assert error(6) > 1e3 * FP64_ROUNDING


def test_pieces_may_be_whole_tiles(decoder: Decoder) -> None:
    latents = noise(1, 8, 61)
    tiled = decode_tiled(decoder, latents, 16, pieces=Pieces(decoder.wide, None))
    assert_near(tiled, lambda: decoder(latents))


@pytest.mark.parametrize("samples", [1920, 8 * 1920, 20 * 1920 + 5])
def test_a_tiled_encode_is_the_whole_one(encoder: Encoder, samples: int) -> None:
    audio = 0.3 * noise(2, 2, samples)
    tiled, (whole, exact) = encode_tiled(encoder, audio, 3), twice(lambda: encoder(audio))
    for found, expected, true in zip(tiled, whole, exact, strict=True):
        assert_agrees(found, expected, true)


@pytest.mark.parametrize("length", [1, 8, 9, 127, 128, 129, 751])
def test_windows_have_one_length_and_cover_once(length: int) -> None:
    covered: list[int] = []
    sizes = set()
    for window in windows(length, 16, 9):
        assert window.start == 0 or window.first - window.start >= 9
        assert window.stop == length or window.stop - window.last >= 9
        covered += range(window.first, window.last)
        sizes.add(window.stop - window.start)
    assert covered == list(range(length))
    assert sizes == {min(length, 16 + 18)}


def test_a_tile_writes_into_what_it_is_given_and_tells_how_far_it_is(decoder: Decoder) -> None:
    latents = noise(2, 8, 30)
    out = torch.empty(2, 2, 30 * 1920, dtype=torch.float64)
    told: list[tuple[int, int]] = []
    result = decode_tiled(
        decoder, latents, 10, out=out, progress=lambda done, of: told.append((done, of))
    )
    assert result is out
    assert_near(out, lambda: decoder(latents))
    assert told == sorted(told)
    assert len(told) >= 3
    assert told[-1] == (30, 30)


def test_bf16_stays_close(decoder: Decoder, theirs: AutoencoderOobleck) -> None:
    latents = noise(1, 8, 12)
    exact = exactly(lambda: decoder(latents))
    rounded = new_decoder(theirs).bfloat16()(latents.bfloat16())
    half = reference(TINY)
    half.load_state_dict(theirs.state_dict())
    expected = half.bfloat16().decode(latents.bfloat16()).sample
    assert half_excess(rounded, expected, exact) <= 1


@pytest.mark.parametrize("compiling", [False, True])
@pytest.mark.parametrize("dilation", [1, 3, 9])
@pytest.mark.parametrize("length", [1, 35, 36, 37, 100])
def test_a_minimal_filter_is_the_convolution(
    length: int, dilation: int, compiling: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: compiling)
    x, weight = noise(2, 8, 1, length, dtype=torch.float64), noise(8, 8, 1, 7, dtype=torch.float64)
    bias = noise(8, dtype=torch.float64)
    direct = torch.nn.functional.conv2d(
        x, weight, bias, padding=(0, 3 * dilation), dilation=(1, dilation)
    )
    minimal = MinimalConv.of(weight, bias, dilation)
    assert worst(minimal(x), direct) <= 1e-11


def test_a_minimal_filter_in_fp32_errs_as_little_as_it_says() -> None:
    x, weight = noise(1, 64, 1, 400), noise(64, 64, 1, 7) / (64 * 7) ** 0.5
    exact = torch.nn.functional.conv2d(x.double(), weight.double(), padding=(0, 3))
    error = MinimalConv.of(weight, torch.zeros(64), 1)(x) - exact
    # What its transforms lose, whatever the order of sums.
    assert error.pow(2).mean().sqrt() <= 64 * ULP * exact.pow(2).mean().sqrt()


def test_a_prepared_decoder_stays_close_and_its_tiles_exact(
    theirs: AutoencoderOobleck,
) -> None:
    latents, decoder = noise(1, 8, 30), new_decoder(theirs)
    whole, exact = twice(lambda: decoder(latents))
    filter_minimally(decoder, 4)
    assert sum(isinstance(part, MinimalConv) for part in decoder.modules()) == 15
    tiled = decode_tiled(decoder, latents, 9, pieces=Pieces(decoder.wide, 2))
    assert_agrees(tiled, whole, exact, times=MINIMAL_TIMES)
    assert_near(tiled, lambda: decoder(latents))


def test_preparing_filters_wide_layers_of_fp32_on_a_cpu_only(theirs: AutoencoderOobleck) -> None:
    decoder = new_decoder(theirs)
    assert prepare(decoder, compiled=False).run == decoder.wide
    assert not any(isinstance(part, MinimalConv) for part in decoder.modules())  # all narrow
    rounded = new_decoder(theirs).bfloat16()
    assert prepare(rounded, compiled=False) == Pieces(
        rounded.wide, 16
    )  # as many bytes as 8 in fp32
    assert not any(isinstance(part, MinimalConv) for part in rounded.modules())


def test_without_a_compiler_nothing_is_compiled(
    theirs: AutoencoderOobleck, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("headroom.nn.oobleck_tiles.host_compiler", lambda: None)
    decoder = new_decoder(theirs)
    assert prepare(decoder, compiled=True).run == decoder.wide


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.torch.jit.script_method. is:DeprecationWarning")  # its own
def test_compiled_pieces_equal_eager_ones(theirs: AutoencoderOobleck) -> None:
    if host_compiler() is None:
        pytest.skip("no C++ compiler")
    latents, decoder = noise(1, 8, 30), new_decoder(theirs)
    whole, exact = twice(lambda: decoder(latents))
    pieces = prepare(decoder, compiled=True)
    assert pieces.run != decoder.wide
    tiled = decode_tiled(decoder, latents, 16, pieces=pieces)
    assert_agrees(tiled, whole, exact)


@pytest.mark.parametrize("minimal_from", [None, 4])
@pytest.mark.parametrize(("frames", "batch"), [(1, 1), (40, 1), (90, 2)])
def test_decode_bytes_are_what_is_alive_at_the_peak(
    theirs: AutoencoderOobleck, frames: int, batch: int, minimal_from: int | None
) -> None:
    decoder, latents = new_decoder(theirs), noise(batch, 8, frames)
    if minimal_from is not None:
        filter_minimally(decoder, minimal_from)
    out = torch.empty(batch, 2, frames * 1920)
    with Alive() as alive:
        decode_tiled(decoder, latents, 32, pieces=Pieces(decoder.wide, 4), out=out)
    planned = decode_bytes(CONFIG, frames, 32, 4, batch=batch, minimal_from=minimal_from)
    assert alive.peak <= planned <= 1.35 * alive.peak


@pytest.mark.parametrize("minimal_from", [None, 4])
@pytest.mark.parametrize("dilation", [1, 9])
def test_a_residual_unit_holds_as_many_rows_as_is_said(
    dilation: int, minimal_from: int | None
) -> None:
    # Inside a whole decode the upsampling needs more, so there this would go unseen.
    unit, rows, width = oobleck.ResidualUnit(8, dilation), 720, 8
    for parameter in unit.parameters():
        parameter.data.fill_(0.1)
    if minimal_from is not None:
        assert isinstance(unit.conv1, oobleck.Conv)
        bias = unit.conv1.bias
        assert bias is not None
        unit.conv1 = MinimalConv.of(unit.conv1.weight, bias, dilation)
    x = noise(1, width, 1, rows).contiguous(memory_format=torch.channels_last)
    with Alive() as alive:
        unit(x)
    said = (unit_rows(rows, width, dilation, minimal_from) - rows) * width * 4
    assert alive.peak <= said + 2048 <= 1.02 * alive.peak + 4096


@pytest.mark.parametrize(("frames", "batch"), [(3, 1), (40, 2)])
def test_encode_bytes_are_what_is_alive_at_the_peak(
    encoder: Encoder, frames: int, batch: int
) -> None:
    audio = noise(batch, 2, frames * 1920 + 1900)
    out = torch.empty(batch, 8, frames), torch.empty(batch, 8, frames)
    with Alive() as alive:
        encode_tiled(encoder, audio, 8, out=out)
    planned = encode_bytes(CONFIG, frames, 8, batch=batch)
    assert alive.peak <= planned <= 1.35 * alive.peak


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"decoder_channels": -1}, "decoder_channels is -1"),
        ({"downsampling_ratios": [2, 3, 4, 6, 10]}, "must be even"),
        ({"channel_multiples": [1, 2]}, "differ in length"),
        ({"encoder_hidden_size": 17}, "mean and scale"),
        ({"sampling_rate": None}, "sampling_rate is None"),
    ],
)
def test_a_wrong_config_is_refused_by_name(change: dict[str, object], says: str) -> None:
    with pytest.raises(InvalidCheckpoint, match=says):
        OobleckConfig.parse(TINY | change)


def test_a_missing_or_torn_config_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidCheckpoint, match=r"config\.json"):
        OobleckConfig.read(tmp_path)
    (tmp_path / "config.json").write_text("{", "utf-8")
    with pytest.raises(InvalidCheckpoint, match="not JSON"):
        OobleckConfig.read(tmp_path)


@pytest.mark.parametrize("length", [9, 10, 62, 63, 200])
@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
@torch.inference_mode()
def test_taps_set_side_by_side_say_what_a_dilated_convolution_says(
    length: int, layout: torch.memory_format
) -> None:
    """What a card does for the widest dilation, here on the host; no copy but that of the end."""
    draw = torch.Generator().manual_seed(length)
    conv = Conv(16, 16, 7, padding=27, dilation=9)
    for parameter in conv.parameters():
        parameter.copy_(torch.randn(parameter.shape, generator=draw))
    x = torch.randn(2, 16, 1, length, generator=draw).contiguous(memory_format=layout)
    assert_near(folded_conv(conv, x), lambda: conv(x))
