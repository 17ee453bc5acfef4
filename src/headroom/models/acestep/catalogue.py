"""ACE-Step 1.5's released models, and how its model folders are recognised. No torch.

Source: ACE-Step 1.5, released repositories and checkpoint layout; sizes are those of the files,
rounded.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

from headroom import paths
from headroom.errors import InvalidCheckpoint, WeightsMissing
from headroom.weights.catalog import Catalogue, Installed, Kind, ReleasedModel, inspect

BUNDLED = Path(__file__).parent / "nano"
LM_PREFIX = "acestep-5Hz-lm-"  # prefix of the released models' names
VAE = "vae"
TEXT_ENCODER = "Qwen3-Embedding-0.6B"
DIT_KIND = Kind("dit", ("config.json", "silence_latent.pt"), (VAE, TEXT_ENCODER), "DiT")
LM_KIND = Kind("lm", ("config.json", "tokenizer.json"))
VAE_KIND = Kind("vae", ("config.json",))
TEXT_KIND = Kind("text_encoder", ("config.json", "tokenizer.json"))
_BUNDLE = "ACE-Step/Ace-Step1.5"
_CODES = b"<|audio_code_"  # marks, in the tokenizer, a language model that plans songs
_QWEN3_WORDS = 151_936  # vocabulary rows of Qwen3 as published


def _in_main(name: str, kind: Kind, megabytes: int, about: str) -> ReleasedModel:
    return ReleasedModel(name, kind, _BUNDLE, name, megabytes * 10**6, about)


def _own(name: str, kind: Kind, megabytes: int, about: str) -> ReleasedModel:
    return ReleasedModel(name, kind, f"ACE-Step/{name}", "", megabytes * 10**6, about)


def _named(name: str, about: str) -> ReleasedModel:
    return ReleasedModel(name, DIT_KIND, "", "", 0, f"{about}; not published", official=False)


USUAL_DIT, USUAL_LM = "acestep-v15-turbo", "acestep-5Hz-lm-1.7B"
_MODELS = (
    # In the order in which `best` prefers them.
    _in_main(USUAL_DIT, DIT_KIND, 4792, "2B, 8 steps; where to begin"),
    _own("acestep-v15-xl-turbo", DIT_KIND, 9978, "4B, 8 steps"),
    _own("acestep-v15-turbo-shift3", DIT_KIND, 4792, "2B, 8 steps, schedule bent by 3"),
    _own("acestep-v15-turbo-continuous", DIT_KIND, 4792, "2B, 8 steps, any schedule"),
    _own("acestep-v15-turbo-shift1", DIT_KIND, 4792, "2B, 8 steps, even schedule"),
    _own("acestep-v15-sft", DIT_KIND, 4792, "2B, guided, 50 steps"),
    _own("acestep-v15-xl-sft", DIT_KIND, 9978, "4B, guided, 50 steps"),
    _own("acestep-v15-base", DIT_KIND, 4792, "2B, guided, 50 steps; all tasks, stems too"),
    _own("acestep-v15-xl-base", DIT_KIND, 9978, "4B, guided, 50 steps; all tasks, stems too"),
    # Names in the official code's table of model code that have no repository.
    _named("acestep-v15-turbo-rl", "2B, 8 steps"),
    _named("acestep-v15-turbo-fix-inst-shift3", "2B, 8 steps, schedule bent by 3"),
    _named("acestep-v15-turbo-fix-inst-shift-continuous", "2B, 8 steps, any schedule"),
    _named("acestep-v15-turbo-fix-inst-shift-dynamic", "2B, 8 steps"),
    _named("acestep-v15-base-sft-fix-inst", "2B, guided, 50 steps"),
    _in_main(USUAL_LM, LM_KIND, 3724, "plans songs"),
    _own("acestep-5Hz-lm-0.6B", LM_KIND, 1342, "plans songs; the smallest"),
    _own("acestep-5Hz-lm-4B", LM_KIND, 8395, "plans songs; the largest"),
    _in_main(VAE, VAE_KIND, 337, "latents to sound and back; every DiT needs it"),
    _in_main(TEXT_ENCODER, TEXT_KIND, 1207, "reads captions; every DiT needs it"),
    # By the community; in the official code's list of VAEs.
    ReleasedModel("scragvae", VAE_KIND, "scragnog/Ace-Step-1.5-ScragVAE", "", 337 * 10**6,
          "another decoder, used where the setting `vae` names it", official=False),
)  # fmt: skip


def _kind_of(folder: Path, config: Mapping[str, object]) -> Kind | None:
    """A DiT, a VAE, or a language model that plans songs."""
    if config.get("audio_acoustic_hidden_dim") is not None or config.get("model_type") == "acestep":
        return DIT_KIND
    if config.get("_class_name") == "AutoencoderOobleck":
        return VAE_KIND
    words = config.get("vocab_size")
    if config.get("model_type") == "qwen3" and isinstance(words, int):
        return LM_KIND if words > _QWEN3_WORDS or _writes_codes(folder) else None
    return None


def _writes_codes(folder: Path) -> bool:
    """Whether the tokenizer beside a small language model has the audio codes."""
    path = folder / "tokenizer.json"
    try:
        return paths.is_file(path) and _CODES in path.read_bytes()
    except OSError:
        return False


CATALOGUE = Catalogue(
    models=MappingProxyType({model.name: model for model in _MODELS}),
    main=_BUNDLE,
    core=DIT_KIND,
    usual=USUAL_DIT,
    usual_lm=USUAL_LM,
    kind_of=_kind_of,
    bundled=BUNDLED,
)


def with_vae(item: Installed, items: Iterable[Installed], name: str | None) -> Installed:
    """A DiT with another VAE, given by the name of an installed one or by its folder. `official` or
    None keeps its own; the bundled model always keeps its own.

    Raises WeightsMissing and InvalidCheckpoint.
    """
    if name is None or name == "official" or item.bundled:
        return item
    installed = {vae.name: vae.folder for vae in items if vae.kind == VAE_KIND and not vae.bundled}
    folder = installed.get(name) or paths.expanded(name, "vae")
    if not paths.is_dir(folder):
        how = "allowed: official, the name of a VAE that is here, or the path of its folder"
        if name in CATALOGUE.models:
            how = f"fetch it with `acestep models download {name}`"
        raise WeightsMissing(name, [str(place) for place in installed.values()], how)
    if faults := inspect(folder, VAE_KIND):
        raise InvalidCheckpoint(folder, list(faults))
    return replace(item, beside=tuple((n, folder if n == VAE else f) for n, f in item.beside))
