"""Declares the settings that are no options of an engine, and holds the values of all.

`options` has the options of an engine. `Settings.rows` lists the values in force and where
they came from; `example` is the text of `.env.example`.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Literal, get_args

from pydantic import Field

from headroom.settings.declaration import (
    AUTO,
    COUNT,
    FOLDER,
    GIBIBYTES,
    PRIORITY,
    SECONDS,
    SWITCH,
    Setting,
    Takes,
    path,
    settings_of,
    words,
)
from headroom.settings.folders import cache_folder, checkpoints_folder
from headroom.settings.options import CHECKPOINTS, Options
from headroom.settings.remote import Remote
from headroom.settings.serving import Serving

SOURCES = (AUTO, "huggingface", "modelscope")
# The prompt that requests codes from a language model: as it was trained; or, for comparison, that
# of ACE-Step's switch `use_legacy_cfg_prompt`, or that of ACE-Step until 2026-04-22.
LMPrompt = Literal["current", "legacy", "closed"]
LM_PROMPTS: tuple[LMPrompt, ...] = get_args(LMPrompt)
DEFAULT, GIVEN = "default", "given"
PLACES, MEMORY, LIMITS, MODELS = "Places", "Memory", "Limits", "Models"
_LARGEST = "what the model and the machine allow"


@dataclass(frozen=True, slots=True)
class Row:
    """One line of `acestep settings`; it does not contain the value of a secret."""

    name: str
    value: str
    source: str
    help: str
    allowed: str
    replaces: tuple[str, ...]


class Settings(Remote, Serving):
    """The options of an engine, and what else is set for this machine. Create it with `load`, once.

    sources  (field, source of its value); others have their default
    unknown  names that resemble ours but are not, with the nearest
    ignored  the parts of `.env` that are not used, and why
    """

    checkpoints_dir: Annotated[
        Path,
        Setting(
            PLACES,
            "folder of the model folders",
            left_open=CHECKPOINTS,
            takes=FOLDER,
            replaces=("ACESTEP_CHECKPOINTS_DIR",),
            elsewhere=True,
        ),
    ] = Field(default_factory=lambda: checkpoints_folder(cache_folder(os.environ)))
    cache_dir: Annotated[
        Path,
        Setting(
            PLACES,
            "folder for what can be made or fetched again",
            left_open="headroom in the system's folder for caches",
            takes=FOLDER,
            elsewhere=True,
        ),
    ] = Field(default_factory=lambda: cache_folder(os.environ))
    output_dir: Annotated[
        Path,
        Setting(
            PLACES,
            "folder for songs whose file is not named",
            takes=FOLDER,
            replaces=("ACESTEP_OUTPUT_DIR",),
            elsewhere=True,
        ),
    ] = Path("outputs")
    max_vram: Annotated[
        float | None,
        Setting(
            MEMORY,
            "use no more of the card's memory than this, in GiB; without a card its tier holds",
            left_open="all of it",
            takes=GIBIBYTES,
            replaces=("MAX_CUDA_VRAM",),
        ),
    ] = None
    max_mps_vram: Annotated[
        float | None,
        Setting(
            MEMORY,
            "the same as HEADROOM_MAX_VRAM, on Apple's devices only",
            left_open="HEADROOM_MAX_VRAM",
            takes=GIBIBYTES,
            replaces=("MAX_MPS_VRAM",),
        ),
    ] = None
    max_xpu_vram: Annotated[
        float | None,
        Setting(
            MEMORY,
            "the same as HEADROOM_MAX_VRAM, on Intel's devices only",
            left_open="HEADROOM_MAX_VRAM",
            takes=GIBIBYTES,
            replaces=("MAX_XPU_VRAM",),
        ),
    ] = None
    memory_limit: Annotated[
        float | None,
        Setting(
            MEMORY,
            "another limit of the device's memory, in GiB; the smaller one holds",
            takes=GIBIBYTES,
            replaces=("ACESTEP_MEMORY_LIMIT_GB",),
        ),
    ] = None
    cards_dir: Annotated[
        Path | None,
        Setting(
            MEMORY,
            "folder of the accounts that processes keep of a card they share, one for all of them",
            left_open="cards in the cache folder",
            takes=FOLDER,
            elsewhere=True,
        ),
    ] = None
    gpu_priority: Annotated[
        int,
        Setting(
            MEMORY,
            "whose work goes first where several processes wait for a card: the highest",
            takes=PRIORITY,
        ),
    ] = 0
    gpu_wait: Annotated[
        float,
        Setting(
            MEMORY,
            "seconds to wait for memory that other programs hold on the card",
            takes=SECONDS,
        ),
    ] = 60.0
    vae_on_cpu: Annotated[
        bool,
        Setting(MEMORY, "decode on the host", takes=SWITCH, replaces=("ACESTEP_VAE_ON_CPU",)),
    ] = False
    decode_tile: Annotated[
        int | None,
        Setting(
            MEMORY,
            "latent frames a tile of decoding",
            left_open="the largest that fits",
            takes=COUNT,
            replaces=("ACESTEP_VAE_DECODE_CHUNK_SIZE",),
        ),
    ] = None
    alloc_conf: Annotated[
        str | None,
        Setting(
            MEMORY,
            "options of torch's allocator, in its own words; set before CUDA starts",
            left_open="growing segments, where torch has them",
            takes=Takes("as torch documents it"),
            name="PYTORCH_CUDA_ALLOC_CONF",
        ),
    ] = None
    max_duration: Annotated[
        float | None,
        Setting(
            LIMITS,
            "longest song that may be asked for, in seconds",
            left_open=_LARGEST,
            takes=SECONDS,
            replaces=("ACESTEP_MAX_DURATION",),
        ),
    ] = None
    max_batch_size: Annotated[
        int | None,
        Setting(
            LIMITS,
            "most songs that may be asked for at once",
            left_open=_LARGEST,
            takes=COUNT,
            replaces=("ACESTEP_MAX_BATCH_SIZE",),
        ),
    ] = None
    batch_size: Annotated[
        int | None,
        Setting(
            LIMITS,
            "songs made at once where a request does not say",
            left_open="the request's own default",
            takes=COUNT,
            replaces=("ACESTEP_BATCH_SIZE",),
        ),
    ] = None
    genres_file: Annotated[
        Path | None,
        Setting(
            MODELS,
            "file with a line for each choice of genres; the language model keeps to them",
            left_open="genres_vocab.txt in the folder of the language model, where there is one",
            takes=Takes("the path of a file of UTF-8 text", path, (str, Path)),
            elsewhere=True,
        ),
    ] = None
    lm_prompt: Annotated[
        LMPrompt,
        Setting(
            MODELS,
            "how the language model is asked for codes; other layouts are there to compare",
            takes=words(*LM_PROMPTS),
        ),
    ] = "current"
    vae: Annotated[
        str | None,
        Setting(
            MODELS,
            "the VAE that decodes in place of the official one",
            left_open="official",
            takes=Takes(
                "official, the name of an installed VAE (scragvae), or the path of its folder"
            ),
            replaces=("ACESTEP_VAE_CHECKPOINT",),
            elsewhere=True,
        ),
    ] = None
    download_source: Annotated[
        str,
        Setting(
            MODELS,
            "where models are fetched from",
            takes=words(*SOURCES),
            replaces=("ACESTEP_DOWNLOAD_SOURCE",),
        ),
    ] = AUTO
    hf_token: Annotated[
        str | None,
        Setting(
            MODELS,
            "token for Hugging Face; the released models need none",
            takes=Takes("a token"),
            name="HF_TOKEN",
            replaces=("HUGGING_FACE_HUB_TOKEN",),
            secret=True,
            elsewhere=True,
        ),
    ] = Field(default=None, repr=False)
    no_progress: Annotated[
        bool,
        Setting(
            "Output", "show no progress bars", takes=SWITCH, replaces=("ACESTEP_DISABLE_TQDM",)
        ),
    ] = False
    sources: tuple[tuple[str, str], ...] = ()
    unknown: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()

    @property
    def accounts(self) -> Path:
        """The folder of the accounts of cards."""
        return self.cache_dir / "cards" if self.cards_dir is None else self.cards_dir

    @property
    def warnings(self) -> tuple[str, ...]:
        """Warnings for the user who set these, one sentence each."""
        return self.unknown + self.ignored

    def under(self, options: Options) -> Settings:
        """What is in force: the options, and these settings for those that were not given."""
        given = {
            name: value for name, value in options.given.items() if name in Options.model_fields
        }
        sources = dict(self.sources) | dict.fromkeys(given, GIVEN)
        return self.model_copy(update={**given, "sources": tuple(sources.items())})

    def vram_for(self, kind: str) -> float | None:
        """The GiB a device of that kind may use: the smallest limit that applies to it, or None."""
        limit = self.vram_limit(kind)
        return None if limit is None else limit[1]

    def vram_limit(self, kind: str) -> tuple[str, float] | None:
        """The same, with the name that set it. Limits of a card do not apply to the host."""
        field = {"mps": "max_mps_vram", "xpu": "max_xpu_vram"}.get(kind, "max_vram")
        if getattr(self, field) is None:
            field = "max_vram"
        fields = ("memory_limit",) if kind == "cpu" else (field, "memory_limit")
        limits = [(getattr(self, name), name) for name in fields if getattr(self, name) is not None]
        return None if not limits else (self.spelt(min(limits)[1]), min(limits)[0])

    def source(self, name: str) -> str:
        """The source of a field's value, such as `environment (MAX_CUDA_VRAM)`, or `default`."""
        return dict(self.sources).get(name, DEFAULT)

    def spelt(self, name: str) -> str:
        """The name that set a field's value; the field's own name if none did."""
        old = re.search(r"\((.+)\)", self.source(name))
        return old[1] if old else settings_of(Settings)[name].name

    def rows(self) -> tuple[Row, ...]:
        """Every setting, its value, and where the value came from."""
        return tuple(self._row(setting) for _, setting in declared())

    def _row(self, setting: Setting) -> Row:
        value = getattr(self, setting.field)
        shown = setting.usual if value is None else str(value)
        if isinstance(value, bool):
            shown = shown.lower()
        if setting.secret and value is not None:
            shown = "(set)"
        return Row(
            setting.name, shown, self.source(setting.field), setting.sentence,
            setting.takes.allowed, setting.replaces,
        )  # fmt: skip


@cache
def declared() -> tuple[tuple[str, Setting], ...]:
    """Every field that has a variable, with its declaration."""
    return tuple((name, one) for name, one in settings_of(Settings).items() if one.name)


def example() -> str:
    """The text of `.env.example`: every setting, commented out."""
    lines = ["# Copy to .env and uncomment what you need. The environment wins over this file.\n"]
    for _, setting in declared():
        lines += [f"# {setting.sentence}"]
        lines.append(f"# Allowed: {setting.takes.allowed}. Default: {setting.usual}.")
        if setting.replaces:
            lines.append(f"# Replaces {', '.join(setting.replaces)}.")
        lines.append(f"# {setting.name}=\n")
    return "\n".join(lines)
