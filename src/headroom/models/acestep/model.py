"""The ACE-Step 1.5 model: finds its folders, builds networks on meta, composes songs."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path

import torch
from torch import nn

from headroom.audio.wave import Audio
from headroom.errors import InvalidCheckpoint, WeightsMissing
from headroom.hardware.machine import DType, Machine, computing_dtype
from headroom.log import log
from headroom.memory.footprint import Footprint
from headroom.models.acestep.catalogue import BUNDLED as BUNDLED
from headroom.models.acestep.catalogue import CATALOGUE, DIT_KIND, USUAL_DIT, VAE, with_vae
from headroom.models.acestep.catalogue import TEXT_ENCODER as TEXT_FOLDER
from headroom.models.acestep.cost.components import Networks
from headroom.models.acestep.cost.footprint import songs_footprint
from headroom.models.acestep.language.language_acts import LanguageActs
from headroom.models.acestep.networks.checks import read_sizes, spare_note
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
from headroom.models.acestep.networks.config import (
    AceStepConfig,
)
from headroom.models.acestep.networks.dit import DiT, TimePath
from headroom.models.acestep.networks.encoders import DTYPES, Conditioner, text_encoder
from headroom.models.acestep.reasons import reason
from headroom.models.acestep.rendering.assets import Assets
from headroom.models.acestep.rendering.audio_to_codes import EncodeRecording, encode_recording
from headroom.models.acestep.rendering.render import render
from headroom.models.acestep.requests.every import REQUESTS
from headroom.models.acestep.requests.language_requests import (
    CreateSample,
    FormatSample,
    Score,
    Understand,
)
from headroom.models.acestep.requests.recording_requests import AlignLyrics, EncodeAudio
from headroom.models.acestep.requests.songs import AnyMusicRequest, Cover
from headroom.models.acestep.requests.tasks import GENERATE, SourceChannels
from headroom.models.acestep.requests.variants import Variant, check_task, unused, variant_of
from headroom.models.acestep.song.compose import compose
from headroom.models.acestep.song.song import Song
from headroom.models.acestep.text.prompts import PromptTokenizer
from headroom.models.acestep.timestamps.alignment_acts import (
    AlignRecording,
    FindWords,
    align_recording,
    find_words,
)
from headroom.models.acestep.timestamps.timestamps import Timing, timing
from headroom.models.base import Act, Composed, Loader, Numerics, Setup
from headroom.models.outputs import Answer
from headroom.nn.config_fields import read_config
from headroom.nn.oobleck import Decoder, Encoder, FoldedKeys
from headroom.nn.oobleck_tiles import prepare
from headroom.params.clamp import Note
from headroom.params.knob import Limit
from headroom.params.request import Request
from headroom.runtime.compiled import Call, compile_calls
from headroom.runtime.run import Run
from headroom.weights import catalog
from headroom.weights.load import Checkpoint, Recipe, check_complete, load_weights
from headroom.weights.meta_modules import shapes_only
from headroom.weights.silence import load_silence

NANO = "acestep-v15-nano"
_UNUSED_2B = "encoder.timbre_encoder.special_token"  # in the 2B files, never read


class AceStep(LanguageActs):
    """One DiT folder with the VAE and the text encoder next to it.

    Opening reads only headers and configs and compares them with the networks; InvalidCheckpoint
    names every fault. Weights are mapped when a stage first leases their part.
    """

    def __init__(self, item: catalog.Installed, setup: Setup) -> None:
        self.name, self.folder, self._setup = item.name, item.folder, setup
        self.bundled = item.bundled
        beside = dict(item.beside)
        self.vae_folder, self.text_folder = beside[VAE], beside[TEXT_FOLDER]
        self.dtype: DType = computing_dtype(setup.dtype, setup.machine)
        self.compile = setup.compile is not None and setup.compile.decide(self.name, self.dtype)
        self.device = setup.device.torch
        self.config, self.text_config, self.vae_config = read_sizes(
            self.folder, self.text_folder, self.vae_folder
        )
        self.variant: Variant = variant_of(read_config(self.folder), item.name)
        self._spare = self._check()

    # --- called by the engine --------------------------------------------------------------

    @property
    def requests(self) -> tuple[type[Request], ...]:
        return tuple(REQUESTS.values())

    @property
    def notes(self) -> tuple[Note, ...]:
        if not self.bundled:
            return self._spare
        why = reason("bundled_model", model=catalog.MAIN)
        return (Note("model", "the best installed", self.name, why),)

    def limits(self, request: AnyMusicRequest) -> Mapping[str, Limit]:
        return self.variant.limits

    def compose(
        self, request: AnyMusicRequest, seeds: tuple[int, ...], machine: Machine
    ) -> Composed[Song]:
        check_task(request.task, self.variant)
        composed = compose(request, self.variant, seeds)
        return Composed(composed.songs, (*unused(request, self.variant), *composed.notes))

    def together(self, song: Song) -> Hashable:
        return song.sampling, bool(song.negative)

    def footprint(self, songs: tuple[Song, ...]) -> Footprint:
        return songs_footprint(songs, self.networks, self.assets.tokenizer)

    def numerics(self) -> Numerics:
        return Numerics(self.dtype, self.compile)

    def folders(self) -> tuple[Path, ...]:
        return self.folder, self.vae_folder, self.text_folder

    def render(self, songs: tuple[Song, ...], run: Run) -> tuple[Audio, ...]:
        return render(songs, run, self.assets)

    def loaders(self) -> Mapping[str, Loader]:
        c, vae = self.config, self.vae_config
        prefixed, dtype = self._own, DTYPES[self.dtype]
        loaders: dict[str, Loader] = {
            TEXT_ENCODER: partial(
                self._load, lambda: text_encoder(self.text_config), self._text, "", dtype
            ),
            CONDITIONER: partial(self._load, lambda: Conditioner(c), prefixed, "", dtype),
            CODES: partial(self._load, lambda: CodesNetwork(c), prefixed, "", dtype),
            TIME: partial(self._load, lambda: TimePath(c.dit.width), prefixed, "decoder.", dtype),
            DIT: partial(self._load, lambda: DiT(c), prefixed, "decoder.", dtype),
            VAE_ENCODER: partial(self._load, lambda: Encoder(vae), self._vae, "encoder.", dtype),
            VAE_DECODER: self._decoder,
        }
        loaders.update(self.language_loaders())
        if self.compile:
            for name in (DIT, VAE_DECODER):
                loaders[name] = partial(self._compiled, loaders[name])
        return loaders

    # --- requests for something other than songs -------------------------------------------

    def alternatives(self, request: Request) -> tuple[str, ...]:
        return (self.languages or ("",)) if request.uses_language_model else ("",)

    def act(self, request: Request, most_seconds: float, alternative: str) -> Act[Answer]:
        if isinstance(request, EncodeAudio):
            return self.encoding(request.source_audio)
        if isinstance(request, AlignLyrics):
            return self._aligning(request)
        assert isinstance(request, Understand | CreateSample | FormatSample | Score)
        return self.language_act(request, most_seconds, alternative)

    def encoding(self, path: Path) -> EncodeRecording:
        """The work of turning a recording into codes."""
        composed = compose(Cover(source_audio=path), self.variant, (0,))
        cover = self.footprint(composed.songs)
        return encode_recording(composed.songs[0], self.assets, cover, composed.notes)

    def _aligning(self, request: AlignLyrics) -> AlignRecording:
        values = {name: getattr(request, name) for name in request.model_fields_set - {"task"}}
        cover = Cover.model_validate({**values, "instruction": GENERATE, "quantize_source": False})
        composed = compose(cover, self.variant, (0,))
        song = replace(composed.songs[0], channels=SourceChannels.SILENCE)
        needs = self.footprint((song,))
        return align_recording(song, self.assets, self.networks, needs, composed.notes)

    def timing(self, song: Song, tensors: Mapping[str, torch.Tensor]) -> FindWords:
        return self.find_words(timing(song, tensors, self.config, self.assets.tokenizer))

    def find_words(self, task: Timing) -> FindWords:
        """The work of finding when words are sung."""
        return find_words(task, self.networks)

    # --- details -------------------------------------------------------------------------

    @property
    def networks(self) -> Networks:
        return Networks(self.config, self.text_config, self.vae_config, self.dtype)

    @cached_property
    def assets(self) -> Assets:
        silence = load_silence(self.folder, self.config.latent_channels)
        return Assets(
            self.config,
            silence,
            PromptTokenizer.open(self.text_folder, self.text_config.vocabulary),
        )

    @cached_property
    def _own(self) -> Checkpoint:
        return Checkpoint.open(self.folder)

    @cached_property
    def _vae(self) -> Checkpoint:
        return Checkpoint.open(self.vae_folder)

    @cached_property
    def _text(self) -> Checkpoint:
        return Checkpoint.open(self.text_folder)

    def _load(
        self,
        build: Callable[[], nn.Module],
        checkpoint: Checkpoint,
        prefix: str,
        dtype: torch.dtype,
    ) -> nn.Module:
        with shapes_only():
            module = build()
        recipes = folded_recipe if checkpoint is self._vae else None
        # The whole file was compared with all networks when the model was opened; tensors of other
        # components below the same prefix are none of this component's concern.
        unused = set(checkpoint.below(prefix))
        load_weights(module, checkpoint, prefix=prefix, unused=unused, dtype=dtype, recipes=recipes)
        return module

    def _decoder(self) -> nn.Module:
        """The decoder; on a CPU its wide convolutions use minimal filtering."""
        vae, dtype = self.vae_config, DTYPES[self.dtype]
        part = self._load(lambda: Decoder(vae), self._vae, "decoder.", dtype)
        if self.device.type == "cpu" and isinstance(part, Decoder):
            prepare(part, compiled=False)
        return part

    def _compiled(self, load: Loader) -> object:
        """A part with its repeated calls compiled."""
        part = load()
        calls: list[Call] = []
        if isinstance(part, DiT):
            calls = part.pieces()
        if isinstance(part, Decoder):
            calls = [(part, "wide")]
        compile_calls(calls, self.device, self._setup.settings.cache_dir)
        return part

    def _check(self) -> tuple[Note, ...]:
        """Compare the header of every file with the networks, before anything is loaded.

        Returns a note for each file with tensors that no network needs.
        """
        c, vae = self.config, self.vae_config
        with shapes_only():
            whole = Whole(c)
            text = text_encoder(self.text_config)
            codec = {"encoder.": Encoder(vae), "decoder.": Decoder(vae)}
        unused = () if c.timbre_cls else (_UNUSED_2B,)
        spare = {
            self.folder: check_complete(self._own, {"": whole}, unused=unused),
            self.text_folder: check_complete(self._text, {"": text}, unused=("lm_head.weight",)),
            self.vae_folder: check_complete(
                self._vae, codec, recipes=dict.fromkeys(codec, folded_recipe)
            ),
        }
        return tuple(spare_note(folder, names) for folder, names in spare.items() if names)


class Whole(Conditioner):
    """All networks of a DiT file under their names in it; only ever built on meta, to compare."""

    def __init__(self, config: AceStepConfig) -> None:
        super().__init__(config)
        codes = CodesNetwork(config)
        self.tokenizer, self.detokenizer = codes.tokenizer, codes.detokenizer
        self.decoder = DiT(config)
        time = TimePath(config.dit.width)
        self.decoder.add_module("time_embed", time.time_embed)
        self.decoder.add_module("time_embed_r", time.time_embed_r)


def folded_recipe(name: str) -> Recipe | None:
    """How a VAE parameter is made from the file's weight-normed tensors."""
    keys = FoldedKeys()
    return Recipe(keys.needs(name), partial(keys.build, name))


