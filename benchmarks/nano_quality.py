"""Does a trained nano make what it is asked for? Every measure beside its own accuracy.

Songs that were never learnt are asked for in the words of the generator and made with the engine.
`asked` is how often what is heard is what was asked for, `exchanged` how often it is what another
song was asked for (what chance and habit give), `ceiling` how often the same measure is right about
the generator's own song. Then the way of a song through encoder and decoder; repaints, whose change
must lie inside their region, stay in key and leave no seam; covers with another melody instrument,
which must follow the harmony of their source and of no other song; and what the language model
does: sheets that say what a wish says, sheets of songs that it hears, songs that it thought out.

    python benchmarks/nano_quality.py --checkpoint-dir FOLDER [--songs 50] [--seconds 10]

FOLDER is what `training/bundle.py` wrote; without it the bundled model is judged.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "training"))

from headroom.audio.wave import Audio
from headroom.engine.engine import Engine
from headroom.models.acestep.catalogue import BUNDLED
from headroom.models.acestep.requests.every import any_request_from
from headroom.models.outputs import SongSheet
from headroom.nn.oobleck import Decoder, Encoder, FoldedKeys
from headroom.nn.oobleck_layout import OobleckConfig
from headroom.settings import load
from headroom.weights.checkpoint import Checkpoint
from listening import (
    NEAR,
    Listener,
    Sound,
    accuracy,
    harmony_likeness,
    jump_at,
    key,
    loudness_db,
    region_difference_db,
    relative,
    shares,
    signal_to_distortion_db,
    spectral_distance_db,
    step_at,
)
from music.captions import FAST, SLOW, caption
from music.piece import RATE, Facts, arrange
from music.render import render
from music.timbres import MELODIC
from songs import known

NANO = "acestep-v15-nano"
UNSEEN_FIRST = 930_000_000  # seeds of the songs that are asked for
FRAMES_A_SECOND = 25


T = TypeVar("T")
Row = dict[str, float]


@dataclass(frozen=True, slots=True)
class Desk:
    """An engine, and a folder for recordings."""

    engine: Engine
    folder: Path

    def made(self, **fields: object) -> Sound:
        """The song of a request, [2, n]."""
        made: Sound = self.engine.generate(any_request_from(fields)).audio.samples.numpy()
        return made

    def sheet(self, **fields: object) -> SongSheet:
        """The song sheet of a request."""
        made = self.engine.perform(any_request_from(fields)).output
        assert isinstance(made, SongSheet)
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


def steered(
    desk: Desk, listener: Listener, seeds: range, frames: int, **more: object
) -> tuple[Row, Row, float]:
    """How often songs are what they were asked to be, and what another song was; how loud they
    are in dB. `more`: fields of every request."""
    facts = [known(seed, frames) for seed in seeds]
    heard = [
        listener.hear(desk.made(**wish(one, seed), **more))
        for one, seed in zip(facts, seeds, strict=True)
    ]
    asked, exchanged = shares(facts, heard), shares(rotated(facts), heard)
    return asked, exchanged, float(np.mean([one.loudness_db for one in heard]))


def rotated(rows: Sequence[T]) -> list[T]:
    """Each song's place taken by the next one's."""
    return [*rows[1:], rows[0]]


def means(rows: Sequence[Row]) -> Row:
    """The mean of each figure."""
    return {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}


@torch.no_grad()
def through(folder: Path, seed: int, frames: int) -> Row:
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
    return {
        "signal_to_distortion_db": signal_to_distortion_db(sound, made),
        "spectral_distance_db": spectral_distance_db(sound, made),
    }


def repainted(desk: Desk, seed: int, frames: int) -> Row:
    """A song whose middle third is made anew: how loud the change is inside and outside in dB of
    the song, whether the inside is in key, and how its borders stand out as steps of the wave and
    as jumps of the spectrum."""
    facts, sound = known(seed, frames), original(seed, frames)
    seconds = frames / FRAMES_A_SECOND
    start, stop = seconds / 3, 2 * seconds / 3
    made = desk.made(
        task="repaint", source_audio=desk.recorded("repaint", sound), start=start, end=stop,
        seed=seed % 2**31, caption=caption(facts, seed, "en"), bpm=facts.bpm, keyscale=facts.key,
    )  # fmt: skip
    region = round(start * RATE), round(stop * RATE)
    inside, outside = region_difference_db(sound, made, region)
    return {
        "inside_db": inside, "outside_db": outside,
        "in_key": in_key(facts, made[:, slice(*region)]),
        "in_key_ceiling": in_key(facts, sound[:, slice(*region)]),
        "step": max(step_at(made, at) for at in region),
        "jump": max(jump_at(made, at) for at in region),
        "jump_ceiling": max(jump_at(sound, at) for at in region),
    }  # fmt: skip


def in_key(facts: Facts, sound: Sound) -> float:
    """1 if the key that is heard is the song's or its relative, else 0."""
    heard = key(sound)
    return float(facts.key in (heard, relative(heard)))


