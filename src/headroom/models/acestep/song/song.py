"""A song with every decision made: the result of `compose`, the input of `render`. No torch.

There are no seconds after `compose`; from here on a length is a number of latent frames (25 per
second). Songs of one batch may differ in everything but their `SamplerSettings`, because the whole
batch shares one pass of the sampler.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from headroom.diffusion.wavelets import HAAR
from headroom.models.acestep.requests.tasks import SourceChannels
from headroom.models.acestep.text.prompts import Metas


@dataclass(frozen=True, slots=True)
class Source:
    """An audio file to work on. Counts are samples at 48 kHz.

    `samples` of the file are used, with silence before and after them (outpainting).
    """

    path: str
    samples: int
    before: int = 0
    after: int = 0

    @property
    def total(self) -> int:
        return self.before + self.samples + self.after


@dataclass(frozen=True, slots=True)
class Region:
    """Latent frames [start, stop) the task may change, and the same in samples at 48 kHz."""

    start: int
    stop: int
    start_sample: int
    stop_sample: int


@dataclass(frozen=True, slots=True)
class Repainting:
    """How a repaint joins its surroundings: injected steps, latent ramp, waveform fade."""

    injected_share: float  # share of the steps
    ramp_frames: int
    fade_seconds: float | None  # None: the waveform is not spliced


@dataclass(frozen=True, slots=True)
class Wavelet:
    """Correction of the step in the wavelet domain (DCW)."""

    mode: str
    scale: float
    high_scale: float
    name: str = HAAR  # of the wavelet


@dataclass(frozen=True, slots=True)
class SamplerSettings:
    """How the sampler runs. Songs with equal Sampling are rendered in one pass.

    `times` is the whole schedule with its end point; for a cover that begins from its source
    (`start_from_source`) it already starts late. `switch` is the first step under the second
    condition.
    """

    times: tuple[float, ...]
    method: str  # ode or sde
    solver: str  # euler or heun
    turbo: bool
    guidance: float  # 1: no guidance
    guidance_variant: str
    guided: tuple[bool, ...]  # by index of `times`
    norm_clamp: float
    ema: float
    wavelet: Wavelet | None
    switch: int
    start_from_source: bool
    repainting: Repainting | None
    noise: str  # headroom or official

    @property
    def steps(self) -> int:
        return len(self.times) - 1

    @property
    def evaluations(self) -> int:
        """The number of velocity evaluations; Heun needs two per step."""
        return self.steps * (2 if self.solver == "heun" else 1)


@dataclass(frozen=True, slots=True)
class Finish:
    """Processing before and after the decoder: affine change of the latents, level and fades.

    tiled  whether decoding is tiled even if the whole song would fit
    """

    latent_shift: float
    latent_rescale: float
    normalise_db: float | None
    fade_in: float  # seconds
    fade_out: float
    tiled: bool


@dataclass(frozen=True, slots=True)
class Song:
    """One song of a batch.

    `frames` are computed (at least 128), `kept` of them are the result. `instruction_after` is the
    instruction after the cover switch; None if there is no switch.
    """

    task: str
    seed: int
    frames: int
    kept: int
    caption: str
    lyrics: str
    language: str
    metas: Metas
    instruction: str
    instruction_after: str | None
    codes: tuple[int, ...]
    channels: SourceChannels
    mask_everywhere: float | None  # None: 1 inside the region, 0 outside
    source: Source | None
    region: Region | None
    references: tuple[str, ...]
    retake_seed: int | None
    retake_variance: float
    sampling: SamplerSettings
    finish: Finish
    model: str
    negative: str = ""  # what guidance leads away from; "" without guidance, or with nothing given

    def __post_init__(self) -> None:
        if not 0 < self.kept <= self.frames:
            raise ValueError(f"{self.kept} frames kept of {self.frames}")
        if self.region and not 0 <= self.region.start < self.region.stop <= self.frames:
            raise ValueError(f"region {self.region} outside {self.frames} frames")


def same_condition(a: Song, b: Song) -> bool:
    """Whether two songs have the same condition, so that one serves both.

    Timbre latents are sampled with the song's seed, so songs with references never share.
    """
    return not a.references and not b.references and _words(a) == _words(b)


def _words(song: Song) -> Song:
    """The song with neutral values for everything that does not affect the condition."""
    plain = replace(song, seed=0, frames=1, kept=1, codes=(), source=None, region=None)
    return replace(plain, retake_seed=None, retake_variance=0.0)
