"""Does a trained nano make what it is asked for? Every measure beside its own accuracy.

Songs that were never learnt are asked for in the words of the generator and made with the engine.
`asked` is how often what is heard is what was asked for, `exchanged` how often it is what another
song was asked for (what chance and habit give), `ceiling` how often the same measure is right about
the generator's own song. Then the way of a song through encoder and decoder; repaints, whose change
must lie inside their region and must not click at its borders; and covers, which must be nearer to
their source than to another song, in sound and in harmony.

    python benchmarks/nano_quality.py --checkpoint-dir FOLDER [--songs 24] [--seconds 10]

FOLDER is what `training/bundle.py` wrote; without it the bundled model is judged.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "training"))

from headroom.audio.wave import Audio
from headroom.engine.engine import Engine
from headroom.models.acestep.catalogue import BUNDLED
from headroom.models.acestep.requests.songs import request_from
from headroom.nn.oobleck import Decoder, Encoder, FoldedKeys
from headroom.nn.oobleck_layout import OobleckConfig
from headroom.settings import load
from headroom.weights.checkpoint import Checkpoint
from listening import (
    Listener,
    Sound,
    accuracy,
    harmony_likeness,
    loudness_db,
    region_difference_db,
    shares,
    signal_to_distortion_db,
    spectral_distance_db,
    step_at,
)
from music.captions import caption
from music.piece import RATE, Facts, arrange
from music.render import render
from songs import known

NANO = "acestep-v15-nano"
UNSEEN_FIRST = 930_000_000  # seeds of the songs that are asked for
FRAMES_A_SECOND = 25


@dataclass(frozen=True, slots=True)
class Desk:
    """An engine, and a folder for recordings."""

    engine: Engine
    folder: Path

    def made(self, **fields: object) -> Sound:
        """The song of a request, [2, n]."""
        made: Sound = self.engine.generate(request_from(fields)).audio.samples.numpy()
        return made

    def recorded(self, name: str, sound: Sound) -> Path:
        """A file with this sound."""
        samples = torch.from_numpy(np.ascontiguousarray(sound, dtype=np.float32))
        return Audio(samples, RATE).save(self.folder / f"{name}.wav", "wav32", force=True)


def wish(facts: Facts, seed: int) -> dict[str, object]:
    """The request for a song with these facts."""
    return {
        "task": "text2music", "caption": caption(facts, seed, "en"), "bpm": facts.bpm,
        "keyscale": facts.key, "timesignature": str(facts.metre), "duration": facts.seconds,
        "seed": seed % 2**31,
    }  # fmt: skip


def original(seed: int, frames: int) -> Sound:
    """The generator's own song."""
    mix: Sound = render(arrange(known(seed, frames), seed)).mix
    return mix


def steered(desk: Desk, listener: Listener, seeds: range, frames: int) -> dict[str, object]:
    """How often songs are what they were asked to be, and how loud they are."""
    facts = [known(seed, frames) for seed in seeds]
    heard = [
        listener.hear(desk.made(**wish(one, seed))) for one, seed in zip(facts, seeds, strict=True)
    ]
    asked, exchanged = shares(facts, heard), shares([*facts[1:], facts[0]], heard)
    ceiling = accuracy(listener, seeds, frames)
    real = [loudness_db(original(seed, frames)) for seed in seeds]
    return {
        **{name: (asked[name], exchanged[name], ceiling[name]) for name in asked},
        "loudness_db": (float(np.mean([one.loudness_db for one in heard])), float(np.mean(real))),
    }


@torch.no_grad()
def through(folder: Path, seed: int, frames: int) -> tuple[float, float]:
    """Signal-to-distortion and spectral distance in dB of a song that was encoded and decoded."""
    config, checkpoint = OobleckConfig.read(folder / "vae"), Checkpoint.open(folder / "vae")
    parts: list[Encoder | Decoder] = []
    for name, kind in (("encoder.", Encoder), ("decoder.", Decoder)):
        part, keys = kind(config), FoldedKeys(name)
        part.load_state_dict({
            key: keys.build(key, *(checkpoint.read(needed).float() for needed in keys.needs(key)))
            for key in part.state_dict()
        })  # fmt: skip
        parts.append(part.eval())
    sound = original(seed, frames)
    latents, _ = parts[0](torch.from_numpy(sound)[None])
    made = parts[1](latents)[0].numpy()
    return signal_to_distortion_db(sound, made), spectral_distance_db(sound, made)


def repainted(desk: Desk, seed: int, frames: int) -> tuple[float, float, float]:
    """How loud the change of a repaint's middle third is, inside and outside, in dB of the song;
    how large the steps at its borders are beside the others there."""
    sound = original(seed, frames)
    seconds = frames / FRAMES_A_SECOND
    start, stop = seconds / 3, 2 * seconds / 3
    source = desk.recorded("repaint", sound)
    made = desk.made(
        task="repaint", source_audio=source, start=start, end=stop, seed=seed % 2**31,
        caption=caption(known(seed, frames), seed, "en"), bpm=known(seed, frames).bpm,
    )  # fmt: skip
    region = round(start * RATE), round(stop * RATE)
    return (*region_difference_db(sound, made, region), max(step_at(made, at) for at in region))


def covered(desk: Desk, seed: int, frames: int) -> tuple[float, float, float, float]:
    """Spectral distance in dB of a cover to its source, and to another song; likeness of harmony
    to each."""
    sound = original(seed, frames)
    made = desk.made(
        task="cover", source_audio=desk.recorded("cover", sound), seed=seed % 2**31,
        caption=caption(known(seed, frames), seed, "en"), bpm=known(seed, frames).bpm,
    )  # fmt: skip
    other = original(seed + 1, frames)
    return (
        spectral_distance_db(made, sound), spectral_distance_db(made, other),
        harmony_likeness(made, sound), harmony_likeness(made, other),
    )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoint-dir", type=Path, help="folder of the model folders")
    parser.add_argument("--songs", type=int, default=24)
    parser.add_argument("--seconds", type=int, default=10)
    parser.add_argument("--heard", type=int, default=300, help="songs that the listener learns of")
    asked = parser.parse_args()
    frames = asked.seconds * FRAMES_A_SECOND
    seeds = range(UNSEEN_FIRST, UNSEEN_FIRST + asked.songs)
    listener = Listener(asked.heard, frames)
    with tempfile.TemporaryDirectory() as scratch:
        settings = load({"XDG_CACHE_HOME": scratch}, None)
        place = asked.checkpoint_dir or Path(scratch)
        desk = Desk(Engine("cpu", "float32", NANO, place, settings=settings), Path(scratch))
        result = steered(desk, listener, seeds, frames)
        print(f"{'':24}asked  exchanged  ceiling")
        for name, (right, *rest) in result.items():
            shown = "".join(f"{value:11.2f}" for value in rest)
            print(f"{name:22}{right:7.2f}{shown}")
        few = list(seeds)[: max(1, asked.songs // 6)]
        measures: dict[str, Callable[[int], tuple[float, ...]]] = {
            "round_trip_db_distance_db": lambda seed: through(
                asked.checkpoint_dir or BUNDLED, seed, frames
            ),
            "repaint_inside_outside_db_steps": lambda seed: repainted(desk, seed, frames),
            "cover_source_other_db_likeness": lambda seed: covered(desk, seed, frames),
        }
        for name, measure in measures.items():
            result[name] = means = np.mean([measure(seed) for seed in few], axis=0).tolist()
            print(name, *(f"{value:.2f}" for value in means))
    print(json.dumps(result))


if __name__ == "__main__":
    main()
