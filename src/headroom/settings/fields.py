"""Declares every environment variable and `.env` key as a typed, frozen setting.

Settings for the use of memory are in `memory`. `Settings.rows` lists the values in force and where
they came from; `example` is the text of `.env.example`.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Annotated, Literal, get_args, get_type_hints

from headroom import paths
from headroom.errors import InvalidRequest
from headroom.settings.declaration import (
    DEVICES,
    SOURCES,
    Setting,
    amount,
    count,
    path,
    switch,
    word,
)
from headroom.settings.declaration import device as device_word
from headroom.settings.declaration import source as source_word
from headroom.settings.memory import MemorySettings

# The prompt that requests codes from a language model: as it was trained; or, for comparison, that
# of ACE-Step's switch `use_legacy_cfg_prompt`, or that of ACE-Step until 2026-04-22.
LMPrompt = Literal["current", "legacy", "closed"]
LM_PROMPTS: tuple[LMPrompt, ...] = get_args(LMPrompt)
DEFAULT = "default"


@dataclass(frozen=True, slots=True)
class Row:
    """One line of `acestep settings`; it does not contain the value of a secret."""

    name: str
    value: str
    source: str
    help: str
    allowed: str
    replaces: tuple[str, ...]


def cache_folder(environ: Mapping[str, str]) -> Path:
    """The folder for files that can be made or fetched again, by each system's convention.

    Raises InvalidRequest if the system has no home folder to put it in.
    """
    variable = {"win32": "LOCALAPPDATA", "darwin": ""}.get(sys.platform, "XDG_CACHE_HOME")
    if named := environ.get(variable):
        return Path(named) / "headroom"
    home = paths.home()
    if home is None:
        allowed = "the path of a folder; it has to be named, as no home folder is known here"
        raise InvalidRequest("HEADROOM_CACHE_DIR", None, allowed)
    usual = {"win32": Path("AppData", "Local"), "darwin": Path("Library", "Caches")}
    return home / usual.get(sys.platform, Path(".cache")) / "headroom"


def checkpoints_folder(cache: Path) -> Path:
    here = Path("checkpoints")
    return here if paths.is_dir(here) else cache / "checkpoints"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings(MemorySettings):
    """The values from the environment and `.env`. Create it with `load`, once."""

    checkpoints_dir: Annotated[
        Path,
        Setting(
            "HEADROOM_CHECKPOINTS_DIR",
            ("ACESTEP_CHECKPOINTS_DIR",),
            "Folder of the model folders.",
            "the path of a folder",
            "./checkpoints where there is one, else checkpoints in the cache folder",
            path,
            elsewhere=True,
        ),
    ] = field(default_factory=lambda: checkpoints_folder(cache_folder(os.environ)))
    cache_dir: Annotated[
        Path,
        Setting(
            "HEADROOM_CACHE_DIR",
            (),
            "Folder for what can be made or fetched again.",
            "the path of a folder",
            "headroom in the system's folder for caches",
            path,
            elsewhere=True,
        ),
    ] = field(default_factory=lambda: cache_folder(os.environ))
    output_dir: Annotated[
        Path,
        Setting(
            "HEADROOM_OUTPUT_DIR",
            ("ACESTEP_OUTPUT_DIR",),
            "Folder for songs whose file is not named.",
            "the path of a folder",
            "outputs",
            path,
            elsewhere=True,
        ),
    ] = Path("outputs")
    model: Annotated[
        str | None,
        Setting(
            "HEADROOM_MODEL",
            ("ACESTEP_CONFIG_PATH",),
            "Model to use, by the name of its folder.",
            "the name of a model folder",
            "the best that is installed",
            str,
        ),
    ] = None
    device: Annotated[
        str,
        Setting(
            "HEADROOM_DEVICE",
            ("ACESTEP_DEVICE",),
            "Device to compute on; cuda and xpu may carry an index, as in cuda:1.",
            "one of " + ", ".join(DEVICES),
            "auto",
            device_word,
        ),
    ] = "auto"
    max_vram: Annotated[
        float | None,
        Setting(
            "HEADROOM_MAX_VRAM",
            ("MAX_CUDA_VRAM",),
            "Use no more of the card's memory than this, in GiB; without a card its tier holds.",
            "a number of GiB above 0",
            "all of it",
            amount,
        ),
    ] = None
    max_duration: Annotated[
        float | None,
        Setting(
            "HEADROOM_MAX_DURATION",
            ("ACESTEP_MAX_DURATION",),
            "Longest song that may be asked for, in seconds.",
            "a number of seconds above 0",
            "what the model and the machine allow",
            amount,
        ),
    ] = None
    max_batch_size: Annotated[
        int | None,
        Setting(
            "HEADROOM_MAX_BATCH_SIZE",
            ("ACESTEP_MAX_BATCH_SIZE",),
            "Most songs that may be asked for at once.",
            "a whole number, at least 1",
            "what the model and the machine allow",
            count,
        ),
    ] = None
    batch_size: Annotated[
        int | None,
        Setting(
            "HEADROOM_BATCH_SIZE",
            ("ACESTEP_BATCH_SIZE",),
            "Songs made at once where a request does not say.",
            "a whole number, at least 1",
            "the request's own default",
            count,
        ),
    ] = None
    genres_file: Annotated[
        Path | None,
        Setting(
            "HEADROOM_GENRES_FILE",
            (),
            "File with a line for each choice of genres; the language model keeps to them.",
            "the path of a file of UTF-8 text",
            "genres_vocab.txt in the folder of the language model, where there is one",
            path,
            elsewhere=True,
        ),
    ] = None
    lm_prompt: Annotated[
        LMPrompt,
        Setting(
            "HEADROOM_LM_PROMPT",
            (),
            "How the language model is asked for codes; other layouts are there to compare.",
            "one of " + ", ".join(LM_PROMPTS),
            "current",
            word(*LM_PROMPTS),
        ),
    ] = "current"
    vae: Annotated[
        str | None,
        Setting(
            "HEADROOM_VAE",
            ("ACESTEP_VAE_CHECKPOINT",),
            "The VAE that decodes in place of the official one.",
            "official, the name of an installed VAE (scragvae), or the path of its folder",
            "official",
            str,
            elsewhere=True,
        ),
    ] = None
    download_source: Annotated[
        str,
        Setting(
            "HEADROOM_DOWNLOAD_SOURCE",
            ("ACESTEP_DOWNLOAD_SOURCE",),
            "Where models are fetched from.",
            "one of " + ", ".join(SOURCES),
            "auto",
            source_word,
        ),
    ] = "auto"
    hf_token: Annotated[
        str | None,
        Setting(
            "HF_TOKEN",
            ("HUGGING_FACE_HUB_TOKEN",),
            "Token for Hugging Face; the released models need none.",
            "a token",
            "none",
            str,
            secret=True,
            elsewhere=True,
        ),
    ] = field(default=None, repr=False)
    no_progress: Annotated[
        bool,
        Setting(
            "HEADROOM_NO_PROGRESS",
            ("ACESTEP_DISABLE_TQDM",),
            "Show no progress bars.",
            "true or false",
            "false",
            switch,
        ),
    ] = False
    sources: tuple[tuple[str, str], ...] = ()  # (field, source of its value); others: default
    unknown: tuple[str, ...] = ()  # names that resemble ours but are not, with the nearest
    ignored: tuple[str, ...] = ()  # the parts of `.env` that are not used, and why

    @property
    def warnings(self) -> tuple[str, ...]:
        """Warnings for the user who set these, one sentence each."""
        return self.unknown + self.ignored

    def vram_for(self, kind: str) -> float | None:
        """The GiB a device of that kind may use: the smallest limit that applies to it, or None."""
        found = self.vram_limit(kind)
        return None if found is None else found[1]

    def vram_limit(self, kind: str) -> tuple[str, float] | None:
        """The same, with the name that set it. Limits of a card do not apply to the host."""
        own = {"mps": "max_mps_vram", "xpu": "max_xpu_vram"}.get(kind, "max_vram")
        if getattr(self, own) is None:
            own = "max_vram"
        fields = ("memory_limit",) if kind == "cpu" else (own, "memory_limit")
        found = [(getattr(self, name), name) for name in fields if getattr(self, name) is not None]
        return None if not found else (self.spelt(min(found)[1]), min(found)[0])

    def source(self, name: str) -> str:
        """The source of a field's value, such as `environment (MAX_CUDA_VRAM)`, or `default`."""
        return dict(self.sources).get(name, DEFAULT)

    def spelt(self, name: str) -> str:
        """The name that set a field's value; the field's own name if none did."""
        old = re.search(r"\((.+)\)", self.source(name))
        return old[1] if old else next(s.name for field_, s in declared() if field_ == name)

    def rows(self) -> tuple[Row, ...]:
        """Every setting, its value, and where the value came from."""
        return tuple(self._row(name, setting) for name, setting in declared())

    def _row(self, name: str, setting: Setting) -> Row:
        value, source = getattr(self, name), self.source(name)
        shown = setting.usual if value is None else str(value)
        if isinstance(value, bool):
            shown = shown.lower()
        if setting.secret and value is not None:
            shown = "(set)"
        return Row(setting.name, shown, source, setting.help, setting.allowed, setting.replaces)


@cache
def declared() -> tuple[tuple[str, Setting], ...]:
    """Every field of Settings that is a setting, with its declaration."""
    hints = get_type_hints(Settings, include_extras=True).items()
    return tuple((name, note) for name, hint in hints for note in getattr(hint, "__metadata__", ()))


def example() -> str:
    """The text of `.env.example`: every setting, commented out."""
    lines = ["# Copy to .env and uncomment what you need. The environment wins over this file.\n"]
    for _, setting in declared():
        lines += [f"# {setting.help}", f"# Allowed: {setting.allowed}. Default: {setting.usual}."]
        if setting.replaces:
            lines.append(f"# Replaces {', '.join(setting.replaces)}.")
        lines.append(f"# {setting.name}=\n")
    return "\n".join(lines)
