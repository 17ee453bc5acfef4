"""A whole pass against the reference's modules, a sampler in NumPy and prompts written out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from headroom.audio import reference as reference_audio
from headroom.audio.reference import reference_cuts
from headroom.audio.wave import Audio
from headroom.diffusion.noise import NoiseStream, draw_noise
from headroom.engine.engine import Engine
from headroom.engine.result import Result
from headroom.models.acestep.networks.dit import DiT
from headroom.models.acestep.rendering import render, source_latents
from headroom.models.acestep.requests.songs import AnyMusicRequest, Cover, Lego, Repaint, Text2Music
from headroom.models.acestep.song.song import Song
from headroom.settings import load
from support import scalar_sampler, synth
from support.near import assert_agrees, exactly, twice
from support.oracle import Tree
from support.ours import made_exactly
from support.scalar_sampler import Case

SIZES = ("2b-like", "xl-like")
SHIFT_3 = [1, 21 / 22, 0.9, 5 / 6, 0.75, 9 / 14, 0.5, 0.3, 0]
GENERATE = "Fill the audio semantic mask based on the given conditions:"
SEMANTIC = "Generate audio semantic tokens based on the given conditions:"
REPAINT = "Repaint the mask area based on the given conditions:"
Trees = Callable[..., Tree]
Engines = Callable[..., tuple[Engine, Tree]]


@pytest.fixture(scope="module")
def engines(trees: Trees) -> Engines:
    made: dict[tuple[str, bool], tuple[Engine, Tree]] = {}

    def get(size: str, turbo: bool) -> tuple[Engine, Tree]:
        if (size, turbo) not in made:
            tree = trees(size, turbo=turbo)
            engine = Engine("cpu", "float32", tree.name, tree.root, settings=load({}, None))
            made[size, turbo] = engine, tree
        return made[size, turbo]

    return get


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Tensor]:
    """140 whole frames and 500 samples more, so that the last frame is not whole."""
    samples = torch.from_numpy(synth.song(6.0))[:, : 140 * 1920 + 500].contiguous()
    path = tmp_path_factory.mktemp("recordings") / "song.wav"
    Audio(samples, 48_000).save(path, "wav32")
    return path, samples


@pytest.fixture
def no_decoder(monkeypatch: pytest.MonkeyPatch) -> None:
    """Latents are all that a test looks at: decoding them would take most of its time."""

    def decode(songs: Sequence[Song], *_: object) -> tuple[Audio, ...]:
        return tuple(Audio(torch.zeros(2, song.kept), 48_000) for song in songs)

    monkeypatch.setattr(render, "decode", decode)


# --- the reference -----------------------------------------------------------------------


@dataclass(frozen=True)
class Words:
    """What the text branch says, as it stands in the prompt."""

    instruction: str
    caption: str
    metas: str = "- bpm: N/A\n- timesignature: N/A\n- keyscale: N/A\n- duration: 10 seconds\n"
    lyrics: str = "# Languages\nunknown\n\n# Lyric\n[Instrumental]"


# The small tokenizer has a token a byte: the printable ones first, as byte-level BPE sorts them.
PRINTABLE = [*range(33, 127), *range(161, 173), *range(174, 256)]
BYTES = [*PRINTABLE, *(b for b in range(256) if b not in PRINTABLE)]
END = 256  # what <|endoftext|> is here; the post-processor appends it once more


def tokens(text: str) -> list[int]:
    return [BYTES.index(byte) for byte in text.encode()]


@dataclass
class Reference:
    """One song by the reference's modules. `source`, `mask` [T, C] fill the context."""

    tree: Tree
    words: Words
    source: Tensor
    mask: Tensor
    after: Words | None = None
    away: Words | None = None
    references: list[Tensor] = field(default_factory=list)

    def caption(self, words: Words) -> list[int]:
        head = (
            f"# Instruction\n{words.instruction}\n\n# Caption\n{words.caption}\n\n"
            f"# Metas\n{words.metas}"
        )
        caption = [*tokens(head), END, *tokens("\n"), END]
        if len(caption) > 256:
            caption = [*caption[:255], END]
        return caption

    def rows(self, words: Words) -> Tensor:
        oracle = self.tree.oracle
        caption = self.caption(words)
        if words is self.after:  # there is room for the tokens of the first prompt
            caption = caption[: len(self.caption(self.words))]
        lyrics = [*tokens(words.lyrics), END, END]
        fixed = self.tree.sizes.dit.timbre_fix_frame
        heard = [] if words is self.away else self.references
        timbre = torch.stack(heard or [oracle.silence[0, :fixed]])
        text = oracle.text(torch.tensor([caption]))[0]
        embedded = oracle.embed(torch.tensor([lyrics]))[0]
        return oracle.condition([text], [embedded], timbre, [0] * len(timbre))[0]

    def run(self, noise: Tensor, case: Case) -> Tensor:
        oracle = self.tree.oracle
        if case.dcw is None and "turbo" in self.tree.name:
            case = replace(case, dcw=("double", 0.05, 0.02, "haar"))  # what turbo does unasked
        context = torch.cat((self.source, self.mask), dim=-1)[None]
        rows = {False: self.rows(self.words)[None]}
        contexts = {False: context}
        if self.after is not None:
            rows[True] = self.rows(self.after)[None]
            contexts[True] = torch.cat((quiet(self.tree, len(noise)), self.mask), dim=-1)[None]

        def model(
            x: scalar_sampler.Array, t: float, conditioned: bool, second: bool
        ) -> scalar_sampler.Array:
            condition = rows[second]
            if not conditioned and self.away is not None:
                condition = self.rows(self.away)[None]
            elif not conditioned:
                condition = oracle.null.expand(1, condition.shape[1], -1)
            latents = torch.from_numpy(x).float()[None]
            return oracle.dit(latents, [t], contexts[second], condition)[0].double().numpy()

        return torch.from_numpy(scalar_sampler.run(model, noise.double().numpy(), case)).float()