def covered(desk: Desk, listener: Listener, seed: int, frames: int) -> Row:
    """A cover with another melody instrument: its harmony's likeness to its source and to another
    song, its spectral distance to both, and whether the instrument is the new one or the old."""
    facts, sound = known(seed, frames), original(seed, frames)
    others = [name for name in MELODIC if name != facts.melody]
    wanted = replace(facts, melody=others[seed % len(others)])
    made = desk.made(
        task="cover", source_audio=desk.recorded("cover", sound), seed=seed % 2**31,
        caption=caption(wanted, seed, "en"), bpm=facts.bpm, keyscale=facts.key,
    )  # fmt: skip
    other, melody = original(seed + 1, frames), listener.hear(made).melody
    return {
        "likeness": harmony_likeness(made, sound), "likeness_other": harmony_likeness(made, other),
        "distance_db": spectral_distance_db(made, sound),
        "distance_other_db": spectral_distance_db(made, other),
        "new_melody": float(melody == wanted.melody), "old_melody": float(melody == facts.melody),
    }  # fmt: skip


def says(sheet: SongSheet, facts: Facts) -> Row:
    """What of a wish a sheet says: tempo word, mood as mode, both instruments by name."""
    fast, told = int(facts.bpm >= SLOW) + (facts.bpm >= FAST), sheet.caption.lower()
    word = None if sheet.bpm is None else int(sheet.bpm >= SLOW) + (sheet.bpm >= FAST)
    return {
        "tempo word": float(word == fast),
        "mode": float((sheet.keyscale or "").split()[-1:] == [facts.mode]),
        "melody": float(facts.melody in told), "chords": float(facts.chords in told),
    }  # fmt: skip


def understands(sheet: SongSheet, facts: Facts) -> Row:
    """What of a song a sheet says that was heard in its audio codes."""
    ratios = [(sheet.bpm or 0) / facts.bpm * octave for octave in (0.5, 1, 2)]
    keys = () if sheet.keyscale is None else (sheet.keyscale, relative(sheet.keyscale))
    return {
        "tempo or its octave": float(any(abs(ratio - 1) <= NEAR for ratio in ratios)),
        "key or its relative": float(facts.key in keys),
    }


def written(desk: Desk, seeds: range, frames: int) -> dict[str, Row]:
    """Sheets invented from wishes and sheets of songs, each beside itself held against another
    song."""
    facts = [known(seed, frames) for seed in seeds]
    invented = [
        desk.sheet(task="create_sample", caption=caption(one, seed, "en"), seed=seed % 2**31)
        for one, seed in zip(facts, seeds, strict=True)
    ]
    heard = [
        desk.sheet(
            task="understand", source_audio=desk.recorded("heard", original(seed, frames)),
            seed=seed % 2**31,
        )
        for seed in seeds
    ]  # fmt: skip
    found = {}
    for name, sheets, agreement in (
        ("sheet", invented, says), ("understood", heard, understands),
    ):  # fmt: skip
        for kind, wanted in (("", facts), (" exchanged", rotated(facts))):
            rows = [agreement(one, other) for one, other in zip(sheets, wanted, strict=True)]
            found[f"{name}{kind}"] = means(rows)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoint-dir", type=Path, help="folder of the model folders")
    parser.add_argument("--songs", type=int, default=50)
    parser.add_argument("--changed", type=int, default=12, help="songs that are changed")
    parser.add_argument("--seconds", type=int, default=10)
    parser.add_argument("--heard", type=int, default=300, help="songs that the listener learns of")
    parser.add_argument("--no-language", action="store_true", help="leave the language model out")
    asked = parser.parse_args()
    frames = asked.seconds * FRAMES_A_SECOND
    seeds = range(UNSEEN_FIRST, UNSEEN_FIRST + asked.songs)
    few = seeds[: asked.changed]
    listener = Listener(asked.heard, frames)
    with tempfile.TemporaryDirectory() as scratch:
        settings = load({"XDG_CACHE_HOME": scratch}, None)
        place = asked.checkpoint_dir or Path(scratch)
        desk = Desk(Engine("cpu", "float32", NANO, place, settings=settings), Path(scratch))
        right, exchanged, loud = steered(desk, listener, seeds, frames)
        found: dict[str, Row] = {
            "asked": right, "exchanged": exchanged, "ceiling": accuracy(listener, seeds, frames),
            "loudness_db": {
                "made": loud,
                "generator": float(np.mean([loudness_db(original(s, frames)) for s in seeds])),
            },
            "round_trip": means([through(asked.checkpoint_dir or BUNDLED, s, frames) for s in few]),
            "repaint": means([repainted(desk, seed, frames) for seed in few]),
            "cover": means([covered(desk, listener, seed, frames) for seed in few]),
        }  # fmt: skip
        if not asked.no_language:
            found["thinking"], *_ = steered(desk, listener, seeds, frames, thinking=True)
            found |= written(desk, seeds, frames)
    for kind, row in found.items():
        print(f"{kind:20}", *(f"{name} {value:.2f}" for name, value in row.items()), sep="  ")
    print(json.dumps({"songs": asked.songs, "changed": asked.changed, **found}))


if __name__ == "__main__":
    main()