def find_model(setup: Setup) -> catalog.Installed:
    """The folder to open: the one asked for, or the best one installed.

    Raises WeightsMissing for a name that is not installed or lacks what it needs, and
    InvalidCheckpoint for a damaged folder, even if the bundled model could replace it.
    """
    dirs = catalog.checkpoint_dirs(setup.settings, setup.checkpoint_dir)
    items = CATALOGUE.installed(dirs)
    return with_vae(_chosen(setup, dirs, items), items, setup.settings.vae)


def _chosen(
    setup: Setup, dirs: Sequence[Path], items: Sequence[catalog.Installed]
) -> catalog.Installed:
    named = next((i for i in items if i.name == setup.model and i.kind == DIT_KIND), None)
    if setup.model is None:
        best = CATALOGUE.best(items)
        damaged = next((i for i in items if i.kind == DIT_KIND and i.faults), None)
        if damaged is not None and (best is None or best.bundled):
            raise InvalidCheckpoint(damaged.folder, list(damaged.faults))
        if best is None:
            raise WeightsMissing("any", [str(d) for d in dirs], _fetch(USUAL_DIT))
        instead = CATALOGUE.check_named(setup.checkpoint_dir, setup.settings, best)
        if instead is not None:
            log.warning(instead)
        return best
    if named is None:
        CATALOGUE.check_named(setup.checkpoint_dir, setup.settings, None)
        raise WeightsMissing(setup.model, [str(d) for d in dirs], _fetch(setup.model))
    if named.faults:
        raise InvalidCheckpoint(named.folder, list(named.faults))
    if named.lacks:
        lacking = "; ".join(f"{name} is not beside it" for name in named.lacks)
        raise WeightsMissing(setup.model, [f"{named.folder}: {lacking}"], _fetch(setup.model))
    return named


def _fetch(name: str) -> str:
    released = CATALOGUE.models.get(name)
    if released is not None and released.kind == DIT_KIND:
        return f"fetch it with `acestep models download {name}`"
    return "`acestep models list` shows what can be fetched"


def open_model(setup: Setup) -> AceStep:
    """Open a model: the function that `Family.opens` names."""
    return AceStep(find_model(setup), setup)