def quiet(tree: Tree, frames: int) -> Tensor:
    """Silence [T, C], repeated beyond its length."""
    silence = tree.oracle.silence[0]
    return silence.repeat(-(-frames // len(silence)), 1)[:frames]


def encoded(tree: Tree, samples: Tensor, seed: int, stream: NoiseStream, number: int = 0) -> Tensor:
    """The latents [T, C] the VAE draws for a recording, with the song's own noise."""
    mean, std = (row[0].t() for row in tree.oracle.encode(samples[None]))
    return mean + std * draw_noise([seed], [len(mean)], mean.shape[1], stream, number)[0]


def filled(tree: Tree, latents: Tensor, frames: int) -> Tensor:
    return torch.cat((latents, quiet(tree, frames - len(latents))))


Asked = Callable[[], tuple[Reference, Case]]


def check(result: Result, asked: Asked, seed: int) -> tuple[Tensor, Tensor]:
    """Noise and latents of a single song; the reference's latents, in fp32 and in float64.

    `asked` makes all that the reference is given, so that this too is made in float64.
    """
    (noise,) = result.kept["noise"]
    assert torch.equal(noise, draw_noise([seed], [len(noise)], noise.shape[1])[0])
    return starting(result, lambda: noise, asked)


def starting(result: Result, start: Callable[[], Tensor], asked: Asked) -> tuple[Tensor, Tensor]:
    """The latents of a single song that began as `start`."""

    def run() -> Tensor:
        reference, case = asked()
        return reference.run(start(), case)

    (latents,) = result.kept["latents"]
    expected, exact = twice(run)
    assert_agrees(latents, expected, exact)
    assert expected.std() > 0.3  # agreement means something
    return expected, exact


def sounds_like(result: Result, tree: Tree, latents: tuple[Tensor, Tensor]) -> None:
    """The audio is the decoded latents at -1 dB."""
    samples = result.audio.samples

    def sound(latents: Tensor) -> Tensor:
        audio = tree.oracle.decode(latents.t()[None])[0][:, : samples.shape[1]]
        return audio * (10 ** (-1 / 20) / float(audio.abs().max()))

    assert_agrees(samples, sound(latents[0]), exactly(lambda: sound(latents[1])))


def ones(frames: int, tree: Tree) -> Tensor:
    return torch.ones(frames, tree.sizes.dit.audio_acoustic_hidden_dim)


# --- text2music --------------------------------------------------------------------------


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("seconds", "frames"), [(10, 250), (13, 325)])
def test_turbo_in_eight_steps(size: str, seconds: int, frames: int, engines: Engines) -> None:
    engine, tree = engines(size, True)
    result = engine.generate(
        Text2Music(
            caption="bossa nova",
            lyrics="[Verse]\nla lá",
            vocal_language="pt",
            bpm=96,
            keyscale="F# minor",
            timesignature="3",
            duration=seconds,
            seed=5,
        )
    )
    words = Words(
        GENERATE,
        "bossa nova",
        f"- bpm: 96\n- timesignature: 3\n- keyscale: F# minor\n- duration: {seconds} seconds\n",
        "# Languages\npt\n\n# Lyric\n[Verse]\nla lá",
    )

    def asked() -> tuple[Reference, Case]:
        return Reference(tree, words, quiet(tree, frames), ones(frames, tree)), Case(SHIFT_3)

    latents = check(result, asked, 5)
    sounds_like(result, tree, latents)
    assert result.audio.samples.shape == (2, seconds * 48_000)


@pytest.mark.usefixtures("no_decoder")
def test_a_long_caption_is_cut_where_the_reference_cuts_it(engines: Engines) -> None:
    engine, tree = engines("2b-like", True)
    caption = "a very long description of a piece of music " * 6
    request = Text2Music(caption=caption, duration=10, seed=6, timesteps=(1, 0.5))
    reference = Reference(tree, Words(GENERATE, caption), quiet(tree, 250), ones(250, tree))
    check(engine.generate(request), lambda: (reference, Case([1, 0.5, 0])), 6)


@pytest.mark.usefixtures("no_decoder")
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("interval", [(0.0, 1.0), (0.0, 0.5)])
def test_base_with_projected_guidance(
    size: str, interval: tuple[float, float], engines: Engines
) -> None:
    engine, tree = engines(size, False)
    request = Text2Music(
        caption="rain", duration=10, seed=7, inference_steps=4,
        cfg_interval_start=interval[0], cfg_interval_end=interval[1],
    )  # fmt: skip
    case = Case([1, 0.75, 0.5, 0.25, 0], scale=7.0, interval=interval)
    reference = Reference(tree, Words(GENERATE, "rain"), quiet(tree, 250), ones(250, tree))
    check(engine.generate(request), lambda: (reference, case), 7)


AWAY = Words(GENERATE, "loud drums, distorted")  # and no more than its length


@pytest.mark.usefixtures("no_decoder")
@pytest.mark.parametrize("size", SIZES)
def test_guidance_leads_away_from_a_negative_prompt(size: str, engines: Engines) -> None:
    engine, tree = engines(size, False)
    request = Text2Music(
        caption="rain", lyrics="la", bpm=90, duration=10, seed=7, inference_steps=3,
        negative_prompt="loud drums, distorted", guidance_scale=4, cfg_interval_end=0.9,
    )  # fmt: skip
    metas = "- bpm: 90\n- timesignature: N/A\n- keyscale: N/A\n- duration: 10 seconds\n"
    words = Words(GENERATE, "rain", metas, "# Languages\nunknown\n\n# Lyric\nla")
    case = Case([1, 2 / 3, 1 / 3, 0], scale=4.0, interval=(0, 0.9))
    reference = Reference(tree, words, quiet(tree, 250), ones(250, tree), away=AWAY)
    check(engine.generate(request), lambda: (reference, case), 7)


@pytest.mark.usefixtures("no_decoder")
def test_a_negative_prompt_holds_after_the_cover_switch(engines: Engines) -> None:
    engine, tree = engines("2b-like", False)
    request = Text2Music(
        caption="brass", audio_codes=CODE_TEXT, seed=9, audio_cover_strength=0.5,
        inference_steps=2, guidance_scale=4, negative_prompt="loud drums, distorted",
    )  # fmt: skip
    metas = "- bpm: N/A\n- timesignature: N/A\n- keyscale: N/A\n- duration: 5 seconds\n"

    def asked() -> tuple[Reference, Case]:
        reference = Reference(
            tree,
            Words(SEMANTIC, "brass", metas),
            from_codes(tree, CODES),
            ones(135, tree),
            after=Words(GENERATE, "brass", metas),
            away=replace(AWAY, instruction=SEMANTIC, metas=metas),
        )
        return reference, Case([1, 0.5, 0], scale=4.0, switch=1)

    check(engine.generate(request), asked, 9)


@pytest.mark.usefixtures("no_decoder")
@pytest.mark.parametrize("method", ["sde", "heun"])
@pytest.mark.parametrize("turbo", [True, False])
def test_other_solvers(method: str, turbo: bool, engines: Engines) -> None:
    engine, tree = engines("2b-like", turbo)
    request = Text2Music(
        caption="rain", duration=10, seed=8, inference_steps=3, shift=2, guidance_scale=3,
        infer_method="sde" if method == "sde" else "ode",
        sampler_mode="heun" if method == "heun" else "euler",
    )  # fmt: skip
    times = [1, 0.8, 0.5, 0]  # 2u / (1 + u) at u = 1, 2/3, 1/3
    case = Case(times, method=method, scale=1.0 if turbo else 3.0, heun_last=not turbo)
    if method == "sde":
        # turbo renoises to the next time, base and sft to even steps whatever the shift
        case.levels = times[1:] if turbo else [2 / 3, 1 / 3, 0]
        channels = tree.sizes.dit.audio_acoustic_hidden_dim
        case.fresh = [
            np.asarray(draw_noise([8], [250], channels, NoiseStream.SDE, k)[0], np.float64)
            for k in range(3)
        ]
    reference = Reference(tree, Words(GENERATE, "rain"), quiet(tree, 250), ones(250, tree))
    check(engine.generate(request), lambda: (reference, case), 8)


WAVELETS = [
    (True, {"dcw_mode": "low", "dcw_scaler": 0.3, "dcw_wavelet": "db4"}, ("low", 0.3, 0, "db4")),
    (True, {"dcw_wavelet": "sym8"}, ("double", 0.05, 0.02, "sym8")),
    (True, {"dcw_enabled": False}, ("low", 0, 0, "haar")),
    (
        False,
        {"dcw_enabled": True, "dcw_mode": "high", "dcw_wavelet": "bior3.1", "dcw_scaler": 0.2},
        ("high", 0.2, 0, "bior3.1"),
    ),
]  # fmt: skip


@pytest.mark.usefixtures("no_decoder")
@pytest.mark.parametrize(("turbo", "fields", "dcw"), WAVELETS, ids=lambda v: str(v)[:12])
def test_steps_are_corrected_in_any_wavelet_domain(
    turbo: bool,
    fields: dict[str, object],
    dcw: tuple[str, float, float, str],
    engines: Engines,
) -> None:
    engine, tree = engines("2b-like", turbo)
    request = Text2Music.model_validate(
        {"caption": "rain", "duration": 10.2, "seed": 8, "timesteps": [1, 0.75, 0.5, 0],
         "guidance_scale": 1, **fields}
    )  # fmt: skip
    reference = Reference(tree, Words(GENERATE, "rain"), quiet(tree, 255), ones(255, tree))
    case = Case([1, 0.75, 0.5, 0], dcw=dcw)
    check(engine.generate(request), lambda: (reference, case), 8)


# --- from codes and recordings -----------------------------------------------------------

CODES = [(7919 * i) % 64_000 for i in range(27)]  # 135 frames
CODE_TEXT = "".join(f"<|audio_code_{n}|>" for n in CODES)


def from_codes(tree: Tree, codes: Sequence[int]) -> Tensor:
    oracle = tree.oracle
    return oracle.detokenize(oracle.decode_codes(torch.tensor([list(codes)])))[0]


@pytest.mark.usefixtures("no_decoder")
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("strength", [1.0, 0.5])
def test_codes_guide_as_long_as_the_strength_says(
    size: str, strength: float, engines: Engines
) -> None:
    engine, tree = engines(size, True)
    request = Text2Music(
        caption="brass", audio_codes=CODE_TEXT, seed=9, audio_cover_strength=strength
    )
    metas = "- bpm: N/A\n- timesignature: N/A\n- keyscale: N/A\n- duration: 5 seconds\n"

    def asked() -> tuple[Reference, Case]:
        reference = Reference(
            tree,
            Words(SEMANTIC, "brass", metas),
            from_codes(tree, CODES),
            ones(135, tree),
            after=Words(GENERATE, "brass", metas) if strength < 1 else None,
        )
        return reference, Case(SHIFT_3, switch=int(8 * strength))

    check(engine.generate(request), asked, 9)


@pytest.mark.usefixtures("no_decoder")
def test_a_longer_prompt_after_the_switch_is_cut(engines: Engines) -> None:
    engine, tree = engines("2b-like", True)
    request = Text2Music(
        caption="brass", audio_codes=CODE_TEXT, seed=9, audio_cover_strength=0.5,
        instruction="Play it:", timesteps=(1, 0.5),
    )  # fmt: skip
    metas = "- bpm: N/A\n- timesignature: N/A\n- keyscale: N/A\n- duration: 5 seconds\n"

    def asked() -> tuple[Reference, Case]:
        words, after = Words("Play it:", "brass", metas), Words(GENERATE, "brass", metas)
        source = from_codes(tree, CODES)
        return Reference(tree, words, source, ones(135, tree), after=after), Case(
            [1, 0.5, 0], switch=1
        )

    check(engine.generate(request), asked, 9)


@pytest.mark.usefixtures("no_decoder")
def test_the_switch_comes_under_guidance_too(engines: Engines) -> None:
    engine, tree = engines("2b-like", False)
    request = Text2Music(
        caption="brass", audio_codes=CODE_TEXT, seed=9, audio_cover_strength=0.5,
        inference_steps=4, guidance_scale=4,
    )  # fmt: skip
    metas = "- bpm: N/A\n- timesignature: N/A\n- keyscale: N/A\n- duration: 5 seconds\n"

    def asked() -> tuple[Reference, Case]:
        reference = Reference(
            tree,
            Words(SEMANTIC, "brass", metas),
            from_codes(tree, CODES),
            ones(135, tree),
            after=Words(GENERATE, "brass", metas),
        )
        return reference, Case([1, 0.75, 0.5, 0.25, 0], scale=4.0, switch=2)

    check(engine.generate(request), asked, 9)


@pytest.mark.parametrize("quantised", [True, False])
def test_a_cover_of_a_recording(
    quantised: bool, engines: Engines, recording: tuple[Path, Tensor]
) -> None:
    engine, tree = engines("2b-like", True)
    request = Cover(caption="brass", source_audio=recording[0], seed=10, quantize_source=quantised)
    metas = "- bpm: N/A\n- timesignature: N/A\n- keyscale: N/A\n- duration: 5 seconds\n"

    def asked() -> tuple[Reference, Case]:
        source = encoded(tree, recording[1], 10, NoiseStream.ENCODE)
        assert len(source) == 140
        if quantised:
            source = tree.oracle.detokenize(tree.oracle.tokenize(source[None])[0])[0]
        words = Words(SEMANTIC, "brass", metas)
        return Reference(tree, words, source, ones(140, tree)), Case(SHIFT_3)

    result = engine.generate(request)
    latents = check(result, asked, 10)
    sounds_like(result, tree, latents)


@pytest.mark.ci
@pytest.mark.usefixtures("no_decoder")
def test_a_cover_that_starts_from_the_recording(
    engines: Engines, recording: tuple[Path, Tensor]
) -> None:
    engine, tree = engines("2b-like", True)
    request = Cover(
        caption="brass", source_audio=recording[0], seed=10, cover_noise_strength=0.4,
        audio_cover_strength=0.5,
    )  # fmt: skip
    metas = "- bpm: N/A\n- timesignature: N/A\n- keyscale: N/A\n- duration: 5 seconds\n"
    words, after = (Words(task, "brass", metas) for task in (SEMANTIC, GENERATE))
    result = engine.generate(request)

    def source() -> Tensor:
        return encoded(tree, recording[1], 10, NoiseStream.ENCODE)

    def start() -> Tensor:
        noise, level = result.kept["noise"][0], 9 / 14
        return level * noise + (1 - level) * source()

    def asked() -> tuple[Reference, Case]:
        hinted = tree.oracle.detokenize(tree.oracle.tokenize(source()[None])[0])[0]
        # 0.6 is nearest to 9/14: three steps are left, and the switch counts those
        case = Case([9 / 14, 0.5, 0.3, 0], switch=1)
        return Reference(tree, words, hinted, ones(140, tree), after=after), case

    starting(result, start, asked)


@pytest.mark.usefixtures("no_decoder")
@pytest.mark.parametrize("size", SIZES)
def test_a_repaint_with_injection_and_blend(
    size: str, engines: Engines, recording: tuple[Path, Tensor]
) -> None:
    engine, tree = engines(size, True)
    request = Repaint(
        caption="brass", source_audio=recording[0], seed=11, start=1.0, end=2.1,
        repaint_mode="balanced", repaint_strength=0.6, chunk_mask_mode="explicit",
    )  # fmt: skip
    metas = "- bpm: N/A\n- timesignature: N/A\n- keyscale: N/A\n- duration: 5 seconds\n"

    def asked() -> tuple[Reference, Case]:
        source = encoded(tree, recording[1], 11, NoiseStream.ENCODE)
        region = slice(25, 52)  # 2.1 s are 52.5 frames
        channels, mask = source.clone(), torch.zeros_like(source)
        channels[region], mask[region] = quiet(tree, 140)[region], 1.0
        case = Case(
            SHIFT_3,
            source=source.double().numpy(),
            region=(25, 52),
            inject_steps=3,  # round(0.4 · 8)
            ramp=10,  # round(0.4 · 25)
        )
        return Reference(tree, Words(REPAINT, "brass", metas), channels, mask), case

    check(engine.generate(request), asked, 11)


@pytest.mark.ci
@pytest.mark.usefixtures("no_decoder")
@pytest.mark.parametrize("turbo", [True, False])
def test_a_conservative_repaint_injects_up_to_the_last_step_of_turbo(
    turbo: bool, engines: Engines, recording: tuple[Path, Tensor]
) -> None:
    engine, tree = engines("2b-like", turbo)
    request = Repaint(
        caption="brass", source_audio=recording[0], seed=11, start=1.5, end=2.5,
        repaint_mode="conservative", timesteps=(1, 0.75, 0.5), guidance_scale=1,
    )  # fmt: skip
    metas = "- bpm: N/A\n- timesignature: N/A\n- keyscale: N/A\n- duration: 5 seconds\n"

    def asked() -> tuple[Reference, Case]:
        source = encoded(tree, recording[1], 11, NoiseStream.ENCODE)
        region = slice(37, 62)
        channels, mask = source.clone(), torch.full_like(source, 2.0)
        channels[region] = quiet(tree, 140)[region]
        case = Case(
            [1, 0.75, 0.5, 0] if turbo else [1, 0.75, 0.5],
            source=source.double().numpy(),
            region=(37, 62),
            inject_steps=2,  # of three, or of the two that base makes of such a list
            ramp=25,
        )
        return Reference(tree, Words(REPAINT, "brass", metas), channels, mask), case

    check(engine.generate(request), asked, 11)


@pytest.mark.ci
@pytest.mark.usefixtures("no_decoder")
def test_a_lego_in_a_region_meets_its_source_as_a_repaint_does(
    engines: Engines, recording: tuple[Path, Tensor]
) -> None:
    engine, tree = engines("2b-like", False)
    request = Lego(
        caption="brass", source_audio=recording[0], seed=11, start=1.0, end=2.1, track="brass",
        inference_steps=4, guidance_scale=3, chunk_mask_mode="explicit",
    )  # fmt: skip
    instruction = "Generate the BRASS track based on the audio context:"
    metas = "- bpm: N/A\n- timesignature: N/A\n- keyscale: N/A\n- duration: 5 seconds\n"

    def asked() -> tuple[Reference, Case]:
        source = encoded(tree, recording[1], 11, NoiseStream.ENCODE)
        mask = torch.zeros_like(source)
        mask[25:52] = 1.0
        case = Case(
            [1, 0.75, 0.5, 0.25, 0],
            scale=3.0,
            source=source.double().numpy(),
            region=(25, 52),
            inject_steps=2,  # round(0.5 · 4)
            ramp=12,  # round(0.5 · 25)
        )
        return Reference(tree, Words(instruction, "brass", metas), source, mask), case

    check(engine.generate(request), asked, 11)


def test_a_short_recording_is_filled_with_silence_to_128_frames(
    engines: Engines, tmp_path: Path
) -> None:
    engine, tree = engines("2b-like", True)
    samples = torch.from_numpy(synth.pad(2.0))
    Audio(samples, 48_000).save(tmp_path / "two.wav", "wav32")
    result = engine.generate(Cover(caption="x", source_audio=tmp_path / "two.wav", seed=12))
    metas = "- bpm: N/A\n- timesignature: N/A\n- keyscale: N/A\n- duration: 2 seconds\n"

    def asked() -> tuple[Reference, Case]:
        source = filled(tree, encoded(tree, samples, 12, NoiseStream.ENCODE), 128)
        hinted = tree.oracle.detokenize(tree.oracle.tokenize(source[None])[0])[0][:128]
        words = Words(SEMANTIC, "x", metas)
        return Reference(tree, words, hinted, ones(128, tree)), Case(SHIFT_3)

    latents = check(result, asked, 12)
    assert result.audio.frames == 2 * 48_000
    sounds_like(result, tree, latents)


# --- ragged batches ----------------------------------------------------------------------


RAGGED = (
    Text2Music(caption="slow strings", lyrics="[Verse]\none", duration=10, seed=1),
    Text2Music(caption="a choir", lyrics="[Chorus]\nla la la la", duration=11.24, seed=2),
    Text2Music(caption="drums and bass, fast", duration=13, bpm=170, seed=3),
)


def watch_velocities(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Tensor, Tensor]]:
    """(x, v) of every forward."""
    seen: list[tuple[Tensor, Tensor]] = []
    forward = DiT.forward

    def spy(self: DiT, x: Tensor, *args: object, **options: object) -> Tensor:
        out = forward(self, x, *args, **options)  # type: ignore[arg-type]
        seen.append((x.clone(), out.clone()))
        return out

    monkeypatch.setattr(DiT, "forward", spy)
    return seen


