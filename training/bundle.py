#!/usr/bin/env python3
"""Put the trained parts together: `python training/bundle.py --out FOLDER`.

Writes the four folders of the bundled model: of what `training/checkpoints` keeps, or of the
folders that are named. A language model that is neither kept nor named is an untrained one. At the
end headroom opens the folder and renders a song with it.

--package          write into the package itself: a newer checkpoint becomes the bundled model
--check            compare the package with what would be written, and write nothing
--dit FOLDER       what `dit.py` wrote: DiT, text encoder, tokenizer, silence latent
--vae FOLDER       what `vae.py` wrote: the decoder
--encoder FOLDER   what `encoder.py` wrote
--language FOLDER  what `language.py` wrote: the language model
--song FILE        where the song goes; else it is thrown away
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import time
import zlib
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

import untrained
from headroom.engine.engine import Engine
from headroom.models.acestep.requests.songs import request_from
from headroom.nn.oobleck_layout import OobleckConfig
from headroom.settings import load
from kept import PARTS, find, write_part
from networks import DIT, LM, NANO, TEXT
from oobleck_encoder import Encoder, official

VAE, VAE_FILE, WEIGHTS = "vae", "diffusion_pytorch_model.safetensors", "model.safetensors"
MOST_MEGABYTES = 40  # of the wheel that carries the folders
UNREAD = "encoder.timbre_encoder.special_token"  # in the files of this family; nobody reads it
WISH = {
    "task": "text2music", "caption": "a slow, happy tune on piano, with strings and bass, no drums",
    "bpm": 90, "keyscale": "C major", "duration": 10, "seed": 1,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Parts:
    """Folders of what has been trained."""

    dit: Path | None = None
    vae: Path | None = None
    encoder: Path | None = None
    language: Path | None = None


def write(parts: Parts, out: Path) -> None:
    """The four folders. Raises ValueError for an encoder without a decoder."""
    for name, source in ((DIT, parts.dit), (TEXT, parts.dit), (LM, parts.language)):
        _copy((source or NANO) / name, out / name)
    if parts.dit is not None:
        _complete(out / DIT)
    if parts.vae is None:
        if parts.encoder is not None:
            raise ValueError("an encoder without a decoder: name both, --encoder and --vae")
        _copy(NANO / VAE, out / VAE)
        return
    _copy(parts.vae / VAE, out / VAE)
    _join(out / VAE, parts.encoder)


def kept_parts(scratch: Path, named: Parts) -> Parts:
    """The parts that are `named`, and of what is kept the others, written into `scratch`; the
    untrained language model where no other is kept."""
    found: dict[str, Path | None] = {}
    for part in PARTS:
        found[part], file = getattr(named, part), find(part)
        if found[part] is not None or (file is None and part != "language"):
            continue
        found[part] = folder = scratch / part
        if file is not None:
            write_part(part, file, folder)
        else:
            (folder / LM).mkdir(parents=True)
            untrained.write(folder / LM)
    return Parts(**found)


def differences(package: Path, made: Path) -> list[str]:
    """What two folders of folders do not have in common, a sentence each."""
    names = {
        file.relative_to(place).as_posix()
        for place in (package, made) for file in place.rglob("*") if file.is_file()
    }  # fmt: skip
    faults = []
    for name in sorted(names):
        one, other = package / name, made / name
        if not (one.is_file() and other.is_file()):
            faults.append(f"{name}: {'not made here' if one.is_file() else 'missing'}")
        elif not _same(one, other):
            faults.append(f"{name}: differs")
    return faults


def _same(one: Path, other: Path) -> bool:
    if one.suffix != ".pt":
        return one.read_bytes() == other.read_bytes()
    # its container changes with torch; its values do not
    return torch.equal(*(torch.load(file, weights_only=True) for file in (one, other)))


def _copy(source: Path, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for file in sorted(source.iterdir()):
        shutil.copyfile(file, folder / file.name)  # without the permissions


def _save(tensors: dict[str, Tensor], file: Path) -> None:
    ordered = {name: tensors[name].contiguous() for name in sorted(tensors)}
    with tempfile.TemporaryDirectory() as scratch:
        save_file(ordered, Path(scratch) / file.name, {"format": "pt"})
        shutil.copyfile(Path(scratch) / file.name, file)


def _complete(folder: Path) -> None:
    """Add the key that every official file has and nobody reads."""
    tensors = load_file(folder / WEIGHTS)
    width = json.loads((folder / "config.json").read_text(encoding="utf-8"))["hidden_size"]
    tensors.setdefault(UNREAD, torch.zeros(1, 1, width, dtype=torch.bfloat16))
    _save(tensors, folder / WEIGHTS)


def _join(folder: Path, encoder: Path | None) -> None:
    """Decoder and encoder in one file. Raises ValueError if they are of different sizes."""
    config = OobleckConfig.read(folder)
    tensors = load_file(folder / VAE_FILE)
    if encoder is None:
        torch.manual_seed(0)
        empty = official(Encoder(2).state_dict(), config.encoder_width)
        tensors |= {f"encoder.{name}": value.bfloat16() for name, value in empty.items()}
    else:
        theirs = OobleckConfig.read(encoder / VAE)
        if (theirs.multiples, theirs.ratios) != (config.multiples, config.ratios):
            raise ValueError(f"{encoder}: its encoder is of another size than the decoder")
        tensors |= load_file(encoder / VAE / VAE_FILE)
    _save(tensors, folder / VAE_FILE)


def sizes(folder: Path) -> dict[str, tuple[float, float]]:
    """MB of each folder in `folder`, as they are and compressed as in a wheel."""
    made = {}
    for part in sorted(path for path in folder.iterdir() if path.is_dir()):
        files = [file.read_bytes() for file in sorted(part.iterdir())]
        packed = sum(len(zlib.compress(data, 6)) for data in files)
        made[part.name] = (sum(map(len, files)) / 1e6, packed / 1e6)
    return made


def render(folder: Path, song: Path | None) -> str:
    """Open the folder with headroom, make a song on the CPU, and say how loud it is.

    Raises RuntimeError if another model was opened, or if the song is silent.
    """
    with tempfile.TemporaryDirectory() as cache:
        engine = Engine(
            "cpu", "float32", DIT, folder, settings=load({"XDG_CACHE_HOME": cache}, None)
        )
        before = time.perf_counter()
        audio = engine.generate(request_from(WISH)).audio
        seconds = time.perf_counter() - before
    loud = float(audio.samples.abs().max())
    if not 1e-3 < loud <= 1:
        raise RuntimeError(f"the song's peak is {loud}")
    if song is not None:
        audio.save(song)
    return f"{audio.seconds:g} s of song in {seconds:.1f} s, peak {loud:.3f}"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Put the trained parts of the nano together.")
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--out", type=Path, help="folder for the four folders")
    where.add_argument("--package", action="store_true", help="write into the package itself")
    where.add_argument("--check", action="store_true", help="compare the package, write nothing")
    for name in PARTS:
        parser.add_argument(f"--{name}", type=Path, help="folder of that training")
    parser.add_argument("--song", type=Path, help="keep the song, as this file")
    asked = parser.parse_args(arguments)
    named = Parts(asked.dit, asked.vae, asked.encoder, asked.language)
    with tempfile.TemporaryDirectory() as scratch:
        made = Path(scratch) / "bundle"
        write(kept_parts(Path(scratch), named), made)
        if asked.check:
            faults = differences(NANO, made)
            print("\n".join(faults) or f"{NANO.name}: as it is made here")
            return 1 if faults else 0
        found = sizes(made)
        for name, (plain, packed) in found.items():
            print(f"{name}: {plain:.2f} MB, {packed:.2f} MB compressed")
        total, whole = (sum(one[i] for one in found.values()) for i in (1, 0))
        print(f"together {whole:.2f} MB, {total:.2f} MB compressed")
        if total > MOST_MEGABYTES:
            print(f"more than {MOST_MEGABYTES} MB: nothing is written", file=sys.stderr)
            return 1
        print(render(made, asked.song))
        out: Path = NANO if asked.package else asked.out
        for folder in made.iterdir():
            _copy(folder, out / folder.name)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