@pytest.mark.usefixtures("no_decoder")
@pytest.mark.parametrize(
    ("turbo", "options"),
    [
        (True, {}),
        (True, {"infer_method": "sde"}),
        (True, {"dcw_enabled": False}),
        (True, {"dcw_wavelet": "db4"}),
        (False, {"guidance_scale": 5.0}),
        (False, {"guidance_scale": 5.0, "sampler_mode": "heun", "dcw_enabled": True}),
        (False, {"guidance_scale": 5.0, "negative_prompt": "loud"}),
        (False, {"guidance_scale": 5.0, "guidance_variant": "adg", "velocity_norm_threshold": 0.5}),
    ],
    ids=lambda value: "-".join(map(str, value)) if isinstance(value, dict) else str(value),
)
def test_a_ragged_batch_is_its_songs_alone(
    turbo: bool, options: dict[str, object], engines: Engines, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, _ = engines("2b-like", turbo)
    asked = [r.model_copy(update={"inference_steps": 3, **options}) for r in RAGGED]
    seen = watch_velocities(monkeypatch)
    together = engine.generate_batch(asked)
    batch = list(seen)
    assert [r.songs[0].frames for r in together] == [250, 280, 325]
    for i, (request, result) in enumerate(zip(asked, together, strict=True)):
        seen.clear()
        alone = engine.generate(request)
        (x_alone, v_alone), forwards = seen[0], len(seen)
        true = made_exactly(engine, request)
        frames = alone.songs[0].frames
        for name in ("noise", "latents", "context"):
            assert not result.kept[name][0][frames:].any()  # padding stays empty
        for name in ("noise", "context"):
            assert torch.equal(result.kept[name][0][:frames], alone.kept[name][0])
        latents, expected, exact = (r.kept["latents"][0, :frames] for r in (result, alone, true))
        assert_agrees(latents, expected, exact, i)
        assert forwards == len(batch) == len(seen) - forwards
        (x, v), (_, v_exact) = batch[0], seen[forwards]
        assert torch.equal(x[i, :frames], x_alone[0])
        one = v[..., i, :frames, :]
        assert_agrees(one, v_alone[..., 0, :, :], v_exact[..., 0, :, :], i)


def test_a_ragged_batch_sounds_as_its_songs_alone(engines: Engines) -> None:
    engine, _ = engines("2b-like", True)
    asked = [r.model_copy(update={"inference_steps": 1}) for r in RAGGED[:2]]
    together = engine.generate_batch(asked)
    for request, result in zip(asked, together, strict=True):
        both = engine.generate(request), made_exactly(engine, request)
        alone, exact = (made.audio.samples for made in both)
        assert_agrees(result.audio.samples, alone, exact)
    assert [r.audio.frames for r in together] == [250 * 1920, 280 * 1920]


@pytest.mark.usefixtures("no_decoder")
@pytest.mark.parametrize("turbo", [True, False])
def test_three_songs_of_one_caption_share_a_condition(
    turbo: bool, engines: Engines, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, _ = engines("2b-like", turbo)
    shared: list[tuple[int, ...]] = []
    encode = render.encode_conditions

    def spy(*args: object) -> object:
        found = encode(*args)  # type: ignore[arg-type]
        shared.append(found.shared)
        return found

    monkeypatch.setattr(render, "encode_conditions", spy)
    request = Text2Music(caption="harp", duration=10, seeds=(4, 5, 6), batch_size=3)
    request = request.model_copy(update={"inference_steps": 3})
    together = engine.generate(request)
    assert shared == [(3,)]
    for i, seed in enumerate((4, 5, 6)):
        one = request.model_copy(update={"seeds": (), "seed": seed, "batch_size": 1})
        alone, true = engine.generate(one), made_exactly(engine, one)
        assert torch.equal(together.kept["noise"][i], alone.kept["noise"][0])
        expected, exact = (made.kept["latents"][0] for made in (alone, true))
        assert_agrees(together.kept["latents"][i], expected, exact, i)


@pytest.mark.usefixtures("no_decoder")
def test_tasks_with_one_sampler_go_through_one_pass(
    engines: Engines, recording: tuple[Path, Tensor]
) -> None:
    """A song from words, one from codes and a cover, of three lengths, beside each other."""
    engine, _ = engines("2b-like", True)
    asked: list[AnyMusicRequest] = [
        Text2Music(caption="flute", duration=10, seed=1),
        Text2Music(caption="flute", audio_codes=CODE_TEXT, seed=2),
        Cover(caption="flute", source_audio=recording[0], seed=3),
    ]
    together = engine.generate_batch(asked)
    assert {len(r.provenance[0].requests) for r in together} == {3}
    for request, result in zip(asked, together, strict=True):
        both = engine.generate(request), made_exactly(engine, request)
        alone, exact = (made.kept["latents"][0] for made in both)
        assert_agrees(result.kept["latents"][0, : len(alone)], alone, exact)


@pytest.mark.usefixtures("no_decoder")
def test_songs_with_and_without_a_negative_prompt_go_apart(engines: Engines) -> None:
    engine, _ = engines("2b-like", False)
    plain = Text2Music(caption="flute", duration=10, seed=1, inference_steps=1)
    led = plain.model_copy(update={"negative_prompt": "loud"})
    both = engine.generate_batch([plain, led])
    assert {len(r.provenance[0].requests) for r in both} == {1}
    one, other = (made.kept["latents"][0] for made in both)
    assert not torch.equal(one, other)


# --- references --------------------------------------------------------------------------


@pytest.mark.usefixtures("no_decoder")
def test_two_references_make_two_rows(
    engines: Engines, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, tree = engines("xl-like", True)
    paths = []
    for name, signal in (("a", synth.voice(1.0)), ("b", synth.drums(2.0, bpm=120))):
        paths.append(tmp_path / f"{name}.wav")
        Audio(torch.from_numpy(signal), 48_000).save(paths[-1], "wav32")
    heard: list[Tensor] = []

    def spy(audio: Audio, seed: int) -> Audio:
        cut = reference_cuts(audio, seed)
        heard.append(cut.samples)
        return cut

    monkeypatch.setattr(source_latents, "reference_cuts", spy)
    monkeypatch.setattr(reference_audio, "CUT", 10 * 1920)  # the small model hears 30 frames
    request = Text2Music(caption="x", duration=10, seed=13, reference_audio=tuple(paths))
    result = engine.generate(request)
    assert [h.shape for h in heard] == [(2, 30 * 1920)] * 2

    def asked() -> tuple[Reference, Case]:
        references = [encoded(tree, h, 13, NoiseStream.REFERENCE, i) for i, h in enumerate(heard)]
        words = Words(GENERATE, "x")
        made = Reference(tree, words, quiet(tree, 250), ones(250, tree), references=references)
        return made, Case(SHIFT_3)

    check(result, asked, 13)
